//! Joining packs and loose objects, whatever reaches them.

use std::collections::BTreeSet;
use std::sync::Arc;

use storage::Stage;

use super::{Replaced, Round};
use crate::error::{Error, Result};
use crate::maintenance::repack::{Selection, repack};
use crate::objects::{Loose, Objects, Placed, Slot, find_packed};
use crate::walk::Marks;

impl Round<'_> {
    /// Puts the objects of these packs, and the loose ones, into one new pack.
    pub(super) fn join(&mut self, packs: &[String], stage: &mut dyn Stage) -> Result<Replaced> {
        let objects = self.repository.objects()?;
        let joined: BTreeSet<&str> = packs.iter().map(String::as_str).collect();
        let own = OwnObjects::of(&objects, self)?;
        let mut marks = Marks::new(objects.packed_count());
        own.each_packed(&mut |slot, stem| {
            if !joined.contains(stem) {
                return Ok(());
            }
            // The copy that is found first may lie in a pack that stays.
            let id = objects.id(slot)?;
            let first = find_packed(&objects.units(), &id)?.unwrap_or(slot);
            let stays = own.is_in_lasting_pack(&objects, first, &joined)?;
            if !stays {
                marks.insert(first);
            }
            Ok(())
        })?;
        let store = std::slice::from_ref(self.repository.blobs());
        for loose in &self.survey.loose {
            match find_packed(&objects.units(), &loose.id)? {
                Some(slot) if own.is_cruft(&objects, slot)? => {
                    // Somebody needed it again: git writes such an object anew, as a loose one.
                    marks.insert(slot);
                }
                Some(_) => {}
                None if Loose::exists(store, &loose.id)? => {
                    if let Some(slot) = objects.slot(&loose.id)? {
                        marks.insert(slot);
                    }
                }
                None => {}
            }
        }
        let selection = Selection::from(marks);
        let options = &self.options.repack;
        let packed = repack(self.repository, &objects, &selection, options, stage, self.progress)?;
        let new: Vec<String> = packed.iter().map(|pack| pack.stem()).collect();
        if let Some(packed) = packed {
            self.report.packed_objects += u64::from(packed.objects);
            self.report.reused_deltas += u64::from(packed.reused_deltas);
        }
        let packs = packs.iter().filter(|stem| !new.contains(stem)).cloned().collect();
        Ok(Replaced { packs, loose: true, new, ..Replaced::default() })
    }
}

/// The packed objects of a view that lie in the repository itself and not in alternates.
pub(super) struct OwnObjects {
    /// Slots of own packs end here.
    end: u32,
    units: Arc<Vec<Placed>>,
    cruft: BTreeSet<String>,
}

impl OwnObjects {
    /// Looks which they are.
    ///
    /// # Errors
    /// [`Error::Format`] when the view has left out a pack that is there, because it cannot be
    /// read: what it holds must not go with it.
    pub fn of(objects: &Objects, round: &Round<'_>) -> Result<Self> {
        let units = objects.units();
        let store = round.repository.blobs();
        let is_own = |placed: &&Placed| {
            let first = placed.unit.packs().first();
            first.is_some_and(|pack| Arc::ptr_eq(pack.store(), store))
        };
        let own: Vec<&Placed> = units.iter().take_while(is_own).collect();
        let end = own.last().map_or(0, |last| last.first_slot + last.count);
        let seen: BTreeSet<&str> = own
            .iter()
            .flat_map(|placed| placed.unit.packs())
            .map(|pack| pack.stem.as_str())
            .collect();
        let unseen = round.survey.packs.iter().find(|pack| !seen.contains(pack.stem.as_str()));
        if let Some(unseen) = unseen {
            let what = "it cannot be read, so nothing is removed";
            return Err(Error::Format {
                what: format!("{}.pack", unseen.stem),
                source: pack::Error::Corrupt { what },
            });
        }
        let cruft = round.survey.packs.iter().filter(|pack| pack.is_cruft);
        let cruft = cruft.map(|pack| pack.stem.clone()).collect();
        Ok(OwnObjects { end, units, cruft })
    }

    /// Whether a packed object is read from a cruft pack of the repository itself.
    fn is_cruft(&self, objects: &Objects, slot: Slot) -> Result<bool> {
        let Some((_, pack, _)) = objects.place(slot)? else { return Ok(false) };
        Ok(self.holds(slot) && self.cruft.contains(pack.stem.as_str()))
    }

    /// Whether a slot is that of an object in an own pack.
    pub fn holds(&self, slot: Slot) -> bool {
        slot.0 < self.end
    }

    /// Visits every own packed object with the stem of the pack it is read from.
    pub fn each_packed(&self, visit: &mut dyn FnMut(Slot, &str) -> Result<()>) -> Result<()> {
        for placed in self.units.iter().take_while(|placed| placed.first_slot < self.end) {
            for position in 0..placed.count {
                let (pack, _) = placed.unit.place(position)?;
                visit(Slot(placed.first_slot + position), &pack.stem)?;
            }
        }
        Ok(())
    }

    /// Whether an object lies in an own pack that stays and is no cruft pack.
    fn is_in_lasting_pack(
        &self,
        objects: &Objects,
        slot: Slot,
        joined: &BTreeSet<&str>,
    ) -> Result<bool> {
        let Some((_, pack, _)) = objects.place(slot)? else { return Ok(false) };
        let stem = pack.stem.as_str();
        Ok(self.holds(slot) && !joined.contains(stem) && !self.cruft.contains(stem))
    }
}
