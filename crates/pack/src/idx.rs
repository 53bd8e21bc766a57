//! The index of one pack: ids in order, each with its offset and (version 2) its CRC-32.
//!
//! Format: gitformat-pack, "pack-*.idx files"; versions 1 and 2. Writing is in
//! [`write`](mod@write).

pub mod write;

use std::ops::Range;

use bytes::Bytes;
use object::{HashKind, ObjectId};

use crate::big_endian::{u32_at, u64_at};
use crate::sorted_ids::{FANOUT_BYTES, SortedIds};
use crate::{Error, checksum};

const SIGNATURE: &[u8; 4] = b"\xfftOc";
const HEADER_BYTES: usize = 8;
const LARGE_OFFSET: u32 = 1 << 31;

/// An opened .idx file.
#[derive(Debug, Clone)]
pub struct Index {
    bytes: Bytes,
    ids: SortedIds,
    layout: Layout,
}

#[derive(Debug, Clone)]
enum Layout {
    /// Rows of offset and id.
    V1,
    V2 {
        crcs: Bytes,
        offsets: Bytes,
        large_offsets: Bytes,
    },
}

impl Index {
    /// Takes an index's bytes after a check of its fan-out table and its size.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when they contradict each other, [`Error::Unsupported`] for a version
    /// other than 1 and 2.
    pub fn open(bytes: Bytes, hash: HashKind) -> Result<Self, Error> {
        if !bytes.starts_with(SIGNATURE) {
            return Self::open_v1(bytes, hash);
        }
        match u32_at(&bytes, 4) {
            Some(2) => Self::open_v2(bytes, hash),
            Some(_) => Err(Error::Unsupported { what: "pack index version" }),
            None => Err(Error::truncated("pack index")),
        }
    }

    fn open_v1(bytes: Bytes, hash: HashKind) -> Result<Self, Error> {
        let row_bytes = 4 + hash.len();
        let mut parts = Parts::of(&bytes, 0, hash)?;
        let fanout = parts.take(FANOUT_BYTES)?;
        let count = SortedIds::count_of(&fanout)? as usize;
        let rows = parts.take_rows(count, row_bytes)?;
        parts.expect_end()?;
        let ids = SortedIds::new(fanout, rows, row_bytes, 4, hash)?;
        Ok(Index { ids, layout: Layout::V1, bytes })
    }

    fn open_v2(bytes: Bytes, hash: HashKind) -> Result<Self, Error> {
        let mut parts = Parts::of(&bytes, HEADER_BYTES, hash)?;
        let fanout = parts.take(FANOUT_BYTES)?;
        let count = SortedIds::count_of(&fanout)? as usize;
        let rows = parts.take_rows(count, hash.len())?;
        let crcs = parts.take_rows(count, 4)?;
        let offsets = parts.take_rows(count, 4)?;
        let large_offsets = parts.rest();
        // The first entry of a pack always lies below any large offset.
        if large_offsets.len() % 8 != 0 || large_offsets.len() / 8 > count.saturating_sub(1) {
            return Err(Error::corrupt("pack index has the wrong size"));
        }
        let ids = SortedIds::new(fanout, rows, hash.len(), 0, hash)?;
        Ok(Index { ids, layout: Layout::V2 { crcs, offsets, large_offsets }, bytes })
    }

    /// The format's version, 1 or 2.
    pub fn version(&self) -> u32 {
        match self.layout {
            Layout::V1 => 1,
            Layout::V2 { .. } => 2,
        }
    }

    /// Objects in the index.
    #[inline]
    pub fn count(&self) -> u32 {
        self.ids.count()
    }

    /// The hash of its ids.
    pub fn hash(&self) -> HashKind {
        self.ids.hash()
    }

    /// The number of ids whose first byte is at most `first`.
    pub fn fanout(&self, first: u8) -> u32 {
        self.ids.fanout(first)
    }

    /// The position of an object in the index.
    #[inline]
    pub fn lookup(&self, id: &ObjectId) -> Option<u32> {
        self.ids.lookup(id)
    }

    /// The offset of an object in the pack.
    ///
    /// # Errors
    /// As [`Index::offset_at`].
    pub fn lookup_offset(&self, id: &ObjectId) -> Result<Option<u64>, Error> {
        self.lookup(id).map(|position| self.offset_at(position)).transpose()
    }

    /// The positions of the ids that start with the first `hex_len` digits of `prefix`.
    pub fn prefix_range(&self, prefix: &ObjectId, hex_len: usize) -> Range<u32> {
        self.ids.prefix_range(prefix, hex_len)
    }

    /// The id at a position.
    ///
    /// # Panics
    /// At or past [`Index::count`].
    #[inline]
    pub fn id_at(&self, position: u32) -> ObjectId {
        ObjectId::from_prefix(self.ids.id_bytes(position), self.ids.hash())
    }

    /// The raw id at a position.
    ///
    /// # Panics
    /// At or past [`Index::count`].
    #[inline]
    pub fn id_bytes_at(&self, position: u32) -> &[u8] {
        self.ids.id_bytes(position)
    }

    /// The offset in the pack of the object at a position. It is as the file has it: the pack may
    /// be shorter.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the position is not in the index or points to a large offset that
    /// is not there.
    #[inline]
    pub fn offset_at(&self, position: u32) -> Result<u64, Error> {
        const BAD: Error = Error::corrupt("pack index points beyond its table of offsets");
        match &self.layout {
            Layout::V1 => {
                if position >= self.count() {
                    return Err(BAD);
                }
                u32_at(self.ids.row(position), 0).map(u64::from).ok_or(BAD)
            }
            Layout::V2 { offsets, large_offsets, .. } => {
                let offset = u32_at(offsets, position as usize * 4).ok_or(BAD)?;
                if offset & LARGE_OFFSET == 0 {
                    return Ok(u64::from(offset));
                }
                u64_at(large_offsets, (offset & !LARGE_OFFSET) as usize * 8).ok_or(BAD)
            }
        }
    }

    /// The CRC-32 of the raw entry of the object at a position; version 1 has none.
    #[inline]
    pub fn crc_at(&self, position: u32) -> Option<u32> {
        match &self.layout {
            Layout::V1 => None,
            Layout::V2 { crcs, .. } => u32_at(crcs, position as usize * 4),
        }
    }

    /// Whether every offset is below 2 GiB as far as the layout tells.
    pub(crate) fn has_small_offsets(&self) -> bool {
        match &self.layout {
            Layout::V1 => true,
            Layout::V2 { large_offsets, .. } => large_offsets.is_empty(),
        }
    }

    /// The trailing checksum of the pack this index belongs to.
    pub fn pack_checksum(&self) -> ObjectId {
        let hash = self.hash();
        ObjectId::from_prefix(&self.bytes[self.bytes.len() - 2 * hash.len()..], hash)
    }

    /// Recomputes the index's own checksum; linear in its size.
    ///
    /// # Errors
    /// As [`checksum::verify_trailer`].
    pub fn verify_checksum(&self) -> Result<ObjectId, Error> {
        checksum::verify_trailer(&self.bytes, self.hash())
    }
}

/// Cuts the part of a file between its header and its two trailing checksums into tables.
struct Parts(Bytes);

impl Parts {
    fn of(bytes: &Bytes, header_bytes: usize, hash: HashKind) -> Result<Self, Error> {
        let end = bytes.len().checked_sub(2 * hash.len()).filter(|end| *end >= header_bytes);
        Ok(Parts(bytes.slice(header_bytes..end.ok_or(Error::truncated("pack index"))?)))
    }

    fn take(&mut self, len: usize) -> Result<Bytes, Error> {
        if len > self.0.len() {
            return Err(Error::truncated("pack index"));
        }
        Ok(self.0.split_to(len))
    }

    fn take_rows(&mut self, count: usize, row_bytes: usize) -> Result<Bytes, Error> {
        self.take(count.checked_mul(row_bytes).ok_or(Error::truncated("pack index"))?)
    }

    fn rest(self) -> Bytes {
        self.0
    }

    fn expect_end(self) -> Result<(), Error> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Error::corrupt("pack index has the wrong size"))
        }
    }
}
