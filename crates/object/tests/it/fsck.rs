//! `git hash-object` (which checks what it is given) and `git fsck` against
//! [`object::fsck_object`].

use object::fsck::{FsckOptions, MsgId, Severity};
use object::{HashKind, Kind, ObjectId, SpecialFiles, fsck_object, object_id};

use crate::real_git::RealGit;

const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
const BLOB: &str = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
const PERSON: &str = "A U Thor <a@example.com> 1700000000 +0100";

/// What we say, as `id: message` lines.
fn said(kind: Kind, bytes: &[u8], options: &FsckOptions) -> Vec<String> {
    let id = object_id(HashKind::Sha1, kind, bytes).expect("no collision");
    let mut said = Vec::new();
    let mut special = SpecialFiles::default();
    fsck_object(
        kind,
        &id,
        bytes,
        HashKind::Sha1,
        options,
        &mut |finding| said.push(finding.to_string()),
        &mut special,
    );
    said
}

/// `git hash-object` refuses an object for every finding that is not ignored.
fn as_hash_object() -> FsckOptions {
    let mut options = FsckOptions::strict();
    for id in MsgId::ALL {
        if !matches!(options.severity(*id), Severity::Ignore | Severity::Fatal) {
            options.set(id.camel_name().as_bytes(), b"error").expect("a known id");
        }
    }
    options
}

fn check(git: &RealGit, options: &FsckOptions, kind: Kind, bytes: &[u8]) {
    let output = git.run(&["hash-object", "-t", kind.name(), "--stdin"], bytes);
    let words = String::from_utf8_lossy(&output.stderr);
    let theirs: Vec<_> =
        words.lines().filter_map(|line| line.strip_prefix("error: object fails fsck: ")).collect();
    let shown = String::from_utf8_lossy(bytes);
    assert_eq!(said(kind, bytes, options), theirs, "{kind} {shown:?}");
}

#[test]
fn says_of_commits_what_git_says() {
    let (git, options) = (RealGit::new(), as_hash_object());
    let (good, whole) = (format!("author {PERSON}\ncommitter {PERSON}\n"), "\nmessage\n");
    let tree = format!("tree {ID}\n");
    for text in [
        String::new(),
        "\n".into(),
        "tree".into(),
        "tree \n".into(),
        format!("tree {ID}"),
        tree.clone(),
        format!("tree {ID}x\n{good}{whole}"),
        format!("tree {}\n{good}{whole}", &ID[1..]),
        format!("{tree}{good}{whole}"),
        format!("{tree}{good}"),
        format!("{tree}{good}\nno newline"),
        format!("{tree}{good}\nmess\0age\n"),
        format!("{tree}au\0thor {PERSON}\n{whole}"),
        format!("{tree}parent {ID}\n{good}{whole}"),
        format!("{tree}parent {ID} \n{good}{whole}"),
        format!("{tree}parent x\n{good}{whole}"),
        format!("{tree}parent\n{good}{whole}"),
        format!("{tree}committer {PERSON}\n{whole}"),
        format!("{tree}author {PERSON}\n{whole}"),
        format!("{tree}author {PERSON}\nauthor {PERSON}\ncommitter {PERSON}\n{whole}"),
        format!("{tree}{good}encoding x\n{whole}"),
        format!("{tree}\nauthor {PERSON}\n"),
        "blob\n\n".into(),
    ] {
        check(&git, &options, Kind::Commit, text.as_bytes());
    }
}

#[test]
fn says_of_people_what_git_says() {
    let (git, options) = (RealGit::new(), as_hash_object());
    for person in [
        "",
        " ",
        "A",
        "A <",
        "A <a",
        "A <a>",
        "A <a> ",
        "<a> 1 +0000",
        " <a> 1 +0000",
        "A<a> 1 +0000",
        "A> <a> 1 +0000",
        "A <a<b> 1 +0000",
        "A <a>> 1 +0000",
        "A <a>1 +0000",
        "A <a> x +0000",
        "A <a>  \t1 +0000",
        "A <a> 0 +0000",
        "A <a> 00 +0000",
        "A <a> 01 +0000",
        "A <a> 0",
        "A <a> 1",
        "A <a> 1 ",
        "A <a> 1x +0000",
        "A <a> -1 +0000",
        "A <a> 1  +0000",
        "A <a> 1 0000",
        "A <a> 1 +000",
        "A <a> 1 +00000",
        "A <a> 1 -000x",
        "A <a> 1 +0000 ",
        "A <a> 9223372036854775807 +0000",
        "A <a> 9223372036854775808 +0000",
        "A <a> 18446744073709551615 +0000",
        "A <a> 18446744073709551616 +0000",
        "A <a> 123456789012345678901234567890 +0000",
        "A <> 1 +0000",
        "A  <a> 1 +0000",
    ] {
        for text in [
            format!("tree {ID}\nauthor {person}\ncommitter {PERSON}\n\nm\n"),
            format!("tree {ID}\nauthor {PERSON}\ncommitter {person}\n\nm\n"),
            format!("tree {ID}\nauthor {PERSON}\ncommitter {person}\n"),
        ] {
            check(&git, &options, Kind::Commit, text.as_bytes());
        }
    }
}

#[test]
fn says_of_tags_what_git_says() {
    let (git, options) = (RealGit::new(), as_hash_object());
    let tagger = format!("tagger {PERSON}\n");
    let tag = |name: &str, rest: &str| format!("object {ID}\ntype tree\ntag {name}\n{rest}");
    for text in [
        String::new(),
        "object x\n\n".into(),
        format!("object {ID}\n"),
        format!("object {ID}x\ntype tree\ntag x\n{tagger}\nm\n"),
        format!("object {ID}\ntype\n\n"),
        format!("object {ID}\ntype egg\ntag x\n{tagger}\nm\n"),
        format!("object {ID}\ntype tree\n"),
        format!("object {ID}\ntype tree\ntag\n"),
        tag("x", &format!("{tagger}\nm\n")),
        tag("x", &tagger),
        tag("x", "\nm\n"),
        tag("x", "tagger A <a> x\n\nm\n"),
        tag("", &format!("{tagger}\nm\n")),
        tag("a..b", &format!("{tagger}\nm\n")),
        tag("a b", &format!("{tagger}\nm\n")),
        tag("x", &format!("{tagger}extra\n\nm\n")),
        tag("x", &format!("{tagger}\nm\0\n")),
        tag("x", "ta\0gger\n\nm\n"),
    ] {
        check(&git, &options, Kind::Tag, text.as_bytes());
    }
}

fn entry(mode: &str, name: impl AsRef<[u8]>) -> Vec<u8> {
    let id = ObjectId::from_hex(BLOB.as_bytes()).expect("an id");
    [mode.as_bytes(), b" ", name.as_ref(), b"\0", id.as_bytes()].concat()
}

#[test]
fn says_of_trees_what_git_says() {
    let (git, options) = (RealGit::new(), as_hash_object());
    let file = |name: &str| entry("100644", name);
    let dir = |name: &str| entry("40000", name);
    let cut = |mut bytes: Vec<u8>, by: usize| {
        bytes.truncate(bytes.len() - by);
        bytes
    };
    let null = [&b"100644 a\0"[..], &[0; 20]].concat();
    let mut trees = vec![
        vec![],
        b"x".to_vec(),
        null,
        cut(file("a"), 1),
        cut([file("a"), file("b")].concat(), 1),
        [file("a"), b"x".to_vec()].concat(),
        [file("a"), entry("10x644", "b")].concat(),
        [entry("7", "."), entry("", "b")].concat(),
        [entry("7", "b"), entry("7", "a"), entry("100644", "")].concat(),
        [file("b"), file("a")].concat(),
        [file("a"), file("a")].concat(),
        [file("a"), dir("a")].concat(),
        [dir("a"), file("a")].concat(),
        [file("a"), file("a.c"), dir("a")].concat(),
        [dir("a"), file("a.c")].concat(),
        [file("a.c"), dir("a")].concat(),
        [file("a"), file("a.b"), file("a.b.c"), dir("a.b"), dir("a")].concat(),
        [file("a"), file("a.b"), file("a.b.c"), dir("a.b"), file("a0")].concat(),
        [file("a"), file("a-b"), file("a.b"), file("a.c"), dir("a")].concat(),
    ];
    for name in [
        ".",
        "..",
        "...",
        "a/b",
        "/",
        ".git",
        ".GIT",
        "git~1",
        "GIT~1",
        "git~2",
        ".git ",
        ".git.",
        ".git:x",
        ".git\\x",
        "a\\.git",
        "a\\git~1\\b",
        "a\\b",
        ".g\u{200c}it",
        ".gitx",
        "\u{200e}.git",
        ".git\u{feff}",
        ".git/x",
        ".gi",
    ] {
        trees.push(file(name));
        trees.push(dir(name));
    }
    trees.push(file(&"x".repeat(4096)));
    trees.push(file(&"x".repeat(4097)));
    trees.push(entry("100644", b".git\xff"));
    trees.push(entry("100644", b".git\xef\xbf\xbe"));
    for mode in [
        "100644",
        "100755",
        "100664",
        "100600",
        "120000",
        "40000",
        "040000",
        "160000",
        "0",
        "1",
        "0100644",
        "777777777",
        "40755",
        "120777",
    ] {
        trees.push(entry(mode, "a"));
    }
    for name in [
        ".gitmodules",
        ".gitattributes",
        ".gitignore",
        ".mailmap",
        ".GitModules",
        "gitmod~1",
        "gi7eba~1",
        "gitatt~4",
        "gi7d29~1",
        "gitign~1",
        "gi250a~2",
        "mailma~1",
        "maba30~1",
        "~1000000",
        "a\\.gitmodules",
        "a\\gitmod~2",
        "a\\.gitignore",
        ".gitmodules ",
        ".gitignore:x",
        ".git\u{200d}ignore",
        ".mailmaps",
    ] {
        trees.push(entry("120000", name));
    }
    for tree in trees {
        check(&git, &options, Kind::Tree, &tree);
    }
}

/// Lines like `error in tree <id>: hasDot: contains '.'` of `git fsck`.
fn fsck_lines(git: &RealGit, args: &[&str]) -> Vec<String> {
    let output = git.run(&[&["fsck", "--no-dangling"], args].concat(), b"");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut lines: Vec<_> =
        words.lines().filter(|line| line.contains(" in ")).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn finds_things_as_bad_as_git_does() {
    let git = RealGit::new();
    let objects = [
        (Kind::Tree, entry("100644", ".git")),
        (Kind::Tree, entry("100664", "group")),
        (Kind::Tree, entry("100600", "mode")),
        (Kind::Tree, [entry("100644", "b"), entry("100644", "a")].concat()),
        (Kind::Tree, entry("120000", ".gitmodules")),
        (Kind::Tree, entry("120000", ".gitattributes")),
        (
            Kind::Commit,
            format!("tree {ID}\nauthor A <a> 1 +0\ncommitter {PERSON}\n\n").into_bytes(),
        ),
        (
            Kind::Commit,
            format!("tree {ID}\nauthor {PERSON}\ncommitter {PERSON}\n\nx\0").into_bytes(),
        ),
        (Kind::Tag, format!("object {ID}\ntype tree\ntag a..b\n\nm\n").into_bytes()),
    ];
    let ids: Vec<_> = objects.iter().map(|(kind, bytes)| git.write(*kind, bytes)).collect();
    let settings: [&[(&str, &str)]; 3] =
        [&[], &[("hasdotgit", "error"), ("badtimezone", "warn")], &[("treeNotSorted", "ignore")]];
    for strict in [false, true] {
        for settings in settings {
            let mut options = if strict { FsckOptions::strict() } else { FsckOptions::default() };
            git.run(&["config", "--remove-section", "fsck"], b"");
            for (id, severity) in settings {
                git.expect(&["config", &format!("fsck.{id}"), severity], b"");
                options.set(id.as_bytes(), severity.as_bytes()).expect("known");
            }
            let mut ours = Vec::new();
            for (id, (kind, bytes)) in ids.iter().zip(&objects) {
                let mut tell = |finding: object::Finding| {
                    let word = if finding.severity.is_error() { "error" } else { "warning" };
                    ours.push(format!("{word} in {kind} {id}: {finding}"));
                };
                let special = &mut SpecialFiles::default();
                fsck_object(*kind, id, bytes, HashKind::Sha1, &options, &mut tell, special);
            }
            ours.sort();
            let theirs = fsck_lines(&git, if strict { &["--strict"] } else { &[] });
            assert_eq!(ours, theirs, "strict {strict}, {settings:?}");
        }
    }
}

#[test]
fn skips_what_is_on_the_skip_list() {
    let tree = entry("100644", ".git");
    let id = object_id(HashKind::Sha1, Kind::Tree, &tree).expect("no collision");
    let mut options = FsckOptions::strict();
    assert_eq!(said(Kind::Tree, &tree, &options), ["hasDotgit: contains '.git'"]);
    options.add_skip_list(id.to_hex().as_bytes(), HashKind::Sha1).expect("an id");
    assert!(said(Kind::Tree, &tree, &options).is_empty());
}
