//! Painting history from both sides: what the wants reach, less what the haves reach.
//!
//! Newest first, as git does. A commit painted `known` hands that to its parents, a
//! wanted one hands on `wanted`; the walk ends when only known commits are left.
//! Where the commit-graph has corrected dates, these order the walk, and no commit comes before
//! its descendants. Elsewhere clocks that run backwards can let a commit through that the client
//! has: it is sent once more, which costs bytes and never correctness.

use std::collections::BinaryHeap;

use object::ObjectId;

use super::{Marks, Side, Walk};
use crate::error::Result;
use crate::objects::{Commit, Recency, Slot};
use crate::send::PackRequest;

/// A commit whose parents have not been looked at. Ordered newest first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pending {
    recency: Recency,
    pub slot: Slot,
    id: ObjectId,
    pub tree: ObjectId,
    pub parents: Vec<ObjectId>,
}

impl Pending {
    pub fn new(id: ObjectId, slot: Slot, (commit, recency): (Commit, Recency)) -> Self {
        Pending { recency, slot, id, tree: commit.tree, parents: commit.parents }
    }
}

struct Painting {
    queue: BinaryHeap<Pending>,
    /// Wanted commits whose parents have been looked at.
    done: Marks,
    /// Queued commits that are wanted and not known.
    wanted_queued: usize,
}

impl Walk<'_> {
    pub(super) fn by_walking(&mut self, request: &PackRequest) -> Result<()> {
        let haves = self.tips(&request.haves, Side::Known)?;
        let wants = self.tips(&request.wants, Side::Wanted)?;
        let mut edges = request.unshallowed.clone();
        if !self.cut.is_empty() {
            // Where history is cut, a new commit's parents do not lead to what the client has.
            edges.extend(haves.iter().map(|(id, _)| *id));
        }
        if haves.is_empty() {
            self.known_trees_of(edges)?;
            return self.whole_history(wants);
        }
        let new_commits = self.paint(wants, haves, usize::MAX)?.expect("no limit was set");
        self.edge_trees(&new_commits, edges)?;
        self.commit_trees(&new_commits)
    }

    /// Without haves: every commit the wants reach, newest first, each with its tree at once.
    fn whole_history(&mut self, wants: Vec<(ObjectId, Slot)>) -> Result<()> {
        let mut seen = Marks::new(self.objects.packed_count());
        let mut queue = BinaryHeap::new();
        let mut next = wants;
        loop {
            for (id, slot) in next.drain(..) {
                if seen.insert(slot) {
                    queue.push(Pending::new(id, slot, self.commit_and_recency(&id, slot)?));
                }
            }
            let Some(Pending { slot, id, tree, parents, .. }) = queue.pop() else { return Ok(()) };
            self.report(1)?;
            self.new_commit(slot, &tree)?;
            if self.cut.contains(&id) {
                continue;
            }
            for parent in parents {
                if let Some(slot) = self.slot_of_reachable(&parent, object::Kind::Commit)? {
                    next.push((parent, slot));
                }
            }
        }
    }

    /// The parents of a commit that count for one side.
    fn parents_for(&self, commit: &mut Pending, side: Side) -> Vec<ObjectId> {
        let cut = match side {
            Side::Wanted => &self.cut,
            Side::Known => &self.old_cut,
        };
        match !cut.is_empty() && cut.contains(&commit.id) {
            true => Vec::new(),
            false => std::mem::take(&mut commit.parents),
        }
    }

    /// The commits the wants reach and the haves do not; `None` when more than `commits_max` of
    /// either side would have to be looked at. Known commits are marked as such.
    pub(super) fn paint(
        &mut self,
        wants: Vec<(ObjectId, Slot)>,
        haves: Vec<(ObjectId, Slot)>,
        commits_max: usize,
    ) -> Result<Option<Marks>> {
        let mut passed = 0;
        let packed = self.objects.packed_count();
        let mut wanted = Marks::new(packed);
        let mut painting =
            Painting { queue: BinaryHeap::new(), done: Marks::new(packed), wanted_queued: 0 };
        for (id, slot) in haves {
            self.paint_known(id, slot, &wanted, &mut painting)?;
        }
        for (id, slot) in wants {
            self.paint_wanted(id, slot, &mut wanted, &mut painting)?;
        }
        while painting.wanted_queued > 0 {
            let Some(mut next) = painting.queue.pop() else { break };
            passed += 1;
            if passed > commits_max {
                return Ok(None);
            }
            if self.known.contains(next.slot) {
                for parent in self.parents_for(&mut next, Side::Known) {
                    // The client may be a partial or shallow clone of something else.
                    if let Some(slot) = self.slot(&parent)? {
                        self.paint_known(parent, slot, &wanted, &mut painting)?;
                    }
                }
            } else if painting.done.insert(next.slot) {
                painting.wanted_queued -= 1;
                self.report(1)?;
                for parent in self.parents_for(&mut next, Side::Wanted) {
                    if let Some(slot) = self.slot_of_reachable(&parent, object::Kind::Commit)? {
                        self.paint_wanted(parent, slot, &mut wanted, &mut painting)?;
                    }
                }
            }
        }
        wanted.and_not(self.known.marks());
        Ok(Some(wanted))
    }

    fn paint_known(
        &mut self,
        id: ObjectId,
        slot: Slot,
        wanted: &Marks,
        painting: &mut Painting,
    ) -> Result<()> {
        if self.known.insert(slot) {
            if wanted.contains(slot) && !painting.done.contains(slot) {
                painting.wanted_queued -= 1;
            }
            painting.queue.push(Pending::new(id, slot, self.commit_and_recency(&id, slot)?));
        }
        Ok(())
    }

    fn paint_wanted(
        &mut self,
        id: ObjectId,
        slot: Slot,
        wanted: &mut Marks,
        painting: &mut Painting,
    ) -> Result<()> {
        if wanted.insert(slot) && !self.known.contains(slot) {
            painting.wanted_queued += 1;
            painting.queue.push(Pending::new(id, slot, self.commit_and_recency(&id, slot)?));
        }
        Ok(())
    }

    /// Marks as known the trees of the new commits' known parents, and those of `edges`,
    /// further commits the client has.
    fn edge_trees(&mut self, new_commits: &Marks, mut edges: Vec<ObjectId>) -> Result<()> {
        let mut seen = Marks::new(self.objects.packed_count());
        for slot in new_commits.iter() {
            let id = self.objects.id(slot)?;
            let mut commit = Pending::new(id, slot, self.commit_and_recency(&id, slot)?);
            for parent in self.parents_for(&mut commit, Side::Wanted) {
                let Some(slot) = self.slot(&parent)? else { continue };
                if self.known.contains(slot) && seen.insert(slot) {
                    edges.push(parent);
                }
            }
        }
        self.known_trees_of(edges)
    }

    /// Marks the trees of commits, and what they hold, as known to the client.
    fn known_trees_of(&mut self, commits: Vec<ObjectId>) -> Result<()> {
        for id in commits {
            let Some(slot) = self.slot(&id)? else { continue };
            let tree = self.commit(&id, slot)?.tree;
            if let Some(slot) = self.slot(&tree)? {
                self.known_tree(slot)?;
            }
        }
        Ok(())
    }
}
