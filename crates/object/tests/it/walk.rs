//! What git wrote is read back: commits, trees and tags, in both hashes.

use object::{CommitRef, HashKind, Kind, TagRef, TreeIter, object_id};

use crate::real_git::RealGit;

fn id_of(git: &RealGit, name: &str) -> String {
    let hex = git.expect(&["rev-parse", name], b"");
    String::from_utf8(hex).expect("hexadecimal").trim_end().to_owned()
}

fn round(hash: HashKind) {
    let git = RealGit::new();
    let format = format!("--object-format={}", hash.name());
    git.expect(&["init", "-q", "--bare", &format, "r"], b"");
    let run = |args: &[&str], input: &[u8]| {
        let out = git.expect(&[&["-C", "r"], args].concat(), input);
        String::from_utf8_lossy(&out).trim_end().to_owned()
    };
    let blob = run(&["hash-object", "-w", "--stdin"], b"hello\n");
    let inner = run(&["mktree"], format!("100755 blob {blob}\trun\n").as_bytes());
    let list = format!("100644 blob {blob}\ta\n040000 tree {inner}\td\n120000 blob {blob}\tl\n");
    let tree = run(&["mktree"], list.as_bytes());
    let first = run(&["commit-tree", &tree, "-m", "First"], b"");
    let second = run(&["commit-tree", &tree, "-p", &first, "-p", &first, "-m", "Second"], b"");
    run(&["update-ref", "refs/heads/main", &second], b"");
    run(&["tag", "-a", "-m", "Tagged", "v1", "main"], b"");
    let read =
        |kind: Kind, name: &str| git.expect(&["-C", "r", "cat-file", kind.name(), name], b"");

    let bytes = read(Kind::Commit, &second);
    let commit = CommitRef::parse(&bytes, hash).expect("git wrote it");
    assert_eq!(commit.tree.to_hex(), tree);
    assert!(commit.parents().all(|parent| parent.to_hex() == first));
    assert_eq!(commit.committer_time(), 1_700_000_000);
    assert_eq!(commit.message(), "Second\n");
    assert_eq!(object_id(hash, Kind::Commit, &bytes).expect("no collision").to_hex(), second);

    let bytes = read(Kind::Tree, &tree);
    let listed: String = TreeIter::new(&bytes, hash)
        .map(|entry| entry.expect("git wrote it"))
        .map(|entry| {
            let kind = if entry.mode.is_tree() { "tree" } else { "blob" };
            format!("{:?} {kind} {}\t{}\n", entry.mode, entry.oid(hash), entry.name)
        })
        .collect();
    assert_eq!(listed, list);

    let bytes = read(Kind::Tag, "v1");
    let tag = TagRef::parse(&bytes, hash).expect("git wrote it");
    assert_eq!((tag.target.to_hex(), tag.target_kind), (second, Kind::Commit));
    assert_eq!(tag.name, "v1");
    assert_eq!(tag.tagger_time(), 1_700_000_000);
    assert_eq!(tag.message(), "Tagged\n");
}

#[test]
fn reads_what_git_wrote() {
    round(HashKind::Sha1);
    round(HashKind::Sha256);
}

#[test]
fn commit_times_are_those_git_sees() {
    let git = RealGit::new();
    let tree = git.write(Kind::Tree, b"");
    for committer in [
        "C <c@x> 1700000000 +0100",
        "C <c@x>1700000000 +0100",
        "C <c@x>   17 +0100",
        "C <c@x> x",
        "C <c@x>",
        "C 17",
        "C <c>> 17 +0000",
        "C <c@x> 17",
        "C > 5 <c@x> 17 +0000",
        "C <c@x> 123abc +0000",
        "C <c@x> \t17 +0000",
        "C <c@x> +17 +0000",
    ] {
        let text = format!("tree {tree}\nauthor A <a@x> 1 +0000\ncommitter {committer}\n\nm\n");
        let id = git.write(Kind::Commit, text.as_bytes());
        let seen = git.expect(&["rev-list", "--timestamp", "--no-walk", &id.to_hex()], b"");
        let seen = String::from_utf8_lossy(&seen);
        let commit = CommitRef::parse(text.as_bytes(), HashKind::Sha1).expect("walkable");
        let ours = format!("{} {id}", commit.committer_time());
        assert_eq!(ours, seen.trim_end(), "{committer:?}");
    }
    assert_eq!(id_of(&git, &tree.to_hex()), tree.to_hex());
}
