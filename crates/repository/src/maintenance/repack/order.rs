//! The order in which objects are written, as git's `compute_write_order` has it: commits, tags
//! and trees by recency, so that a walk reads forward, and blobs by family, so that a delta lies
//! near its base.

use object::Kind;
use pack::BitSet;

use super::table::{Entry, NONE};

/// The ranks in the order of writing; a base comes before its deltas. The table is in the order
/// of ranks; `tagged` are the ranks of tags and what they name.
pub(super) fn compute(table: &[Entry], tagged: &[u32]) -> Vec<u32> {
    let count = table.len() as u32;
    let mut tips = BitSet::new(count);
    for rank in tagged {
        tips.set(*rank);
    }
    let mut orderer = Orderer::new(table);
    let first_tip = tips.next_set(0).unwrap_or(count);
    (0..first_tip).for_each(|rank| orderer.add(rank));
    tips.iter().for_each(|rank| orderer.add(rank));
    let of_kinds = |kinds: &'static [Kind]| {
        (first_tip..count).filter(move |rank| kinds.contains(&table[*rank as usize].kind))
    };
    of_kinds(&[Kind::Commit, Kind::Tag]).for_each(|rank| orderer.add(rank));
    of_kinds(&[Kind::Tree]).for_each(|rank| orderer.add(rank));
    for rank in first_tip..count {
        orderer.add_family(rank);
    }
    orderer.order
}

struct Orderer<'a> {
    table: &'a [Entry],
    /// The newest delta on each object, and the next delta on the same base.
    first_child: Vec<u32>,
    next_sibling: Vec<u32>,
    added: BitSet,
    order: Vec<u32>,
    /// An object and those of its bases that are not in the order yet.
    chain: Vec<u32>,
}

impl<'a> Orderer<'a> {
    fn new(table: &'a [Entry]) -> Self {
        let mut first_child = vec![NONE; table.len()];
        let mut next_sibling = vec![NONE; table.len()];
        for (rank, entry) in table.iter().enumerate().rev() {
            if entry.base != NONE {
                let child = &mut first_child[entry.base as usize];
                next_sibling[rank] = std::mem::replace(child, rank as u32);
            }
        }
        Orderer {
            table,
            first_child,
            next_sibling,
            added: BitSet::new(table.len() as u32),
            order: Vec::with_capacity(table.len()),
            chain: Vec::new(),
        }
    }

    fn base(&self, rank: u32) -> u32 {
        self.table[rank as usize].base
    }

    /// Adds an object, behind those it leans on.
    fn add(&mut self, rank: u32) {
        let mut next = rank;
        while next != NONE && self.added.set(next) {
            self.chain.push(next);
            next = self.base(next);
        }
        self.order.extend(self.chain.drain(..).rev());
    }

    /// Adds all that lean on the object that the given one leans on in the end: deltas on one
    /// base next to each other, then those on the first of them, and so on.
    fn add_family(&mut self, rank: u32) {
        if self.added.get(rank) {
            return;
        }
        let mut at = rank;
        while self.base(at) != NONE {
            at = self.base(at);
        }
        let mut is_new = true;
        while at != NONE {
            if is_new {
                let mut sibling = at;
                while sibling != NONE {
                    self.add(sibling);
                    sibling = self.next_sibling[sibling as usize];
                }
            }
            is_new = self.first_child[at as usize] != NONE;
            at = match is_new {
                true => self.first_child[at as usize],
                false => self.next_aside(at),
            };
        }
    }

    /// The next delta on the same base, or on the base's base, and so on.
    fn next_aside(&self, mut at: u32) -> u32 {
        while at != NONE && self.next_sibling[at as usize] == NONE {
            at = self.base(at);
        }
        if at == NONE { NONE } else { self.next_sibling[at as usize] }
    }
}
