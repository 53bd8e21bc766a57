//! Any bytes as the bitmaps of a pack; the first byte says how many objects it has.

use bytes::Bytes;
use object::{HashKind, Kind};
use pack::{BitSet, BitmapIndex};

pub(crate) fn run(bytes: &[u8]) {
    let Some((count, bytes)) = bytes.split_first() else { return };
    let count = u32::from(*count);
    let bytes = Bytes::copy_from_slice(bytes);
    let Ok(bitmaps) = BitmapIndex::open(bytes, HashKind::Sha1, count) else { return };
    let (mut scratch, mut union) = (BitSet::new(0), BitSet::new(count));
    for position in bitmaps.commit_positions().take(300) {
        if let Ok(Some(set)) = bitmaps.get(position) {
            assert!(set.iter().all(|bit| bit < count));
            let _ = bitmaps.or_into(position, &mut scratch, &mut union);
        }
    }
    for kind in [Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag] {
        let bitmap = bitmaps.kind_bitmap(kind).expect("it was parsed once");
        let mut set = BitSet::new(count);
        if bitmap.or_into(&mut set).is_ok() {
            let ones: Result<Vec<_>, _> = bitmap.iter().collect();
            assert_eq!(ones.expect("it was decoded"), set.iter().collect::<Vec<_>>());
        } else {
            bitmap.iter().take(10_000).for_each(drop);
        }
    }
    for position in 0..=count {
        let _ = bitmaps.name_hash(position);
    }
}
