//! Reading refs that stock git, or something worse, wrote.

use std::fs;
use std::path::Path;

use bstr::ByteSlice as _;
use storage::{Error, Peeled, Target};
use testkit::{RealGit, TempDir};

use crate::support::{get, name, open, scan};

/// A bare repository with a branch, an annotated tag and a lightweight one.
fn sample(git: &RealGit) -> std::path::PathBuf {
    let bare = git.init_bare("r.git");
    git.ok(git.root(), &["init", "--quiet", "-b", "main", "work"]);
    let work = git.path("work");
    git.commit_file(&work, "file", "one");
    git.ok(&work, &["tag", "-m", "annotated", "v1"]);
    git.ok(&work, &["tag", "light"]);
    git.ok(&work, &["push", "--quiet", "../r.git", "main", "v1", "light", "main:side/b"]);
    git.ok(&bare, &["symbolic-ref", "HEAD", "refs/heads/main"]);
    git.ok(&bare, &["symbolic-ref", "refs/heads/link", "refs/heads/main"]);
    bare
}

/// What git lists.
fn listed(git: &RealGit, bare: &Path) -> Vec<String> {
    let format = "--format=%(if)%(symref)%(then)ref: %(symref)%(else)%(objectname)%(end) \
                  %(refname)";
    git.ok(bare, &["for-each-ref", format]).lines().map(str::to_owned).collect()
}

#[test]
fn git_and_we_list_the_same_refs_loose_packed_and_mixed() {
    let git = RealGit::new();
    let bare = sample(&git);
    let parts = open(&bare);
    let expected = |git: &RealGit| listed(git, &bare);
    assert_eq!(scan(&*parts.refs, ""), expected(&git));
    git.ok(&bare, &["pack-refs", "--all"]);
    assert_eq!(scan(&*parts.refs, ""), expected(&git));
    let tag = get(&*parts.refs, "refs/tags/v1").expect("packed");
    let peeled = git.rev_parse(&bare, "v1^{}");
    assert_eq!(tag.peeled, Peeled::To(peeled));
    let main = get(&*parts.refs, "refs/heads/main").expect("packed");
    assert_eq!((main.peeled, main.target), (Peeled::NotATag, Target::Id(peeled)));
    let tag_id = git.rev_parse(&bare, "v1");
    git.ok(&bare, &["update-ref", "refs/tags/light", &tag_id.to_hex()]);
    git.ok(&bare, &["update-ref", "-d", "refs/heads/side/b"]);
    assert_eq!(scan(&*parts.refs, ""), expected(&git));
    assert_eq!(scan(&*parts.refs, "refs/heads/").len(), 2);
}

#[test]
fn a_hundred_thousand_packed_refs_are_read_and_sought() {
    let git = RealGit::new();
    let bare = sample(&git);
    let id = git.rev_parse(&bare, "main");
    let mut text = String::from("# pack-refs with: peeled fully-peeled sorted \n");
    for number in 0..100_000 {
        text += &format!("{id} refs/heads/n/{number:06}\n");
    }
    fs::write(bare.join("packed-refs"), text).expect("written");
    // Loose refs in place of a packed one and between two.
    fs::create_dir(bare.join("refs/heads/n")).expect("made");
    let tag = git.rev_parse(&bare, "v1").to_hex();
    fs::write(bare.join("refs/heads/n/050000"), &tag).expect("written");
    fs::write(bare.join("refs/heads/n/050000-more"), &tag).expect("written");
    let parts = open(&bare);
    assert_eq!(scan(&*parts.refs, ""), listed(&git, &bare));
    assert_eq!(scan(&*parts.refs, "refs/heads/n/05000").len(), 11);
    fs::remove_file(bare.join("refs/heads/n/050000-more")).expect("removed");
    let parts = open(&bare);
    assert_eq!(scan(&*parts.refs, "refs/heads/n/").len(), 100_000);
    assert_eq!(scan(&*parts.refs, "refs/heads/n/0999").len(), 100);
    assert_eq!(scan(&*parts.refs, "").len(), 100_005);
    assert!(get(&*parts.refs, "refs/heads/n/099999").is_some());
    assert!(get(&*parts.refs, "refs/heads/n/1").is_none());
}

#[test]
fn broken_refs_are_left_out_and_the_rest_is_served() {
    let git = RealGit::new();
    let bare = sample(&git);
    let good = scan(&*open(&bare).refs, "");
    let heads = bare.join("refs/heads");
    fs::write(heads.join("empty"), "").expect("written");
    fs::write(heads.join("garbage"), b"\0\xff\xfe").expect("written");
    fs::write(heads.join("null"), "0".repeat(40)).expect("written");
    fs::write(heads.join("bad..name"), "x").expect("written");
    fs::write(heads.join("main.lock"), "x").expect("written");
    fs::create_dir_all(heads.join("hollow/dir")).expect("made");
    let parts = open(&bare);
    assert_eq!(scan(&*parts.refs, ""), good);
    let snapshot = parts.refs.snapshot().expect("a snapshot");
    let broken = snapshot.get("refs/heads/empty".into());
    assert!(matches!(broken, Err(Error::Corrupt { .. })), "{broken:?}");
    fs::write(bare.join("packed-refs"), "# pack-refs with: sorted \nnonsense\n").expect("written");
    let damaged = parts.refs.snapshot().expect("a snapshot").get("refs/heads/none".into());
    assert!(matches!(damaged, Err(Error::Corrupt { .. })), "{damaged:?}");
}

#[test]
fn packed_refs_of_impossible_names_are_left_out() {
    let git = RealGit::new();
    let bare = sample(&git);
    let mut expected = scan(&*open(&bare).refs, "");
    let id = git.rev_parse(&bare, "main");
    let mut text = String::from("# pack-refs with: peeled fully-peeled sorted \n");
    for odd in ["\u{1}", " ", "\r", "\u{7f}", "..", "/.", "//", "@{", ".lock/", "?", "\\"] {
        text += &format!("{id} refs/tags/w{odd}x\n{id} refs/tags/with-a-longer-name{odd}x\n");
    }
    let null = "0".repeat(40);
    text += &format!("{null} refs/tags/x\n{id} refs/tags/x\r\n{id} refs/tags/y.lock\n");
    text += &format!("{id} refs/tags/z-good\n{id} refs/tags/z-good-and-of-some-length.v1@2\n");
    fs::write(bare.join("packed-refs"), text).expect("written");
    expected.push(format!("{id} refs/tags/z-good"));
    expected.push(format!("{id} refs/tags/z-good-and-of-some-length.v1@2"));
    assert_eq!(scan(&*open(&bare).refs, ""), expected);
}

#[test]
fn packed_refs_of_the_long_hash_are_read() {
    let root = TempDir::new();
    let git_dir = root.join("r.git");
    storage_disk::init_bare(&git_dir, object::HashKind::Sha256, "main").expect("made");
    let (a, b) = ("ab".repeat(32), "cd".repeat(32));
    let text = format!(
        "# pack-refs with: peeled fully-peeled sorted \n\
         {a} refs/heads/main\n{a} refs/tags/v1\n^{b}\n"
    );
    fs::write(git_dir.join("packed-refs"), text).expect("written");
    let parts = open(&git_dir);
    assert_eq!(
        scan(&*parts.refs, ""),
        [format!("{a} refs/heads/main"), format!("{a} refs/tags/v1")]
    );
    let tag = get(&*parts.refs, "refs/tags/v1").expect("there");
    assert_eq!(tag.peeled, Peeled::To(object::ObjectId::from_hex(b.as_bytes()).expect("hex")));
}

#[test]
fn symbolic_links_are_symbolic_refs() {
    let git = RealGit::new();
    let bare = sample(&git);
    fs::remove_file(bare.join("HEAD")).expect("removed");
    std::os::unix::fs::symlink("refs/heads/main", bare.join("HEAD")).expect("linked");
    let parts = open(&bare);
    let head = get(&*parts.refs, "HEAD").expect("there");
    assert_eq!(head.target, Target::Symbolic(name("refs/heads/main")));
}

#[test]
fn every_work_tree_has_its_own_head() {
    let git = RealGit::new();
    let bare = sample(&git);
    git.ok(&bare, &["worktree", "add", "--quiet", "-b", "other", "../tree"]);
    let found = storage_disk::discover(&git.path("tree"), false).expect("found");
    let parts = open(&found);
    let local = parts.local.as_ref().expect("on disk");
    assert_eq!(local.common_dir, fs::canonicalize(&bare).expect("there"));
    assert_eq!(local.work_tree, Some(git.path("tree")));
    let target = |name: &str| get(&*parts.refs, name).expect("there").target;
    assert_eq!(target("HEAD"), Target::Symbolic(name("refs/heads/other")));
    assert_eq!(target("main-worktree/HEAD"), Target::Symbolic(name("refs/heads/main")));
    assert_eq!(target("worktrees/tree/HEAD"), Target::Symbolic(name("refs/heads/other")));
    let id = git.rev_parse(&bare, "main").to_hex();
    git.ok(git.path("tree"), &["update-ref", "refs/bisect/bad", &id]);
    assert_eq!(scan(&*parts.refs, "refs/bisect/").len(), 1);
    assert_eq!(scan(&*open(&bare).refs, "refs/bisect/").len(), 0);
}

#[test]
fn shallow_files_are_read_and_damage_is_told() {
    let git = RealGit::new();
    let bare = sample(&git);
    let id = git.rev_parse(&bare, "main");
    fs::write(bare.join("shallow"), format!("{id}\n")).expect("written");
    let snapshot = open(&bare).refs.snapshot().expect("a snapshot");
    assert_eq!(snapshot.shallow().expect("readable"), [id]);
    fs::write(bare.join("shallow"), "nonsense\n").expect("written");
    let said = snapshot.shallow().expect_err("damaged").to_string();
    assert!(said.contains("bad shallow line: nonsense"), "{said}");
}

#[test]
fn a_replaced_packed_refs_is_seen_at_once() {
    let root = TempDir::new();
    let git_dir = root.join("r.git");
    storage_disk::init_bare(&git_dir, object::HashKind::Sha1, "main").expect("made");
    let parts = open(&git_dir);
    for number in 1..50u8 {
        let line = format!("{} refs/heads/x\n", crate::support::id(number));
        let new = git_dir.join("packed-refs.new");
        fs::write(&new, line.as_bytes().as_bstr()).expect("written");
        fs::rename(&new, git_dir.join("packed-refs")).expect("renamed");
        let found = get(&*parts.refs, "refs/heads/x").expect("there");
        assert_eq!(found.target, Target::Id(crate::support::id(number)));
    }
}
