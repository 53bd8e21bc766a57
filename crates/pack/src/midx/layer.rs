//! One multi-pack-index file, alone or as a layer of a chain.

use std::ops::Range;

use bytes::Bytes;
use object::{HashKind, ObjectId};

use super::Location;
use crate::Error;
use crate::big_endian::{u32_at, u64_at};
use crate::chunks::Chunks;
use crate::sorted_ids::SortedIds;

pub(super) const SIGNATURE: &[u8; 4] = b"MIDX";
pub(super) const HEADER_BYTES: usize = 12;
pub(super) const LARGE_OFFSET: u32 = 1 << 31;

/// Positions given to and by a layer count through the layers below it.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    bytes: Bytes,
    ids: SortedIds,
    base_objects: u32,
    base_packs: u32,
    names: Bytes,
    /// Where in `names` each pack's name starts.
    name_starts: Vec<u32>,
    offsets: Bytes,
    large_offsets: Option<Bytes>,
    bit_order: Option<Bytes>,
    pack_bits: Option<Bytes>,
}

impl Layer {
    pub(super) fn open(
        bytes: Bytes,
        hash: HashKind,
        base_objects: u32,
        base_packs: u32,
    ) -> Result<Self, Error> {
        let (chunk_count, pack_count) = read_header(&bytes, hash)?;
        let chunks = Chunks::read(&bytes, HEADER_BYTES, chunk_count, hash)?;
        let ids = SortedIds::new(
            chunks.required(b"OIDF")?,
            chunks.required(b"OIDL")?,
            hash.len(),
            0,
            hash,
        )?;
        let names = chunks.required(b"PNAM")?;
        let name_starts = name_starts(&names, pack_count)?;
        let sum = |base: u32, own: u32| {
            base.checked_add(own).ok_or(Error::corrupt("layers of a chain overflow 32 bits"))
        };
        sum(base_objects, ids.count())?;
        sum(base_packs, pack_count)?;
        let rows = |bytes: Option<Bytes>, count: u32, row_bytes: usize| match bytes {
            Some(bytes) if bytes.len() != count as usize * row_bytes => {
                Err(Error::corrupt("chunk of the multi-pack-index has the wrong size"))
            }
            bytes => Ok(bytes),
        };
        let offsets = rows(Some(chunks.required(b"OOFF")?), ids.count(), 8)?.unwrap_or_default();
        let bit_order = rows(chunks.optional(b"RIDX"), ids.count(), 4)?;
        let pack_bits = rows(chunks.optional(b"BTMP"), pack_count, 8)?;
        Ok(Layer {
            ids,
            base_objects,
            base_packs,
            names,
            name_starts,
            offsets,
            large_offsets: chunks.optional(b"LOFF"),
            bit_order,
            pack_bits,
            bytes,
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The positions of this layer's objects.
    pub(super) fn objects(&self) -> Range<u32> {
        self.base_objects..self.objects_end()
    }

    #[inline]
    pub(super) fn objects_end(&self) -> u32 {
        self.base_objects + self.ids.count()
    }

    pub(super) fn packs_end(&self) -> u32 {
        self.base_packs + self.name_starts.len() as u32
    }

    pub(super) fn checksum(&self) -> ObjectId {
        let hash = self.ids.hash();
        ObjectId::from_prefix(&self.bytes[self.bytes.len() - hash.len()..], hash)
    }

    pub(super) fn pack_name(&self, pack: u32) -> Option<&[u8]> {
        let own = pack.checked_sub(self.base_packs)?;
        let start = *self.name_starts.get(own as usize)? as usize;
        self.names[start..].split(|byte| *byte == 0).next()
    }

    #[inline]
    pub(super) fn lookup(&self, id: &ObjectId) -> Option<u32> {
        self.ids.lookup(id).map(|position| position + self.base_objects)
    }

    pub(super) fn prefix_range(&self, prefix: &ObjectId, hex_len: usize) -> Range<u32> {
        let own = self.ids.prefix_range(prefix, hex_len);
        own.start + self.base_objects..own.end + self.base_objects
    }

    #[inline]
    pub(super) fn id_bytes(&self, position: u32) -> &[u8] {
        self.ids.id_bytes(position - self.base_objects)
    }

    #[inline]
    pub(super) fn location(&self, position: u32) -> Result<Location, Error> {
        const BAD: Error = Error::corrupt("multi-pack-index points beyond its tables");
        let at = position.checked_sub(self.base_objects).ok_or(BAD)? as usize * 8;
        let (Some(pack), Some(offset)) = (u32_at(&self.offsets, at), u32_at(&self.offsets, at + 4))
        else {
            return Err(BAD);
        };
        if pack as usize >= self.name_starts.len() {
            return Err(Error::corrupt("multi-pack-index names a pack it does not have"));
        }
        // Without the table of large offsets all 32 bits count.
        let offset = match &self.large_offsets {
            Some(large) if offset & LARGE_OFFSET != 0 => {
                u64_at(large, (offset & !LARGE_OFFSET) as usize * 8).ok_or(BAD)?
            }
            _ => u64::from(offset),
        };
        Ok(Location { pack: pack + self.base_packs, offset })
    }

    pub(super) fn has_bit_order(&self) -> bool {
        self.bit_order.is_some()
    }

    #[inline]
    pub(super) fn position_of_bit(&self, bit: u32) -> Result<u32, Error> {
        let order = self
            .bit_order
            .as_ref()
            .ok_or(Error::corrupt("multi-pack-index does not store its bitmap's order"))?;
        bit.checked_sub(self.base_objects)
            .and_then(|own| u32_at(order, own as usize * 4))
            .filter(|position| self.objects().contains(position))
            .ok_or(Error::corrupt("order of the multi-pack-index points beyond its objects"))
    }

    pub(super) fn bits_of_pack(&self, pack: u32) -> Option<Range<u32>> {
        let at = pack.checked_sub(self.base_packs)? as usize * 8;
        let table = self.pack_bits.as_ref()?;
        let (start, len) = (u32_at(table, at)?, u32_at(table, at + 4)?);
        if len == 0 {
            return Some(0..0);
        }
        let end = start.checked_add(len).filter(|end| *end <= self.objects_end())?;
        (start >= self.base_objects).then_some(start..end)
    }
}

/// The number of chunks and of packs.
fn read_header(bytes: &[u8], hash: HashKind) -> Result<(u8, u32), Error> {
    let Some(pack_count) = u32_at(bytes, 8) else {
        return Err(Error::truncated("multi-pack-index"));
    };
    if !bytes.starts_with(SIGNATURE) {
        return Err(Error::corrupt("multi-pack-index signature mismatch"));
    }
    if !matches!(bytes[4], 1 | 2) {
        return Err(Error::Unsupported { what: "multi-pack-index version" });
    }
    if bytes[5] != hash.format_version() {
        return Err(Error::corrupt("multi-pack-index is of another hash"));
    }
    Ok((bytes[6], pack_count))
}

fn name_starts(names: &[u8], count: u32) -> Result<Vec<u32>, Error> {
    let mut starts = Vec::new();
    let mut at = 0;
    for _ in 0..count {
        let len = memchr::memchr(0, &names[at..])
            .ok_or(Error::corrupt("multi-pack-index has fewer pack names than packs"))?;
        starts.push(u32::try_from(at).map_err(|_| Error::corrupt("pack names are too long"))?);
        at += len + 1;
    }
    Ok(starts)
}
