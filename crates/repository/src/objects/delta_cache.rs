//! Rebuilt objects kept for a while, because others are stored as deltas on them.
//!
//! Two generations: what is used moves to the young one; when the young one has
//! half the budget, the old one is dropped whole. Constant work, no list to keep.

use std::sync::Arc;

use object::Kind;
use rustc_hash::FxHashMap;

/// A rebuilt object, shared.
#[derive(Clone)]
pub(crate) struct Cached {
    pub kind: Kind,
    pub data: Arc<Vec<u8>>,
}

/// Where an entry lies: (pack serial number, offset).
pub(crate) type Place = (u32, u64);

/// Rebuilt objects by place, or what was learnt of them.
pub(crate) struct DeltaCache<V = Cached> {
    young: FxHashMap<Place, (V, usize)>,
    old: FxHashMap<Place, (V, usize)>,
    young_bytes: usize,
    half_budget_bytes: usize,
}

/// What an entry costs beside its content.
const ENTRY_BYTES: usize = 96;

impl<V: Clone> DeltaCache<V> {
    pub fn new(budget_bytes: usize) -> Self {
        DeltaCache {
            young: FxHashMap::default(),
            old: FxHashMap::default(),
            young_bytes: 0,
            half_budget_bytes: budget_bytes / 2,
        }
    }

    pub fn get(&mut self, place: Place) -> Option<V> {
        if let Some((hit, _)) = self.young.get(&place) {
            return Some(hit.clone());
        }
        let (hit, bytes) = self.old.remove(&place)?;
        self.insert(place, hit.clone(), bytes);
        Some(hit)
    }

    /// Keeps something that holds so many bytes; too big a thing is not kept.
    pub fn insert(&mut self, place: Place, value: V, bytes: usize) {
        let cost = bytes + ENTRY_BYTES;
        if cost > self.half_budget_bytes / 2 {
            return;
        }
        if self.young_bytes + cost > self.half_budget_bytes {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += cost;
        self.young.insert(place, (value, bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_used_and_stays_within_its_budget() {
        let mut cache = DeltaCache::new(8000);
        let object = || Cached { kind: Kind::Blob, data: Arc::new(vec![0; 400]) };
        cache.insert((0, 0), object(), 400);
        for offset in 1..100 {
            cache.insert((0, offset), object(), 400);
            assert!(cache.get((0, 0)).is_some(), "used at every step");
        }
        assert!(cache.young.len() + cache.old.len() <= 8000 / 496 + 1);
        assert!(cache.get((0, 1)).is_none());
    }
}
