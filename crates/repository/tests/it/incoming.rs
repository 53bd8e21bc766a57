//! Packs that are taken in: the same files as git writes, whatever the road.

use std::io::{BufReader, Read};

use object::{HashKind, Kind, ObjectId};
use repository::connectivity::check_connected;
use repository::incoming::IncomingOptions;
use repository::{Error, Silent};
use testkit::{RealGit, Scenario};

use crate::bare::{Bare, indexed_by_git, threads};
use crate::pack_builder::{PackBuilder, blob_id, delta};

fn everything(git: &RealGit, dir: &std::path::Path, more: &[&str]) -> Vec<u8> {
    let args = [&["pack-objects", "--all", "--revs", "--stdout", "-q"], more].concat();
    git.ok_with_input(dir, &args, b"").stdout
}

/// Receives a pack in several ways; every time the files must be those git writes.
fn check_like_git(git: &RealGit, name: &str, hash: HashKind, pack: &[u8]) {
    let expected = indexed_by_git(git, &format!("{name}-git"), hash, pack);
    let tight = IncomingOptions { memory_budget_bytes: 1, ..threads(2) };
    for (at, options) in [threads(1), threads(2), threads(5), tight].into_iter().enumerate() {
        let bare = Bare::init(git, &format!("{name}-{at}"), hash);
        bare.receive(pack, options).expect("a good pack");
        for (ending, expected) in ["pack", "idx", "rev"].iter().zip(&expected) {
            assert!(bare.pack_file(ending) == *expected, "{name} {at}: .{ending} differs");
        }
    }
}

#[test]
fn writes_the_files_git_writes() {
    let git = RealGit::new();
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let name = hash.name();
        let dir = Scenario::realistic(3000, 7).hash(hash).build(&git, name);
        git.ok(&dir, &["repack", "-adfq", "--depth=30", "--window=20"]);
        check_like_git(
            &git,
            &format!("{name}-ofs"),
            hash,
            &everything(&git, &dir, &["--delta-base-offset"]),
        );
        check_like_git(&git, &format!("{name}-ref"), hash, &everything(&git, &dir, &[]));
    }
}

#[test]
fn follows_deep_chains_and_wide_trees_of_deltas() {
    let git = RealGit::new();
    let dir = Scenario::deep_delta_chain(400).build(&git, "deep");
    check_like_git(&git, "deep", HashKind::Sha1, &everything(&git, &dir, &["--delta-base-offset"]));

    // Every entry has a delta that continues the chain and two that end at once, so that a
    // tight budget drops contents which are needed again.
    let mut builder = PackBuilder::new().blob(b"start");
    let (mut base, mut base_len) = (0, 5);
    for step in 0..300 {
        let tail = |word: &str| format!("{word}{step}").into_bytes();
        builder = builder.ofs_delta(base, &delta(base_len, 1, &tail("left")));
        builder = builder.ofs_delta(base, &delta(base_len, 1, &tail("on")));
        builder = builder.ofs_delta(base, &delta(base_len, 1, &tail("right")));
        (base, base_len) = (base + if step == 0 { 2 } else { 3 }, base_len + tail("on").len());
    }
    check_like_git(&git, "wide", HashKind::Sha1, &builder.build());
}

#[test]
fn finds_bases_that_come_later_or_twice() {
    let git = RealGit::new();
    let (one, two) = (delta(4, 1, b" one"), delta(8, 1, b" two"));
    let pack = PackBuilder::new()
        .ref_delta(blob_id(b"base one"), &two)
        .ref_delta(blob_id(b"base"), &one)
        .blob(b"base")
        .build();
    check_like_git(&git, "later", HashKind::Sha1, &pack);

    let pack = PackBuilder::new().blob(b"base").blob(b"base").ofs_delta(1, &one).blob(b"base one");
    check_like_git(&git, "twice", HashKind::Sha1, &pack.build());
}

/// Older versions of git refuse these packs, newer ones take them.
#[test]
fn a_delta_on_an_object_that_is_there_twice_is_resolved_once() {
    let git = RealGit::new();
    let (one, two) = (delta(4, 1, b" one"), delta(8, 1, b" two"));
    let twice = PackBuilder::new()
        .blob(b"base")
        .blob(b"base")
        .ref_delta(blob_id(b"base"), &one)
        .blob(b"base one")
        .ref_delta(blob_id(b"base one"), &two);
    // A circle that a whole copy in the same pack opens.
    let circle = PackBuilder::new()
        .ref_delta(blob_id(b"base one two"), &[12, 8, 0x90, 8])
        .ref_delta(blob_id(b"base one"), &two)
        .blob(b"base one");
    for (at, pack) in [twice.build(), circle.build()].into_iter().enumerate() {
        let bare = Bare::init(&git, &format!("bare-{at}"), HashKind::Sha1);
        bare.receive(&pack, threads(2)).expect("a good pack");
        git.ok(&bare.dir, &["fsck", "--strict"]);
        let object = bare.repository.objects().expect("packs").read(&blob_id(b"base one two"));
        assert_eq!(*object.expect("readable").expect("present").data, b"base one two");
    }
}

#[test]
fn completes_thin_packs() {
    let git = RealGit::new();
    let dir = Scenario::realistic(1500, 3).build(&git, "source");
    let tip = git.ok(&dir, &["rev-parse", "HEAD~5"]);
    let spec = format!("HEAD\n^{tip}\n");
    let args = ["pack-objects", "--revs", "--thin", "--stdout", "-q", "--delta-base-offset"];
    let thin = git.ok_with_input(&dir, &args, spec.as_bytes()).stdout;
    for count in [1, 3] {
        let name = format!("thin-{count}");
        git.ok(git.root(), &["clone", "-q", "--bare", "--no-local", "source", &name]);
        let target = git.path(&name);
        for name in git.ok(&target, &["for-each-ref", "--format=%(refname)"]).lines() {
            git.ok(&target, &["update-ref", "-d", name]);
        }
        git.ok(&target, &["update-ref", "refs/heads/main", &tip]);
        git.ok(&target, &["repack", "-adq"]);
        git.ok(&target, &["prune", "--expire=now"]);
        let bare = Bare::open(&target);
        let files = bare.files();
        assert_eq!(
            bare.refusal(&thin, IncomingOptions { fix_thin: false, ..threads(count) })
                .split(' ')
                .next(),
            Some("pack")
        );
        let received = bare.receive(&thin, threads(count)).expect("a good thin pack");
        assert!(received.completed_with > 0);
        let checksum = received.pack.expect("kept as a pack");
        git.ok(&target, &["update-ref", "refs/heads/main", &git.ok(&dir, &["rev-parse", "HEAD"])]);
        git.ok(&target, &["fsck", "--strict"]);
        assert_eq!(bare.files().len(), files.len() + 3);
        let path = |ending: &str| target.join(format!("objects/pack/pack-{checksum}.{ending}"));
        let pack = std::fs::read(path("pack")).expect("the completed pack");
        let expected = indexed_by_git(&git, &format!("thin-git-{count}"), HashKind::Sha1, &pack);
        assert!(std::fs::read(path("idx")).expect("its index") == expected[1]);
        assert!(std::fs::read(path("rev")).expect("its reverse index") == expected[2]);
    }
}

#[test]
fn appends_no_base_that_the_pack_makes_itself() {
    let git = RealGit::new();
    let bare = Bare::init(&git, "bare", HashKind::Sha1);
    bare.receive(&PackBuilder::new().blob(b"base").build(), threads(1)).expect("a good pack");
    let pack = PackBuilder::new()
        .ref_delta(blob_id(b"base one"), &delta(8, 1, b" two"))
        .ref_delta(blob_id(b"base"), &delta(4, 1, b" one"))
        .build();
    let received = bare.receive(&pack, threads(2)).expect("a good thin pack");
    assert_eq!((received.objects, received.deltas, received.completed_with), (2, 2, 1));
    git.ok(&bare.dir, &["fsck", "--strict"]);
}

#[test]
fn reads_no_further_than_the_pack() {
    let git = RealGit::new();
    let bare = Bare::init(&git, "bare", HashKind::Sha1);
    let pack = PackBuilder::new().blob(b"one").ofs_delta(0, &delta(3, 2, b"")).build();
    let stream = [&pack[..], b"what follows"].concat();
    for buffer in [1, 7, 4096] {
        let mut input = BufReader::with_capacity(buffer, &stream[..]);
        let mut incoming = bare.incoming(threads(2));
        incoming.receive(&mut input, &mut Silent).expect("a good pack");
        let mut rest = Vec::new();
        input.read_to_end(&mut rest).expect("memory");
        assert_eq!(rest, b"what follows");
    }
}

#[test]
fn keeps_large_objects_out_of_memory_and_compares_them() {
    let git = RealGit::new();
    let bare = Bare::init(&git, "bare", HashKind::Sha1);
    let large: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
    let pack =
        PackBuilder::new().blob(&large).blob(b"small").ofs_delta(0, &delta(large.len(), 1, b"!"));
    let pack = pack.build();
    check_like_git(&git, "large", HashKind::Sha1, &pack);
    for _ in 0..2 {
        let mut incoming = bare.incoming(threads(2));
        incoming.receive(&mut &pack[..], &mut Silent).expect("a good pack");
        let objects = incoming.objects().expect("packs");
        assert_eq!(
            objects.header(&blob_id(&large)).expect("readable"),
            Some((Kind::Blob, 3_000_000))
        );
        incoming.publish().expect("a writable disk");
    }
}

#[test]
fn unpacks_small_packs_when_told_to() {
    let git = RealGit::new();
    let bare = Bare::init(&git, "bare", HashKind::Sha1);
    let pack = PackBuilder::new().blob(b"one").ofs_delta(0, &delta(3, 2, b"")).build();
    let unpack = |limit| IncomingOptions { unpack_limit: Some(limit), ..threads(2) };
    let received = bare.receive(&pack, unpack(3)).expect("a good pack");
    assert_eq!(received.pack, None);
    let in_pack = |bare: &Bare| bare.files().iter().any(|file| file.extension().is_some());
    assert!(!in_pack(&bare));
    assert_eq!(git.ok(&bare.dir, &["cat-file", "blob", &blob_id(b"oneone").to_hex()]), "oneone");
    bare.receive(&pack, unpack(2)).expect("a good pack");
    assert!(in_pack(&bare));
    git.ok(&bare.dir, &["fsck", "--strict"]);
}

#[test]
fn an_empty_pack_leaves_nothing() {
    let git = RealGit::new();
    let bare = Bare::init(&git, "bare", HashKind::Sha256);
    let before = bare.files();
    let received = bare.receive(&PackBuilder::of(HashKind::Sha256).build(), threads(2));
    assert_eq!(received.expect("a good pack").pack, None);
    assert_eq!(bare.files(), before);
}

/// A first push is told to be whole without a walk, exactly when no object is left out of it.
#[test]
fn a_pack_is_closed_when_nothing_is_left_out() {
    let git = RealGit::new();
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let dir =
            Scenario::realistic(60, 91).hash(hash).build(&git, format!("from-{}", hash.name()));
        git.ok(&dir, &["tag", "-a", "-m", "annotated", "late", "HEAD"]);
        let lines = |args: &[&str]| -> Vec<String> {
            git.ok(&dir, args).lines().map(str::to_owned).collect()
        };
        let objects = lines(&["rev-list", "--objects", "--all", "--no-object-names"]);
        let tips = lines(&["for-each-ref", "--format=%(objectname)"]);
        let tip_ids: Vec<ObjectId> =
            tips.iter().map(|tip| ObjectId::from_hex(tip.as_bytes()).expect("an id")).collect();
        let received = |name: &str, objects: &[&String]| {
            let list: String = objects.iter().map(|id| format!("{id}\n")).collect();
            let args = ["pack-objects", "--stdout", "-q", "--delta-base-offset"];
            let pack = git.ok_with_input(&dir, &args, list.as_bytes()).stdout;
            let bare = Bare::init(&git, name, hash);
            let mut incoming = bare.incoming(threads(2));
            let received = incoming.receive(&mut &*pack, &mut Silent).expect("a good pack");
            (received.is_closed, incoming.holds_all_below(&tip_ids).expect("readable"))
        };
        let all: Vec<&String> = objects.iter().collect();
        assert_eq!(received(&format!("{}-all", hash.name()), &all), (true, true));
        let mut kinds_left_out = std::collections::BTreeSet::new();
        for left_out in &objects {
            let rest: Vec<&String> = objects.iter().filter(|id| *id != left_out).collect();
            let name = format!("{}-{left_out}", hash.name());
            let (is_closed, holds_all) = received(&name, &rest);
            assert!(!holds_all, "{left_out}");
            if !tips.contains(left_out) {
                assert!(!is_closed, "{left_out}");
                kinds_left_out.insert(git.ok(&dir, &["cat-file", "-t", left_out]));
            }
        }
        assert!(kinds_left_out.len() >= 3, "{kinds_left_out:?}");
    }
}

/// What is not in the received pack may be a remnant: it is walked. So is what comes beside packs.
#[test]
fn remnants_are_never_taken_for_whole() {
    let git = RealGit::new();
    let dir = Scenario::linear(3).build(&git, "from");
    let pack = everything(&git, &dir, &[]);
    let tip = git.rev_parse(&dir, "HEAD");
    let text = git.ok_with_input(&dir, &["cat-file", "commit", "HEAD"], b"").stdout;
    let bare = Bare::init(&git, "loose.git", HashKind::Sha1);
    let write = ["hash-object", "-w", "-t", "commit", "--stdin"];
    git.ok_with_input(&bare.dir, &write, &text);
    let stray = [&text[..], b"\nAnother message.\n"].concat();
    let stray = git.ok_with_input(&bare.dir, &write, &stray).text();
    let stray = ObjectId::from_hex(stray.trim().as_bytes()).expect("an id");
    let bare = Bare::open(&bare.dir);
    let mut incoming = bare.incoming(threads(1));
    assert!(incoming.receive(&mut &*pack, &mut Silent).expect("a good pack").is_closed);
    assert!(incoming.holds_all_below(&[tip]).expect("readable"), "the pack has all of it");
    assert!(!incoming.holds_all_below(&[tip, stray]).expect("readable"));
    // Somebody else's pack, published in between.
    let shared = Bare::init(&git, "shared.git", HashKind::Sha1);
    let small = everything(&git, &Scenario::linear(1).build(&git, "small"), &[]);
    let mut early = shared.incoming(threads(1));
    assert!(early.receive(&mut &*small, &mut Silent).expect("a good pack").is_closed);
    shared.receive(&pack, threads(1)).expect("published");
    assert!(early.objects().expect("readable").contains(&tip).expect("readable"), "it is there");
    assert!(!early.holds_all_below(&[tip]).expect("readable"), "and did not come with this pack");
    // Loose objects that were there are not written again, and may go.
    let few = Bare::init(&git, "few.git", HashKind::Sha1);
    let mut unpacked = few.incoming(IncomingOptions { unpack_limit: Some(1000), ..threads(1) });
    assert!(unpacked.receive(&mut &*pack, &mut Silent).expect("a good pack").is_closed);
    assert!(!unpacked.holds_all_below(&[tip]).expect("readable"));

    incoming.publish().expect("published");
    let bare = Bare::open(&bare.dir);
    let mut incoming = bare.incoming(threads(1));
    assert!(!incoming.receive(&mut &*pack, &mut Silent).expect("a good pack").is_closed);
}

/// As `git rev-list --objects`, which has met the object before.
#[test]
fn an_entry_that_is_no_file_is_refused() {
    let git = RealGit::new();
    let dir = Scenario::linear(2).build(&git, "from.git");
    let parent = git.rev_parse(&dir, "HEAD");
    let entry = [&b"100644 x\0"[..], parent.as_bytes()].concat();
    let write = ["hash-object", "-w", "-t", "tree", "--literally", "--stdin"];
    let tree = git.ok_with_input(&dir, &write, &entry).text();
    let parent = parent.to_string();
    let tip = git.ok(&dir, &["commit-tree", "-p", &parent, "-m", "x", tree.trim()]);
    git.fail(&dir, &["rev-list", "--objects", tip.trim()]);
    let bare = Bare::open(&dir);
    let tip = ObjectId::from_hex(tip.trim().as_bytes()).expect("an id");
    let objects = bare.repository.objects().expect("readable");
    let wrong = check_connected(&objects, &[tip], &[], &[], &mut Silent);
    assert!(matches!(wrong, Err(Error::WrongKind { .. })), "{wrong:?}");
}

/// The null id is nobody's, though tables begin with it.
#[test]
fn a_tree_that_names_the_null_id_is_not_whole() {
    let git = RealGit::new();
    let dir = git.init_bare("from.git");
    let entry = format!("100644 blob {}\tx\n", "0".repeat(40));
    let tree = git.ok_with_input(&dir, &["mktree", "--missing"], entry.as_bytes()).text();
    let tip = git.ok(&dir, &["commit-tree", "-m", "x", tree.trim()]);
    let list = format!("{tip}\n{tree}\n");
    let args = ["pack-objects", "--stdout", "-q"];
    let pack = git.ok_with_input(&dir, &args, list.as_bytes()).stdout;
    let bare = Bare::init(&git, "to.git", HashKind::Sha1);
    let mut incoming = bare.incoming(threads(1));
    assert!(!incoming.receive(&mut &*pack, &mut Silent).expect("a good pack").is_closed);
    let tip = ObjectId::from_hex(tip.as_bytes()).expect("an id");
    let objects = incoming.objects().expect("readable");
    let missing = check_connected(&objects, &[tip], &[], &[], &mut Silent);
    assert!(matches!(missing, Err(Error::Missing { .. })), "{missing:?}");
}
