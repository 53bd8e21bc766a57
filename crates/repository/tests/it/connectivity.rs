//! What is missing below new tips is found, whatever was left behind by others.

use object::{HashKind, Kind, ObjectId, object_id};
use repository::connectivity::check_connected;
use repository::{Error, Silent};
use testkit::{RealGit, Scenario};

use crate::bare::{Bare, threads};
use crate::pack_builder::{PackBuilder, blob_id};

fn id_of(kind: Kind, content: &[u8]) -> ObjectId {
    object_id(HashKind::Sha1, kind, content).expect("no collision")
}

fn tree(entries: &[(&str, &str, ObjectId)]) -> Vec<u8> {
    let mut tree = Vec::new();
    for (mode, name, id) in entries {
        tree.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        tree.extend_from_slice(id.as_bytes());
    }
    tree
}

fn commit(tree: ObjectId, parents: &[ObjectId], time: i64) -> Vec<u8> {
    let parents: String = parents.iter().map(|id| format!("parent {id}\n")).collect();
    let who = format!("A <a@example.com> {time} +0000");
    format!("tree {tree}\n{parents}author {who}\ncommitter {who}\n\n").into_bytes()
}

fn parse(hex: &str) -> ObjectId {
    ObjectId::from_hex(hex.as_bytes()).expect("an id")
}

/// What is missing, or is not what it should be, below a tip once a pack of these objects has arrived.
fn missing_below(
    bare: &Bare,
    objects: &[(Kind, &[u8])],
    tip: ObjectId,
    known: &[ObjectId],
    shallow: &[ObjectId],
) -> Option<ObjectId> {
    let pack = objects.iter().fold(PackBuilder::new(), |pack, (kind, it)| pack.whole(*kind, it));
    let mut incoming = bare.incoming(threads(2));
    incoming.receive(&mut &pack.build()[..], &mut Silent).expect("a good pack");
    let objects = incoming.objects().expect("packs");
    match check_connected(&objects, &[tip], known, shallow, &mut Silent) {
        Ok(()) => None,
        Err(Error::Missing { id, .. } | Error::WrongKind { id, .. }) => Some(id),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn all_of_a_history_is_there() {
    let git = RealGit::new();
    let dir = Scenario::realistic(2000, 5).build(&git, "source");
    let head = parse(&git.ok(&dir, &["rev-parse", "HEAD"]));
    let all = git.ok_with_input(&dir, &["pack-objects", "--all", "--revs", "--stdout", "-q"], b"");
    let bare = Bare::init(&git, "bare", HashKind::Sha1);
    let mut incoming = bare.incoming(threads(2));
    incoming.receive(&mut &all.stdout[..], &mut Silent).expect("a good pack");
    let objects = incoming.objects().expect("packs");
    check_connected(&objects, &[head], &[], &[], &mut Silent).expect("nothing is missing");
    check_connected(&objects, &[head], &[head], &[], &mut Silent).expect("nothing is missing");
}

#[test]
fn each_missing_link_is_found() {
    let git = RealGit::new();
    let bare = Bare::init(&git, "bare", HashKind::Sha1);
    let nowhere = blob_id(b"nowhere");
    let top = tree(&[("100644", "file", nowhere)]);
    let top_id = id_of(Kind::Tree, &top);
    let root = commit(top_id, &[], 1);
    let root_id = id_of(Kind::Commit, &root);
    let missing = |objects: &[(Kind, &[u8])], tip| missing_below(&bare, objects, tip, &[], &[]);
    assert_eq!(missing(&[(Kind::Commit, &root), (Kind::Tree, &top)], root_id), Some(nowhere));
    assert_eq!(missing(&[(Kind::Commit, &root)], root_id), Some(top_id));
    assert_eq!(missing(&[(Kind::Tree, &top)], top_id), Some(nowhere));
    assert_eq!(missing(&[], root_id), Some(root_id));
    let all: [(Kind, &[u8]); 3] =
        [(Kind::Commit, &root), (Kind::Tree, &top), (Kind::Blob, b"nowhere")];
    assert_eq!(missing(&all, root_id), None);

    let orphan = commit(top_id, &[nowhere], 2);
    let orphan_id = id_of(Kind::Commit, &orphan);
    let all: [(Kind, &[u8]); 3] =
        [(Kind::Commit, &orphan), (Kind::Tree, &top), (Kind::Blob, b"nowhere")];
    assert!(check_kind(&bare, &all, orphan_id), "a parent that is a blob");
    let parent = id_of(Kind::Commit, b"no such commit");
    let orphan = commit(top_id, &[parent], 2);
    let orphan_id = id_of(Kind::Commit, &orphan);
    let all: [(Kind, &[u8]); 3] =
        [(Kind::Commit, &orphan), (Kind::Tree, &top), (Kind::Blob, b"nowhere")];
    assert_eq!(missing(&all, orphan_id), Some(parent));
    assert_eq!(missing_below(&bare, &all, orphan_id, &[], &[orphan_id]), None, "cut there");

    let tag = format!("object {root_id}\ntype commit\ntag t\ntagger A <a> 1 +0000\n\n");
    let tag_id = id_of(Kind::Tag, tag.as_bytes());
    assert_eq!(missing(&[(Kind::Tag, tag.as_bytes())], tag_id), Some(root_id));
}

/// Whether the check says that an object is of the wrong kind.
fn check_kind(bare: &Bare, objects: &[(Kind, &[u8])], tip: ObjectId) -> bool {
    let pack = objects.iter().fold(PackBuilder::new(), |pack, (kind, it)| pack.whole(*kind, it));
    let mut incoming = bare.incoming(threads(1));
    incoming.receive(&mut &pack.build()[..], &mut Silent).expect("a good pack");
    let objects = incoming.objects().expect("packs");
    let result = check_connected(&objects, &[tip], &[], &[], &mut Silent);
    matches!(result, Err(Error::WrongKind { .. }))
}

#[test]
fn submodule_entries_are_not_followed_and_modes_do_not_hide_trees() {
    let git = RealGit::new();
    let bare = Bare::init(&git, "bare", HashKind::Sha1);
    let nowhere = blob_id(b"nowhere");
    let with_module = tree(&[("160000", "module", nowhere)]);
    let id = id_of(Kind::Tree, &with_module);
    assert_eq!(missing_below(&bare, &[(Kind::Tree, &with_module)], id, &[], &[]), None);

    let inner = tree(&[("100644", "file", nowhere)]);
    let inner_id = id_of(Kind::Tree, &inner);
    let outer = tree(&[("100644", "a", inner_id), ("40000", "b", inner_id)]);
    let outer_id = id_of(Kind::Tree, &outer);
    let objects: [(Kind, &[u8]); 2] = [(Kind::Tree, &inner), (Kind::Tree, &outer)];
    assert_eq!(missing_below(&bare, &objects, outer_id, &[], &[]), Some(inner_id));
}

/// A repository where a ref names a whole commit, and unreachable objects lie about whose
/// parts were removed.
#[test]
fn leftovers_do_not_count_as_whole() {
    let git = RealGit::new();
    let bare = Bare::init(&git, "bare", HashKind::Sha1);
    let lost = blob_id(b"lost");
    let kept = tree(&[("100644", "file", blob_id(b"kept"))]);
    let kept_id = id_of(Kind::Tree, &kept);
    let torn = tree(&[("100644", "file", lost)]);
    let torn_id = id_of(Kind::Tree, &torn);
    let good = commit(kept_id, &[], 100);
    let good_id = id_of(Kind::Commit, &good);
    let leftover = commit(torn_id, &[good_id], 200);
    let leftover_id = id_of(Kind::Commit, &leftover);
    let headless = commit(kept_id, &[id_of(Kind::Commit, b"gone")], 200);
    let headless_id = id_of(Kind::Commit, &headless);
    let pack = PackBuilder::new()
        .blob(b"kept")
        .whole(Kind::Tree, &kept)
        .whole(Kind::Tree, &torn)
        .whole(Kind::Commit, &good)
        .whole(Kind::Commit, &leftover)
        .whole(Kind::Commit, &headless);
    bare.receive(&pack.build(), threads(2)).expect("a good pack");
    let known = [good_id];
    let missing = |objects: &[(Kind, &[u8])], tip| missing_below(&bare, objects, tip, &known, &[]);

    assert_eq!(missing(&[], leftover_id), Some(lost));
    let child = commit(kept_id, &[leftover_id], 300);
    assert_eq!(missing(&[(Kind::Commit, &child)], id_of(Kind::Commit, &child)), Some(lost));
    let child = commit(kept_id, &[headless_id], 300);
    let gone = id_of(Kind::Commit, b"gone");
    assert_eq!(missing(&[(Kind::Commit, &child)], id_of(Kind::Commit, &child)), Some(gone));
    let reuses = commit(torn_id, &[good_id], 300);
    assert_eq!(missing(&[(Kind::Commit, &reuses)], id_of(Kind::Commit, &reuses)), Some(lost));
    let below = tree(&[("40000", "sub", torn_id)]);
    let reuses = commit(id_of(Kind::Tree, &below), &[good_id], 300);
    let objects: [(Kind, &[u8]); 2] = [(Kind::Commit, &reuses), (Kind::Tree, &below)];
    assert_eq!(missing(&objects, id_of(Kind::Commit, &reuses)), Some(lost));
    let fine = commit(kept_id, &[good_id], 300);
    assert_eq!(missing(&[(Kind::Commit, &fine)], id_of(Kind::Commit, &fine)), None);
}

#[test]
fn an_old_commit_below_a_ref_is_met_from_the_ref() {
    let git = RealGit::new();
    let dir = Scenario::linear(30).build(&git, "source");
    let at = |name: &str| parse(&git.ok(&dir, &["rev-parse", name]));
    let (head, old, older) = (at("HEAD"), at("HEAD~20"), at("HEAD~25^{tree}"));
    let bare = Bare::open(&dir);
    let branch = commit(older, &[old], 2_000_000_000);
    let objects: [(Kind, &[u8]); 1] = [(Kind::Commit, &branch)];
    let tip = id_of(Kind::Commit, &branch);
    assert_eq!(missing_below(&bare, &objects, tip, &[head], &[]), None);
    assert_eq!(missing_below(&bare, &[], old, &[head], &[]), None);
}

#[test]
fn a_partial_clone_may_lack_what_is_promised() {
    let git = RealGit::new();
    let bare = Bare::init(&git, "bare", HashKind::Sha1);
    let promised = blob_id(b"promised");
    let top = tree(&[("100644", "file", promised)]);
    let root = commit(id_of(Kind::Tree, &top), &[], 1);
    let pack = PackBuilder::new().whole(Kind::Tree, &top).whole(Kind::Commit, &root).build();
    let received = bare.receive(&pack, threads(2)).expect("a good pack");
    let name = format!("objects/pack/pack-{}.promisor", received.pack.expect("kept as a pack"));
    let root_id = id_of(Kind::Commit, &root);
    assert_eq!(missing_below(&bare, &[], root_id, &[], &[]), Some(promised));
    std::fs::write(bare.dir.join(name), b"").expect("writable");
    assert_eq!(missing_below(&bare, &[], root_id, &[], &[]), None);

    let nowhere = blob_id(b"nowhere");
    let mixed = tree(&[("100644", "a", promised), ("100644", "b", nowhere)]);
    let child = commit(id_of(Kind::Tree, &mixed), &[root_id], 2);
    let objects: [(Kind, &[u8]); 2] = [(Kind::Tree, &mixed), (Kind::Commit, &child)];
    let tip = id_of(Kind::Commit, &child);
    assert_eq!(missing_below(&bare, &objects, tip, &[root_id], &[]), Some(nowhere));
}
