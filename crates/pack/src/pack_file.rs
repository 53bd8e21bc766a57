//! A pack as bytes: its header, its trailer, and entries at given offsets.
//!
//! Format: gitformat-pack. Resolves no deltas and knows no index.

use bytes::Bytes;
use object::{HashKind, ObjectId};

use crate::big_endian::u32_at;
use crate::entry::PACK_HEADER_BYTES;
use crate::{EntryHeader, Error, checksum};

/// The first four bytes of every pack.
pub const SIGNATURE: &[u8; 4] = b"PACK";

/// The twelve bytes a pack starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackHeader {
    /// 2 or 3; the two do not differ.
    pub version: u32,
    /// Entries that follow.
    pub object_count: u32,
}

impl PackHeader {
    /// Reads the header at the start of `bytes`.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Corrupt`] for another signature, [`Error::Unsupported`]
    /// for another version.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let header = bytes.get(..PACK_HEADER_BYTES).ok_or(Error::truncated("pack header"))?;
        let (Some(version), Some(object_count)) = (u32_at(header, 4), u32_at(header, 8)) else {
            return Err(Error::truncated("pack header"));
        };
        if !header.starts_with(SIGNATURE) {
            return Err(Error::corrupt("pack signature mismatch"));
        }
        if !matches!(version, 2 | 3) {
            return Err(Error::Unsupported { what: "pack version" });
        }
        Ok(PackHeader { version, object_count })
    }

    /// The header of a version 2 pack of `object_count` entries.
    pub fn encode(object_count: u32) -> [u8; PACK_HEADER_BYTES] {
        let mut header = [0; PACK_HEADER_BYTES];
        header[..4].copy_from_slice(SIGNATURE);
        header[4..8].copy_from_slice(&2u32.to_be_bytes());
        header[8..].copy_from_slice(&object_count.to_be_bytes());
        header
    }
}

/// A stored pack.
#[derive(Debug, Clone)]
pub struct PackFile {
    bytes: Bytes,
    hash: HashKind,
    header: PackHeader,
}

impl PackFile {
    /// Takes a pack's bytes after a look at its header; in constant time.
    ///
    /// # Errors
    /// As [`PackHeader::parse`], and [`Error::Truncated`] without room for a trailer.
    pub fn open(bytes: Bytes, hash: HashKind) -> Result<Self, Error> {
        let header = PackHeader::parse(&bytes)?;
        if bytes.len() < PACK_HEADER_BYTES + hash.len() {
            return Err(Error::truncated("pack"));
        }
        Ok(PackFile { bytes, hash, header })
    }

    /// Entries in the pack, as its header says.
    pub fn object_count(&self) -> u32 {
        self.header.object_count
    }

    /// The pack format's version, 2 or 3.
    pub fn version(&self) -> u32 {
        self.header.version
    }

    /// The hash the pack was opened with.
    pub fn hash(&self) -> HashKind {
        self.hash
    }

    /// Bytes of the whole pack, trailer included.
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Where the entries end and the trailer starts.
    pub fn entries_end(&self) -> u64 {
        (self.bytes.len() - self.hash.len()) as u64
    }

    /// The pack's bytes, header and trailer included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The checksum as written at the end of the pack; names the pack in its indices.
    pub fn trailer(&self) -> ObjectId {
        ObjectId::from_prefix(&self.bytes[self.bytes.len() - self.hash.len()..], self.hash)
    }

    /// The header of the entry at `offset`.
    ///
    /// # Errors
    /// [`Error::BadEntry`] when no entry can start there or its header is damaged.
    #[inline]
    pub fn entry_at(&self, offset: u64) -> Result<EntryHeader, Error> {
        match EntryHeader::parse(self.entries_from(offset)?, self.hash) {
            Err(Error::Truncated { .. }) => {
                Err(Error::BadEntry { offset, what: "entry runs into the pack's end" })
            }
            result => result.map_err(|error| error.at_entry(offset)),
        }
    }

    /// The compressed data of the entry at `offset` and everything behind it up to the trailer;
    /// [`inflate_exact`](crate::inflate::inflate_exact) finds the end itself.
    ///
    /// # Errors
    /// [`Error::BadEntry`] when the data would start outside the pack.
    #[inline]
    pub fn data_at(&self, offset: u64, header: &EntryHeader) -> Result<&[u8], Error> {
        self.entries_from(offset)?
            .get(header.header_len..)
            .ok_or(Error::BadEntry { offset, what: "entry runs into the pack's end" })
    }

    /// A part of the pack, uncopied.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the range leaves the pack.
    pub fn slice(&self, range: std::ops::Range<u64>) -> Result<Bytes, Error> {
        if range.start > range.end || range.end > self.len() {
            return Err(Error::corrupt("range leaves the pack"));
        }
        Ok(self.bytes.slice(range.start as usize..range.end as usize))
    }

    /// Recomputes the pack's checksum; linear in its size.
    ///
    /// # Errors
    /// As [`checksum::verify_trailer`].
    pub fn verify_checksum(&self) -> Result<ObjectId, Error> {
        checksum::verify_trailer(&self.bytes, self.hash)
    }

    #[inline]
    fn entries_from(&self, offset: u64) -> Result<&[u8], Error> {
        let end = self.bytes.len() - self.hash.len();
        if offset < PACK_HEADER_BYTES as u64 || offset >= end as u64 {
            return Err(Error::BadEntry { offset, what: "offset is outside the pack's entries" });
        }
        Ok(&self.bytes[offset as usize..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(extra: &[u8]) -> Vec<u8> {
        let mut bytes = PackHeader::encode(1).to_vec();
        bytes.extend_from_slice(extra);
        bytes
    }

    #[test]
    fn opens_on_a_good_frame_only() {
        let good = pack(&[0; 20]);
        let file = PackFile::open(good.clone().into(), HashKind::Sha1).expect("a frame");
        assert_eq!((file.object_count(), file.version()), (1, 2));
        for cut in 0..good.len() {
            let cut = Bytes::copy_from_slice(&good[..cut]);
            assert!(PackFile::open(cut, HashKind::Sha1).is_err());
        }
        for (at, value) in [(0, b'p'), (7, 4)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(PackFile::open(bad.into(), HashKind::Sha1).is_err());
        }
    }

    #[test]
    fn entries_lie_between_header_and_trailer() {
        let mut extra = vec![0xb0, 0x80, 0x80];
        extra.extend_from_slice(&[0; 20]);
        let file = PackFile::open(pack(&extra).into(), HashKind::Sha1).expect("a frame");
        for offset in [0, 11, 12, 15, 34, u64::MAX] {
            assert!(matches!(file.entry_at(offset), Err(Error::BadEntry { .. })), "at {offset}");
        }
        assert!(file.slice(3..36).is_err());
    }
}
