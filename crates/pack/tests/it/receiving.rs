//! A pack read as it arrives: whole, through any buffer, cut at every byte, and forged.

use std::io::{BufRead, BufReader};

use object::{Checksum, HashKind, Kind};
use pack::entry::{self, EntryKind};
use pack::pack_file::PackHeader;
use pack::scan::{Entry, EntryEnd, PackEnd};
use pack::{Error, Index, Scanner, delta, inflate};

use crate::git::{BOTH, Repo};

struct Scanned {
    entries: Vec<(Entry, EntryEnd, Vec<u8>)>,
    raw: Vec<u8>,
    end: PackEnd,
}

/// Scans to the end, in turn reading, streaming and skipping the data.
fn scan(input: impl BufRead, hash: HashKind) -> Result<Scanned, Error> {
    let (mut raw, mut entries) = (Vec::new(), Vec::new());
    let mut scanner = Scanner::open(input, &mut raw, hash)?;
    let mut buffer = Vec::new();
    while let Some(entry) = scanner.next_entry()? {
        let mut data = Vec::new();
        let end = if entries.len() % 2 == 0 {
            let end = scanner.read_data(&mut buffer)?;
            data.extend_from_slice(&buffer);
            end
        } else {
            scanner.stream_data(|chunk| -> Result<(), Error> {
                data.extend_from_slice(chunk);
                Ok(())
            })?
        };
        entries.push((entry, end, data));
    }
    let end = scanner.finish_at_end()?;
    Ok(Scanned { entries, raw, end })
}

fn forged(hash: HashKind, entries: &[(EntryKind, u64, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = PackHeader::encode(entries.len() as u32).to_vec();
    for (kind, size, data) in entries {
        entry::encode(kind, *size, &mut bytes);
        inflate::deflate(data, 6, &mut bytes);
    }
    let mut checksum = Checksum::new(hash);
    checksum.update(&bytes);
    bytes.extend_from_slice(checksum.finish().as_bytes());
    bytes
}

fn blob(declared: u64, data: Vec<u8>) -> (EntryKind, u64, Vec<u8>) {
    (EntryKind::Base(Kind::Blob), declared, data)
}

#[test]
fn what_git_sends_is_read_entry_by_entry() {
    for hash in BOTH {
        let repo = Repo::with_history(hash);
        for args in [
            &["pack-objects", "--all", "--stdout", "-q"][..],
            &["pack-objects", "--all", "--stdout", "-q", "--delta-base-offset"],
        ] {
            let sent = repo.git(args);
            std::fs::write(repo.path().join("sent.pack"), &sent).expect("written");
            repo.git(&["index-pack", "sent.pack"]);
            let index = std::fs::read(repo.path().join("sent.idx")).expect("written by git");
            let index = Index::open(index.into(), hash).expect("an index");
            for capacity in [1, 2, 61, 4096, 1 << 20] {
                let scanned = scan(BufReader::with_capacity(capacity, &sent[..]), hash)
                    .expect("an intact pack");
                assert_eq!(scanned.raw, sent);
                assert_eq!(scanned.end.len, sent.len() as u64);
                assert_eq!(scanned.end.checksum, index.pack_checksum());
                check_entries(&scanned, &index);
            }
        }
    }
}

fn check_entries(scanned: &Scanned, index: &Index) {
    let order = pack::rev::compute(index).expect("in bounds");
    assert_eq!(order.len(), scanned.entries.len());
    let mut at = 12;
    for (position, (entry, end, data)) in order.into_iter().zip(&scanned.entries) {
        assert_eq!(entry.offset, at);
        assert_eq!(entry.offset, index.offset_at(position).expect("in bounds"));
        assert_eq!(Some(end.crc32), index.crc_at(position));
        assert_eq!(entry.header.size, data.len() as u64);
        match entry.header.kind {
            EntryKind::Base(kind) => {
                let id = object::object_id(index.hash(), kind, data).expect("no attack");
                assert_eq!(id, index.id_at(position));
            }
            _ => {
                delta::sizes(data).expect("a delta");
            }
        }
        at = end.end;
    }
}

#[test]
fn a_cut_at_any_byte_is_noticed() {
    let repo = Repo::init(HashKind::Sha1);
    repo.fast_import(&crate::git::history(6));
    let sent = repo.git(&["pack-objects", "--all", "--stdout", "-q", "--delta-base-offset"]);
    for cut in 0..sent.len() {
        let result = scan(&sent[..cut], HashKind::Sha1);
        assert!(matches!(result, Err(Error::Truncated { .. })), "cut at {cut}");
    }
    let with_junk = [&sent[..], b"!"].concat();
    assert!(matches!(scan(&with_junk[..], HashKind::Sha1), Err(Error::Corrupt { .. })));
}

#[test]
fn a_flipped_bit_is_noticed() {
    let repo = Repo::init(HashKind::Sha1);
    repo.fast_import(&crate::git::history(3));
    let sent = repo.git(&["pack-objects", "--all", "--stdout", "-q"]);
    for at in 0..sent.len() {
        let mut bad = sent.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(scan(&bad[..], HashKind::Sha1).is_err(), "flipped at {at}");
    }
}

#[test]
fn sizes_that_lie_are_noticed_both_ways() {
    for (declared, real) in [(5, 6), (6, 5), (0, 1), (1, 0), (100_000, 200_000), (1 << 40, 10)] {
        // In first place the data is read at once, in second place in chunks.
        for before in 0..2 {
            let mut entries = vec![blob(3, vec![1; 3]); before];
            entries.push(blob(declared, vec![b'x'; real]));
            let result = scan(&forged(HashKind::Sha1, &entries)[..], HashKind::Sha1);
            assert!(
                matches!(result, Err(Error::BadEntry { offset: 12.., .. })),
                "declared {declared}, real {real}"
            );
        }
    }
}

#[test]
fn a_zlib_bomb_is_not_inflated() {
    let bytes = forged(HashKind::Sha1, &[blob(1000, vec![0; 64 << 20])]);
    let mut scanner = Scanner::open(&bytes[..], Vec::new(), HashKind::Sha1).expect("a header");
    scanner.next_entry().expect("a header").expect("one entry");
    let mut out = Vec::new();
    assert!(scanner.read_data(&mut out).is_err());
    assert!(out.capacity() < 4096);
}

#[test]
fn a_huge_declared_size_reserves_little() {
    let bytes = forged(HashKind::Sha1, &[blob(10 << 30, vec![7; 1000])]);
    let mut scanner = Scanner::open(&bytes[..], Vec::new(), HashKind::Sha1).expect("a header");
    scanner.next_entry().expect("a header").expect("one entry");
    let mut out = Vec::new();
    assert!(scanner.read_data(&mut out).is_err());
    assert!(out.capacity() < 1 << 20);
}

#[test]
fn a_base_before_the_pack_is_refused() {
    let delta = (EntryKind::OfsDelta { distance: 13 }, 3, vec![0; 3]);
    let bytes = forged(HashKind::Sha1, &[blob(3, vec![1; 3]), delta]);
    let result = scan(&bytes[..], HashKind::Sha1);
    assert!(result.is_ok_and(|scanned| scanned.entries.len() == 2));
    let delta = (EntryKind::OfsDelta { distance: 130 }, 3, vec![0; 3]);
    let bytes = forged(HashKind::Sha1, &[blob(3, vec![1; 3]), delta]);
    assert!(matches!(scan(&bytes[..], HashKind::Sha1), Err(Error::BadEntry { .. })));
}

#[test]
fn the_input_stands_behind_the_pack_afterwards() {
    let mut bytes = forged(HashKind::Sha256, &[blob(3, vec![1; 3])]);
    bytes.extend_from_slice(b"next");
    let mut input = &bytes[..];
    let mut scanner = Scanner::open(&mut input, Vec::new(), HashKind::Sha256).expect("a header");
    while scanner.next_entry().expect("intact").is_some() {}
    scanner.finish().expect("intact");
    assert_eq!(input, b"next");
}

#[test]
fn a_store_that_fails_is_not_the_peers_fault() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let bytes = forged(HashKind::Sha1, &[blob(3, vec![1; 3])]);
    let result = Scanner::open(&bytes[..], Full, HashKind::Sha1);
    assert!(matches!(result, Err(Error::Store(_))));
}
