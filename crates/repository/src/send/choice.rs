//! How each object leaves: as it is stored, with another header, or made anew.

use std::sync::Arc;

use object::ObjectId;
use pack::entry::{EntryHeader, EntryKind};

use super::extents::Extent;
use super::sent::Sent;
use super::{PackPlan, Reuse};
use crate::error::Result;
use crate::objects::{Objects, PackHandle, Slot, delta_result_size};
use crate::walk::Reached;

/// A delta would save little of smaller objects.
const FRESH_BYTES_MIN: u64 = 128;
/// Or of what is stored in fewer bytes.
const FRESH_STORED_BYTES_MIN: u64 = 256;
/// A stored delta that is smaller than its object by this factor is a good one already: another
/// saves little, for the work of rebuilding the object and its base.
const GOOD_DELTA: u64 = 16;

/// How a stored entry leaves.
#[derive(Debug, Clone, Copy)]
pub(super) enum Piece {
    /// Copied as it lies.
    AsStored,
    /// A delta whose base comes before it at another distance: the header is made anew.
    Moved { base_at: u64 },
    /// A delta whose base is named by its id.
    Named { base: ObjectId },
    /// A delta whose base is not at hand: rebuilt and sent whole.
    Whole,
    /// An object of which the client has another version: a delta on that, if it is smaller than
    /// what is stored; or else what is stored.
    Fresh { slot: Slot, stored: Stored },
}

/// What is stored of an object a delta may be made for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stored {
    /// The object, whole.
    Whole,
    /// A delta on this object.
    Named(ObjectId),
    /// It cannot be sent.
    Unusable,
}

/// Decides how objects leave.
pub(super) struct Chooser {
    objects: Objects,
    reached: Arc<Reached>,
    thin: bool,
    ofs_delta: bool,
    /// Bytes of objects deltas may still be made for.
    fresh_bytes_left: u64,
    pub reuse: Reuse,
}

impl Chooser {
    pub fn new(plan: &PackPlan) -> Self {
        Chooser {
            objects: plan.objects.clone(),
            reached: plan.reached.clone(),
            thin: plan.thin,
            ofs_delta: plan.ofs_delta,
            fresh_bytes_left: plan.objects.settings().fresh_delta_bytes_max,
            reuse: Reuse::default(),
        }
    }

    /// How an entry leaves that would begin at `at` of the new pack if it is copied.
    pub fn piece(
        &mut self,
        pack: &Arc<PackHandle>,
        (extent, slot): (&Extent, Option<Slot>),
        header: &EntryHeader,
        (sent, at): (&Sent, u64),
    ) -> Result<Piece> {
        let piece = match header.kind {
            EntryKind::Base(_) => Piece::AsStored,
            EntryKind::RefDelta { base } if self.base_usable(&base)? => Piece::AsStored,
            EntryKind::RefDelta { .. } => Piece::Whole,
            EntryKind::OfsDelta { .. } => self.distance_delta(pack, extent, header, (sent, at))?,
        };
        if self.thin
            && let Some(slot) = slot.filter(|slot| self.reached.versions.contains_key(slot))
            && let Some(fresh) = self.fresh(pack, extent, slot, header, &piece)?
        {
            return Ok(fresh);
        }
        if !matches!(piece, Piece::Whole) {
            self.reuse.objects += 1;
            self.reuse.deltas += u32::from(header.kind.is_delta());
        }
        Ok(piece)
    }

    /// A pack leaves as it lies.
    pub fn whole_pack(&mut self, objects: u32) {
        self.reuse.objects += objects;
        self.reuse.in_whole_packs += objects;
        self.reuse.whole_packs += 1;
    }

    /// Whether a delta may be made for a loose object.
    pub fn loose_as_delta(&mut self, slot: Slot) -> Result<bool> {
        if !self.thin || !self.reached.versions.contains_key(&slot) {
            return Ok(false);
        }
        let size = self.objects.header_of(slot)?.1;
        Ok(self.may_make_delta(size))
    }

    /// Whether a delta is made for an object of this size in place of stored bytes. The first
    /// object that goes past the budget ends it.
    fn may_make_delta(&mut self, size: u64) -> bool {
        if size < FRESH_BYTES_MIN {
            return false;
        }
        let left = self.fresh_bytes_left.checked_sub(size);
        self.fresh_bytes_left = left.unwrap_or(0);
        left.is_some()
    }

    /// The entry as a delta on the version the client has, when that is worth it: instead of an
    /// object stored whole, or of a delta on something else the client has, as long as the budget
    /// lasts; instead of an object that must be deflated anew, always.
    fn fresh(
        &mut self,
        pack: &PackHandle,
        extent: &Extent,
        slot: Slot,
        header: &EntryHeader,
        piece: &Piece,
    ) -> Result<Option<Piece>> {
        let stored = match piece {
            Piece::AsStored if !header.kind.is_delta() => Stored::Whole,
            Piece::Named { base } => Stored::Named(*base),
            Piece::Whole => return Ok(Some(Piece::Fresh { slot, stored: Stored::Unusable })),
            Piece::AsStored | Piece::Moved { .. } | Piece::Fresh { .. } => return Ok(None),
        };
        if extent.end - extent.start < FRESH_STORED_BYTES_MIN || self.fresh_bytes_left == 0 {
            return Ok(None);
        }
        let size = match stored {
            Stored::Whole => header.size,
            _ => delta_result_size(pack, extent.start, header)?,
        };
        if matches!(stored, Stored::Named(_)) && (extent.end - extent.start) * GOOD_DELTA < size {
            return Ok(None);
        }
        Ok(self.may_make_delta(size).then_some(Piece::Fresh { slot, stored }))
    }

    fn distance_delta(
        &self,
        pack: &PackHandle,
        extent: &Extent,
        header: &EntryHeader,
        (sent, at): (&Sent, u64),
    ) -> Result<Piece> {
        let base = header.base_offset(extent.start).map_err(pack.named())?;
        let base = base.ok_or_else(|| pack.corrupt("a delta without a base"))?;
        if self.ofs_delta
            && let Some(base_at) = sent.place_of(extent.pack, base)
        {
            return Ok(match at - base_at == extent.start - base {
                true => Piece::AsStored,
                false => Piece::Moved { base_at },
            });
        }
        let base = pack.id_at_offset(base)?;
        Ok(match self.base_usable(&base)? {
            true => Piece::Named { base },
            false => Piece::Whole,
        })
    }

    /// Whether a delta may name this base: it is sent too, or the client has it.
    fn base_usable(&self, base: &ObjectId) -> Result<bool> {
        let Some(slot) = self.objects.slot(base)? else { return Ok(false) };
        Ok(self.reached.send.contains(slot) || (self.thin && self.reached.known.contains(slot)))
    }
}
