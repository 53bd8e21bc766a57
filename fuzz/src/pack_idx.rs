//! Any bytes as the index of a pack and as its reverse index.

use bytes::Bytes;
use object::HashKind;
use pack::{Index, RevIndex, rev};

pub(crate) fn run(bytes: &[u8]) {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let bytes = Bytes::copy_from_slice(bytes);
        let Ok(index) = Index::open(bytes.clone(), hash) else { continue };
        for position in 0..index.count() {
            let id = index.id_at(position);
            let _ = (index.lookup_offset(&id), index.crc_at(position));
            assert!(index.prefix_range(&id, 7).end <= index.count());
        }
        assert!(index.offset_at(index.count()).is_err());
        let _ = index.verify_checksum();
        let Ok(order) = rev::compute(&index) else { continue };
        let mut written = Vec::new();
        rev::write(order.iter().copied(), &index.pack_checksum(), &mut written).expect("memory");
        let reread = RevIndex::open(written.into(), &index).expect("own file");
        for (at, position) in order.into_iter().enumerate() {
            assert_eq!(reread.index_position(at as u32).expect("in bounds"), position);
        }
        let _ = RevIndex::open(bytes, &index);
    }
}
