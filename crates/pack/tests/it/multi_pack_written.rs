//! Multi-pack-indices written here, against those git writes.

use std::time::{Duration, UNIX_EPOCH};

use object::{HashKind, Kind, ObjectId};
use pack::idx::write::{IndexEntry, write_v2};
use pack::midx::FILE_NAME;
use pack::midx::write::Pack;
use pack::{Index, MultiPackIndex};

use crate::git::{BOTH, Repo};
use crate::multi_pack;

/// The packs of a repository, each a day newer than the one before.
fn indices(repo: &Repo) -> Vec<(String, Index, i64)> {
    let mut packs = Vec::new();
    for (number, stem) in repo.packs().into_iter().enumerate() {
        let seconds = 1_600_000_000 + number as u64 * 86_400;
        let path = repo.objects().join(format!("{stem}.pack"));
        let file = std::fs::File::open(path).expect("a pack");
        file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).expect("our own file");
        let name = format!("{stem}.idx");
        let index = Index::open(repo.read(&name), repo.hash).expect("an index");
        packs.push((name.trim_start_matches("pack/").to_owned(), index, seconds as i64));
    }
    packs
}

fn as_packs(indices: &[(String, Index, i64)]) -> Vec<Pack<'_>> {
    let mut packs = Vec::new();
    for (index_name, index, modified) in indices {
        packs.push(Pack { index_name, index, modified: *modified });
    }
    packs
}

#[test]
fn a_multi_pack_index_is_byte_for_byte_gits() {
    for hash in BOTH {
        let repo = multi_pack::with_packs(hash);
        let indices = indices(&repo);
        for preferred in [None, Some(0), Some(indices.len() - 1)] {
            match preferred {
                None => repo.git(&["multi-pack-index", "write"]),
                Some(at) => {
                    let option = format!("--preferred-pack={}", indices[at].0);
                    repo.git(&["multi-pack-index", "write", "--bitmap", &option])
                }
            };
            let mut ours = Vec::new();
            pack::midx::write::write(&as_packs(&indices), preferred, hash, &mut ours)
                .expect("packs in order");
            assert!(repo.read(FILE_NAME) == ours, "preferred: {preferred:?}");
            repo.git(&["multi-pack-index", "verify"]);
            std::fs::remove_file(repo.objects().join(FILE_NAME)).expect("a multi-pack-index");
        }
    }
}

fn id(number: u32) -> ObjectId {
    object::object_id(HashKind::Sha1, Kind::Blob, &number.to_be_bytes()).expect("no collision")
}

/// An index of numbered objects at offsets of a pack there is none of.
fn index(objects: &[(u32, u64)]) -> Index {
    let mut entries: Vec<_> = objects
        .iter()
        .map(|(number, offset)| IndexEntry { id: id(*number), offset: *offset, crc32: 0 })
        .collect();
    entries.sort_unstable_by_key(|entry| entry.id);
    let mut bytes = Vec::new();
    write_v2(entries.len() as u32, |at| entries[at as usize], &id(0), &mut bytes)
        .expect("in order");
    Index::open(bytes.into(), HashKind::Sha1).expect("our own")
}

#[test]
fn offsets_past_four_gigabytes_are_kept() {
    for (far, large) in [(u64::from(u32::MAX), false), (5 << 30, true)] {
        let objects = [(1, 12), (2, 3 << 30), (3, far), (4, 1 << 31)];
        let packs = [Pack { index_name: "pack-1.idx", index: &index(&objects), modified: 0 }];
        let mut bytes = Vec::new();
        pack::midx::write::write(&packs, Some(0), HashKind::Sha1, &mut bytes).expect("in order");
        let has_table = bytes[..200].windows(4).any(|name| name == b"LOFF");
        assert_eq!(has_table, large);
        let midx = MultiPackIndex::open(bytes.into(), HashKind::Sha1).expect("our own");
        for (number, offset) in objects {
            let at = midx.lookup_location(&id(number)).expect("intact").expect("there");
            assert_eq!(at.offset, offset);
        }
        let order = (0..4).map(|bit| midx.position_of_bit(bit).expect("in bounds"));
        let numbers: Vec<_> = order.map(|position| midx.id_at(position)).collect();
        assert_eq!(numbers, [1, 4, 2, 3].map(id));
    }
}

#[test]
fn of_copies_the_preferred_packs_is_taken_then_the_newest() {
    let shared = index(&[(1, 100), (2, 200), (3, 300)]);
    let [old, new] = [index(&[(1, 10), (2, 20), (4, 40)]), index(&[(2, 7), (3, 8)])];
    let pack = |index_name, index, modified| Pack { index_name, index, modified };
    let packs =
        [pack("pack-a.idx", &shared, 5), pack("pack-b.idx", &old, 1), pack("pack-c.idx", &new, 9)];
    let taken = |preferred| {
        let mut bytes = Vec::new();
        pack::midx::write::write(&packs, preferred, HashKind::Sha1, &mut bytes).expect("in order");
        let midx = MultiPackIndex::open(bytes.into(), HashKind::Sha1).expect("our own");
        let pack_of = |number| midx.lookup_location(&id(number)).expect("intact").map(|at| at.pack);
        let preferred_stored = midx.preferred_pack();
        assert_eq!(preferred_stored, preferred.map(|at| at as u32));
        [1, 2, 3, 4].map(|number| pack_of(number).expect("there"))
    };
    assert_eq!(taken(None), [0, 2, 2, 1]);
    assert_eq!(taken(Some(0)), [0, 0, 0, 1]);
    assert_eq!(taken(Some(1)), [1, 1, 2, 1]);
    let swapped = [packs[1], packs[0]];
    let mut none = Vec::new();
    assert!(pack::midx::write::write(&swapped, None, HashKind::Sha1, &mut none).is_err());
    assert!(pack::midx::write::write(&packs, Some(3), HashKind::Sha1, &mut none).is_err());
}
