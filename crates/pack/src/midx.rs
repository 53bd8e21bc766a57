//! The multi-pack-index: one sorted table of the objects of many packs.
//!
//! Format: gitformat-pack, "multi-pack-index (MIDX) files"; a single file, or a chain of layers
//! under `multi-pack-index.d`. Positions of objects, packs and bits count through all layers,
//! the base layer first. Writing is in [`write`](mod@write).

mod layer;
pub mod write;

use std::cmp::Ordering;
use std::ops::Range;

use bytes::Bytes;
use object::{HashKind, ObjectId};

use crate::chunks::chain_layers;
use crate::{Error, checksum};
use layer::Layer;

/// Where the chain of layers is listed, relative to an objects directory.
pub const CHAIN_NAME: &str = "pack/multi-pack-index.d/multi-pack-index-chain";

/// Where the single file lies, relative to an objects directory.
pub const FILE_NAME: &str = "pack/multi-pack-index";

/// The most layers a chain is followed through.
pub const LAYERS_MAX: usize = 1024;

/// Where a multi-pack-index says an object lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// The pack, as a number below [`MultiPackIndex::pack_count`].
    pub pack: u32,
    /// Bytes from the start of that pack; the pack may be shorter.
    pub offset: u64,
}

/// One file of a multi-pack-index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerInfo {
    /// The file's trailing checksum; names its bitmap.
    pub checksum: ObjectId,
    /// The positions of its objects, which are their bits in its bitmap, too.
    pub objects: Range<u32>,
    /// Where its bitmap lies if it has one, relative to an objects directory.
    pub bitmap_name: String,
}

/// An opened multi-pack-index, of one layer or more.
#[derive(Debug, Clone)]
pub struct MultiPackIndex {
    layers: Vec<Layer>,
    hash: HashKind,
    chained: bool,
}

impl MultiPackIndex {
    /// Takes the bytes of a single multi-pack-index after a check of its frame.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Unsupported`].
    pub fn open(bytes: Bytes, hash: HashKind) -> Result<Self, Error> {
        let layer = Layer::open(bytes, hash, 0, 0)?;
        Ok(MultiPackIndex { layers: vec![layer], hash, chained: false })
    }

    /// Opens the layers that a chain file lists, base first, as far as `load` finds them by
    /// their name relative to the objects directory. `None` when not even the first is found.
    ///
    /// # Errors
    /// As [`MultiPackIndex::open`], and those of `load`.
    pub fn open_chain<E: From<Error>>(
        chain: &[u8],
        hash: HashKind,
        mut load: impl FnMut(&str) -> Result<Option<Bytes>, E>,
    ) -> Result<Option<Self>, E> {
        let mut layers: Vec<Layer> = Vec::new();
        for id in chain_layers(chain, hash) {
            let Some(bytes) = load(&layer_name(&id?, "midx"))? else { break };
            if layers.len() == LAYERS_MAX {
                return Err(Error::corrupt("chain has too many layers").into());
            }
            let (objects, packs) =
                layers.last().map_or((0, 0), |base| (base.objects_end(), base.packs_end()));
            layers.push(Layer::open(bytes, hash, objects, packs)?);
        }
        let whole = MultiPackIndex { layers, hash, chained: true };
        Ok((!whole.layers.is_empty()).then_some(whole))
    }

    /// Objects in all layers.
    pub fn count(&self) -> u32 {
        self.top().objects_end()
    }

    /// Packs of all layers.
    pub fn pack_count(&self) -> u32 {
        self.top().packs_end()
    }

    /// The hash of its ids.
    pub fn hash(&self) -> HashKind {
        self.hash
    }

    /// The name of a pack's index as the file has it, such as `pack-….idx`.
    pub fn pack_name(&self, pack: u32) -> Option<&[u8]> {
        let layer = self.layers.iter().find(|layer| pack < layer.packs_end())?;
        layer.pack_name(pack)
    }

    /// The position of an object.
    #[inline]
    pub fn lookup(&self, id: &ObjectId) -> Option<u32> {
        self.layers.iter().rev().find_map(|layer| layer.lookup(id))
    }

    /// Where an object lies.
    ///
    /// # Errors
    /// As [`MultiPackIndex::location_at`].
    pub fn lookup_location(&self, id: &ObjectId) -> Result<Option<Location>, Error> {
        self.lookup(id).map(|position| self.location_at(position)).transpose()
    }

    /// The positions of the ids that start with the first `hex_len` digits of `prefix`, one
    /// range per layer.
    pub fn prefix_ranges(&self, prefix: &ObjectId, hex_len: usize) -> Vec<Range<u32>> {
        self.layers.iter().map(|layer| layer.prefix_range(prefix, hex_len)).collect()
    }

    /// The id at a position.
    ///
    /// # Panics
    /// At or past [`MultiPackIndex::count`].
    #[inline]
    pub fn id_at(&self, position: u32) -> ObjectId {
        let layer = self.layer_of(position).expect("position is below the count");
        ObjectId::from_prefix(layer.id_bytes(position), self.hash)
    }

    /// Where the object at a position lies.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when there is no such position, or the file names a pack or a large
    /// offset that it does not have.
    #[inline]
    pub fn location_at(&self, position: u32) -> Result<Location, Error> {
        self.layer_of(position)
            .ok_or(Error::corrupt("position beyond the multi-pack-index"))?
            .location(position)
    }

    /// Whether every layer stores the order its bitmap needs (the `RIDX` chunk).
    pub fn has_bit_order(&self) -> bool {
        self.layers.iter().all(Layer::has_bit_order)
    }

    /// The position of the object whose bit is the `bit`-th of a bitmap (pseudo-pack order).
    ///
    /// # Errors
    /// [`Error::Corrupt`] without such a bit or without a stored order.
    #[inline]
    pub fn position_of_bit(&self, bit: u32) -> Result<u32, Error> {
        self.layer_of(bit)
            .ok_or(Error::corrupt("bit beyond the multi-pack-index"))?
            .position_of_bit(bit)
    }

    /// The bit of the object at a position, by binary search in the stored order; `None` when
    /// that order is damaged so that it cannot be found.
    ///
    /// # Errors
    /// As [`MultiPackIndex::location_at`] and [`MultiPackIndex::position_of_bit`].
    pub fn bit_of_position(&self, position: u32) -> Result<Option<u32>, Error> {
        self.bit_of_location(position, self.location_at(position)?)
    }

    fn bit_of_location(&self, position: u32, at: Location) -> Result<Option<u32>, Error> {
        let layer = self.layer_of(position).ok_or(Error::corrupt("position out of range"))?;
        let Range { start: mut low, end: mut high } = layer.objects();
        let preferred = layer.location(layer.position_of_bit(low)?)?.pack;
        let key = |at: Location| (at.pack != preferred, at.pack, at.offset);
        while low < high {
            let middle = low + (high - low) / 2;
            let found = layer.location(layer.position_of_bit(middle)?)?;
            match key(found).cmp(&key(at)) {
                Ordering::Equal => return Ok(Some(middle)),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    /// The bits that stand for objects taken from a pack (the `BTMP` chunk); `None` when the
    /// file does not tell.
    pub fn bits_of_pack(&self, pack: u32) -> Option<Range<u32>> {
        let layer = self.layers.iter().find(|layer| pack < layer.packs_end())?;
        layer.bits_of_pack(pack)
    }

    /// The pack whose copies win over all others, that of the first bit; `None` without a stored
    /// order.
    pub fn preferred_pack(&self) -> Option<u32> {
        let position = self.position_of_bit(0).ok()?;
        self.location_at(position).ok().map(|at| at.pack)
    }

    /// The layers, base first; a single file is one layer.
    pub fn layers(&self) -> impl DoubleEndedIterator<Item = LayerInfo> + '_ {
        self.layers.iter().map(|layer| {
            let checksum = layer.checksum();
            let bitmap_name = match self.chained {
                true => layer_name(&checksum, "bitmap"),
                false => format!("{FILE_NAME}-{checksum}.bitmap"),
            };
            LayerInfo { checksum, objects: layer.objects(), bitmap_name }
        })
    }

    /// Recomputes every layer's checksum; linear in their size.
    ///
    /// # Errors
    /// As [`checksum::verify_trailer`].
    pub fn verify_checksums(&self) -> Result<(), Error> {
        for layer in &self.layers {
            checksum::verify_trailer(layer.bytes(), self.hash)?;
        }
        Ok(())
    }

    fn top(&self) -> &Layer {
        self.layers.last().expect("there is at least one layer")
    }

    #[inline]
    fn layer_of(&self, position: u32) -> Option<&Layer> {
        self.layers.iter().find(|layer| position < layer.objects_end())
    }
}

fn layer_name(checksum: &ObjectId, extension: &str) -> String {
    format!("pack/multi-pack-index.d/multi-pack-index-{checksum}.{extension}")
}
