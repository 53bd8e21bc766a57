//! .pack, .idx and .rev together: every object found, read and written back as git has it.

use std::collections::HashMap;

use object::{HashKind, Kind, ObjectId, object_id};
use pack::idx::write::{IndexEntry, write_v2, write_v2_limited};
use pack::{EntryKind, Error, Index, PackFile, PackOrder, RevIndex, delta, inflate, rev};

use crate::git::{BOTH, Repo};

fn packed(hash: HashKind) -> (Repo, String) {
    let repo = Repo::with_history(hash);
    repo.git(&["repack", "-adq", "--depth=20"]);
    let stem = repo.only_pack();
    (repo, stem)
}

fn open(repo: &Repo, stem: &str) -> (PackFile, Index) {
    let pack = PackFile::open(repo.read(&format!("{stem}.pack")), repo.hash).expect("a pack");
    let index = Index::open(repo.read(&format!("{stem}.idx")), repo.hash).expect("an index");
    (pack, index)
}

/// The simplest reader of an object: recursive, no cache.
pub fn read_object(pack: &PackFile, index: &Index, offset: u64) -> (Kind, Vec<u8>) {
    let header = pack.entry_at(offset).expect("an entry");
    let mut data = Vec::new();
    let compressed = pack.data_at(offset, &header).expect("data");
    inflate::inflate_exact(compressed, header.size as usize, &mut data).expect("intact");
    let base = match header.kind {
        EntryKind::Base(kind) => return (kind, data),
        EntryKind::OfsDelta { .. } => header.base_offset(offset).expect("in bounds"),
        EntryKind::RefDelta { base } => index.lookup_offset(&base).expect("in bounds"),
    };
    let (kind, base) = read_object(pack, index, base.expect("a base"));
    let mut out = Vec::new();
    delta::apply(&base, &data, &mut out, 1 << 30).expect("a good delta");
    (kind, out)
}

fn entries(index: &Index) -> Vec<IndexEntry> {
    let entry = |position| IndexEntry {
        id: index.id_at(position),
        offset: index.offset_at(position).expect("in bounds"),
        crc32: index.crc_at(position).unwrap_or_default(),
    };
    (0..index.count()).map(entry).collect()
}

#[test]
fn every_object_is_found_and_reads_as_its_name_says() {
    for hash in BOTH {
        let (repo, stem) = packed(hash);
        let (pack, index) = open(&repo, &stem);
        assert_eq!(pack.object_count(), index.count());
        assert_eq!(pack.trailer(), index.pack_checksum());
        pack.verify_checksum().expect("intact");
        index.verify_checksum().expect("intact");

        let listed = repo.ids(&["rev-list", "--all", "--objects", "--no-object-names"]);
        assert_eq!(listed.len(), index.count() as usize);
        let mut deltas = 0;
        for id in listed {
            let position = index.lookup(&id).expect("a packed object");
            assert_eq!(index.id_at(position), id);
            let offset = index.offset_at(position).expect("in bounds");
            deltas += u32::from(pack.entry_at(offset).expect("an entry").kind.is_delta());
            let (kind, bytes) = read_object(&pack, &index, offset);
            assert_eq!(object_id(hash, kind, &bytes).expect("no attack"), id);
        }
        assert!(deltas > 50, "the scenario makes deltas, found {deltas}");
        assert_eq!(index.lookup(&ObjectId::null(hash)), None);
    }
}

#[test]
fn indices_are_written_as_git_writes_them() {
    for hash in BOTH {
        let (repo, stem) = packed(hash);
        let (_, index) = open(&repo, &stem);
        let entries = entries(&index);
        let entry_at = |position| entries[position as usize];
        let mut written = Vec::new();
        write_v2(index.count(), entry_at, &index.pack_checksum(), &mut written).expect("memory");
        assert_eq!(written, repo.read(&format!("{stem}.idx")));

        let pack_path = format!(".git/objects/{stem}.pack");
        let option = "--index-version=2,0x4000";
        repo.git(&["index-pack", option, "-o", "large.idx", &pack_path]);
        let large = std::fs::read(repo.path().join("large.idx")).expect("written by git");
        let mut written = Vec::new();
        write_v2_limited(index.count(), entry_at, &index.pack_checksum(), 0x4000, &mut written)
            .expect("memory");
        assert_eq!(written, large);
        let reread = Index::open(large.into(), hash).expect("an index");
        for (position, entry) in entries.iter().enumerate() {
            assert_eq!(reread.offset_at(position as u32).expect("in bounds"), entry.offset);
        }
        assert_eq!(rev::compute(&reread).expect("in bounds"), rev::compute(&index).expect("same"));

        let mut written = Vec::new();
        let order = rev::compute(&index).expect("in bounds");
        rev::write(order, &index.pack_checksum(), &mut written).expect("memory");
        assert_eq!(written, repo.read(&format!("{stem}.rev")));
    }
}

#[test]
fn version_1_says_the_same() {
    let (repo, stem) = packed(HashKind::Sha1);
    let (_, index) = open(&repo, &stem);
    let pack_path = format!(".git/objects/{stem}.pack");
    repo.git(&["index-pack", "--index-version=1", "-o", "v1.idx", &pack_path]);
    let bytes = std::fs::read(repo.path().join("v1.idx")).expect("written by git");
    let old = Index::open(bytes.into(), HashKind::Sha1).expect("an index");
    assert_eq!((old.version(), old.count()), (1, index.count()));
    for position in 0..index.count() {
        assert_eq!(old.id_at(position), index.id_at(position));
        assert_eq!(old.lookup(&index.id_at(position)), Some(position));
        assert_eq!(
            old.offset_at(position).expect("in bounds"),
            index.offset_at(position).expect("in bounds")
        );
        assert_eq!(old.crc_at(position), None);
    }
    assert!(old.offset_at(old.count()).is_err());
    assert_eq!(old.pack_checksum(), index.pack_checksum());
}

#[test]
fn offsets_beyond_4_gib_survive() {
    let hash = HashKind::Sha1;
    let entry = |position: u32| IndexEntry {
        id: ObjectId::from_prefix(&[position as u8; 32], hash),
        offset: 12 + u64::from(position) * (1 << 30),
        crc32: position,
    };
    let mut bytes = Vec::new();
    write_v2(9, entry, &ObjectId::null(hash), &mut bytes).expect("memory");
    let index = Index::open(bytes.into(), hash).expect("an index");
    for position in 0..9 {
        let expected = entry(position);
        assert_eq!(index.lookup_offset(&expected.id).expect("in bounds"), Some(expected.offset));
        assert_eq!(index.crc_at(position), Some(position));
    }
    assert_eq!(rev::compute(&index).expect("in bounds"), (0..9).collect::<Vec<_>>());
    let backwards = |position| entry(8 - position);
    let result = write_v2(9, backwards, &ObjectId::null(hash), Vec::new());
    assert!(matches!(result, Err(Error::Corrupt { .. })));
}

#[test]
fn pack_order_tells_where_entries_end() {
    let (repo, stem) = packed(HashKind::Sha1);
    let (pack, index) = open(&repo, &stem);
    let stored = PackOrder::of(&index, Some(repo.read(&format!("{stem}.rev")))).expect("a .rev");
    let computed = PackOrder::of(&index, None).expect("in bounds");
    let verify = format!(".git/objects/{stem}.idx");
    let mut sizes: HashMap<u64, u64> = HashMap::new();
    for line in repo.lines(&["verify-pack", "-v", &verify]) {
        let words: Vec<_> = line.split_whitespace().collect();
        if let (Some(Ok(size)), Some(Ok(offset))) =
            (words.get(3).map(|word| word.parse::<u64>()), words.get(4).map(|word| word.parse()))
        {
            sizes.insert(offset, size);
        }
    }
    assert_eq!(sizes.len(), index.count() as usize);
    for position in 0..index.count() {
        let index_position = stored.index_position(position).expect("in bounds");
        assert_eq!(computed.index_position(position).expect("in bounds"), index_position);
        let start = stored.offset(&index, position, pack.entries_end()).expect("in bounds");
        let end = stored.offset(&index, position + 1, pack.entries_end()).expect("in bounds");
        assert_eq!(sizes[&start], end - start);
        let found = computed.position_of_offset(&index, start).expect("in bounds");
        assert_eq!(found, Some(position));
        let raw = pack.slice(start..end).expect("in bounds");
        assert_eq!(index.crc_at(index_position), Some(crc32fast::hash(&raw)));
    }
}

#[test]
fn cut_and_foreign_files_are_refused() {
    let (repo, stem) = packed(HashKind::Sha1);
    let (_, index) = open(&repo, &stem);
    let (idx, rev) = (repo.read(&format!("{stem}.idx")), repo.read(&format!("{stem}.rev")));
    for len in (0..idx.len()).step_by(7) {
        assert!(Index::open(idx.slice(..len), HashKind::Sha1).is_err(), "cut to {len}");
    }
    for len in (0..rev.len()).step_by(7) {
        assert!(RevIndex::open(rev.slice(..len), &index).is_err(), "cut to {len}");
    }
    assert!(Index::open(idx, HashKind::Sha256).is_err());
    let other = Repo::init(HashKind::Sha1);
    other.fast_import(&crate::git::history(3));
    other.git(&["repack", "-adq"]);
    let (_, foreign) = open(&other, &other.only_pack());
    assert!(RevIndex::open(rev, &foreign).is_err());
}
