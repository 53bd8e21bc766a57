//! One searchable set of packed objects: a pack with its index, or several packs
//! under a multi-pack-index. Each object of a unit has a position, so that a set
//! of objects is a bit per position and never a table of ids.

use std::sync::{Arc, OnceLock};

use object::ObjectId;
use pack::{BitSet, BitmapIndex, MultiPackIndex};
use storage::BlobStore;

use super::pack_handle::{PackHandle, read_if_there};
use crate::error::{Error, Result};

pub(crate) struct Unit {
    pub index: UnitIndex,
    bitmap: OnceLock<Option<BitmapIndex>>,
    /// Positions by pack and offset, for a multi-pack-index that does not store that order.
    computed_order: OnceLock<Vec<u32>>,
}

pub(crate) enum UnitIndex {
    /// A pack and its own index; positions are index positions.
    Single(Arc<PackHandle>),
    /// Packs under one multi-pack-index, in its numbering; positions are its positions.
    Multi { midx: MultiPackIndex, packs: Vec<Arc<PackHandle>>, store: Arc<dyn BlobStore> },
}

impl Unit {
    pub fn new(index: UnitIndex) -> Self {
        Unit { index, bitmap: OnceLock::new(), computed_order: OnceLock::new() }
    }

    /// How many objects, and so positions, the unit has.
    pub fn count(&self) -> Result<u32> {
        Ok(match &self.index {
            UnitIndex::Single(pack) => pack.index()?.count(),
            UnitIndex::Multi { midx, .. } => midx.count(),
        })
    }

    pub fn position(&self, id: &ObjectId) -> Result<Option<u32>> {
        Ok(match &self.index {
            UnitIndex::Single(pack) => pack.index()?.lookup(id),
            UnitIndex::Multi { midx, .. } => midx.lookup(id),
        })
    }

    pub fn id_at(&self, position: u32) -> Result<ObjectId> {
        Ok(match &self.index {
            UnitIndex::Single(pack) => pack.index()?.id_at(position),
            UnitIndex::Multi { midx, .. } => midx.id_at(position),
        })
    }

    /// The pack and the offset an object is read from.
    pub fn place(&self, position: u32) -> Result<(&Arc<PackHandle>, u64)> {
        match &self.index {
            UnitIndex::Single(pack) => Ok((pack, pack.offset_of(position)?)),
            UnitIndex::Multi { midx, packs, .. } => {
                let pack::midx::Location { pack, offset } =
                    midx.location_at(position).map_err(Error::format("multi-pack-index"))?;
                let pack = packs.get(pack as usize).ok_or_else(no_such_pack)?;
                Ok((pack, offset))
            }
        }
    }

    /// Which of [`Unit::packs`] an object is read from.
    pub fn pack_number(&self, position: u32) -> Result<usize> {
        match &self.index {
            UnitIndex::Single(_) => Ok(0),
            UnitIndex::Multi { midx, packs, .. } => {
                let place =
                    midx.location_at(position).map_err(Error::format("multi-pack-index"))?;
                let number = place.pack as usize;
                (number < packs.len()).then_some(number).ok_or_else(no_such_pack)
            }
        }
    }

    /// Whether a pack that was opened without a map has one now.
    pub fn could_be_mapped(&self) -> bool {
        self.packs().iter().any(|pack| pack.could_be_mapped())
    }

    /// Whether the unit is a pack under its own index, so that positions are that index's.
    pub fn is_one_pack(&self) -> bool {
        matches!(self.index, UnitIndex::Single(_))
    }

    /// The packs of the unit.
    pub fn packs(&self) -> &[Arc<PackHandle>] {
        match &self.index {
            UnitIndex::Single(pack) => std::slice::from_ref(pack),
            UnitIndex::Multi { packs, .. } => packs,
        }
    }

    /// Position of the object at position `own` of a pack's own index, when the unit reads it
    /// from there (`offset`).
    pub fn position_of_own(&self, pack: &PackHandle, own: u32, offset: u64) -> Result<Option<u32>> {
        match &self.index {
            UnitIndex::Single(_) => Ok(Some(own)),
            UnitIndex::Multi { .. } => {
                let id = pack.index()?.id_at(own);
                let Some(position) = self.position(&id)? else { return Ok(None) };
                let (chosen, chosen_offset) = self.place(position)?;
                Ok((chosen.serial == pack.serial && chosen_offset == offset).then_some(position))
            }
        }
    }

    /// The unit's reachability bitmap, when git or maintenance left one that fits it.
    pub fn bitmap(&self) -> Option<&BitmapIndex> {
        self.bitmap
            .get_or_init(|| match self.open_bitmap() {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(%error, "a bitmap is not used");
                    None
                }
            })
            .as_ref()
    }

    /// Where the unit's bitmap lies when it has one, and the checksum the bitmap names; `None`
    /// for a unit that cannot have a bitmap of its own.
    pub fn bitmap_name(&self) -> Result<Option<(String, ObjectId)>> {
        Ok(match &self.index {
            UnitIndex::Single(pack) => {
                Some((format!("{}.bitmap", pack.stem), pack.index()?.pack_checksum()))
            }
            UnitIndex::Multi { midx, .. } => {
                let Some(top) = midx.layers().next_back() else { return Ok(None) };
                // The bitmap of a layer covers the layers under it only through theirs.
                let alone = midx.layers().nth(1).is_none() && midx.has_bit_order();
                alone.then_some((top.bitmap_name, top.checksum))
            }
        })
    }

    fn open_bitmap(&self) -> Result<Option<BitmapIndex>> {
        let Some((name, owner)) = self.bitmap_name()? else { return Ok(None) };
        let store = match &self.index {
            UnitIndex::Single(pack) => pack.store(),
            UnitIndex::Multi { store, .. } => store,
        };
        let Some(bytes) = read_if_there(&**store, &name)? else { return Ok(None) };
        let bitmap =
            BitmapIndex::open(bytes, owner.kind(), self.count()?).map_err(Error::format(&name))?;
        if bitmap.owner_checksum() != owner {
            return Err(Error::Format {
                what: name,
                source: pack::Error::Corrupt { what: "it was made for another pack" },
            });
        }
        Ok(Some(bitmap))
    }

    /// The unit position of the `bit`-th object in the order bitmaps count in: that of the
    /// packs, and within a pack that of the offsets.
    pub fn position_of_bit(&self, bit: u32) -> Result<u32> {
        match &self.index {
            UnitIndex::Single(pack) => pack.own_position(bit),
            UnitIndex::Multi { midx, .. } if midx.has_bit_order() => {
                midx.position_of_bit(bit).map_err(Error::format("multi-pack-index"))
            }
            UnitIndex::Multi { midx, .. } => {
                let order = self.computed_order(midx)?;
                order.get(bit as usize).copied().ok_or_else(|| Error::Format {
                    what: "multi-pack-index".into(),
                    source: pack::Error::Corrupt { what: "a place past the last object" },
                })
            }
        }
    }

    /// Tells `each` the unit positions of the objects that `bits` has in the order of bitmaps.
    pub fn positions_of_bits(&self, bits: &BitSet, mut each: impl FnMut(u32)) -> Result<()> {
        let UnitIndex::Single(pack) = &self.index else {
            return bits.iter().try_for_each(|bit| self.position_of_bit(bit).map(&mut each));
        };
        let order = pack.order()?;
        for bit in bits.iter() {
            each(order.index_position(bit).map_err(pack.named())?);
        }
        Ok(())
    }

    /// The place of an object in the order bitmaps count in; `None` when no bitmap has it.
    pub fn bit_of_position(&self, position: u32) -> Result<Option<u32>> {
        match &self.index {
            UnitIndex::Single(pack) => pack.order_position(pack.offset_of(position)?).map(Some),
            UnitIndex::Multi { midx, .. } => {
                midx.bit_of_position(position).map_err(Error::format("multi-pack-index"))
            }
        }
    }

    /// Git stores the order only beside a bitmap.
    fn computed_order(&self, midx: &MultiPackIndex) -> Result<&[u32]> {
        if let Some(order) = self.computed_order.get() {
            return Ok(order);
        }
        let mut placed = Vec::with_capacity(midx.count() as usize);
        for position in 0..midx.count() {
            let place = midx.location_at(position).map_err(Error::format("multi-pack-index"))?;
            placed.push((place.pack, place.offset, position));
        }
        placed.sort_unstable();
        let order = placed.into_iter().map(|(_, _, position)| position).collect();
        Ok(self.computed_order.get_or_init(|| order))
    }
}

fn no_such_pack() -> Error {
    Error::Format {
        what: "multi-pack-index".into(),
        source: pack::Error::Corrupt { what: "a pack number past the last pack" },
    }
}
