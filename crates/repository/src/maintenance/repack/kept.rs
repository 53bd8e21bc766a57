//! Compressed deltas that were found, held until they are written.
//!
//! They lie one behind another in blocks, so that a delta costs its bytes and its length and no
//! allocation of its own. Each thread fills a block of its own.

use std::sync::Mutex;

/// Bytes of a block; an address is a block's number times this, and an offset in it.
const BLOCK_BYTES: usize = 1 << 18;
/// As many blocks as 32 bits can address.
const BLOCKS_MAX: usize = 1 << 14;
/// Larger ones are made a second time rather than leave blocks half empty.
const DELTA_BYTES_MAX: usize = 1 << 16;

const LENGTH_BYTES: usize = 4;

/// The deltas of all threads.
pub(super) struct KeptDeltas {
    blocks_max: usize,
    blocks: Mutex<Vec<Vec<u8>>>,
}

impl KeptDeltas {
    pub fn new(budget_bytes: usize) -> Self {
        KeptDeltas {
            blocks_max: (budget_bytes / BLOCK_BYTES).min(BLOCKS_MAX),
            blocks: Mutex::default(),
        }
    }

    /// A place to keep deltas for one thread.
    pub fn keeper(&self) -> Keeper<'_> {
        Keeper { shared: self, number: None, block: Vec::new(), is_full: self.blocks_max == 0 }
    }

    /// The deltas, once no thread adds to them.
    pub fn into_blocks(self) -> Blocks {
        Blocks(self.blocks.into_inner().expect("no holder of the lock panics"))
    }
}

/// One thread's block in the making.
pub(super) struct Keeper<'a> {
    shared: &'a KeptDeltas,
    number: Option<usize>,
    block: Vec<u8>,
    is_full: bool,
}

impl Keeper<'_> {
    /// Whether another delta may find room: otherwise it need not be compressed yet.
    pub fn has_room(&self) -> bool {
        !self.is_full
    }

    /// Keeps a compressed delta; its address, if there is room.
    pub fn keep(&mut self, delta: &[u8]) -> Option<u32> {
        if delta.len() > DELTA_BYTES_MAX || self.is_full {
            return None;
        }
        let needed = LENGTH_BYTES + delta.len();
        if self.number.is_none() || self.block.len() + needed > BLOCK_BYTES {
            self.next_block()?;
        }
        let address = self.number? * BLOCK_BYTES + self.block.len();
        self.block.extend_from_slice(&(delta.len() as u32).to_le_bytes());
        self.block.extend_from_slice(delta);
        u32::try_from(address).ok()
    }

    fn next_block(&mut self) -> Option<()> {
        self.put_back();
        let mut blocks = self.shared.blocks.lock().expect("no holder of the lock panics");
        if blocks.len() == self.shared.blocks_max {
            self.is_full = true;
            return None;
        }
        self.number = Some(blocks.len());
        blocks.push(Vec::new());
        self.block = Vec::with_capacity(BLOCK_BYTES);
        Some(())
    }

    fn put_back(&mut self) {
        if let Some(number) = self.number.take() {
            let mut blocks = self.shared.blocks.lock().expect("no holder of the lock panics");
            blocks[number] = std::mem::take(&mut self.block);
        }
    }
}

impl Drop for Keeper<'_> {
    fn drop(&mut self) {
        self.put_back();
    }
}

/// All kept deltas, for reading.
pub(super) struct Blocks(Vec<Vec<u8>>);

impl Blocks {
    /// The compressed delta at an address that [`Keeper::keep`] gave.
    pub fn get(&self, address: u32) -> &[u8] {
        let block = &self.0[address as usize / BLOCK_BYTES];
        let (length, rest) = block[address as usize % BLOCK_BYTES..].split_at(LENGTH_BYTES);
        let length = length.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
        &rest[..length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_deltas_up_to_its_budget() {
        let kept = KeptDeltas::new(2 * BLOCK_BYTES + 5);
        let delta = |number: u32| vec![number as u8; number as usize * 13 % 5000];
        let mut keepers = [kept.keeper(), kept.keeper()];
        let mut addresses = Vec::new();
        for number in 0..400 {
            if let Some(address) = keepers[number as usize % 2].keep(&delta(number)) {
                addresses.push((number, address));
            }
        }
        assert!(addresses.len() > 150 && addresses.len() < 400);
        assert!(keepers.iter().all(|keeper| !keeper.has_room()));
        drop(keepers);
        let blocks = kept.into_blocks();
        assert!(blocks.0.len() == 2 && blocks.0.iter().all(|block| block.len() <= BLOCK_BYTES));
        for (number, address) in addresses {
            assert_eq!(blocks.get(address), delta(number));
        }
        assert!(!KeptDeltas::new(1000).keeper().has_room());
    }
}
