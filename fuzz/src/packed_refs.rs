//! `packed-refs` files: whatever parses can be searched from anywhere, and what is not said to
//! be sorted comes back in order and is found under its name.

use bstr::ByteSlice as _;
use object::HashKind;
use storage_disk::packed_refs::PackedRefs;

pub(crate) fn run(bytes: &[u8]) {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let Ok(packed) = PackedRefs::parse(bytes.to_vec(), hash) else { continue };
        for name in [&b""[..], b"refs/heads/", b"refs/tags/v1", b"\xff", bytes] {
            let _whatever = packed.find(name.as_bstr());
            let _whatever = packed.first_below(name.as_bstr());
            if let Ok(records) = packed.iter_from(name.as_bstr()) {
                let _count = records.count();
            }
        }
        let header = bytes.lines().next().filter(|line| line.starts_with(b"#"));
        let claims_order = header.is_some_and(|line| line.fields().any(|trait_| trait_ == b"sorted"));
        if claims_order {
            continue;
        }
        let records: Vec<_> =
            packed.iter().map(|record| record.expect("sorting read every record")).collect();
        assert!(records.is_sorted_by_key(|record| record.name));
        for record in &records {
            let found = packed.find(record.name).expect("searchable").expect("present");
            assert_eq!(found.name, record.name);
        }
    }
}
