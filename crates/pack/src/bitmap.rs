//! Reachability bitmaps: for chosen commits, the set of all objects reachable from them.
//!
//! Format: git's technical/bitmap-format, version 1, for a pack or a multi-pack-index. The n-th
//! bit stands for the n-th object in pack order ([`PackOrder`](crate::PackOrder)) or in the
//! multi-pack-index's stored order. Commits are named by their position in the index. With the
//! lookup table extension opening takes constant time; without it the entries' frames are
//! listed once. Writing is in [`write`](mod@write).

mod entries;
pub mod name_hash;
mod pseudo_merges;
pub mod write;

use bytes::Bytes;
use object::{HashKind, Kind, ObjectId};

use crate::big_endian::{u16_at, u32_at};
use crate::bitset::BitSet;
use crate::ewah::Ewah;
use crate::{Error, checksum};
use entries::Entries;
pub use pseudo_merges::PseudoMerges;

const SIGNATURE: &[u8; 4] = b"BITM";
/// Signature, version, flags, entry count; the checksum follows.
const HEADER_BYTES: usize = 12;
const TYPES: [Kind; 4] = [Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag];

const FULL_DAG: u16 = 0x1;
const HASH_CACHE: u16 = 0x4;
const LOOKUP_TABLE: u16 = 0x10;
const PSEUDO_MERGES: u16 = 0x20;
const LOOKUP_ROW_BYTES: usize = 16;

/// An opened .bitmap file.
#[derive(Debug, Clone)]
pub struct BitmapIndex {
    bytes: Bytes,
    hash: HashKind,
    bit_count: u32,
    /// Where each of the type bitmaps starts.
    types: [usize; 4],
    entries: Entries,
    pseudo_merges: PseudoMerges,
    name_hashes: Option<Bytes>,
    /// Name hashes are stored for the top layer of a chain only; bits below this have none.
    name_hashes_from: u32,
}

impl BitmapIndex {
    /// Takes the bytes of the bitmap of a pack, or of a single multi-pack-index, with
    /// `object_count` objects.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a damaged frame, [`Error::Unsupported`] for another version or a
    /// bitmap that is not closed under reachability.
    pub fn open(bytes: Bytes, hash: HashKind, object_count: u32) -> Result<Self, Error> {
        Self::open_layer(bytes, hash, 0, object_count)
    }

    /// Takes the bytes of the bitmap of a layer with `object_count` objects, on top of layers
    /// with `base_count`.
    ///
    /// # Errors
    /// As [`BitmapIndex::open`].
    pub fn open_layer(
        bytes: Bytes,
        hash: HashKind,
        base_count: u32,
        object_count: u32,
    ) -> Result<Self, Error> {
        const SHORT: Error = Error::truncated("bitmap index");
        let bit_count = base_count
            .checked_add(object_count)
            .ok_or(Error::corrupt("layers of a chain overflow 32 bits"))?;
        let (flags, entry_count) = read_header(&bytes)?;
        let start = HEADER_BYTES + hash.len();
        let mut end =
            bytes.len().checked_sub(hash.len()).filter(|end| *end >= start).ok_or(SHORT)?;
        let mut cut = |len: usize| {
            let at = end.checked_sub(len).filter(|at| *at >= start).ok_or(SHORT)?;
            let part = bytes.slice(at..end);
            end = at;
            Ok::<_, Error>(part)
        };
        let name_hashes =
            if flags & HASH_CACHE != 0 { Some(cut(object_count as usize * 4)?) } else { None };
        let table = if flags & LOOKUP_TABLE != 0 {
            Some(cut((entry_count as usize).checked_mul(LOOKUP_ROW_BYTES).ok_or(SHORT)?)?)
        } else {
            None
        };
        let (pseudo_merges, end) = if flags & PSEUDO_MERGES != 0 {
            PseudoMerges::open(&bytes, start, end)?
        } else {
            (PseudoMerges::default(), end)
        };
        let mut types = [0; 4];
        let mut at = start;
        for slot in &mut types {
            *slot = at;
            at += Ewah::parse(&bytes[at..end])?.1;
        }
        let entries = Entries::new(bytes.slice(..end), at, entry_count, table)?;
        let name_hashes_from = base_count;
        Ok(BitmapIndex {
            hash,
            bit_count,
            types,
            entries,
            pseudo_merges,
            name_hashes,
            name_hashes_from,
            bytes,
        })
    }

    /// Bits in each bitmap: the objects of the pack, or of all layers of a multi-pack-index.
    pub fn bit_count(&self) -> u32 {
        self.bit_count
    }

    /// Commits that have a bitmap.
    pub fn commit_count(&self) -> u32 {
        self.entries.count()
    }

    /// The checksum of the pack or the multi-pack-index this file belongs to.
    pub fn owner_checksum(&self) -> ObjectId {
        ObjectId::from_prefix(&self.bytes[HEADER_BYTES..], self.hash)
    }

    /// Which bits stand for objects of a kind. A chained layer tells of its own objects only.
    ///
    /// # Errors
    /// As [`Ewah::parse`]; not for a file that was opened, whose frames were parsed then.
    pub fn kind_bitmap(&self, kind: Kind) -> Result<Ewah<'_>, Error> {
        let slot = TYPES.iter().position(|other| *other == kind).expect("there are four kinds");
        Ok(Ewah::parse(&self.bytes[self.types[slot]..])?.0)
    }

    /// Whether the commit at an index position has a bitmap.
    pub fn contains(&self, commit_position: u32) -> bool {
        self.entries.find(commit_position).is_some()
    }

    /// The index positions of the commits that have a bitmap, in no particular order.
    pub fn commit_positions(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.entries.count()).filter_map(|row| self.entries.commit_position(row))
    }

    /// The objects reachable from the commit at an index position, itself included; `None` when
    /// it has no bitmap.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the bitmap or one it is stored relative to is damaged.
    pub fn get(&self, commit_position: u32) -> Result<Option<BitSet>, Error> {
        let mut set = BitSet::default();
        Ok(self.read_into(commit_position, &mut set)?.then_some(set))
    }

    /// Like [`BitmapIndex::get`], into a set that is used again and again: its contents are
    /// replaced. Tells whether the commit has a bitmap; if not, `set` is left as it is.
    ///
    /// A bitmap stored as the difference to others is put together from all of them, holding
    /// none: time grows with their number, memory does not.
    ///
    /// # Errors
    /// As [`BitmapIndex::get`].
    pub fn read_into(&self, commit_position: u32, set: &mut BitSet) -> Result<bool, Error> {
        let Some(row) = self.entries.find(commit_position) else { return Ok(false) };
        set.clear();
        set.resize(self.bit_count);
        self.entries.each_of_chain(row, |bitmap| bitmap.xor_into(set))?;
        Ok(true)
    }

    /// Adds the objects reachable from a commit to `set`, which has [`BitmapIndex::bit_count`]
    /// bits; `scratch` is overwritten. Tells whether the commit has a bitmap.
    ///
    /// # Errors
    /// As [`BitmapIndex::get`].
    pub fn or_into(
        &self,
        commit_position: u32,
        scratch: &mut BitSet,
        set: &mut BitSet,
    ) -> Result<bool, Error> {
        let Some(row) = self.entries.find(commit_position) else { return Ok(false) };
        if let Some(bitmap) = self.entries.stored_whole(row)? {
            bitmap.or_into(set)?;
            return Ok(true);
        }
        let found = self.read_into(commit_position, scratch)?;
        set.or(scratch);
        Ok(found)
    }

    /// What groups of commits reach together.
    pub fn pseudo_merges(&self) -> &PseudoMerges {
        &self.pseudo_merges
    }

    /// The hash of the path at which the object at an index position was found, for delta
    /// search; `None` without the extension.
    pub fn name_hash(&self, index_position: u32) -> Option<u32> {
        let own = index_position.checked_sub(self.name_hashes_from)?;
        u32_at(self.name_hashes.as_ref()?, own as usize * 4)
    }

    /// Whether the file stores name hashes.
    pub fn has_name_hashes(&self) -> bool {
        self.name_hashes.is_some()
    }

    /// Recomputes the file's checksum; linear in its size.
    ///
    /// # Errors
    /// As [`checksum::verify_trailer`].
    pub fn verify_checksum(&self) -> Result<ObjectId, Error> {
        checksum::verify_trailer(&self.bytes, self.hash)
    }
}

/// The flags and the number of entries.
fn read_header(bytes: &[u8]) -> Result<(u16, u32), Error> {
    let (Some(version), Some(flags), Some(entry_count)) =
        (u16_at(bytes, 4), u16_at(bytes, 6), u32_at(bytes, 8))
    else {
        return Err(Error::truncated("bitmap index"));
    };
    if !bytes.starts_with(SIGNATURE) {
        return Err(Error::corrupt("bitmap index signature mismatch"));
    }
    if version != 1 {
        return Err(Error::Unsupported { what: "bitmap index version" });
    }
    if flags & FULL_DAG == 0 {
        return Err(Error::Unsupported { what: "bitmap index without full closure" });
    }
    if flags & !(FULL_DAG | HASH_CACHE | LOOKUP_TABLE | PSEUDO_MERGES) != 0 {
        return Err(Error::Unsupported { what: "bitmap index extension" });
    }
    Ok((flags, entry_count))
}
