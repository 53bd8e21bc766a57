//! The commits of a unit that tips reach, parents before children.

use object::{Kind, ObjectId};
use pack::BitSet;
use rustc_hash::{FxHashMap, FxHashSet};

use super::covered::{Covered, Stop};
use crate::progress::{Progress, Stage};

/// How many commits pass between two progress reports.
const REPORT_EVERY: usize = 4096;

/// Commits by number. Of each pair of neighbours in history the parent has the lower one.
#[derive(Default)]
pub(super) struct History {
    positions: Vec<u32>,
    /// Positions of their trees.
    trees: Vec<u32>,
    times: Vec<i64>,
    /// Where the parents of each begin; then the end.
    parents_at: Vec<u32>,
    parents: Vec<u32>,
}

impl History {
    pub fn of(
        covered: &Covered,
        tips: &[ObjectId],
        progress: &mut dyn Progress,
    ) -> Result<Self, Stop> {
        let gathered = gather(covered, tips, progress)?;
        Ok(gathered.renumbered(&gathered.parents_first()))
    }

    pub fn count(&self) -> usize {
        self.positions.len()
    }

    pub fn position(&self, number: u32) -> u32 {
        self.positions[number as usize]
    }

    pub fn tree(&self, number: u32) -> u32 {
        self.trees[number as usize]
    }

    pub fn time(&self, number: u32) -> i64 {
        self.times[number as usize]
    }

    pub fn parents(&self, number: u32) -> &[u32] {
        let at = number as usize;
        &self.parents[self.parents_at[at] as usize..self.parents_at[at + 1] as usize]
    }

    /// All numbers in an order with parents before children. First parents are followed as
    /// far as they go, so that most commits come right after one they resemble.
    fn parents_first(&self) -> Vec<u32> {
        let count = self.count() as u32;
        let mut order = Vec::with_capacity(self.count());
        let mut entered = BitSet::new(count);
        let mut path: Vec<(u32, u32)> = Vec::new();
        for start in 0..count {
            if entered.set(start) {
                path.push((start, 0));
            }
            while let Some((number, next)) = path.last_mut() {
                match self.parents(*number).get(*next as usize) {
                    Some(parent) => {
                        *next += 1;
                        if entered.set(*parent) {
                            path.push((*parent, 0));
                        }
                    }
                    None => {
                        order.push(*number);
                        path.pop();
                    }
                }
            }
        }
        order
    }

    fn renumbered(&self, order: &[u32]) -> History {
        let mut new_numbers = vec![0u32; order.len()];
        for (new, old) in order.iter().enumerate() {
            new_numbers[*old as usize] = new as u32;
        }
        let mut new = History {
            positions: order.iter().map(|old| self.position(*old)).collect(),
            trees: order.iter().map(|old| self.tree(*old)).collect(),
            times: order.iter().map(|old| self.time(*old)).collect(),
            parents_at: Vec::with_capacity(self.parents_at.len()),
            parents: Vec::with_capacity(self.parents.len()),
        };
        new.parents_at.push(0);
        for old in order {
            new.parents.extend(self.parents(*old).iter().map(|old| new_numbers[*old as usize]));
            new.parents_at.push(new.parents.len() as u32);
        }
        new
    }
}

/// Commits in the order they are met.
struct Gathering<'a> {
    covered: &'a Covered,
    found: History,
    numbers: FxHashMap<u32, u32>,
    /// Commits that are not covered: newer than the packs. Their parents may be.
    outside: Vec<ObjectId>,
    outside_seen: FxHashSet<ObjectId>,
}

fn gather(
    covered: &Covered,
    tips: &[ObjectId],
    progress: &mut dyn Progress,
) -> Result<History, Stop> {
    let mut gathering = Gathering {
        covered,
        found: History { parents_at: vec![0], ..History::default() },
        numbers: FxHashMap::default(),
        outside: Vec::new(),
        outside_seen: FxHashSet::default(),
    };
    for tip in tips {
        if let Some((id, Kind::Commit)) = covered.objects().peel(tip)? {
            gathering.meet(&id)?;
        }
    }
    while let Some(id) = gathering.outside.pop() {
        for parent in covered.objects().commit(&id)?.parents {
            gathering.meet(&parent)?;
        }
    }
    let mut next = 0;
    while next < gathering.found.positions.len() {
        gathering.read(next)?;
        next += 1;
        if next.is_multiple_of(REPORT_EVERY) {
            progress.update(Stage::Counting, next as u64, None)?;
        }
    }
    Ok(gathering.found)
}

impl Gathering<'_> {
    fn meet(&mut self, id: &ObjectId) -> Result<(), Stop> {
        match self.covered.position(id)? {
            Some(position) => {
                self.number(position);
            }
            None if self.outside_seen.insert(*id) => self.outside.push(*id),
            None => {}
        }
        Ok(())
    }

    fn number(&mut self, position: u32) -> u32 {
        let positions = &mut self.found.positions;
        *self.numbers.entry(position).or_insert_with(|| {
            positions.push(position);
            positions.len() as u32 - 1
        })
    }

    fn read(&mut self, number: usize) -> Result<(), Stop> {
        let commit = self.covered.commit(self.found.positions[number])?;
        self.found.trees.push(self.covered.find(&commit.tree)?);
        self.found.times.push(commit.time);
        for parent in &commit.parents {
            let parent = self.covered.find(parent)?;
            let parent = self.number(parent);
            self.found.parents.push(parent);
        }
        self.found.parents_at.push(self.found.parents.len() as u32);
        Ok(())
    }
}
