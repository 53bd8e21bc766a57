//! New commits: those the tips reach and the known ones do not.

use std::collections::BinaryHeap;
use std::ops::Range;

use object::{Kind, ObjectId};
use rustc_hash::{FxHashMap, FxHashSet};

use super::Missing;
use super::trees::TreeCheck;
use crate::error::Result;
use crate::objects::{Commit, FIRST_EXTRA_SERIAL, Objects, Recency, find_packed};
use crate::progress::{Progress, Stage};

const PROGRESS_STEP: u64 = 1024;

/// A commit by its place in history, newest first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct ByRecency {
    recency: Recency,
    id: ObjectId,
}

pub(super) struct NewHistory<'a> {
    objects: &'a Objects,
    known: &'a [ObjectId],
    shallow: FxHashSet<ObjectId>,
    missing: &'a Missing,
    /// Slots of the packs in quarantine.
    quarantine: Vec<Range<u32>>,
    /// Commits to look at that lie in quarantine.
    new: Vec<ObjectId>,
    /// Commits to look at that do not, and are not known.
    old: BinaryHeap<ByRecency>,
    seen: FxHashSet<ObjectId>,
    /// New commits by id: position in `found`.
    positions: FxHashMap<ObjectId, u32>,
    found: Vec<Found>,
    reached: Option<FromKnown<'a>>,
}

struct Found {
    tree: ObjectId,
    time: i64,
    parents: Vec<ObjectId>,
}

impl<'a> NewHistory<'a> {
    pub fn new(
        objects: &'a Objects,
        known: &'a [ObjectId],
        shallow: &[ObjectId],
        missing: &'a Missing,
    ) -> Self {
        let quarantined = |placed: &&crate::objects::Placed| {
            placed.unit.packs().iter().all(|pack| pack.serial >= FIRST_EXTRA_SERIAL)
        };
        let slots =
            |placed: &crate::objects::Placed| placed.first_slot..placed.first_slot + placed.count;
        NewHistory {
            objects,
            known,
            shallow: shallow.iter().copied().collect(),
            missing,
            quarantine: objects.units().iter().filter(quarantined).map(slots).collect(),
            new: Vec::new(),
            old: BinaryHeap::new(),
            seen: FxHashSet::default(),
            positions: FxHashMap::default(),
            found: Vec::new(),
            reached: None,
        }
    }

    /// Adds a commit that a tip names.
    pub fn add(&mut self, id: ObjectId) {
        self.new.push(id);
    }

    /// Finds the new commits; gives their trees, those of parents before those of children.
    pub fn walk(mut self, progress: &mut dyn Progress) -> Result<Vec<TreeCheck>> {
        for tip in std::mem::take(&mut self.new) {
            self.meet(tip)?;
        }
        loop {
            if let Some(id) = self.new.pop() {
                let commit = self.objects.commit(&id)?;
                self.walk_new(id, commit)?;
            } else if let Some(ByRecency { recency, id }) = self.old.pop() {
                if !self.is_reached(&id, recency)? {
                    let commit = self.objects.commit(&id)?;
                    self.walk_new(id, commit)?;
                }
            } else {
                break;
            }
            if self.found.len() as u64 % PROGRESS_STEP == 1 {
                progress.update(Stage::Connectivity, self.found.len() as u64, None)?;
            }
        }
        self.into_trees()
    }

    /// Sorts a commit that a tip or a new commit names.
    fn meet(&mut self, id: ObjectId) -> Result<()> {
        if self.known.binary_search(&id).is_ok() || !self.seen.insert(id) {
            return Ok(());
        }
        let packed = find_packed(&self.objects.units(), &id)?;
        let in_quarantine = |slots: &Range<u32>| packed.is_some_and(|slot| slots.contains(&slot.0));
        if self.quarantine.iter().any(in_quarantine) {
            self.new.push(id);
        } else if packed.is_some() || self.objects.contains(&id)? {
            let (_, recency) = self.objects.commit_and_recency(&id)?;
            self.old.push(ByRecency { recency, id });
        } else {
            self.missing.note(id, Some(Kind::Commit))?;
        }
        Ok(())
    }

    fn walk_new(&mut self, id: ObjectId, mut commit: Commit) -> Result<()> {
        if self.shallow.contains(&id) {
            commit.parents.clear();
        }
        for parent in &commit.parents {
            self.meet(*parent)?;
        }
        self.positions.insert(id, self.found.len() as u32);
        let Commit { tree, parents, time } = commit;
        self.found.push(Found { tree, time, parents });
        Ok(())
    }

    /// Whether history from the known commits passes this one.
    fn is_reached(&mut self, id: &ObjectId, recency: Recency) -> Result<bool> {
        if self.reached.is_none() {
            self.reached = Some(FromKnown::new(self.objects, self.known)?);
        }
        let reached = self.reached.as_mut().expect("set just now");
        reached.reaches(id, recency)
    }

    /// Oldest first, which puts parents before children wherever clocks were right. Where they
    /// were not, more is walked and the answer is the same.
    fn into_trees(self) -> Result<Vec<TreeCheck>> {
        let mut order: Vec<u32> = (0..self.found.len() as u32).collect();
        order.sort_by_key(|at| self.found[*at as usize].time);
        let mut trees = Vec::with_capacity(order.len());
        for at in order {
            let found = &self.found[at as usize];
            let mut parents = Vec::new();
            for parent in &found.parents {
                // A new parent's trees are walked before; an old one's are known.
                if !self.positions.contains_key(parent) && self.objects.contains(parent)? {
                    parents.push(self.objects.commit(parent)?.tree);
                }
            }
            trees.push(TreeCheck { tree: found.tree, parents });
        }
        Ok(trees)
    }
}

/// History from the known commits, walked newest first and only as far as it is asked for.
struct FromKnown<'a> {
    objects: &'a Objects,
    queue: BinaryHeap<ByRecency>,
    reached: FxHashSet<ObjectId>,
}

impl<'a> FromKnown<'a> {
    fn new(objects: &'a Objects, known: &[ObjectId]) -> Result<Self> {
        let mut history =
            FromKnown { objects, queue: BinaryHeap::new(), reached: FxHashSet::default() };
        for id in known {
            // A ref may be broken, and stay so: it just makes nothing known.
            if let Ok(Some((id, Kind::Commit))) = objects.peel(id) {
                history.reach(id);
            }
        }
        Ok(history)
    }

    fn reach(&mut self, id: ObjectId) {
        if self.reached.insert(id)
            && let Ok((_, recency)) = self.objects.commit_and_recency(&id)
        {
            self.queue.push(ByRecency { recency, id });
        }
    }

    fn reaches(&mut self, id: &ObjectId, recency: Recency) -> Result<bool> {
        while !self.reached.contains(id)
            && self.queue.peek().is_some_and(|top| top.recency >= recency)
        {
            let Some(next) = self.queue.pop() else { break };
            for parent in self.objects.commit(&next.id)?.parents {
                self.reach(parent);
            }
        }
        Ok(self.reached.contains(id))
    }
}
