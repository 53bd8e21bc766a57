//! `.gitmodules` and `.gitattributes` in real trees, judged by `git fsck`.

use bstr::{BStr, ByteSlice as _};
use object::fsck::{FsckOptions, SpecialBlob, fsck_special_files};
use object::{HashKind, Kind, ObjectId, SpecialFiles, fsck_object};

use crate::real_git::RealGit;

/// Enough of configuration for these tests: one section and one key per line, no quoting.
fn read_config(text: &[u8], visit: &mut dyn FnMut(&BStr, Option<&BStr>)) -> bool {
    let mut section = Vec::new();
    for line in text.lines().map(|line| line.trim()) {
        if let Some(name) = line.strip_prefix(b"[submodule \"") {
            let Some(name) = name.strip_suffix(b"\"]") else { return false };
            section = [&b"submodule."[..], name, b"."].concat();
        } else if let Some((key, value)) = line.split_once_str(" = ") {
            visit([&section[..], key].concat().as_bstr(), Some(value.as_bstr()));
        } else if !line.is_empty() {
            return false;
        }
    }
    true
}

fn ours(git: &RealGit, tree: &ObjectId, options: &FsckOptions) -> Vec<String> {
    let read = |id: &ObjectId| {
        let kind = git.run(&["cat-file", "-t", &id.to_hex()], b"").stdout;
        let bytes = git.run(&["cat-file", "-p", &id.to_hex()], b"").stdout;
        Ok::<_, std::convert::Infallible>(match kind.trim_ascii_end() {
            b"" => SpecialBlob::Missing,
            b"blob" => SpecialBlob::Content(bytes),
            _ => SpecialBlob::NotABlob,
        })
    };
    let bytes = git.expect(&["cat-file", "tree", &tree.to_hex()], b"");
    let (mut special, mut found) = (SpecialFiles::default(), Vec::new());
    let mut tell = |finding: object::Finding| panic!("the tree itself is good: {finding}");
    fsck_object(Kind::Tree, tree, &bytes, HashKind::Sha1, options, &mut tell, &mut special);
    fsck_special_files(&special, options, &mut { read }, &mut read_config, &mut |id, finding| {
        let word = if finding.severity.is_error() { "error" } else { "warning" };
        found.push(format!("{word} in blob {id}: {finding}"));
    })
    .expect("nothing to fail");
    found
}

fn check(file: &str, mode: &str, kind: Kind, content: &[u8]) {
    let git = RealGit::new();
    let id = git.write(kind, content);
    let kind_name = kind.name();
    let list = format!("{mode} {kind_name} {id}\t{file}\n");
    let tree = git.expect(&["mktree"], list.as_bytes());
    let tree = ObjectId::from_hex(tree.trim_ascii_end()).expect("git prints an id");
    for strict in [false, true] {
        let options = if strict { FsckOptions::strict() } else { FsckOptions::default() };
        let args: &[&str] = if strict { &["fsck", "--strict"] } else { &["fsck"] };
        let output = git.run(args, b"");
        let words = String::from_utf8_lossy(&output.stderr);
        let mut theirs: Vec<_> = words.lines().filter(|line| line.contains(" in blob ")).collect();
        let mut ours = ours(&git, &tree, &options);
        theirs.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, theirs, "{file} {:?}", content.as_bstr());
    }
}

#[test]
fn says_of_submodules_what_git_says() {
    let module = |name: &str, setting: &str| format!("[submodule \"{name}\"]\n\t{setting}\n");
    for text in [
        module("x", "url = ../x"),
        module("..", "url = ../x"),
        module("../x", "path = x"),
        module("a/../x", "path = -x"),
        module("x..y", "path = x"),
        module("x", "url = -x"),
        module("x", "url = https://example.com/%0ax"),
        module("x", "url = https://example.com/x.git"),
        module("x", "url = https://user@/x"),
        module("x", "url = https:///x"),
        module("x", "url = ../../:x"),
        module("x", "url = ../../x:y"),
        module("x", "url = ./%0ax"),
        module("x", "url = git://h/%0ax"),
        module("x", "url = ssh://h/%0ax"),
        module("x", "url = http::x"),
        module("x", "url = http::https://h:0443/x?y#z"),
        module("x", "url = https://h:99999/"),
        module("x", "url = https://h/a/../../b"),
        module("x", "url = https://h/a/../b"),
        module("x", "update = !rm -rf /"),
        module("x", "update = rebase"),
        module("..", "url = -x\n\tpath = -x\n\tupdate = !x"),
        module("..", "*broken"),
        "[submodule \"x\n".into(),
        String::new(),
    ] {
        check(".gitmodules", "100644", Kind::Blob, text.as_bytes());
    }
    check("GITMOD~1", "100644", Kind::Blob, module("..", "url = x").as_bytes());
}

#[test]
fn says_of_attributes_what_git_says() {
    let line = |bytes: usize| "x".repeat(bytes).into_bytes();
    for content in [line(2047), line(2048), [line(10), b"\n".to_vec(), line(3000)].concat()] {
        check(".gitattributes", "100644", Kind::Blob, &content);
    }
    check(".gitattributes", "100644", Kind::Blob, &[b"\0".to_vec(), line(3000)].concat());
}

#[test]
fn notices_a_directory_in_place_of_a_file() {
    let git = RealGit::new();
    let inner = git.write(Kind::Tree, b"");
    for (file, expected) in [
        (".gitmodules", "gitmodulesBlob: non-blob found at .gitmodules"),
        (".gitattributes", "gitattributesBlob: non-blob found at .gitattributes"),
    ] {
        let tree = git.expect(&["mktree"], format!("040000 tree {inner}\t{file}\n").as_bytes());
        let tree = ObjectId::from_hex(tree.trim_ascii_end()).expect("git prints an id");
        let found = ours(&git, &tree, &FsckOptions::strict());
        assert_eq!(found, [format!("error in blob {inner}: {expected}")]);
    }
}
