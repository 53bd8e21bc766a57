//! What a client is known to have.

use pack::BitSet;

use super::Marks;
use crate::error::Result;
use crate::objects::{Placed, Slot};

/// A set of objects of one view. What bitmaps say is kept in their order: a client that has a
/// whole history is asked about a few objects, and the rest need not be turned into slots.
pub(crate) struct Known {
    marks: Marks,
    covered: Option<Covered>,
}

/// What bitmaps say, in the order they count in.
pub(super) struct Covered {
    pub placed: Placed,
    pub bits: BitSet,
}

impl Covered {
    /// Whether an object is among what the bitmaps say.
    pub fn contains(&self, slot: Slot) -> Result<bool> {
        Ok(self.bit_of(slot)?.is_some_and(|bit| self.bits.get(bit)))
    }

    /// An object's place in the order of the bitmaps, if they know it.
    pub fn bit_of(&self, slot: Slot) -> Result<Option<u32>> {
        let Placed { first_slot, count, unit } = &self.placed;
        match slot.0.checked_sub(*first_slot).filter(|position| position < count) {
            Some(position) => unit.bit_of_position(position),
            None => Ok(None),
        }
    }
}

impl Known {
    /// An empty set with room for `packed` packed objects.
    pub fn new(packed: u32) -> Self {
        Known { marks: Marks::new(packed), covered: None }
    }

    /// Takes what bitmaps say of the client.
    pub(super) fn cover(&mut self, covered: Covered) {
        self.covered = Some(covered);
    }

    /// What bitmaps say, in their order.
    pub(super) fn covered(&self) -> Option<&BitSet> {
        self.covered.as_ref().map(|covered| &covered.bits)
    }

    #[inline]
    pub fn contains(&self, slot: Slot) -> bool {
        self.marks.contains(slot) || self.covers(slot)
    }

    fn covers(&self, slot: Slot) -> bool {
        // Damage is met, and told, where the object is read; what is not known is sent.
        self.covered.as_ref().is_some_and(|covered| covered.contains(slot).unwrap_or(false))
    }

    /// Adds an object; whether it is new.
    #[inline]
    pub fn insert(&mut self, slot: Slot) -> bool {
        !self.covers(slot) && self.marks.insert(slot)
    }

    /// What is known besides what bitmaps say.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }
}
