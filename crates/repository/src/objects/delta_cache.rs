//! Rebuilt objects kept for a while, because others are stored as deltas on them.
//!
//! Two generations: what is used moves to the young one; when the young one has
//! half the budget, the old one is dropped whole. Constant work, no list to keep.

use std::sync::Arc;

use object::Kind;
use rustc_hash::FxHashMap;

use crate::memory::{MemoryPool, MemoryShare};

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
    /// What both generations may hold now, bytes.
    budget_bytes: usize,
    /// Where more comes from, and how much the cache may have in the end.
    more: Option<(MemoryShare, usize)>,
}

/// What a cache has without asking.
pub(crate) const CACHE_BYTES_MIN: usize = 512 << 10;

/// What it asks for at a time.
const GROWTH_BYTES: usize = 512 << 10;

/// What an entry costs beside its content.
const ENTRY_BYTES: usize = 96;

impl<V: Clone> DeltaCache<V> {
    pub fn new(budget_bytes: usize) -> Self {
        DeltaCache {
            young: FxHashMap::default(),
            old: FxHashMap::default(),
            young_bytes: 0,
            budget_bytes,
            more: None,
        }
    }

    /// A cache that grows up to `bytes_max` as long as the pool has something left.
    pub fn sharing(bytes_max: usize, pool: &Arc<MemoryPool>) -> Self {
        let mut cache = Self::new(bytes_max.min(CACHE_BYTES_MIN));
        cache.more = pool.take(0).map(|share| (share, bytes_max));
        cache
    }

    /// Whether the budget became bigger.
    fn grow(&mut self) -> bool {
        let Some((share, bytes_max)) = &mut self.more else { return false };
        let step = GROWTH_BYTES.min(*bytes_max - self.budget_bytes);
        let grown = step > 0 && share.grow(step);
        if grown {
            self.budget_bytes += step;
        }
        grown
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
        while cost > self.budget_bytes / 4 {
            if !self.grow() {
                return;
            }
        }
        if self.young_bytes + cost > self.budget_bytes / 2 && !self.grow() {
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

    #[test]
    fn grows_as_far_as_the_pool_allows_and_gives_all_back() {
        let pool = Arc::new(MemoryPool::new(2 << 20));
        let object = || Cached { kind: Kind::Blob, data: Arc::new(vec![0; 1000]) };
        let fill = |cache: &mut DeltaCache| {
            for offset in 0..20_000 {
                cache.insert((0, offset), object(), 1000);
            }
            (cache.young.len() + cache.old.len()) * (1000 + ENTRY_BYTES)
        };
        let mut first = DeltaCache::sharing(8 << 20, &pool);
        let held = fill(&mut first);
        assert!(held > 1 << 20 && held <= (2 << 20) + CACHE_BYTES_MIN, "{held}");
        assert_eq!(pool.used(), 2 << 20);
        let mut second = DeltaCache::sharing(8 << 20, &pool);
        let held = fill(&mut second);
        assert!(held > CACHE_BYTES_MIN / 4 && held <= CACHE_BYTES_MIN, "{held}");
        drop(first);
        assert_eq!(pool.used(), 0);
        let mut small = DeltaCache::sharing(1 << 20, &pool);
        assert!(fill(&mut small) <= 1 << 20);
    }
}
