//! Which entries are deltas on which: sorted arrays of entry numbers.
//!
//! A delta by offset knows its base's entry when it is read. A delta by id is moved to the same
//! array when its base turns out to be an entry stored whole; what is left waits, sorted by the
//! base's id, for a base that is rebuilt or that only the repository has.

use std::sync::atomic::{AtomicBool, Ordering};

use object::{HashKind, ObjectId};

use super::table::{Stored, Table};

/// Deltas as they are found while a pack streams by.
pub(super) struct Found {
    hash: HashKind,
    /// Base entry, shifted left by 32, and delta entry.
    links: Vec<u64>,
    waiting_bases: Vec<u8>,
    waiting: Vec<u32>,
}

impl Found {
    pub fn new(hash: HashKind) -> Self {
        Found { hash, links: Vec::new(), waiting_bases: Vec::new(), waiting: Vec::new() }
    }

    pub fn on_entry(&mut self, base: u32, delta: u32) {
        self.links.push(u64::from(base) << 32 | u64::from(delta));
    }

    pub fn on_id(&mut self, base: &ObjectId, delta: u32) {
        self.waiting_bases.extend_from_slice(base.as_bytes());
        self.waiting.push(delta);
    }

    /// Sorts what was found, once all entries are there and those stored whole have their ids.
    pub fn into_family(mut self, table: &Table) -> Family {
        let delta_count = (self.links.len() + self.waiting.len()) as u32;
        let waiting = Waiting::new(self.hash, self.waiting_bases, self.waiting);
        if !waiting.is_empty() {
            let ids = table.ids();
            for entry in 0..table.len() {
                if let Stored::Whole(_) = table.stored(entry) {
                    let claimed = waiting.claim(ids.raw(entry));
                    self.links
                        .extend(claimed.map(|delta| u64::from(entry) << 32 | u64::from(delta)));
                }
            }
        }
        self.links.sort_unstable();
        self.links.shrink_to_fit();
        Family { links: self.links, waiting: waiting.unclaimed(), delta_count }
    }
}

/// All deltas of a pack by their bases.
pub(super) struct Family {
    links: Vec<u64>,
    /// Deltas whose base is no entry stored whole.
    pub waiting: Waiting,
    pub delta_count: u32,
}

impl Family {
    /// The deltas on an entry, as a range for [`Family::delta`].
    pub fn on_entry(&self, entry: u32) -> std::ops::Range<usize> {
        let from = u64::from(entry) << 32;
        let start = self.links.partition_point(|link| *link < from);
        let count = self.links[start..].iter().take_while(|link| (**link >> 32) as u32 == entry);
        start..start + count.count()
    }

    pub fn delta(&self, at: usize) -> u32 {
        self.links[at] as u32
    }
}

/// Deltas that name their base, sorted by that name; each is given out once.
pub(super) struct Waiting {
    hash: HashKind,
    /// Ids end to end, in the order the deltas have in the pack.
    bases: Vec<u8>,
    deltas: Vec<u32>,
    /// Positions in `deltas`, sorted by base.
    order: Vec<u32>,
    /// By position in `deltas`.
    claimed: Vec<AtomicBool>,
}

impl Waiting {
    fn new(hash: HashKind, bases: Vec<u8>, deltas: Vec<u32>) -> Self {
        let base = |at: u32| &bases[at as usize * hash.len()..][..hash.len()];
        let mut order: Vec<u32> = (0..deltas.len() as u32).collect();
        order.sort_unstable_by(|a, b| base(*a).cmp(base(*b)).then(a.cmp(b)));
        let claimed = deltas.iter().map(|_| AtomicBool::new(false)).collect();
        Waiting { hash, bases, deltas, order, claimed }
    }

    pub fn is_empty(&self) -> bool {
        self.deltas.is_empty()
    }

    pub fn len(&self) -> usize {
        self.deltas.len()
    }

    /// The base of the `at`-th waiting delta in pack order; `None` once that one was given out.
    pub fn unclaimed_base(&self, at: usize) -> Option<ObjectId> {
        let claimed = self.claimed[at].load(Ordering::Relaxed);
        (!claimed).then(|| ObjectId::from_prefix(self.base(at as u32), self.hash))
    }

    fn base(&self, at: u32) -> &[u8] {
        &self.bases[at as usize * self.hash.len()..][..self.hash.len()]
    }

    /// The deltas on a base that nobody was given yet.
    pub fn claim<'a>(&'a self, base: &'a [u8]) -> impl Iterator<Item = u32> + 'a {
        let start = self.order.partition_point(|at| self.base(*at) < base);
        self.order[start..]
            .iter()
            .take_while(move |at| self.base(**at) == base)
            .filter(|at| !self.claimed[**at as usize].swap(true, Ordering::Relaxed))
            .map(|at| self.deltas[*at as usize])
    }

    /// The same without the deltas that were given out.
    fn unclaimed(self) -> Self {
        let left: Vec<usize> =
            (0..self.deltas.len()).filter(|at| self.unclaimed_base(*at).is_some()).collect();
        if left.len() == self.deltas.len() {
            return self;
        }
        let bases = left.iter().flat_map(|at| self.base(*at as u32)).copied().collect();
        let deltas = left.iter().map(|at| self.deltas[*at]).collect();
        Waiting::new(self.hash, bases, deltas)
    }
}
