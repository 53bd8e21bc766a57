//! What to send, as few pieces: stored bytes copied as they lie wherever that is right.
//!
//! A delta is sent only when its base is sent too, or when the client is known to have
//! the base and asked for a thin pack. Deltas reach for bases in packs of the same or an
//! earlier rank only, so no ring of deltas can come about across packs.

use std::sync::Arc;

use object::ObjectId;
use pack::BitSet;
use pack::entry::{EntryHeader, EntryKind};

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::objects::{Objects, PackHandle, Placed, Slot, delta_result_size};
use crate::progress::{Progress, Stage};
use crate::stream::PackStream;
use crate::walk::{self, Reached, Versions};

/// What a client asks for, and what it has.
#[derive(Debug, Clone, Default)]
pub struct PackRequest {
    /// What it wants, with all it reaches.
    pub wants: Vec<ObjectId>,
    /// What it has, with all that reaches.
    pub haves: Vec<ObjectId>,
    /// Where its history ends after this fetch.
    pub shallow: Vec<ObjectId>,
    /// Where its history ends now.
    pub old_shallow: Vec<ObjectId>,
    /// Those of them whose parents it is given: it has the commits themselves.
    pub unshallowed: Vec<ObjectId>,
    /// What it wants left out.
    pub filter: Option<Filter>,
    /// Deltas may have bases it has.
    pub thin: bool,
    /// It understands deltas that name their base by distance.
    pub ofs_delta: bool,
    /// Tags to send when what they name is sent: the tag and what it peels to.
    pub include_tag: Vec<(ObjectId, ObjectId)>,
    /// The repository is a partial clone: objects it lacks are passed over.
    pub missing_allowed: bool,
    /// The repository is a shallow clone itself, so that whole-history bitmaps do not hold.
    pub own_history_cut: bool,
}

/// What to send.
pub struct PackPlan {
    pub(crate) objects: Objects,
    pub(crate) packs: Vec<Arc<PackHandle>>,
    pub(crate) pieces: Vec<Piece>,
    /// For objects to send: a version of them the client has.
    pub(crate) versions: Versions,
    count: u32,
    reuse: Reuse,
}

/// How much of a plan is copied from stored packs, in objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reuse {
    /// Copied in all.
    pub objects: u32,
    /// Of these, deltas among those that were picked one by one.
    pub deltas: u32,
    /// Of these, sent with the whole pack they lie in: nobody counted the deltas there.
    pub in_whole_packs: u32,
    /// How many packs are sent whole.
    pub whole_packs: u32,
}

/// A part of the pack to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Piece {
    /// Entries copied as they lie: pack number, first and past-the-end offset.
    Range { pack: u32, start: u64, end: u64 },
    /// A delta whose base comes before it at another distance: the header is made anew.
    Moved { pack: u32, start: u64, end: u64 },
    /// A delta whose base is named by its id.
    Named { pack: u32, start: u64, end: u64 },
    /// A packed object whose delta's base is not at hand: rebuilt and sent whole.
    Whole { pack: u32, start: u64 },
    /// An object of which the client has another version: a delta on that, if it is smaller than
    /// what is stored, or what is stored cannot be sent.
    Fresh { pack: u32, start: u64, end: u64, slot: Slot, stored: bool },
    /// A loose object.
    Loose(Slot),
}

impl Piece {
    /// Pack number, first and past-the-end offset of what the piece stands for.
    fn extent(&self) -> Option<(u32, u64, u64)> {
        match *self {
            Piece::Range { pack, start, end }
            | Piece::Moved { pack, start, end }
            | Piece::Named { pack, start, end }
            | Piece::Fresh { pack, start, end, .. } => Some((pack, start, end)),
            Piece::Whole { pack, start } => Some((pack, start, start + 1)),
            Piece::Loose(_) => None,
        }
    }
}

/// Decides what a request gets.
///
/// # Errors
/// [`Error::Missing`] when the repository lacks something it should have, and whatever the
/// storage or the listener of `progress` answers.
pub fn plan(
    objects: &Objects,
    request: &PackRequest,
    progress: &mut dyn Progress,
) -> Result<PackPlan> {
    let reached = walk::reached(objects, request, progress)?;
    let count = u32::try_from(reached.send.count()).map_err(|_| Error::Limit {
        setting: "objects per pack",
        limit: u64::from(u32::MAX),
        what: "the answer has more objects than a pack can hold".into(),
    })?;
    let mut planner = Planner {
        reached,
        thin: request.thin,
        packs: Vec::new(),
        pieces: Vec::new(),
        pack_pieces_from: 0,
        objects: objects.clone(),
        ofs_delta: request.ofs_delta,
        fresh_bytes_left: objects.settings().fresh_delta_bytes_max,
        reuse: Reuse::default(),
    };
    planner.packed()?;
    planner.loose()?;
    progress.finish(Stage::Counting, u64::from(count))?;
    let Planner { packs, pieces, reuse, reached: Reached { versions, .. }, .. } = planner;
    Ok(PackPlan { objects: objects.clone(), packs, pieces, versions, count, reuse })
}

impl PackPlan {
    /// How many objects the pack will hold.
    pub fn object_count(&self) -> u32 {
        self.count
    }

    /// How many of them are copied as they are stored.
    pub fn reuse(&self) -> Reuse {
        self.reuse
    }

    /// Bytes of the pack that are known before it is made: those that are copied.
    pub fn bytes_min(&self) -> u64 {
        let copied = |piece: &Piece| match piece {
            Piece::Range { start, end, .. }
            | Piece::Moved { start, end, .. }
            | Piece::Named { start, end, .. } => end - start,
            Piece::Whole { .. } | Piece::Fresh { .. } | Piece::Loose(_) => 0,
        };
        self.pieces.iter().map(copied).sum()
    }

    /// Bytes of memory the pack's making holds, beside its cache of rebuilt objects.
    pub fn held_bytes(&self) -> usize {
        self.pieces.len() * (size_of::<Piece>() + PackStream::BYTES_PER_PIECE)
            + self.versions.len() * 2 * size_of::<(Slot, Slot)>()
            + PackStream::BUFFERS_BYTES
    }

    /// The pack, piece by piece.
    pub fn into_stream(self) -> PackStream {
        PackStream::new(self)
    }
}

/// A delta would save little of smaller objects.
const FRESH_BYTES_MIN: u64 = 128;
/// Or of what is stored in fewer bytes.
const FRESH_STORED_BYTES_MIN: u64 = 256;

/// Fewer than one object in so many: they are looked up one by one.
const FEW: u64 = 16;

struct Planner {
    objects: Objects,
    reached: Reached,
    thin: bool,
    ofs_delta: bool,
    packs: Vec<Arc<PackHandle>>,
    pieces: Vec<Piece>,
    /// Where the present pack's pieces begin.
    pack_pieces_from: usize,
    /// Bytes of objects deltas may still be made for.
    fresh_bytes_left: u64,
    reuse: Reuse,
}

impl Planner {
    /// Loose objects; versions are kept for those a delta is to be made for.
    fn loose(&mut self) -> Result<()> {
        let loose: Vec<Slot> = self.reached.send.iter_loose().collect();
        for slot in loose {
            if self.thin && self.reached.versions.contains_key(&slot) {
                let size = self.objects.header_of(slot)?.1;
                if !self.may_make_delta(size) {
                    self.reached.versions.remove(&slot);
                }
            }
            self.pieces.push(Piece::Loose(slot));
        }
        Ok(())
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

    fn packed(&mut self) -> Result<()> {
        for placed in self.objects.units().iter() {
            let last = placed.first_slot + placed.count;
            let selected = self.reached.send.count_packed(placed.first_slot, last);
            if selected == 0 {
                continue;
            }
            if selected * FEW < u64::from(placed.count) {
                self.few_entries(placed)?;
                continue;
            }
            for (pack, selected) in placed.unit.packs().iter().zip(self.selected(placed)?) {
                if selected.is_empty() {
                    continue;
                }
                self.packs.push(pack.clone());
                self.pack_pieces_from = self.pieces.len();
                if self.ofs_delta && selected.count() == pack.index()?.count() {
                    let pack_number = self.packs.len() as u32 - 1;
                    let end = pack.entries_end();
                    self.pieces.push(Piece::Range { pack: pack_number, start: 12, end });
                    self.reuse.objects += selected.count();
                    self.reuse.in_whole_packs += selected.count();
                    self.reuse.whole_packs += 1;
                    continue;
                }
                self.pack_entries(placed, pack, &selected)?;
            }
        }
        Ok(())
    }

    /// For each pack of a unit, which positions of its own index are sent from it.
    ///
    /// Under a multi-pack-index every pack's index is passed through once, side by side with the
    /// index of all: both are in the order of ids, so nothing is searched for.
    fn selected(&self, placed: &Placed) -> Result<Vec<BitSet>> {
        let packs = placed.unit.packs();
        let mut selected = Vec::with_capacity(packs.len());
        for pack in packs {
            selected.push(BitSet::new(pack.index()?.count()));
        }
        let single = placed.unit.is_one_pack();
        let mut next = vec![0; packs.len()];
        for slot in self.reached.send.iter_packed(placed.first_slot, placed.count) {
            let position = slot.0 - placed.first_slot;
            if single {
                selected[0].set(position);
                continue;
            }
            let number = placed.unit.pack_number(position)?;
            let (index, id) = (packs[number].index()?, placed.unit.id_at(position)?);
            while next[number] < index.count() && index.id_bytes_at(next[number]) < id.as_bytes() {
                next[number] += 1;
            }
            if next[number] == index.count() || index.id_bytes_at(next[number]) != id.as_bytes() {
                return Err(packs[number].corrupt("the multi-pack-index names an object it lacks"));
            }
            selected[number].set(next[number]);
        }
        Ok(selected)
    }

    /// The selected entries of one pack, in pack order.
    fn pack_entries(
        &mut self,
        placed: &Placed,
        pack: &Arc<PackHandle>,
        selected: &BitSet,
    ) -> Result<()> {
        let number = self.packs.len() as u32 - 1;
        let single = placed.unit.is_one_pack();
        // Whose slots are of interest only where deltas may be made.
        let by_slot = self.thin && !self.reached.versions.is_empty();
        for at in 0..pack.index()?.count() {
            let own = pack.own_position(at)?;
            if !selected.get(own) {
                continue;
            }
            let extent = (pack.offset_in_order(at)?, pack.offset_in_order(at + 1)?);
            let slot = match (by_slot, single) {
                (false, _) => None,
                (true, true) => Some(Slot(placed.first_slot + own)),
                (true, false) => {
                    let position = placed.unit.position(&pack.index()?.id_at(own))?;
                    position.map(|position| Slot(placed.first_slot + position))
                }
            };
            self.entry((pack, number), extent, slot)?;
        }
        Ok(())
    }

    /// As [`Planner::pack_entries`] for all packs of a unit of which little is selected: the
    /// selected objects are looked up and sorted instead of all being passed in review.
    fn few_entries(&mut self, placed: &Placed) -> Result<()> {
        let mut places = Vec::new();
        for slot in self.reached.send.iter_packed(placed.first_slot, placed.count) {
            let (pack, offset) = placed.unit.place(slot.0 - placed.first_slot)?;
            let packs = placed.unit.packs();
            let number = packs.iter().position(|other| other.serial == pack.serial);
            places.push((number.expect("a unit reads from its own packs"), offset, slot));
        }
        places.sort_unstable();
        let mut present = None;
        for (number, start, slot) in places {
            let pack = placed.unit.packs()[number].clone();
            if present != Some(number) {
                present = Some(number);
                self.packs.push(pack.clone());
                self.pack_pieces_from = self.pieces.len();
            }
            let end = pack.entry_end(start)?;
            self.entry((&pack, self.packs.len() as u32 - 1), (start, end), Some(slot))?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        (pack, number): (&Arc<PackHandle>, u32),
        (start, end): (u64, u64),
        slot: Option<Slot>,
    ) -> Result<()> {
        let header = parse_header(pack, start)?;
        let piece = match header.kind {
            EntryKind::Base(_) => Piece::Range { pack: number, start, end },
            EntryKind::RefDelta { base } if self.base_usable(&base)? => {
                Piece::Range { pack: number, start, end }
            }
            EntryKind::RefDelta { .. } => Piece::Whole { pack: number, start },
            EntryKind::OfsDelta { .. } => self.distance_delta(pack, number, start, end, &header)?,
        };
        if self.thin
            && let Some(slot) = slot.filter(|slot| self.reached.versions.contains_key(slot))
            && let Some(fresh) = self.fresh((pack, number), (start, end), slot, &header, &piece)?
        {
            self.pieces.push(fresh);
            return Ok(());
        }
        if !matches!(piece, Piece::Whole { .. }) {
            self.reuse.objects += 1;
            self.reuse.deltas += u32::from(!matches!(header.kind, EntryKind::Base(_)));
        }
        if let (Piece::Range { start, end, .. }, Some(Piece::Range { pack, end: open_end, .. })) =
            (piece, self.pieces.last_mut())
            && *pack == number
            && *open_end == start
        {
            *open_end = end;
        } else {
            self.pieces.push(piece);
        }
        Ok(())
    }

    /// The entry as a delta on the version the client has, when that is worth it: instead of an
    /// object stored whole, or of a delta on something else the client has, as long as the budget
    /// lasts; instead of an object that must be deflated anew, always.
    fn fresh(
        &mut self,
        (pack, number): (&Arc<PackHandle>, u32),
        (start, end): (u64, u64),
        slot: Slot,
        header: &EntryHeader,
        piece: &Piece,
    ) -> Result<Option<Piece>> {
        let stored = !matches!(piece, Piece::Whole { .. });
        let is_whole = matches!(header.kind, EntryKind::Base(_));
        if stored && !is_whole && !matches!(piece, Piece::Named { .. }) {
            return Ok(None);
        }
        if stored {
            if end - start < FRESH_STORED_BYTES_MIN || self.fresh_bytes_left == 0 {
                return Ok(None);
            }
            let size = match is_whole {
                true => header.size,
                false => delta_result_size(pack, start, header)?,
            };
            if !self.may_make_delta(size) {
                return Ok(None);
            }
        }
        Ok(Some(Piece::Fresh { pack: number, start, end, slot, stored }))
    }

    fn distance_delta(
        &self,
        pack: &Arc<PackHandle>,
        number: u32,
        start: u64,
        end: u64,
        header: &EntryHeader,
    ) -> Result<Piece> {
        let base = header.base_offset(start).map_err(pack.named())?;
        let base = base.ok_or_else(|| pack.corrupt("a delta without a base"))?;
        if !self.ofs_delta {
            let id = pack.id_at_offset(base)?;
            return Ok(match self.base_usable(&id)? {
                true => Piece::Named { pack: number, start, end },
                false => Piece::Whole { pack: number, start },
            });
        }
        // In the run that is being built, nothing between base and delta was left out.
        if let Some(Piece::Range { pack, start: run_start, end: run_end }) = self.pieces.last()
            && *pack == number
            && *run_end == start
            && *run_start <= base
        {
            return Ok(Piece::Range { pack: number, start, end });
        }
        if self.is_planned(base) {
            return Ok(Piece::Moved { pack: number, start, end });
        }
        let id = pack.id_at_offset(base)?;
        Ok(match self.base_usable(&id)? {
            true => Piece::Named { pack: number, start, end },
            false => Piece::Whole { pack: number, start },
        })
    }

    /// Whether the entry at `offset` of the present pack is among the pieces.
    fn is_planned(&self, offset: u64) -> bool {
        let pieces = &self.pieces[self.pack_pieces_from..];
        let after = pieces
            .partition_point(|piece| piece.extent().is_some_and(|(_, start, _)| start <= offset));
        after > 0 && pieces[after - 1].extent().is_some_and(|(_, _, end)| offset < end)
    }

    /// Whether a delta may name this base: it is sent too, or the client has it.
    fn base_usable(&self, base: &ObjectId) -> Result<bool> {
        let Some(slot) = self.objects.slot(base)? else { return Ok(false) };
        Ok(self.reached.send.contains(slot) || (self.thin && self.reached.known.contains(slot)))
    }
}

fn parse_header(pack: &PackHandle, offset: u64) -> Result<EntryHeader> {
    match pack.map() {
        Some(map) if offset < pack.entries_end() => {
            EntryHeader::parse(&map[offset as usize..pack.entries_end() as usize], pack.hash)
                .map_err(pack.named())
        }
        _ => crate::objects::entry_header(pack, offset),
    }
}
