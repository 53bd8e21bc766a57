//! .bitmap files written here, and what git says to them.

use std::collections::BTreeMap;

use object::{HashKind, Kind};
use pack::bitmap::write::{Bitmaps, Contents, Kinds};
use pack::{BitSet, BitmapIndex, Index};

use crate::git::{BOTH, Repo};

/// The same bitmaps, written here.
fn rewritten(bitmaps: &BitmapIndex, count: u32, lookup_table: bool) -> Vec<u8> {
    let mut kinds = Kinds::new(count);
    for kind in [Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag] {
        for bit in bitmaps.kind_bitmap(kind).expect("intact").iter() {
            assert!(kinds.set(bit.expect("intact"), kind));
        }
    }
    assert_eq!(kinds.known(), BitSet::full(count));
    let mut written = Bitmaps::new(count);
    let mut by_size = BTreeMap::new();
    for position in bitmaps.commit_positions() {
        let set = bitmaps.get(position).expect("intact").expect("listed");
        by_size.insert((set.count(), position), set);
    }
    for ((_, position), set) in &by_size {
        let number = written.push(*position, set);
        let mut again = BitSet::new(count);
        written.or_into(number, &mut again);
        assert_eq!(again, *set);
    }
    let hashes: Vec<u32> =
        (0..count).map(|position| bitmaps.name_hash(position).expect("stored")).collect();
    let mut bytes = Vec::new();
    let contents = Contents {
        owner: bitmaps.owner_checksum(),
        kinds: &kinds,
        bitmaps: &written,
        name_hashes: Some(&hashes),
        lookup_table,
    };
    pack::bitmap::write::write(&contents, &mut bytes).expect("fits together");
    bytes
}

#[test]
fn git_reads_the_bitmaps_written_here() {
    for hash in BOTH {
        for lookup_table in [false, true] {
            let repo = Repo::with_history(hash);
            repo.git(&["repack", "-adbq"]);
            let stem = repo.only_pack();
            let index = Index::open(repo.read(&format!("{stem}.idx")), hash).expect("an index");
            let theirs =
                BitmapIndex::open(repo.read(&format!("{stem}.bitmap")), hash, index.count())
                    .expect("git's own");
            let bytes = rewritten(&theirs, index.count(), lookup_table);
            let path = repo.objects().join(format!("{stem}.bitmap"));
            std::fs::remove_file(&path).expect("a bitmap");
            std::fs::write(&path, &bytes).expect("room for a bitmap");

            repo.git(&["rev-list", "--test-bitmap", "main"]);
            let count = ["rev-list", "--objects", "--count", "--all"];
            let by_bitmap = repo.git(&[&count[..], &["--use-bitmap-index"]].concat());
            assert_eq!(by_bitmap, repo.git(&count));
            repo.git(&["fsck", "--strict"]);

            let ours = BitmapIndex::open(bytes.into(), hash, index.count()).expect("our own");
            ours.verify_checksum().expect("intact");
            assert_eq!(ours.commit_count(), theirs.commit_count());
            for position in 0..index.count() {
                let set = |bitmaps: &BitmapIndex| bitmaps.get(position).expect("intact");
                assert_eq!(set(&ours), set(&theirs));
                assert_eq!(ours.name_hash(position), theirs.name_hash(position));
            }
        }
    }
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    let owner = object::object_id(HashKind::Sha1, Kind::Blob, b"").expect("no collision");
    let write = |kinds: &Kinds, bitmaps: &Bitmaps, name_hashes: Option<&[u32]>| {
        let contents = Contents { owner, kinds, bitmaps, name_hashes, lookup_table: true };
        pack::bitmap::write::write(&contents, &mut Vec::new())
    };
    let (kinds, mut bitmaps) = (Kinds::new(3), Bitmaps::new(3));
    assert!(write(&Kinds::new(2), &bitmaps, None).is_err());
    assert!(write(&kinds, &bitmaps, Some(&[1, 2])).is_err());
    bitmaps.push(1, &BitSet::full(3));
    assert!(write(&kinds, &bitmaps, None).is_ok());
    bitmaps.push(1, &BitSet::full(3));
    assert!(write(&kinds, &bitmaps, None).is_err());
}
