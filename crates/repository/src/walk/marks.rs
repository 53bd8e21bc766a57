//! Sets of objects as bits, and the ids that were met a moment ago.

use std::ops::Range;

use object::{Checksum, ID_BYTES_MAX};
use pack::BitSet;

use crate::objects::Slot;

/// A set of objects of one view: a bit for each packed object, and for each loose one met.
#[derive(Clone, Default)]
pub(crate) struct Marks {
    packed: BitSet,
    loose: BitSet,
}

impl Marks {
    /// An empty set with room for `packed` packed objects.
    pub fn new(packed: u32) -> Self {
        Marks { packed: BitSet::new(packed), loose: BitSet::default() }
    }

    fn part(&self, slot: Slot) -> (&BitSet, u32) {
        if slot.is_loose() { (&self.loose, slot.0 - Slot::LOOSE) } else { (&self.packed, slot.0) }
    }

    #[inline]
    pub fn contains(&self, slot: Slot) -> bool {
        let (part, at) = self.part(slot);
        part.get(at)
    }

    /// Adds an object; whether it is new.
    #[inline]
    pub fn insert(&mut self, slot: Slot) -> bool {
        let (part, at) = if slot.is_loose() {
            (&mut self.loose, slot.0 - Slot::LOOSE)
        } else {
            (&mut self.packed, slot.0)
        };
        if at >= part.len() {
            // Rare: loose objects, and packs found while the walk runs.
            part.resize((at + 1).next_multiple_of(1024));
        }
        part.set(at)
    }

    pub fn remove(&mut self, slot: Slot) {
        match slot.is_loose() {
            true => self.loose.unset(slot.0 - Slot::LOOSE),
            false => self.packed.unset(slot.0),
        }
    }

    /// Adds packed objects that lie in a row.
    pub fn insert_packed(&mut self, slots: Range<u32>) {
        if slots.end > self.packed.len() {
            self.packed.resize(slots.end.next_multiple_of(1024));
        }
        self.packed.set_range(slots);
    }

    pub fn insert_all(&mut self, other: &Marks) {
        if self.packed.len() == other.packed.len() && other.loose.is_empty() {
            self.packed.or(&other.packed);
            return;
        }
        for slot in other.iter() {
            self.insert(slot);
        }
    }

    /// The members among packed slots that lie in a row, counted from the first of these.
    pub fn packed_part(&self, slots: Range<u32>) -> BitSet {
        self.packed.part(slots)
    }

    pub fn and_not(&mut self, other: &Marks) {
        and_not(&mut self.packed, &other.packed);
        and_not(&mut self.loose, &other.loose);
    }

    pub fn count(&self) -> u64 {
        u64::from(self.packed.count()) + u64::from(self.loose.count())
    }

    /// How many of the packed slots `from..to` are in the set.
    pub fn count_packed(&self, from: u32, to: u32) -> u64 {
        let words = self.packed.words();
        let whole = (from.div_ceil(64), (to / 64).min(words.len() as u32));
        if whole.0 >= whole.1 {
            return (from..to).filter(|at| self.packed.get(*at)).count() as u64;
        }
        let edges = (from..whole.0 * 64).chain(whole.1 * 64..to);
        let inner = &words[whole.0 as usize..whole.1 as usize];
        edges.filter(|at| self.packed.get(*at)).count() as u64
            + inner.iter().map(|word| u64::from(word.count_ones())).sum::<u64>()
    }

    /// Feeds a hasher with the packed slots below `end`.
    pub fn hash_packed(&self, end: u32, hasher: &mut Checksum) {
        let words = self.packed.words();
        let mut bytes = [0; 4096];
        // Bits at and above the end are of units nothing is sent from, so they are not set.
        for words in words[..words.len().min(end.div_ceil(64) as usize)].chunks(bytes.len() / 8) {
            let used = &mut bytes[..words.len() * 8];
            for (eight, word) in used.chunks_exact_mut(8).zip(words) {
                eight.copy_from_slice(&word.to_le_bytes());
            }
            hasher.update(used);
        }
    }

    /// The members among `count` packed slots from `first` on.
    pub fn iter_packed(&self, first: u32, count: u32) -> impl Iterator<Item = Slot> + '_ {
        let mut next = first;
        std::iter::from_fn(move || {
            let at = self.packed.next_set(next).filter(|at| *at < first + count)?;
            next = at + 1;
            Some(Slot(at))
        })
    }

    /// The first loose member from `from` on.
    pub fn next_loose(&self, from: Slot) -> Option<Slot> {
        let at = self.loose.next_set(from.0 - Slot::LOOSE)?;
        Some(Slot(Slot::LOOSE + at))
    }

    pub fn iter_loose(&self) -> impl Iterator<Item = Slot> + '_ {
        self.loose.iter().map(|at| Slot(Slot::LOOSE + at))
    }

    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.packed.iter().map(Slot).chain(self.iter_loose())
    }
}

/// Removes the members of `other`, which may have grown further than `set`, or less.
fn and_not(set: &mut BitSet, other: &BitSet) {
    if set.len() == other.len() {
        set.and_not(other);
        return;
    }
    for at in other.iter() {
        set.unset(at);
    }
}

/// Ids that were dealt with a moment ago. Neighbouring trees share nearly all their
/// entries, so most entries of a tree are answered here, without a search.
pub(crate) struct RecentIds {
    /// A power of two of them.
    table: Vec<[u8; ID_BYTES_MAX]>,
    id_bytes: usize,
    /// Ids noted since the table has its size.
    noted: usize,
}

/// Entries of a full-grown table: 1 MiB, which fits the second-level cache of today's processors.
const RECENT_IDS: usize = 1 << 15;

/// Entries of a new one: most fetches look at a few trees, and memory that is not touched need
/// not be found by the system.
const RECENT_IDS_AT_FIRST: usize = 1 << 9;

/// How much a table grows at a time.
const RECENT_IDS_GROW: usize = 1 << 3;

/// What the tables of one walk take, bytes.
pub(crate) const TABLES_BYTES: usize = 2 * RECENT_IDS * ID_BYTES_MAX;

impl RecentIds {
    pub fn new(id_bytes: usize) -> Self {
        RecentIds { table: vec![[0; ID_BYTES_MAX]; RECENT_IDS_AT_FIRST], id_bytes, noted: 0 }
    }

    /// Whether the id was noted lately; notes it when not. `id` has the hash's length. Of the null
    /// id the answer may be yes at any time: who must not miss it asks [`RecentIds::has_met`].
    #[inline]
    pub fn check_and_note(&mut self, id: &[u8]) -> bool {
        let key = self.key(id);
        let entry = &mut self.table[key];
        // The common length is compared without a call.
        match <&[u8; 20]>::try_from(id) {
            Ok(id) if entry[..20] == *id => return true,
            Err(_) if entry[..self.id_bytes] == *id => return true,
            _ => entry[..self.id_bytes].copy_from_slice(id),
        }
        self.noted += 1;
        if self.noted >= self.table.len() && self.table.len() < RECENT_IDS {
            self.grow();
        }
        false
    }

    /// As [`RecentIds::check_and_note`], but the null id is new every time.
    #[inline]
    pub fn has_met(&mut self, id: &[u8]) -> bool {
        self.check_and_note(id) && id.iter().any(|byte| *byte != 0)
    }

    #[inline]
    fn key(&self, id: &[u8]) -> usize {
        u32::from_le_bytes([id[0], id[1], id[2], id[3]]) as usize & (self.table.len() - 1)
    }

    #[cold]
    fn grow(&mut self) {
        let larger = vec![[0; ID_BYTES_MAX]; self.table.len() * RECENT_IDS_GROW];
        for id in std::mem::replace(&mut self.table, larger) {
            // The null id is nobody's.
            let key = self.key(&id);
            self.table[key] = id;
        }
        self.noted = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_ids_survive_the_growth_of_their_table() {
        let mut recent = RecentIds::new(20);
        // One id for each key of the full-grown table: none takes another one's place.
        let id = |number: u32| {
            let mut id = [7; 20];
            id[..4].copy_from_slice(&number.to_le_bytes());
            id
        };
        let last_before_growth = RECENT_IDS_AT_FIRST as u32 - 1;
        for number in 0..=last_before_growth {
            assert!(!recent.check_and_note(&id(number)), "{number} is new");
        }
        assert_eq!(recent.table.len(), RECENT_IDS_AT_FIRST * RECENT_IDS_GROW);
        for number in 0..=last_before_growth {
            assert!(recent.check_and_note(&id(number)), "{number} was noted");
        }
        for number in 1 << 9..1 << 20 {
            recent.check_and_note(&id(number));
        }
        assert_eq!(recent.table.len(), RECENT_IDS);
    }
}
