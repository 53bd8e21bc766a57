//! `packed-refs` files: whatever parses can be searched from anywhere, and what is not said to
//! be sorted comes back in order and is found under its name. Read from a file in windows of
//! whatever size, it is the same.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;

use bstr::ByteSlice as _;
use object::HashKind;
use storage_disk::packed_refs::{PackedCursor, PackedRefs, Reading};

/// A name and its lines.
type Record = (Vec<u8>, Vec<u8>);

/// Records until the end, or until damage.
fn read(mut cursor: PackedCursor<'_>) -> (Vec<Record>, bool) {
    let mut records = Vec::new();
    loop {
        match cursor.next_record() {
            Ok(Some(record)) => records.push((record.name.to_vec(), record.lines.to_vec())),
            end => return (records, end.is_ok()),
        }
    }
}

fn file_of(bytes: &[u8]) -> File {
    let path = std::env::temp_dir().join(format!("packhorse-fuzz-{}", std::process::id()));
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
    let mut file = open.expect("a file");
    fs::remove_file(path).expect("still there");
    file.write_all(bytes).expect("written");
    file
}

pub(crate) fn run(bytes: &[u8]) {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let parsed = PackedRefs::parse(bytes.to_vec(), hash);
        let reading = Reading {
            held_bytes_max: 0,
            window_bytes_min: bytes.len() % 61 + 1,
            window_bytes_max: bytes.len().max(256),
        };
        let from_file = PackedRefs::open(file_of(bytes), bytes.len() as u64, hash, reading);
        assert_eq!(parsed.is_ok(), from_file.is_ok());
        let (Ok(packed), Ok(from_file)) = (parsed, from_file) else { continue };
        assert_eq!(read(packed.cursor()), read(from_file.cursor()));
        for name in [&b""[..], b"refs/heads/", b"refs/tags/v1", b"\xff", bytes] {
            let _whatever = from_file.find(name.as_bstr());
            let _whatever = packed.find(name.as_bstr());
            let _whatever = packed.first_below(name.as_bstr());
            if let Ok(records) = packed.cursor_from(name.as_bstr()) {
                let _count = read(records).0.len();
            }
        }
        let header = bytes.lines().next().filter(|line| line.starts_with(b"#"));
        let claims_order =
            header.is_some_and(|line| line.fields().any(|trait_| trait_ == b"sorted"));
        if claims_order {
            continue;
        }
        let (records, whole) = read(packed.cursor());
        assert!(whole, "sorting read every record");
        assert!(records.is_sorted_by_key(|(name, _)| name));
        for (name, _) in &records {
            assert!(packed.find(name.as_bstr()).expect("searchable").is_some());
        }
    }
}
