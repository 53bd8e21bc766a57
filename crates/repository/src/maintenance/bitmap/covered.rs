//! The objects a bitmap is about, and the bit each has.

use std::sync::Arc;

use object::{HashKind, Kind, ObjectId, TreeIter};
use pack::bitmap::write::Kinds;

use crate::error::{Error, Result};
use crate::objects::{Commit, Objects, Reader, Slot, Unit};

/// Why no bitmap comes about.
pub(super) enum Stop {
    /// This object is needed and not covered.
    Open(ObjectId),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(error)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Stop::Failed(error.into())
    }
}

/// One unit. Objects are named by their position in its index, and by their bit.
pub(super) struct Covered {
    /// A view of this unit alone: a slot is a position.
    objects: Objects,
    unit: Arc<Unit>,
    /// The bit of each position.
    bits: Vec<u32>,
    reader: Reader,
}

impl Covered {
    pub fn new(objects: Objects, unit: Arc<Unit>) -> Result<Self, Stop> {
        let count = unit.count()?;
        let mut bits = vec![0; count as usize];
        for bit in 0..count {
            bits[unit.position_of_bit(bit)? as usize] = bit;
        }
        let settings = objects.settings();
        let reader = Reader::of_request(settings);
        Ok(Covered { objects, unit, bits, reader })
    }

    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    pub fn hash(&self) -> HashKind {
        self.objects.hash()
    }

    /// How many objects, and so bits, there are.
    pub fn count(&self) -> u32 {
        self.bits.len() as u32
    }

    pub fn position(&self, id: &ObjectId) -> Result<Option<u32>> {
        self.unit.position(id)
    }

    /// The position of an object that has to be there.
    pub fn find(&self, id: &ObjectId) -> Result<u32, Stop> {
        self.unit.position(id)?.ok_or(Stop::Open(*id))
    }

    #[inline]
    pub fn bit(&self, position: u32) -> u32 {
        self.bits[position as usize]
    }

    pub fn position_of_bit(&self, bit: u32) -> Result<u32> {
        self.unit.position_of_bit(bit)
    }

    pub fn commit(&self, position: u32) -> Result<Commit> {
        self.objects.commit(&self.unit.id_at(position)?)
    }

    pub fn tree(&mut self, position: u32) -> Result<Arc<Vec<u8>>> {
        let object = self.objects.read_slot(Slot(position), &mut self.reader)?;
        if object.kind != Kind::Tree {
            let id = self.unit.id_at(position)?;
            return Err(Error::WrongKind { id, expected: Kind::Tree, found: object.kind });
        }
        Ok(object.data)
    }

    /// Visits the trees and blobs a tree names.
    pub fn each_entry(
        &mut self,
        position: u32,
        mut visit: impl FnMut(&Self, ObjectId, Kind) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let data = self.tree(position)?;
        for entry in TreeIter::new(&data, self.hash()) {
            let entry = entry.map_err(|error| self.bad_tree(position, &error))?;
            if !entry.mode.is_submodule() {
                let kind = if entry.mode.is_tree() { Kind::Tree } else { Kind::Blob };
                visit(self, entry.oid(self.hash()), kind)?;
            }
        }
        Ok(())
    }

    pub fn bad_tree(&self, position: u32, reason: &dyn std::fmt::Display) -> Error {
        match self.unit.id_at(position) {
            Ok(id) => Error::BadObject { id, reason: reason.to_string() },
            Err(error) => error,
        }
    }

    /// Asks for the kinds of those objects no commit led to.
    pub fn add_unreached(&self, kinds: &mut Kinds) -> Result<()> {
        let known = kinds.known();
        let mut next = known.next_unset(0);
        while let Some(bit) = next {
            let slot = Slot(self.position_of_bit(bit)?);
            kinds.set(bit, self.objects.header_of(slot)?.0);
            next = known.next_unset(bit + 1);
        }
        Ok(())
    }
}
