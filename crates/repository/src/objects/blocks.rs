//! Blocks of packs that lie in a store without a map, kept for a while.
//!
//! Walks and delta chains read small things that lie close together; a journey to the storage
//! costs the same for one byte as for thousands. Whoever reads on where the last read ended is
//! read ahead for, further each time.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use rustc_hash::FxHashMap;

use crate::error::Result;

/// Bytes of a block.
const BLOCK_BYTES: u64 = 64 << 10;
/// Blocks read at once when somebody reads on and on.
const AHEAD_MAX: u64 = 32;

/// The blocks of one repository's packs.
pub(crate) struct BlockCache {
    blocks_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Blocks by pack and number, with the time of their last use.
    blocks: FxHashMap<(u32, u64), (Bytes, u64)>,
    /// By pack: the block behind the last read, and how many that read was told to take.
    last: FxHashMap<u32, (u64, u64)>,
    time: u64,
}

impl BlockCache {
    /// A cache of about so many bytes.
    pub fn new(bytes: usize) -> Self {
        let blocks_max = (bytes / BLOCK_BYTES as usize).max(2 * AHEAD_MAX as usize);
        BlockCache { blocks_max, state: Mutex::default() }
    }

    /// Bytes of a pack of `size` bytes, from the cache or through `read`, which answers a range
    /// of the pack whole.
    pub fn bytes(
        &self,
        (pack, size): (u32, u64),
        range: Range<u64>,
        read: impl Fn(Range<u64>) -> Result<Bytes>,
    ) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let (first, last) = (range.start / BLOCK_BYTES, (range.end - 1) / BLOCK_BYTES);
        if last - first >= AHEAD_MAX {
            return read(range);
        }
        let mut joined = BytesMut::new();
        let mut number = first;
        while number <= last {
            let block = match self.find(pack, number) {
                Some(block) => block,
                None => self.fetch(pack, number, (last, size), &read)?,
            };
            let block_start = number * BLOCK_BYTES;
            let from = range.start.saturating_sub(block_start) as usize;
            let to = (range.end - block_start).min(BLOCK_BYTES) as usize;
            if first == last {
                return Ok(block.slice(from..to));
            }
            joined.extend_from_slice(&block[from..to]);
            number += 1;
        }
        Ok(joined.freeze())
    }

    fn find(&self, pack: u32, number: u64) -> Option<Bytes> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.time += 1;
        let now = state.time;
        let (block, used) = state.blocks.get_mut(&(pack, number))?;
        *used = now;
        Some(block.clone())
    }

    /// Reads a block, those up to `last` that are not there either, and some more if reading
    /// goes on; the block.
    fn fetch(
        &self,
        pack: u32,
        number: u64,
        (last, size): (u64, u64),
        read: impl Fn(Range<u64>) -> Result<Bytes>,
    ) -> Result<Bytes> {
        let count = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let ahead = match state.last.get(&pack) {
                Some((behind, ahead)) if *behind == number => (ahead * 2).min(AHEAD_MAX),
                _ => 1,
            };
            let most = ahead.max(last - number + 1).min(size.div_ceil(BLOCK_BYTES) - number);
            let there = |more: &u64| state.blocks.contains_key(&(pack, number + more));
            let count = (1..most).find(there).unwrap_or(most);
            state.last.insert(pack, (number + count, ahead));
            count
        };
        let start = number * BLOCK_BYTES;
        let bytes = read(start..(start + count * BLOCK_BYTES).min(size))?;
        let block = |more: u64| {
            let from = (more * BLOCK_BYTES) as usize;
            bytes.slice(from..bytes.len().min(from + BLOCK_BYTES as usize))
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.make_room(self.blocks_max.saturating_sub(count as usize));
        state.time += 1;
        let now = state.time;
        for more in 0..count {
            // A copy, or one block would keep all of them in memory.
            let own = Bytes::copy_from_slice(&block(more));
            state.blocks.insert((pack, number + more), (own, now));
        }
        Ok(block(0))
    }
}

impl State {
    /// Drops what was not used for longest until there are no more than `most` blocks.
    fn make_room(&mut self, most: usize) {
        while self.blocks.len() > most {
            let oldest = self.blocks.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            let Some(oldest) = oldest else { return };
            self.blocks.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A pack whose every byte tells where it lies, and the reads that were made of it.
    struct Pack {
        size: u64,
        reads: RefCell<Vec<Range<u64>>>,
    }

    impl Pack {
        fn new(size: u64) -> Self {
            Pack { size, reads: RefCell::default() }
        }

        fn get(&self, cache: &BlockCache, range: Range<u64>) -> Bytes {
            let read = |range: Range<u64>| {
                self.reads.borrow_mut().push(range.clone());
                Ok(range.map(|at| (at * 7 % 251) as u8).collect())
            };
            let bytes = cache.bytes((1, self.size), range.clone(), read).expect("bytes");
            let expected: Vec<u8> = range.map(|at| (at * 7 % 251) as u8).collect();
            assert_eq!(bytes, expected);
            bytes
        }

        fn reads(&self) -> usize {
            self.reads.borrow().len()
        }
    }

    #[test]
    fn what_lies_close_is_read_once() {
        let (cache, pack) = (BlockCache::new(8 << 20), Pack::new(300_000));
        for start in (0..60_000).step_by(1000) {
            pack.get(&cache, start..start + 700);
        }
        assert_eq!(pack.reads(), 1);
        pack.get(&cache, 65_000..66_000);
        pack.get(&cache, 299_990..300_000);
        pack.get(&cache, 0..300_000);
        let total: u64 = pack.reads.borrow().iter().map(|range| range.end - range.start).sum();
        assert_eq!(total, 300_000, "nothing is read twice");
        assert!(pack.get(&cache, 7..7).is_empty());
    }

    #[test]
    fn who_reads_on_is_read_ahead_for() {
        let (cache, pack) = (BlockCache::new(8 << 20), Pack::new(20 << 20));
        for start in (0..pack.size).step_by(4096) {
            pack.get(&cache, start..start + 4096);
        }
        assert!(pack.reads() < 20, "{} reads", pack.reads());
    }

    #[test]
    fn what_was_not_used_for_long_is_let_go() {
        let (cache, pack) = (BlockCache::new(0), Pack::new(64 << 20));
        for start in (0..pack.size).step_by(2 * BLOCK_BYTES as usize) {
            pack.get(&cache, start..start + 10);
            pack.get(&cache, 0..10);
        }
        let blocks = cache.state.lock().expect("not poisoned").blocks.len();
        assert!(blocks <= cache.blocks_max, "{blocks}");
        assert_eq!(pack.reads.borrow().iter().filter(|range| range.start == 0).count(), 1);
    }

    #[test]
    fn long_ranges_pass_by() {
        let (cache, pack) = (BlockCache::new(0), Pack::new(64 << 20));
        pack.get(&cache, 5..10 << 20);
        assert_eq!((pack.reads(), pack.reads.borrow()[0].clone()), (1, 5..10 << 20));
        assert!(cache.state.lock().expect("not poisoned").blocks.is_empty());
    }
}
