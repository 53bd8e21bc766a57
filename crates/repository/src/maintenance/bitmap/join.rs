//! From what came with each commit to the sets of selected ones.

use std::collections::BinaryHeap;

use object::Kind;
use pack::BitSet;
use pack::bitmap::write::Bitmaps;
use rustc_hash::FxHashMap;

use super::changes::{Item, Lists};
use super::covered::{Covered, Stop};
use super::history::History;
use crate::progress::{Progress, Stage};

/// The bitmaps of the commits `selected`, which are in ascending order.
pub(super) fn bitmaps(
    covered: &mut Covered,
    history: &History,
    lists: &Lists,
    selected: &[u32],
    progress: &mut dyn Progress,
) -> Result<Bitmaps, Stop> {
    let mut set = BitSet::new(covered.count());
    let mut joining = Joining {
        covered,
        history,
        lists,
        bitmaps: Bitmaps::new(set.len()),
        done: FxHashMap::default(),
        queue: BinaryHeap::new(),
    };
    let total = selected.len() as u64;
    for (done, number) in selected.iter().enumerate() {
        joining.reach(*number, &mut set)?;
        let bitmap = joining.bitmaps.push(history.position(*number), &set);
        joining.done.insert(*number, bitmap);
        progress.update(Stage::Bitmaps, done as u64 + 1, Some(total))?;
    }
    progress.finish(Stage::Bitmaps, total)?;
    Ok(joining.bitmaps)
}

struct Joining<'a> {
    covered: &'a mut Covered,
    history: &'a History,
    lists: &'a Lists,
    bitmaps: Bitmaps,
    /// The bitmap of each commit that has one.
    done: FxHashMap<u32, usize>,
    /// Commits to be joined, the last in history first: a commit that has a bitmap is met
    /// before most of what it reaches.
    queue: BinaryHeap<u32>,
}

impl Joining<'_> {
    /// Makes `set` what a commit reaches.
    fn reach(&mut self, number: u32, set: &mut BitSet) -> Result<(), Stop> {
        set.clear();
        let mut whole_trees = Vec::new();
        let mut bitmaps = Vec::new();
        self.queue.push(number);
        while let Some(number) = self.queue.pop() {
            if !set.set(self.covered.bit(self.history.position(number))) {
                continue;
            }
            if let Some(bitmap) = self.done.get(&number) {
                self.bitmaps.or_into(*bitmap, set);
                bitmaps.push(*bitmap);
                continue;
            }
            for item in self.lists.of(number) {
                match item {
                    Item::Object(bit) => {
                        set.set(bit);
                    }
                    Item::Whole(tree) => whole_trees.push(tree),
                }
            }
            for parent in self.history.parents(number) {
                if !set.get(self.covered.bit(self.history.position(*parent))) {
                    self.queue.push(*parent);
                }
            }
        }
        self.add_whole(whole_trees, &bitmaps, set)
    }

    /// Adds trees with all they hold. A tree that is in the set is no sign that its contents
    /// are: it may be there as the difference to another one, of a later commit, which builds
    /// upon this one. Only sets of finished bitmaps are closed.
    fn add_whole(
        &mut self,
        mut trees: Vec<u32>,
        bitmaps: &[usize],
        set: &mut BitSet,
    ) -> Result<(), Stop> {
        if trees.is_empty() {
            return Ok(());
        }
        let mut closed = BitSet::new(set.len());
        bitmaps.iter().for_each(|bitmap| self.bitmaps.or_into(*bitmap, &mut closed));
        trees.retain(|tree| closed.set(*tree));
        while let Some(tree) = trees.pop() {
            let position = self.covered.position_of_bit(tree)?;
            self.covered.each_entry(position, |covered, id, kind| {
                let bit = covered.bit(covered.find(&id)?);
                if closed.set(bit) && kind == Kind::Tree {
                    trees.push(bit);
                }
                Ok(())
            })?;
        }
        set.or(&closed);
        Ok(())
    }
}
