//! What few new commits change: their trees beside those of their parents, path by path.
//!
//! A small fetch must not cost the size of the folders it touches nothing of. A new commit's
//! parents are new as well, and dealt with before it, or the client has them; so an entry that
//! a parent has at the same path is there already, and only folders that differ are read. What
//! moved to another path is sent again: that costs bytes and never correctness.
//!
//! On the way the version of each changed file and folder that the client has is noted: the
//! base of a small delta, where the repository stores the new version whole.

use object::{Kind, ObjectId, TreeEntry, TreeIter};
use rustc_hash::FxHashMap;

use super::{Marks, Side, Walk};
use crate::error::Result;
use crate::objects::{Cached, Slot};
use crate::send::PackRequest;

/// New commits up to which this way is taken; and known ones that are passed to find them.
pub(super) const NEW_COMMITS_MAX: usize = 4096;

/// Wanted commits that are compared with what the client has when versions are looked for, and
/// folders in all.
const TIPS_MAX: usize = 16;
const FOLDERS_MAX: usize = 2048;

/// For objects to be sent: a version of them the client has.
pub(crate) type Versions = FxHashMap<Slot, Slot>;

/// A folder of a new commit, and what its parents have at its path.
struct Folder {
    slot: Slot,
    old: Vec<Old>,
    depth: u64,
}

/// A tree of a parent.
#[derive(Clone, Copy)]
struct Old {
    slot: Slot,
    /// The client has it, with all it holds.
    is_known: bool,
}

/// What parents have at the path of an entry.
type OldEntries = Vec<(ObjectId, bool, bool)>;

impl Walk<'_> {
    /// Whether a request may be answered this way: its history is cut nowhere, and what a filter
    /// lets pass does not depend on where it lies.
    pub(super) fn may_compare(&self, request: &PackRequest) -> bool {
        let whole = request.shallow.is_empty() && request.old_shallow.is_empty();
        whole
            && request.unshallowed.is_empty()
            && !request.own_history_cut
            && !request.haves.is_empty()
            && !self.sieve.needs_path()
            && !self.sieve.depends_on_depth()
    }

    /// Answers a request whose new commits are few. `false` when they are not: nothing but
    /// commits is marked then, and those rightly.
    pub(super) fn by_comparing(&mut self, request: &PackRequest) -> Result<bool> {
        let haves = self.tips(&request.haves, Side::Known)?;
        let wants = self.tips(&request.wants, Side::Wanted)?;
        let Some(new_commits) = self.paint(wants, haves, NEW_COMMITS_MAX)? else {
            return Ok(false);
        };
        for (id, slot) in self.ancestors_first(&new_commits)? {
            self.compare_commit(&id, slot, request.thin && request.filter.is_none())?;
        }
        Ok(true)
    }

    /// Notes what the client has of what is sent: the entries of wanted commits' trees beside
    /// those of the newest commit the client has. The new versions are those stored whole, and
    /// older ones deltas on them, so other commits tell little more.
    pub(super) fn note_versions(
        &mut self,
        wants: &[(ObjectId, Slot)],
        haves: &[(ObjectId, Slot)],
    ) -> Result<()> {
        let mut newest = None;
        for (id, slot) in haves {
            let commit = self.commit(id, *slot)?;
            if newest.as_ref().is_none_or(|(time, _)| *time < commit.time) {
                newest = Some((commit.time, commit.tree));
            }
        }
        let Some((_, old_root)) = newest else { return Ok(()) };
        let mut folders_left = FOLDERS_MAX;
        for (id, slot) in wants.iter().take(TIPS_MAX) {
            let root = self.commit(id, *slot)?.tree;
            let mut open = Vec::new();
            self.note_version_of(&root, &old_root, &mut open)?;
            while let Some((new, old)) = open.pop()
                && folders_left > 0
            {
                folders_left -= 1;
                self.note_versions_in(new, old, &mut open)?;
            }
        }
        Ok(())
    }

    /// Notes the versions of what changed in one folder.
    fn note_versions_in(
        &mut self,
        new: Slot,
        old: Slot,
        open: &mut Vec<(Slot, Slot)>,
    ) -> Result<()> {
        let (new_tree, old_tree) = (self.read(new, Kind::Tree)?, self.read(old, Kind::Tree)?);
        let mut changed = Vec::new();
        self.differences(new, &new_tree, &[(old_tree, true)], &mut changed)?;
        for (id, is_tree, old) in changed {
            let same_kind = old.iter().find(|(_, was_tree, _)| *was_tree == is_tree);
            let Some((old, ..)) = same_kind else { continue };
            match is_tree {
                true => self.note_version_of(&id, old, open)?,
                false => self.note_version_of(&id, old, &mut Vec::new())?,
            }
        }
        Ok(())
    }

    fn note_version_of(
        &mut self,
        new: &ObjectId,
        old: &ObjectId,
        open: &mut Vec<(Slot, Slot)>,
    ) -> Result<()> {
        if let (Some(new), Some(old)) = (self.slot(new)?, self.slot(old)?)
            && self.send.contains(new)
            && !self.known.contains(new)
        {
            self.known.insert(old);
            self.versions.insert(new, old);
            open.push((new, old));
        }
        Ok(())
    }

    /// The new commits, none before one of its parents.
    fn ancestors_first(&mut self, commits: &Marks) -> Result<Vec<(ObjectId, Slot)>> {
        let mut ordered = Vec::new();
        let mut entered = Marks::new(self.objects.packed_count());
        for tip in commits.iter() {
            // Each commit is on the stack twice: to enter its parents, then to come after them.
            let mut stack = vec![(self.objects.id(tip)?, tip, false)];
            while let Some((id, slot, parents_done)) = stack.pop() {
                if parents_done {
                    ordered.push((id, slot));
                    continue;
                }
                if !entered.insert(slot) {
                    continue;
                }
                stack.push((id, slot, true));
                for parent in self.commit(&id, slot)?.parents {
                    if let Some(slot) = self.slot(&parent)?
                        && commits.contains(slot)
                        && !entered.contains(slot)
                    {
                        stack.push((parent, slot, false));
                    }
                }
            }
        }
        Ok(ordered)
    }

    fn compare_commit(&mut self, id: &ObjectId, slot: Slot, versions: bool) -> Result<()> {
        let commit = self.commit(id, slot)?;
        if self.sieve.lets_commits_pass() {
            self.send.insert(slot);
        }
        self.report(1)?;
        if self.sieve.stops_at_commits() {
            return Ok(());
        }
        let Some(root) = self.slot_of_reachable(&commit.tree, Kind::Tree)? else { return Ok(()) };
        let mut old = Vec::new();
        for parent in &commit.parents {
            let Some(slot) = self.slot(parent)? else { continue };
            let is_known = self.known.contains(slot);
            let tree = self.commit(parent, slot)?.tree;
            if tree == commit.tree {
                return Ok(());
            }
            if let Some(slot) = self.slot(&tree)? {
                old.push(Old { slot, is_known });
            }
        }
        let mut open = Vec::new();
        self.changed_folder(root, old, 0, versions, &mut open);
        while let Some(folder) = open.pop() {
            self.compare_folder(&folder, versions, &mut open)?;
        }
        Ok(())
    }

    fn compare_folder(
        &mut self,
        folder: &Folder,
        versions: bool,
        open: &mut Vec<Folder>,
    ) -> Result<()> {
        let new = self.read(folder.slot, Kind::Tree)?;
        let mut old = Vec::with_capacity(folder.old.len());
        for tree in &folder.old {
            old.push((self.read(tree.slot, Kind::Tree)?, tree.is_known));
        }
        let mut changed = Vec::new();
        self.differences(folder.slot, &new, &old, &mut changed)?;
        let count = changed.len() as u64;
        for (id, is_tree, old) in changed {
            if is_tree {
                let Some(slot) = self.slot_of_reachable(&id, Kind::Tree)? else { continue };
                let mut old_trees = Vec::new();
                for (id, is_tree, is_known) in old {
                    if is_tree && let Some(slot) = self.slot(&id)? {
                        old_trees.push(Old { slot, is_known });
                    }
                }
                self.changed_folder(slot, old_trees, folder.depth + 1, versions, open);
            } else if self.sieve.wants_blobs_at(folder.depth + 1) {
                let Some(slot) = self.slot_of_reachable(&id, Kind::Blob)? else { continue };
                if self.new_blob(slot)?
                    && versions
                    && let Some((id, _, is_known)) = old.iter().find(|(_, is_tree, _)| !is_tree)
                    && let Some(old) = self.slot(id)?
                {
                    self.note_version(slot, Old { slot: old, is_known: *is_known });
                }
            }
        }
        self.report(count)
    }

    /// The entries of a tree that no parent has at the same place, each with what they have.
    fn differences(
        &self,
        slot: Slot,
        new: &Cached,
        old: &[(Cached, bool)],
        changed: &mut Vec<(ObjectId, bool, OldEntries)>,
    ) -> Result<()> {
        let hash = self.objects.hash();
        let mut sides: Vec<_> = old
            .iter()
            .map(|(tree, is_known)| (TreeIter::new(&tree.data, hash).peekable(), *is_known))
            .collect();
        for entry in TreeIter::new(&new.data, hash) {
            let entry = entry.map_err(|error| self.bad_tree(slot, error.to_string()))?;
            let mut found = OldEntries::new();
            let mut is_same = false;
            for (side, is_known) in &mut sides {
                // What cannot be read is like what is not there.
                let before = |old: &Result<TreeEntry<'_>, _>| {
                    old.as_ref().is_ok_and(|old| old.order(&entry).is_lt())
                };
                while side.next_if(before).is_some() {}
                let at = |old: &Result<TreeEntry<'_>, _>| {
                    old.as_ref().is_ok_and(|old| old.order(&entry).is_eq())
                };
                if let Some(Ok(old)) = side.next_if(at) {
                    is_same |= old.id == entry.id;
                    if !is_same {
                        found.push((old.oid(hash), old.mode.is_tree(), *is_known));
                    }
                }
            }
            if !is_same && !entry.mode.is_submodule() && self.sieve.cares_for(entry.mode) {
                changed.push((entry.oid(hash), entry.mode.is_tree(), found));
            }
        }
        Ok(())
    }

    /// Marks a folder that no parent has at its path, to be sent and looked into.
    fn changed_folder(
        &mut self,
        slot: Slot,
        old: Vec<Old>,
        depth: u64,
        versions: bool,
        open: &mut Vec<Folder>,
    ) {
        if !self.enter_tree(slot, depth) {
            return;
        }
        if versions && let Some(first) = old.first() {
            self.note_version(slot, *first);
        }
        open.push(Folder { slot, old, depth });
    }

    /// Notes what the client has of an object that is sent: a parent's version, or, when that is
    /// sent itself, what the client has of it.
    fn note_version(&mut self, new: Slot, old: Old) {
        let known = match self.send.contains(old.slot) {
            // Commits come after their parents: what a parent has and is not sent is not new.
            false => Some(old.slot),
            true if old.is_known => Some(old.slot),
            true => self.versions.get(&old.slot).copied(),
        };
        if let Some(known) = known.filter(|known| *known != new) {
            self.known.insert(known);
            self.versions.insert(new, known);
        }
    }
}
