//! Pack order: which object comes n-th in the pack, from a .rev file or computed.
//!
//! Format: gitformat-pack, "pack-*.rev files". Positions in bitmaps are positions in this order.

use std::io::Write;

use bytes::Bytes;
use object::{HashKind, ObjectId};

use crate::big_endian::u32_at;
use crate::checksum::{self, ChecksumWriter};
use crate::{Error, Index};

const SIGNATURE: &[u8; 4] = b"RIDX";
const HEADER_BYTES: usize = 12;

/// An opened .rev file.
#[derive(Debug, Clone)]
pub struct RevIndex {
    bytes: Bytes,
    positions: Bytes,
    hash: HashKind,
    count: u32,
}

impl RevIndex {
    /// Takes a .rev file's bytes, after a check that it belongs to `index`; in constant time.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when its header, size or pack checksum do not fit the index,
    /// [`Error::Unsupported`] for another version.
    pub fn open(bytes: Bytes, index: &Index) -> Result<Self, Error> {
        let (hash, count) = (index.hash(), index.count());
        let (Some(version), Some(hash_number)) = (u32_at(&bytes, 4), u32_at(&bytes, 8)) else {
            return Err(Error::truncated("reverse index"));
        };
        if !bytes.starts_with(SIGNATURE) {
            return Err(Error::corrupt("reverse index signature mismatch"));
        }
        if version != 1 {
            return Err(Error::Unsupported { what: "reverse index version" });
        }
        if hash_number != u32::from(hash.format_version()) {
            return Err(Error::corrupt("reverse index is of another hash"));
        }
        let end = HEADER_BYTES + count as usize * 4;
        if bytes.len() != end + 2 * hash.len() {
            return Err(Error::corrupt("reverse index has the wrong size"));
        }
        if bytes[end..end + hash.len()] != *index.pack_checksum().as_bytes() {
            return Err(Error::corrupt("reverse index belongs to another pack"));
        }
        Ok(RevIndex { positions: bytes.slice(HEADER_BYTES..end), hash, count, bytes })
    }

    /// Objects in the pack.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The index position of the object that comes `pack_position`-th in the pack.
    ///
    /// # Errors
    /// [`Error::Corrupt`] past the end, or when the file names a position past the end.
    #[inline]
    pub fn index_position(&self, pack_position: u32) -> Result<u32, Error> {
        u32_at(&self.positions, pack_position as usize * 4)
            .filter(|position| *position < self.count)
            .ok_or(Error::corrupt("reverse index points beyond the pack's objects"))
    }

    /// Recomputes the file's checksum; linear in its size.
    ///
    /// # Errors
    /// As [`checksum::verify_trailer`].
    pub fn verify_checksum(&self) -> Result<ObjectId, Error> {
        checksum::verify_trailer(&self.bytes, self.hash)
    }
}

/// Writes a .rev file, byte for byte as git does; gives its trailing checksum.
///
/// `index_positions` are the objects in pack order, as [`compute`] gives them.
///
/// # Errors
/// Those of `out`.
pub fn write(
    index_positions: impl IntoIterator<Item = u32>,
    pack_checksum: &ObjectId,
    out: impl Write,
) -> Result<ObjectId, Error> {
    let hash = pack_checksum.kind();
    let mut out = ChecksumWriter::new(hash, out);
    out.write(SIGNATURE)?;
    out.write(&1u32.to_be_bytes())?;
    out.write(&u32::from(hash.format_version()).to_be_bytes())?;
    for position in index_positions {
        out.write(&position.to_be_bytes())?;
    }
    out.write(pack_checksum.as_bytes())?;
    Ok(out.finish()?)
}

/// The index positions of all objects in pack order, for a pack without a .rev file: four bytes
/// per object, twelve while it is computed.
///
/// # Errors
/// As [`Index::offset_at`].
pub fn compute(index: &Index) -> Result<Vec<u32>, Error> {
    if index.has_small_offsets() {
        let mut keyed = Vec::with_capacity(index.count() as usize);
        for position in 0..index.count() {
            keyed.push(index.offset_at(position)? << 32 | u64::from(position));
        }
        keyed.sort_unstable();
        return Ok(keyed.into_iter().map(|key| key as u32).collect());
    }
    let mut keyed = Vec::with_capacity(index.count() as usize);
    for position in 0..index.count() {
        keyed.push((index.offset_at(position)?, position));
    }
    keyed.sort_unstable();
    Ok(keyed.into_iter().map(|(_, position)| position).collect())
}

/// The objects of one pack in the order of their offsets, wherever that order comes from.
#[derive(Debug, Clone)]
pub enum PackOrder {
    /// Out of a .rev file.
    Stored(RevIndex),
    /// Computed by [`compute`].
    Computed(Vec<u32>),
}

impl PackOrder {
    /// The order of an index's pack, computed when there is no .rev file.
    ///
    /// # Errors
    /// As [`RevIndex::open`] and [`compute`].
    pub fn of(index: &Index, rev: Option<Bytes>) -> Result<Self, Error> {
        Ok(match rev {
            Some(bytes) => PackOrder::Stored(RevIndex::open(bytes, index)?),
            None => PackOrder::Computed(compute(index)?),
        })
    }

    /// Objects in the pack.
    #[inline]
    pub fn count(&self) -> u32 {
        match self {
            PackOrder::Stored(rev) => rev.count(),
            PackOrder::Computed(positions) => positions.len() as u32,
        }
    }

    /// The index position of the object that comes `pack_position`-th in the pack; always one
    /// that is in the index.
    ///
    /// # Errors
    /// As [`RevIndex::index_position`].
    #[inline]
    pub fn index_position(&self, pack_position: u32) -> Result<u32, Error> {
        match self {
            PackOrder::Stored(rev) => rev.index_position(pack_position),
            PackOrder::Computed(positions) => positions
                .get(pack_position as usize)
                .copied()
                .ok_or(Error::corrupt("position beyond the pack's objects")),
        }
    }

    /// The offset of the object that comes `pack_position`-th in the pack; for the position just
    /// past the last one, `entries_end` (where the pack's trailer starts). The difference of two
    /// neighbours is the stored size of an entry.
    ///
    /// # Errors
    /// As [`PackOrder::index_position`] and [`Index::offset_at`].
    #[inline]
    pub fn offset(
        &self,
        index: &Index,
        pack_position: u32,
        entries_end: u64,
    ) -> Result<u64, Error> {
        if pack_position == self.count() {
            return Ok(entries_end);
        }
        index.offset_at(self.index_position(pack_position)?)
    }

    /// The pack position of the entry that starts at `offset`, by binary search.
    ///
    /// # Errors
    /// As [`PackOrder::offset`].
    pub fn position_of_offset(&self, index: &Index, offset: u64) -> Result<Option<u32>, Error> {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            match index.offset_at(self.index_position(middle)?)?.cmp(&offset) {
                std::cmp::Ordering::Equal => return Ok(Some(middle)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }
}
