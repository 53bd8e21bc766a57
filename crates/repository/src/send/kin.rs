//! What was sent in the place of bases that were not.
//!
//! A delta whose base is left out, as in a shallow clone, must be made anew. Its chain tells what
//! it is like: the nearest ancestor that was sent, or another object whose chain passes through
//! the same ancestor.

use rustc_hash::FxHashMap;

use super::sent::Sent;

/// Ancestors that are remembered at a time.
const REMEMBERED_MAX: usize = 1 << 16;
/// Deltas made anew on top of each other: as many as git makes by default.
const DEPTH_MAX: u32 = 50;

/// An object that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Relative {
    /// Where it lies in the stored pack.
    pub offset: u64,
    /// How many deltas were made anew from it to an object sent as it is stored, or whole.
    depth: u32,
    /// How far up the chain of who asked it was found.
    found_at: usize,
}

/// Relatives by the offset of an ancestor that was not sent, in the pack that is being passed.
#[derive(Default)]
pub(super) struct Kin {
    pack: u32,
    by_ancestor: FxHashMap<u64, Relative>,
}

impl Kin {
    /// What an object with this delta chain, the nearest base first, can be made a delta on.
    pub fn nearest(&self, pack: u32, chain: &[u64], sent: &Sent) -> Option<Relative> {
        let found = chain.iter().enumerate().find_map(|(found_at, ancestor)| {
            if sent.place_of(pack, *ancestor).is_some() {
                return Some(Relative { offset: *ancestor, depth: 0, found_at });
            }
            let relative = self.by_ancestor.get(ancestor).filter(|_| self.pack == pack)?;
            Some(Relative { found_at, ..*relative })
        });
        found.filter(|relative| relative.depth < DEPTH_MAX)
    }

    /// Notes that the object at `offset`, with this chain, was sent: as a delta on `base`, or
    /// whole.
    ///
    /// It stands in for ancestors nearer than where its own base was found, and for no others:
    /// so from delta to base, each new delta is found further up a chain than the one before, and
    /// no ring comes about, even where a stored delta precedes its base.
    pub fn note(&mut self, pack: u32, offset: u64, chain: &[u64], base: Option<Relative>) {
        if self.pack != pack || self.by_ancestor.len() + chain.len() > REMEMBERED_MAX {
            self.pack = pack;
            self.by_ancestor.clear();
        }
        let depth = base.map_or(0, |base| base.depth + 1);
        let relative = Relative { offset, depth, found_at: 0 };
        let nearer = base.map_or(chain.len(), |base| base.found_at);
        for ancestor in &chain[..nearer] {
            self.by_ancestor.insert(*ancestor, relative);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_ancestor_that_was_sent_comes_first() {
        let (mut kin, mut sent) = (Kin::default(), Sent::default());
        sent.note(0, 12, 20, 12);
        let offset = |relative: Option<Relative>| relative.map(|relative| relative.offset);
        assert_eq!(offset(kin.nearest(0, &[100, 12], &sent)), Some(12));
        assert_eq!(offset(kin.nearest(0, &[100, 90], &sent)), None);
        kin.note(0, 200, &[100, 90], None);
        assert_eq!(offset(kin.nearest(0, &[100, 90], &sent)), Some(200));
        assert_eq!(offset(kin.nearest(0, &[300, 90, 12], &sent)), Some(200));
        assert_eq!(offset(kin.nearest(1, &[100, 90], &sent)), None);
    }

    #[test]
    fn chains_of_new_deltas_end() {
        let (mut kin, sent) = (Kin::default(), Sent::default());
        kin.note(0, 1000, &[2000, 100], None);
        let mut deltas = 0;
        for offset in 1001.. {
            // Each shares one ancestor with the one before, and one with the next.
            let chain = [2 * offset, 2 * offset - 2, 100];
            let Some(base) = kin.nearest(0, &chain, &sent) else { break };
            kin.note(0, offset, &chain, Some(base));
            deltas += 1;
        }
        assert_eq!(deltas, DEPTH_MAX);
    }

    #[test]
    fn an_object_stands_in_up_to_where_its_base_was_found() {
        let (mut kin, mut sent) = (Kin::default(), Sent::default());
        sent.note(0, 50, 60, 12);
        let chain = [200, 100, 50, 40];
        let base = kin.nearest(0, &chain, &sent);
        kin.note(0, 300, &chain, base);
        let near = |ancestor| kin.nearest(0, &[ancestor], &sent).map(|found| found.offset);
        let expected = [Some(300), Some(300), Some(50), None];
        assert_eq!([200, 100, 50, 40].map(near), expected);
    }

    #[test]
    fn memory_is_bounded() {
        let mut kin = Kin::default();
        for offset in 0..3 * REMEMBERED_MAX as u64 {
            kin.note(0, offset, &[1 << 40 | offset], None);
        }
        assert!(kin.by_ancestor.len() <= REMEMBERED_MAX);
    }
}
