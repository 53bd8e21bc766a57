//! What is remembered of every entry of a pack while it is taken in.
//!
//! 32 bytes per object with SHA-1 (44 with SHA-256) and 8 more per delta, in plain arrays: no
//! heap entry and no hash-map slot for any object. Entry numbers count in pack order, so that
//! offsets ascend and a base is found by binary search.

use std::sync::{Mutex, MutexGuard};

use object::{HashKind, Kind, ObjectId};

/// How an entry stores its object, in the table's eight bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    Whole(Kind),
    OfsDelta,
    RefDelta,
}

impl Stored {
    fn code(self) -> u64 {
        match self {
            Stored::Whole(kind) => u64::from(kind.pack_type()),
            Stored::OfsDelta => 6,
            Stored::RefDelta => 7,
        }
    }

    fn from_code(code: u8) -> Self {
        match Kind::from_pack_type(code) {
            Some(kind) => Stored::Whole(kind),
            None if code == 6 => Stored::OfsDelta,
            None => Stored::RefDelta,
        }
    }
}

/// The entries of one pack, in pack order.
pub(super) struct Table {
    hash: HashKind,
    /// Offset, shifted left by 8, and the code of [`Stored`].
    places: Vec<u64>,
    crcs: Vec<u32>,
    /// Ids end to end; zero until known. Written by many threads, a batch at a time.
    ids: Mutex<Vec<u8>>,
    /// Where the last entry ends.
    entries_end: u64,
}

/// Offsets fit the 56 bits a place has for them.
pub(super) const PACK_BYTES_MAX: u64 = 1 << 48;

/// Entries for which room is made before any of them has been seen.
const TRUSTED_COUNT: usize = 1 << 16;

impl Table {
    pub fn new(hash: HashKind) -> Self {
        Table { hash, places: Vec::new(), crcs: Vec::new(), ids: Mutex::default(), entries_end: 0 }
    }

    pub fn len(&self) -> u32 {
        self.places.len() as u32
    }

    /// Adds an entry. `declared` is the count the pack's header claims: room grows towards it,
    /// never past it, and never by more than what has been seen already.
    pub fn push(&mut self, offset: u64, stored: Stored, crc: u32, declared: u32) {
        if self.places.len() == self.places.capacity() {
            let rest = (declared as usize).saturating_sub(self.places.len());
            let more = rest.min(self.places.len().max(TRUSTED_COUNT)).max(1);
            self.places.reserve_exact(more);
            self.crcs.reserve_exact(more);
            let id_bytes = more * self.hash.len();
            self.ids_mut().reserve_exact(id_bytes);
        }
        self.places.push(offset << 8 | stored.code());
        self.crcs.push(crc);
        let id_bytes = self.hash.len();
        let ids = self.ids_mut();
        ids.resize(ids.len() + id_bytes, 0);
    }

    /// Adds an entry whose id is known.
    pub fn push_known(&mut self, offset: u64, stored: Stored, crc: u32, id: &ObjectId) {
        let entry = self.len();
        self.push(offset, stored, crc, entry + 1);
        self.set_id(entry, id);
    }

    pub fn set_end(&mut self, entries_end: u64) {
        self.entries_end = entries_end;
    }

    pub fn entries_end(&self) -> u64 {
        self.entries_end
    }

    pub fn offset(&self, entry: u32) -> u64 {
        self.places[entry as usize] >> 8
    }

    /// Where the entry ends, which is where the next one begins.
    pub fn end(&self, entry: u32) -> u64 {
        self.places.get(entry as usize + 1).map_or(self.entries_end, |place| place >> 8)
    }

    pub fn stored(&self, entry: u32) -> Stored {
        Stored::from_code(self.places[entry as usize] as u8)
    }

    pub fn crc(&self, entry: u32) -> u32 {
        self.crcs[entry as usize]
    }

    /// The entry that begins at `offset`.
    pub fn find(&self, offset: u64) -> Option<u32> {
        let at = self.places.partition_point(|place| place >> 8 < offset);
        let found = self.places.get(at).is_some_and(|place| place >> 8 == offset);
        found.then_some(at as u32)
    }

    fn ids_mut(&mut self) -> &mut Vec<u8> {
        self.ids.get_mut().expect("no holder of the lock panics")
    }

    pub fn set_id(&mut self, entry: u32, id: &ObjectId) {
        let len = self.hash.len();
        let at = entry as usize * len;
        self.ids_mut()[at..at + len].copy_from_slice(id.as_bytes());
    }

    /// The ids, for one batch of changes or one look.
    pub fn ids(&self) -> Ids<'_> {
        let bytes = self.ids.lock().expect("no holder of the lock panics");
        Ids { bytes, hash: self.hash }
    }
}

/// The ids of a [`Table`], locked.
pub(super) struct Ids<'a> {
    bytes: MutexGuard<'a, Vec<u8>>,
    hash: HashKind,
}

impl Ids<'_> {
    pub fn raw(&self, entry: u32) -> &[u8] {
        let len = self.hash.len();
        &self.bytes[entry as usize * len..][..len]
    }

    pub fn get(&self, entry: u32) -> ObjectId {
        ObjectId::from_prefix(self.raw(entry), self.hash)
    }

    pub fn set(&mut self, entry: u32, id: &ObjectId) {
        let len = self.hash.len();
        self.bytes[entry as usize * len..][..len].copy_from_slice(id.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_entries_by_offset_and_keeps_what_was_put() {
        let mut table = Table::new(HashKind::Sha1);
        table.push(12, Stored::Whole(Kind::Tree), 1, 3);
        table.push(40, Stored::OfsDelta, 2, 3);
        table.push(PACK_BYTES_MAX, Stored::RefDelta, 3, 3);
        table.set_end(PACK_BYTES_MAX + 9);
        assert_eq!((table.find(40), table.find(41)), (Some(1), None));
        assert_eq!(
            (table.offset(2), table.end(1), table.end(2)),
            (1 << 48, 1 << 48, (1 << 48) + 9)
        );
        assert_eq!(table.stored(0), Stored::Whole(Kind::Tree));
        assert_eq!((table.stored(1), table.stored(2)), (Stored::OfsDelta, Stored::RefDelta));
        let id = ObjectId::from_prefix(&[7; 20], HashKind::Sha1);
        table.set_id(1, &id);
        assert_eq!(table.ids().get(1), id);
        assert!(table.ids().get(0).is_null());
    }

    #[test]
    fn a_declared_count_reserves_no_more_than_was_seen() {
        let mut table = Table::new(HashKind::Sha256);
        table.push(12, Stored::Whole(Kind::Blob), 0, u32::MAX);
        assert!(table.places.capacity() <= TRUSTED_COUNT);
    }
}
