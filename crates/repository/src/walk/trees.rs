//! Walking trees: what a commit's tree holds that has not been seen yet.
//!
//! The hot place of a clone without bitmaps: a long history has tens of millions of
//! tree entries, nearly all of them the same as in the tree before.

use bstr::ByteSlice as _;
use object::{EntryMode, Kind, ObjectId, TreeIter};

use super::{Marks, Side, Walk};
use crate::error::{Error, Result};
use crate::objects::Slot;

/// A tree still to be read.
struct PendingTree {
    slot: Slot,
    /// 0 for a commit's own tree.
    depth: u64,
}

impl Walk<'_> {
    /// Marks the new commits to be sent, and walks their trees in pack order, which for
    /// packs git writes is newest first: a tree and its base are then read together.
    pub(super) fn commit_trees(&mut self, commits: &Marks) -> Result<()> {
        for slot in in_pack_order(&self.units.clone(), commits)? {
            let slot = slot?;
            let id = self.objects.id(slot)?;
            if self.sieve.lets_commits_pass() {
                self.send.insert(slot);
            }
            if self.sieve.stops_at_commits() {
                continue;
            }
            let tree = self.commit(&id, slot)?.tree;
            if let Some(slot) = self.slot_of_reachable(&tree, Kind::Tree)? {
                self.new_tree(slot, 0)?;
            }
        }
        Ok(())
    }

    /// A tree that was asked for by its id: it is sent whatever the filter says.
    pub(super) fn wanted_tree(&mut self, slot: Slot, side: Side) -> Result<()> {
        match side {
            Side::Known => self.known_tree(slot),
            Side::Wanted => {
                self.new_tree(slot, 0)?;
                self.send.insert(slot);
                Ok(())
            }
        }
    }

    /// Marks a tree and all it holds as known to the client.
    pub(super) fn known_tree(&mut self, root: Slot) -> Result<()> {
        let hash = self.objects.hash();
        let mut stack = Vec::new();
        if self.known.insert(root) {
            stack.push(root);
        }
        while let Some(slot) = stack.pop() {
            let tree = self.read(slot, Kind::Tree)?;
            for entry in TreeIter::new(&tree.data, hash) {
                let entry = entry.map_err(|error| self.bad_tree(slot, error.to_string()))?;
                if entry.mode.is_submodule() || !self.sieve.cares_for(entry.mode) {
                    continue;
                }
                // Whoever has a tree may still lack parts of it, if it is a partial clone.
                let Some(found) = self.slot(&entry.oid(hash))? else { continue };
                if self.known.insert(found) && entry.mode.is_tree() {
                    stack.push(found);
                }
            }
        }
        Ok(())
    }

    fn new_tree(&mut self, root: Slot, depth: u64) -> Result<()> {
        if self.sieve.needs_path() {
            return self.new_tree_by_path(root);
        }
        let mut stack = Vec::new();
        if self.enter_tree(root, depth) {
            stack.push(PendingTree { slot: root, depth });
        }
        while let Some(pending) = stack.pop() {
            self.tree_entries(&pending, &mut stack)?;
        }
        Ok(())
    }

    /// Whether a tree met at this depth has to be read; marks it to be sent if so.
    fn enter_tree(&mut self, slot: Slot, depth: u64) -> bool {
        if self.known.contains(slot) || !self.sieve.enters_tree(slot, depth) {
            return false;
        }
        if !self.sieve.lets_trees_pass() {
            // Walked for what it holds, not sent itself.
            return self.sieve.first_visit(slot);
        }
        self.send.insert(slot) || self.sieve.is_deeper_look(slot)
    }

    fn tree_entries(&mut self, pending: &PendingTree, stack: &mut Vec<PendingTree>) -> Result<()> {
        let hash = self.objects.hash();
        let tree = self.read(pending.slot, Kind::Tree)?;
        let depth = pending.depth + 1;
        let by_depth = self.sieve.depends_on_depth();
        let mut new = 0;
        for entry in TreeIter::new(&tree.data, hash) {
            let entry = entry.map_err(|error| self.bad_tree(pending.slot, error.to_string()))?;
            if entry.mode.is_submodule() || !self.sieve.cares_for(entry.mode) {
                continue;
            }
            if !by_depth && self.recent.check_and_note(entry.id) {
                continue;
            }
            let id = entry.oid(hash);
            if entry.mode.is_tree() {
                let Some(slot) = self.slot_of_reachable(&id, Kind::Tree)? else { continue };
                if self.enter_tree(slot, depth) {
                    new += 1;
                    stack.push(PendingTree { slot, depth });
                }
            } else if self.sieve.wants_blobs_at(depth) {
                let Some(slot) = self.slot_of_reachable(&id, Kind::Blob)? else { continue };
                new += u64::from(self.new_blob(slot)?);
            }
        }
        self.report(new)
    }

    /// Marks a blob to be sent unless it is known or too big for the filter.
    fn new_blob(&mut self, slot: Slot) -> Result<bool> {
        if self.known.contains(slot) || self.send.contains(slot) {
            return Ok(false);
        }
        if let Some(limit) = self.sieve.blob_limit()
            && self.objects.header_of(slot)?.1 >= limit
        {
            return Ok(false);
        }
        Ok(self.send.insert(slot))
    }

    /// As [`Walk::new_tree`] for filters that look at paths (`sparse:oid`). A tree is done
    /// with only once nothing under it was left out: another path may let it pass.
    fn new_tree_by_path(&mut self, root: Slot) -> Result<()> {
        if self.sieve.enters_tree(root, 0) {
            self.tree_by_path(root, 0, b"")?;
        }
        Ok(())
    }

    /// Walks one tree; whether something under it was left out.
    fn tree_by_path(&mut self, slot: Slot, depth: u64, path: &[u8]) -> Result<bool> {
        /// Nesting at which a tree is refused instead of overflowing the stack.
        const TREE_DEPTH_MAX: u64 = 2048;
        if self.known.contains(slot) || self.sieve.is_complete(slot) {
            return Ok(false);
        }
        if depth > TREE_DEPTH_MAX {
            return Err(self.bad_tree(slot, "its folders are nested too deep".into()));
        }
        if self.sieve.lets_trees_pass() {
            self.send.insert(slot);
        }
        let hash = self.objects.hash();
        let tree = self.read(slot, Kind::Tree)?;
        let mut left_out = false;
        for entry in TreeIter::new(&tree.data, hash) {
            let entry = entry.map_err(|error| self.bad_tree(slot, error.to_string()))?;
            if entry.mode.is_submodule() || !self.sieve.cares_for(entry.mode) {
                continue;
            }
            let entry_path = [path, entry.name.as_bytes()].concat();
            left_out |= self.entry_by_path(&entry.oid(hash), entry.mode, depth + 1, entry_path)?;
        }
        if !left_out {
            self.sieve.set_complete(slot);
        }
        Ok(left_out)
    }

    fn entry_by_path(
        &mut self,
        id: &ObjectId,
        mode: EntryMode,
        depth: u64,
        mut path: Vec<u8>,
    ) -> Result<bool> {
        let kind = if mode.is_tree() { Kind::Tree } else { Kind::Blob };
        let Some(slot) = self.slot_of_reachable(id, kind)? else { return Ok(true) };
        if mode.is_tree() {
            if !self.sieve.enters_tree(slot, depth) {
                return Ok(true);
            }
            path.push(b'/');
            return self.tree_by_path(slot, depth, &path);
        }
        if !self.sieve.wants_blobs_at(depth) || !self.sieve.path_matches(&path) {
            return Ok(true);
        }
        self.new_blob(slot)?;
        Ok(false)
    }

    pub(super) fn bad_tree(&self, slot: Slot, reason: String) -> Error {
        match self.objects.id(slot) {
            Ok(id) => Error::BadObject { id, reason },
            Err(error) => error,
        }
    }
}

/// The packed members of a set in the order they lie in their packs, then the loose ones.
fn in_pack_order<'u>(
    units: &'u [crate::objects::Placed],
    marks: &'u Marks,
) -> Result<impl Iterator<Item = Result<Slot>> + 'u> {
    let packed = units
        .iter()
        .filter(|placed| {
            marks.count_packed(placed.first_slot, placed.first_slot + placed.count) > 0
        })
        .flat_map(move |placed| {
            (0..placed.count).map(move |bit| {
                let position = placed.unit.position_of_bit(bit)?;
                Ok(Slot(placed.first_slot + position))
            })
        })
        .filter(move |slot| match slot {
            Ok(slot) => marks.contains(*slot),
            Err(_) => true,
        });
    Ok(packed.chain(marks.iter_loose().map(Ok)))
}
