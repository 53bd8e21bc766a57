//! Which stored entries are sent, in the order they leave: told by indexes alone, without a
//! byte of a pack.

use std::collections::VecDeque;
use std::sync::Arc;
use std::vec;

use pack::BitSet;

use crate::error::Result;
use crate::objects::{PackHandle, Placed, Slot};
use crate::walk::Marks;

/// Entries that are looked up at once. Neighbours in a pack lie anywhere in its index: asked for one
/// behind the other, without other work in between, the processor waits for many of them together.
const WINDOW: usize = 128;

/// Fewer than one object of a unit in so many: they are looked up one by one.
const FEW: u64 = 16;

/// A part of a stored pack that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Which of the packs that something is sent from, in the order they are come to.
    pub pack: u32,
    /// Its first byte.
    pub start: u64,
    /// The first byte after it.
    pub end: u64,
    pub holds: Holds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// All entries of a pack; how many they are.
    Pack(u32),
    /// One entry, and the slot of its object where that is of interest.
    Entry(Option<Slot>),
}

/// The packed objects of a set as parts of the packs they lie in.
pub(crate) struct Extents {
    units: Arc<Vec<Placed>>,
    /// The one after the unit that is being passed.
    next_unit: usize,
    few: Few,
    /// Of the unit that is being passed: packs still to come, and what is selected of each.
    later: VecDeque<(Arc<PackHandle>, BitSet)>,
    present: Option<Selected>,
    /// Packs that something is sent from, so far.
    packs: Vec<Arc<PackHandle>>,
    /// A pack may be sent as it lies.
    whole_packs: bool,
    /// Slots are of interest.
    with_slots: bool,
}

/// Selected objects of a unit of which little is sent: number of the pack in the unit, offset
/// and slot, in that order.
#[derive(Default)]
struct Few {
    places: vec::IntoIter<(usize, u64, Slot)>,
    /// The pack that is being passed.
    present: Option<usize>,
}

/// The last of the packs that something is sent from.
struct Selected {
    /// Positions of its own index.
    positions: BitSet,
    /// How far it has been looked through, in pack order.
    next: u32,
    /// What was found and is still to come.
    found: vec::IntoIter<Found>,
}

/// A selected entry: its position in the index, its first byte and the first after it.
struct Found {
    own: u32,
    start: u64,
    end: u64,
}

impl Extents {
    /// `whole_packs`: a pack all of which is sent may be sent as it lies. `with_slots`: the
    /// slots of objects are of interest.
    pub fn new(units: Arc<Vec<Placed>>, whole_packs: bool, with_slots: bool) -> Self {
        Extents {
            units,
            next_unit: 0,
            few: Few::default(),
            later: VecDeque::new(),
            present: None,
            packs: Vec::new(),
            whole_packs,
            with_slots,
        }
    }

    /// The pack an extent lies in.
    pub fn pack(&self, number: u32) -> &Arc<PackHandle> {
        &self.packs[number as usize]
    }

    /// The next part of a pack that holds members of `send`.
    pub fn next(&mut self, send: &Marks) -> Result<Option<Extent>> {
        loop {
            if let Some(entry) = self.next_of_few()? {
                return Ok(Some(entry));
            }
            if let Some(entry) = self.next_of_pack()? {
                return Ok(Some(entry));
            }
            if let Some((pack, selected)) = self.later.pop_front() {
                if let Some(whole) = self.turn_to(pack, selected)? {
                    return Ok(Some(whole));
                }
            } else if !self.next_unit(send)? {
                return Ok(None);
            }
        }
    }

    /// Opens the next unit something is sent from; whether there is one.
    fn next_unit(&mut self, send: &Marks) -> Result<bool> {
        let units = self.units.clone();
        while let Some(placed) = units.get(self.next_unit) {
            self.next_unit += 1;
            let selected = send.count_packed(placed.first_slot, placed.first_slot + placed.count);
            if selected == 0 {
                continue;
            }
            if selected * FEW < u64::from(placed.count) {
                self.few = Few { places: few(placed, send)?.into_iter(), present: None };
            } else {
                let packs = placed.unit.packs().iter().cloned();
                self.later = packs.zip(selected_of(placed, send)?).collect();
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// The number of the pack that is being passed.
    fn number(&self) -> u32 {
        (self.packs.len() as u32).saturating_sub(1)
    }

    fn next_of_few(&mut self) -> Result<Option<Extent>> {
        let Some((number, start, slot)) = self.few.places.next() else { return Ok(None) };
        if self.few.present != Some(number) {
            self.few.present = Some(number);
            self.packs.push(self.units[self.next_unit - 1].unit.packs()[number].clone());
        }
        let number = self.number();
        let end = self.pack(number).entry_end(start)?;
        in_order(self.pack(number), start, end)?;
        Ok(Some(Extent { pack: number, start, end, holds: Holds::Entry(Some(slot)) }))
    }

    /// Turns to a pack; all of it, if that is sent.
    fn turn_to(&mut self, pack: Arc<PackHandle>, positions: BitSet) -> Result<Option<Extent>> {
        if positions.is_empty() {
            return Ok(None);
        }
        let count = pack.index()?.count();
        let end = pack.entries_end();
        self.packs.push(pack);
        if self.whole_packs && positions.count() == count {
            let holds = Holds::Pack(count);
            return Ok(Some(Extent { pack: self.number(), start: 12, end, holds }));
        }
        self.present = Some(Selected { positions, next: 0, found: Vec::new().into_iter() });
        Ok(None)
    }

    fn next_of_pack(&mut self) -> Result<Option<Extent>> {
        let number = self.number();
        let Some(selected) = &mut self.present else { return Ok(None) };
        let pack = &self.packs[number as usize];
        let found = match selected.found.next() {
            Some(found) => Some(found),
            None => {
                selected.look_ahead(pack)?;
                selected.found.next()
            }
        };
        let Some(Found { own, start, end }) = found else {
            self.present = None;
            return Ok(None);
        };
        in_order(pack, start, end)?;
        let slot = match self.with_slots {
            true => slot_of_own(&self.units[self.next_unit - 1], pack, own)?,
            false => None,
        };
        Ok(Some(Extent { pack: number, start, end, holds: Holds::Entry(slot) }))
    }
}

impl Selected {
    /// Looks through the pack until something selected is found, or to its end.
    fn look_ahead(&mut self, pack: &PackHandle) -> Result<()> {
        let order = pack.order()?;
        let mut entries = Vec::with_capacity(WINDOW);
        while entries.is_empty() && self.next < self.positions.len() {
            let until = self.positions.len().min(self.next + WINDOW as u32);
            for at in self.next..until {
                let own = order.index_position(at).map_err(pack.named())?;
                if self.positions.get(own) {
                    entries.push((at, own));
                }
            }
            self.next = until;
        }
        let mut found = Vec::with_capacity(entries.len());
        // An entry ends where the next one begins.
        let (mut behind, mut end) = (0, pack.offset_in_order(0)?);
        for (at, own) in entries {
            let start = match at == behind {
                true => end,
                false => pack.offset_in_order(at)?,
            };
            (behind, end) = (at + 1, pack.offset_in_order(at + 1)?);
            found.push(Found { own, start, end });
        }
        self.found = found.into_iter();
        Ok(())
    }
}

/// A reverse index that is damaged may name places in any order.
fn in_order(pack: &PackHandle, start: u64, end: u64) -> Result<()> {
    match start < end {
        true => Ok(()),
        false => Err(pack.corrupt("entries are not in the order of their offsets")),
    }
}

/// The slot of the object at a position of the index of one of a unit's packs.
fn slot_of_own(placed: &Placed, pack: &PackHandle, own: u32) -> Result<Option<Slot>> {
    let position = match placed.unit.is_one_pack() {
        true => Some(own),
        false => placed.unit.position(&pack.index()?.id_at(own))?,
    };
    Ok(position.map(|position| Slot(placed.first_slot + position)))
}

/// Where the selected objects of a unit lie, when they are few: they are looked up and sorted
/// instead of all being passed in review.
fn few(placed: &Placed, send: &Marks) -> Result<Vec<(usize, u64, Slot)>> {
    let mut places = Vec::new();
    for slot in send.iter_packed(placed.first_slot, placed.count) {
        let position = slot.0 - placed.first_slot;
        let (_, offset) = placed.unit.place(position)?;
        places.push((placed.unit.pack_number(position)?, offset, slot));
    }
    places.sort_unstable();
    Ok(places)
}

/// For each pack of a unit, which positions of its own index are sent from it.
///
/// Under a multi-pack-index every pack's index is passed through once, side by side with the
/// index of all: both are in the order of ids, so nothing is searched for.
fn selected_of(placed: &Placed, send: &Marks) -> Result<Vec<BitSet>> {
    let packs = placed.unit.packs();
    if placed.unit.is_one_pack() {
        return Ok(vec![send.packed_part(placed.first_slot..placed.first_slot + placed.count)]);
    }
    let mut selected = Vec::with_capacity(packs.len());
    for pack in packs {
        selected.push(BitSet::new(pack.index()?.count()));
    }
    let mut next = vec![0; packs.len()];
    for slot in send.iter_packed(placed.first_slot, placed.count) {
        let position = slot.0 - placed.first_slot;
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
