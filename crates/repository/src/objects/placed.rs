//! Numbers for objects: the units of a view side by side, each with slots of its own.

use std::sync::Arc;

use object::ObjectId;

use super::{PackHandle, Unit};
use crate::error::{Error, Result};

/// An object of one view: packed objects count from 0, loose ones from [`Slot::LOOSE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

impl Slot {
    /// The first slot of objects that lie in no pack.
    pub const LOOSE: u32 = 1 << 31;

    /// Whether the object lies in no pack.
    pub fn is_loose(self) -> bool {
        self.0 >= Self::LOOSE
    }
}

/// A unit and the slot of its position 0.
#[derive(Clone)]
pub(crate) struct Placed {
    pub first_slot: u32,
    pub count: u32,
    pub unit: Arc<Unit>,
}

impl Placed {
    /// The slot of the object that begins at `offset` of one of the unit's packs; `None` when
    /// the unit reads that object from elsewhere.
    pub fn slot_at(&self, pack: &PackHandle, offset: u64) -> Result<Option<Slot>> {
        let own = pack.own_position(pack.order_position(offset)?)?;
        let position = self.unit.position_of_own(pack, own, offset)?;
        Ok(position.map(|position| Slot(self.first_slot + position)))
    }
}

/// Puts more units after those there are.
pub(super) fn place(units: &mut Vec<Placed>, new: Vec<Arc<Unit>>) -> Result<()> {
    let mut first_slot = units.last().map_or(0, |last| last.first_slot + last.count);
    for unit in new {
        let count = unit.count()?;
        units.push(Placed { first_slot, count, unit });
        first_slot = first_slot.checked_add(count).filter(|next| *next < Slot::LOOSE).ok_or(
            Error::Limit {
                setting: "objects per repository",
                limit: u64::from(Slot::LOOSE),
                what: "more packed objects than can be numbered".into(),
            },
        )?;
    }
    Ok(())
}

/// The slot of a packed object.
#[inline]
pub(crate) fn find_packed(units: &[Placed], id: &ObjectId) -> Result<Option<Slot>> {
    for placed in units {
        if let Some(position) = placed.unit.position(id)? {
            return Ok(Some(Slot(placed.first_slot + position)));
        }
    }
    Ok(None)
}

/// The unit a packed slot belongs to.
pub(crate) fn unit_of(units: &[Placed], slot: Slot) -> &Placed {
    let at = units.partition_point(|placed| placed.first_slot + placed.count <= slot.0);
    &units[at]
}
