//! Walking trees: what a commit's tree holds that has not been seen yet.
//!
//! The hot place of a clone without bitmaps: a long history has tens of millions of
//! tree entries, nearly all of them the same as in the tree before.

use bstr::ByteSlice as _;
use object::{EntryMode, HashKind, Kind, ObjectId, TreeEntry, TreeIter};

use super::tree_scan::Scan;
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
            let tree = self.commit(&id, slot)?.tree;
            self.new_commit(slot, &tree)?;
        }
        Ok(())
    }

    /// Marks a new commit to be sent, and what its tree holds.
    pub(super) fn new_commit(&mut self, slot: Slot, tree: &ObjectId) -> Result<()> {
        if self.sieve.lets_commits_pass() {
            self.send.insert(slot);
        }
        if !self.sieve.stops_at_commits()
            && let Some(slot) = self.slot_of_reachable(tree, Kind::Tree)?
        {
            self.new_tree(slot, 0)?;
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
            let scan = self.scan(slot)?;
            for entry in scan.fresh() {
                let entry = first_entry(entry, hash).map_err(|e| self.bad_tree(slot, e))?;
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
    pub(super) fn enter_tree(&mut self, slot: Slot, depth: u64) -> bool {
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
        let mut new = 0;
        if self.sieve.depends_on_depth() {
            // What an entry means depends on where its tree lies: every entry counts.
            let tree = self.read(pending.slot, Kind::Tree)?;
            for entry in TreeIter::new(&tree.data, hash) {
                let entry = entry.map_err(|e| self.bad_tree(pending.slot, e.to_string()))?;
                new += self.new_entry(&entry, pending.depth + 1, stack)?;
            }
            return self.report(new);
        }
        let scan = self.scan(pending.slot)?;
        for entry in scan.fresh() {
            let entry = first_entry(entry, hash).map_err(|e| self.bad_tree(pending.slot, e))?;
            let recent = match entry.mode.is_tree() {
                true => &mut self.recent_trees,
                false => &mut self.recent_blobs,
            };
            if !recent.check_and_note(entry.id) {
                new += self.new_entry(&entry, pending.depth + 1, stack)?;
            }
        }
        self.report(new)
    }

    /// Marks what an entry names; how many objects are new.
    fn new_entry(
        &mut self,
        entry: &TreeEntry<'_>,
        depth: u64,
        stack: &mut Vec<PendingTree>,
    ) -> Result<u64> {
        if entry.mode.is_submodule() || !self.sieve.cares_for(entry.mode) {
            return Ok(0);
        }
        let id = entry.oid(self.objects.hash());
        if entry.mode.is_tree() {
            let Some(slot) = self.slot_of_reachable(&id, Kind::Tree)? else { return Ok(0) };
            let entered = self.enter_tree(slot, depth);
            if entered {
                stack.push(PendingTree { slot, depth });
            }
            return Ok(u64::from(entered));
        }
        if !self.sieve.wants_blobs_at(depth) {
            return Ok(0);
        }
        let Some(slot) = self.slot_of_reachable(&id, Kind::Blob)? else { return Ok(0) };
        Ok(u64::from(self.new_blob(slot)?))
    }

    pub(super) fn scan(&mut self, slot: Slot) -> Result<Scan> {
        let (send, known) = (&self.send, &self.known);
        let is_walked = |slot| send.contains(slot) || known.contains(slot);
        self.scanner.scan(self.objects, &mut self.reader, slot, is_walked)
    }

    /// Marks a blob to be sent unless it is known or too big for the filter.
    pub(super) fn new_blob(&mut self, slot: Slot) -> Result<bool> {
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
pub(crate) fn in_pack_order<'u>(
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

/// The entry at the beginning of some bytes of a tree.
pub(crate) fn first_entry(
    bytes: &[u8],
    hash: HashKind,
) -> std::result::Result<TreeEntry<'_>, String> {
    match TreeIter::new(bytes, hash).next() {
        Some(entry) => entry.map_err(|error| error.to_string()),
        None => Err("it ends too early".into()),
    }
}
