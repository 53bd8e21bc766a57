//! Trees: entries are inside the object, in order, and account for every byte of it.

use object::{HashKind, TreeIter};

pub(crate) fn run(bytes: &[u8]) {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let mut used = 0;
        let mut broken = false;
        for entry in TreeIter::new(bytes, hash) {
            assert!(!broken, "nothing follows an error");
            let Ok(entry) = entry else {
                broken = true;
                continue;
            };
            assert!(!entry.name.is_empty() && !entry.name.contains(&0));
            assert_eq!(entry.oid(hash).as_bytes(), entry.id);
            let kinds = [entry.mode.is_tree(), entry.mode.is_blob(), entry.mode.is_submodule()];
            assert_eq!(kinds.iter().filter(|kind| **kind).count(), 1);
            let end = entry.id.as_ptr_range().end as usize - bytes.as_ptr() as usize;
            assert!(end > used && end <= bytes.len());
            used = end;
        }
        assert!(broken || used == bytes.len());
    }
}
