//! Reachability by bitmap: histories joined as sets of bits (git's `.bitmap`, after
//! JGit's; gitformat-pack(5), bitmap-format).

use std::collections::BinaryHeap;

use object::{Kind, ObjectId};
use pack::{BitSet, BitmapIndex};
use rustc_hash::FxHashSet;

use super::commits::Pending;
use super::known::Covered;
use super::pseudo_merges::Waiting;
use super::trees::first_entry;
use super::{Marks, Side, Walk};
use crate::error::{Error, Result};
use crate::filter::TypeSieve;
use crate::objects::{Placed, Slot};
use crate::send::PackRequest;

/// The number of the unit whose bitmap answers this request, if one does. Bitmaps know
/// whole histories only: a request that cuts history has to walk.
pub(super) fn usable(units: &[Placed], request: &PackRequest) -> Option<usize> {
    let whole = request.shallow.is_empty() && request.old_shallow.is_empty();
    let plain =
        request.filter.is_none() || super::Sieve::new(request.filter.as_ref()).by_type().is_some();
    if !whole || !plain || request.own_history_cut {
        return None;
    }
    units.iter().position(|placed| placed.unit.bitmap().is_some())
}

/// What one side reaches, while it is being found.
struct Joining<'b> {
    bitmap: &'b BitmapIndex,
    /// What was joined so far.
    joined: Covered,
    /// The bitmap that is being joined.
    scratch: BitSet,
    /// Groups of commits that have one bitmap together.
    waiting: Waiting<'b>,
}

impl<'b> Joining<'b> {
    fn new(placed: &Placed, bitmap: &'b BitmapIndex) -> Result<Self> {
        let joined = Covered { placed: placed.clone(), bits: new_bits(placed) };
        let waiting = Waiting::new(bitmap.pseudo_merges(), placed.count)?;
        Ok(Joining { bitmap, joined, scratch: BitSet::default(), waiting })
    }

    /// Joins what groups of these tips reach.
    fn join_groups(&mut self, tips: &[(ObjectId, Slot)]) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        for (_, slot) in tips {
            if let Some(bit) = self.joined.bit_of(*slot)? {
                self.waiting.reach(bit);
            }
        }
        self.waiting.join(&mut self.joined.bits)
    }

    /// Takes note of a commit whose parents are walked to. A group that waited for it may be
    /// complete now.
    fn walked(&mut self, slot: Slot) -> Result<()> {
        if !self.waiting.is_empty()
            && let Some(bit) = self.joined.bit_of(slot)?
            && self.waiting.reach(bit)
        {
            self.waiting.join(&mut self.joined.bits)?;
        }
        Ok(())
    }

    /// Joins the commit's bitmap; whether it has one.
    fn join(&mut self, slot: Slot) -> Result<bool> {
        let Placed { first_slot, count, .. } = self.joined.placed;
        let Some(position) = slot.0.checked_sub(first_slot).filter(|p| *p < count) else {
            return Ok(false);
        };
        let joined = &mut self.joined.bits;
        let found = self.bitmap.or_into(position, &mut self.scratch, joined);
        let found = found.map_err(Error::format("bitmap"))?;
        if found {
            self.waiting.join(joined)?;
        }
        Ok(found)
    }
}

impl Walk<'_> {
    pub(super) fn by_bitmaps(&mut self, unit: usize, request: &PackRequest) -> Result<()> {
        let placed = self.units[unit].clone();
        let unit = placed.unit.clone();
        let bitmap = unit.bitmap().expect("chosen because it has one");
        let haves = self.tips(&request.haves, Side::Known)?;
        if !haves.is_empty() {
            let mut joining = Joining::new(&placed, bitmap)?;
            let trees = self.join(&haves, Side::Known, &mut joining)?;
            self.known.cover(joining.joined);
            self.join_trees(&trees, Side::Known)?;
        }
        let wants = self.tips(&request.wants, Side::Wanted)?;
        let mut joining = Joining::new(&placed, bitmap)?;
        let trees = self.join(&wants, Side::Wanted, &mut joining)?;
        let mut new = joining.joined.bits;
        if let Some(known) = self.known.covered() {
            new.and_not(known);
        }
        let mut of_bitmap = Marks::new(self.objects.packed_count());
        insert_bits(&placed, &new, &mut of_bitmap)?;
        self.send.insert_all(&of_bitmap);
        self.join_trees(&trees, Side::Wanted)?;
        if request.thin && request.filter.is_none() {
            self.note_versions(&wants, &haves)?;
        }
        if request.filter.is_some() {
            let types = self.sieve.by_type().expect("checked before bitmaps were chosen");
            self.sift(&types, bitmap, (&placed, &new, &of_bitmap))?;
        }
        Ok(())
    }

    /// Joins what commits reach, newest first: the history of a newer commit covers most of the
    /// others. Commits without a bitmap are marked, and the trees that have to be read are
    /// handed back.
    fn join(
        &mut self,
        tips: &[(ObjectId, Slot)],
        side: Side,
        joining: &mut Joining<'_>,
    ) -> Result<Vec<ObjectId>> {
        joining.join_groups(tips)?;
        let is_tip: FxHashSet<Slot> = tips.iter().map(|(_, slot)| *slot).collect();
        let mut dated = BinaryHeap::new();
        let mut seen = FxHashSet::default();
        for (id, slot) in self.join_undated(tips, joining)? {
            if seen.insert(*slot) {
                dated.push(Pending::new(*id, *slot, self.commit_and_recency(id, *slot)?));
            }
        }
        // First what has a bitmap: it may cover newer tips without one, whose trees need not be read then.
        let mut queue = BinaryHeap::new();
        while let Some(tip) = dated.pop() {
            let is_done = self.is_settled(tip.slot, side) || joining.joined.contains(tip.slot)?;
            if !is_done && !joining.join(tip.slot)? {
                queue.push(tip);
            }
        }
        let mut trees = Vec::new();
        while let Some(Pending { slot, tree, parents, .. }) = queue.pop() {
            if self.is_settled(slot, side) || joining.joined.contains(slot)? {
                continue;
            }
            if joining.join(slot)? {
                self.report(0)?;
                continue;
            }
            self.mark(slot, side);
            joining.walked(slot)?;
            // Of what the client has, the tips and what the bitmaps cover are enough: what lies
            // between is hardly ever asked for again.
            if side == Side::Wanted || is_tip.contains(&slot) {
                trees.push(tree);
            }
            self.report(1)?;
            for parent in parents {
                match self.slot(&parent)? {
                    Some(slot) if !seen.insert(slot) => {}
                    Some(slot) if self.is_settled(slot, side) => {}
                    Some(slot) => {
                        let commit = self.commit_and_recency(&parent, slot)?;
                        queue.push(Pending::new(parent, slot, commit));
                    }
                    None if side == Side::Known || self.missing_allowed => {}
                    None => return Err(Error::Missing { id: parent, kind: Some(Kind::Commit) }),
                }
            }
        }
        Ok(trees)
    }

    /// Joins the bitmaps of tips whose dates are not known without reading them, and gives the
    /// tips that are still to be looked at. Packs hold the newest commits first, so that here too
    /// most tips are covered by those before them.
    fn join_undated<'t>(
        &mut self,
        tips: &'t [(ObjectId, Slot)],
        joining: &mut Joining<'_>,
    ) -> Result<Vec<&'t (ObjectId, Slot)>> {
        if self.objects.graph().is_some() {
            return Ok(tips.iter().collect());
        }
        let mut placed = Vec::with_capacity(tips.len());
        for tip in tips {
            placed.push((joining.joined.bit_of(tip.1)?.unwrap_or(u32::MAX), tip));
        }
        placed.sort_unstable_by_key(|(bit, _)| *bit);
        let mut left = Vec::new();
        for (bit, tip) in placed {
            if !joining.joined.bits.get(bit) && !joining.join(tip.1)? {
                left.push(tip);
            }
        }
        self.report(0)?;
        Ok(left)
    }

    /// Whether a commit and all it reaches are already accounted for on this side.
    fn is_settled(&self, slot: Slot, side: Side) -> bool {
        self.known.contains(slot) || (side == Side::Wanted && self.send.contains(slot))
    }

    fn join_trees(&mut self, trees: &[ObjectId], side: Side) -> Result<()> {
        trees.iter().try_for_each(|tree| self.join_tree(tree, side))
    }

    /// Marks a tree and all it holds, skipping what is marked already.
    fn join_tree(&mut self, id: &ObjectId, side: Side) -> Result<()> {
        let hash = self.objects.hash();
        let mut stack = Vec::new();
        if let Some(slot) = self.slot_for(side, id, Kind::Tree)?
            && !self.is_settled(slot, side)
        {
            self.mark(slot, side);
            stack.push(slot);
        }
        while let Some(slot) = stack.pop() {
            let scan = self.scan(slot)?;
            for entry in scan.fresh() {
                let entry = first_entry(entry, hash).map_err(|e| self.bad_tree(slot, e))?;
                if entry.mode.is_submodule() {
                    continue;
                }
                let is_tree = entry.mode.is_tree();
                let kind = if is_tree { Kind::Tree } else { Kind::Blob };
                let Some(slot) = self.slot_for(side, &entry.oid(hash), kind)? else { continue };
                if !self.is_settled(slot, side) {
                    self.mark(slot, side);
                    if is_tree {
                        stack.push(slot);
                    }
                }
            }
        }
        Ok(())
    }

    fn slot_for(&self, side: Side, id: &ObjectId, kind: Kind) -> Result<Option<Slot>> {
        match side {
            Side::Known => self.slot(id),
            Side::Wanted => self.slot_of_reachable(id, kind),
        }
    }

    /// Takes out what the filter leaves out: by the bitmap's type sets of what the bitmaps said,
    /// as bits and as marks, and by the object's header of what was met by walking.
    fn sift(
        &mut self,
        types: &TypeSieve,
        bitmap: &BitmapIndex,
        (placed, new, of_bitmap): (&Placed, &BitSet, &Marks),
    ) -> Result<()> {
        let mut dropped = Marks::new(self.objects.packed_count());
        let passing = [
            (Kind::Commit, types.commits),
            (Kind::Tree, types.trees),
            (Kind::Blob, types.blobs),
            (Kind::Tag, types.tags),
        ];
        for (kind, passes) in passing {
            let is_measured = kind == Kind::Blob && types.blob_limit.is_some();
            if passes && !is_measured {
                continue;
            }
            let mut bits = new_bits(placed);
            let of_kind = bitmap.kind_bitmap(kind);
            of_kind
                .and_then(|of_kind| of_kind.or_into(&mut bits))
                .map_err(Error::format("bitmap"))?;
            bits.and(new);
            let mut of_kind = Marks::new(self.objects.packed_count());
            insert_bits(placed, &bits, &mut of_kind)?;
            for slot in of_kind.iter() {
                if !passes || self.too_big(slot, types)? {
                    dropped.insert(slot);
                }
            }
        }
        let mut walked = self.send.clone();
        walked.and_not(of_bitmap);
        for slot in walked.iter() {
            let (kind, size) = self.objects.header_of(slot)?;
            let passes = passing.iter().any(|(k, passes)| *k == kind && *passes);
            let too_big = kind == Kind::Blob && types.blob_limit.is_some_and(|limit| size >= limit);
            if !passes || too_big {
                dropped.insert(slot);
            }
        }
        self.send.and_not(&dropped);
        Ok(())
    }

    fn too_big(&self, slot: Slot, types: &TypeSieve) -> Result<bool> {
        match types.blob_limit {
            Some(limit) if self.send.contains(slot) => Ok(self.objects.header_of(slot)?.1 >= limit),
            _ => Ok(false),
        }
    }
}

fn new_bits(placed: &Placed) -> BitSet {
    BitSet::new(placed.count)
}

/// Adds what bits stand for to marks that have nothing of the unit yet.
fn insert_bits(placed: &Placed, bits: &BitSet, marks: &mut Marks) -> Result<()> {
    let Placed { first_slot, count, unit } = placed;
    if bits.count() <= count / 2 {
        return unit.positions_of_bits(bits, |position| {
            marks.insert(Slot(first_slot + position));
        });
    }
    // Each bit has to be looked up; a clone leaves few of them out.
    marks.insert_packed(*first_slot..first_slot + count);
    let mut others = BitSet::full(*count);
    others.and_not(bits);
    unit.positions_of_bits(&others, |position| marks.remove(Slot(first_slot + position)))
}
