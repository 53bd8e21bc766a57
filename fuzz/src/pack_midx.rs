//! Any bytes as a multi-pack-index, alone and as the layers of a chain.

use bytes::Bytes;
use object::HashKind;
use pack::{Error, MultiPackIndex};

pub(crate) fn run(bytes: &[u8]) {
    let hash = HashKind::Sha1;
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(midx) = MultiPackIndex::open(bytes.clone(), hash) {
        ask(&midx);
    }
    let chain = format!("{0}\n{0}\n", "0123456789".repeat(4));
    let load = |_: &str| Ok::<_, Error>(Some(bytes.clone()));
    if let Ok(Some(midx)) = MultiPackIndex::open_chain(chain.as_bytes(), hash, load) {
        ask(&midx);
    }
}

fn ask(midx: &MultiPackIndex) {
    for position in 0..midx.count() {
        if let Ok(Some(at)) = midx.lookup_location(&midx.id_at(position)) {
            assert!(midx.pack_name(at.pack).is_some());
        }
        let _ = midx.bit_of_position(position);
        let _ = midx.position_of_bit(position);
    }
    for pack in 0..midx.pack_count() {
        assert!(midx.pack_name(pack).is_some());
        assert!(midx.bits_of_pack(pack).is_none_or(|bits| bits.end <= midx.count()));
    }
    let _ = (midx.preferred_pack(), midx.verify_checksums());
}
