//! Trees that were looked at, as bits that many threads set.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rustc_hash::FxHashSet;

use crate::objects::Slot;

/// A set of objects of one view; a bit for each packed object.
pub(super) struct Visited {
    packed: Vec<AtomicU64>,
    /// Loose objects, and packs that came after the view was opened.
    others: Mutex<FxHashSet<Slot>>,
}

impl Visited {
    pub fn new(packed: u32) -> Self {
        let words = (packed as usize).div_ceil(64);
        Visited {
            packed: (0..words).map(|_| AtomicU64::new(0)).collect(),
            others: Mutex::default(),
        }
    }

    /// Adds an object; whether it is new.
    pub fn insert(&self, slot: Slot) -> bool {
        match self.packed.get(slot.0 as usize / 64) {
            Some(word) => {
                let bit = 1 << (slot.0 % 64);
                word.fetch_or(bit, Ordering::Relaxed) & bit == 0
            }
            None => self.others.lock().expect("no holder of the lock panics").insert(slot),
        }
    }
}
