//! When each object of a cruft pack was last needed: the .mtimes file beside the pack.
//!
//! Format: gitformat-pack, "pack-*.mtimes files".

use std::io::Write;

use bytes::Bytes;
use object::{HashKind, ObjectId};

use crate::big_endian::u32_at;
use crate::checksum::{self, ChecksumWriter};
use crate::{Error, Index};

const SIGNATURE: &[u8; 4] = b"MTME";
const HEADER_BYTES: usize = 12;

/// An opened .mtimes file.
#[derive(Debug, Clone)]
pub struct Mtimes {
    bytes: Bytes,
    hash: HashKind,
    count: u32,
}

impl Mtimes {
    /// Takes a file's bytes, after a check that it belongs to `index`; in constant time.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when its header, size or pack checksum do not fit the index,
    /// [`Error::Unsupported`] for another version.
    pub fn open(bytes: Bytes, index: &Index) -> Result<Self, Error> {
        let (hash, count) = (index.hash(), index.count());
        let (Some(version), Some(hash_number)) = (u32_at(&bytes, 4), u32_at(&bytes, 8)) else {
            return Err(Error::truncated("times of a cruft pack"));
        };
        if !bytes.starts_with(SIGNATURE) {
            return Err(Error::corrupt("signature of a cruft pack's times mismatch"));
        }
        if version != 1 {
            return Err(Error::Unsupported { what: "version of a cruft pack's times" });
        }
        if hash_number != u32::from(hash.format_version()) {
            return Err(Error::corrupt("times of a cruft pack are of another hash"));
        }
        let end = HEADER_BYTES + count as usize * 4;
        if bytes.len() != end + 2 * hash.len() {
            return Err(Error::corrupt("times of a cruft pack have the wrong size"));
        }
        if bytes[end..end + hash.len()] != *index.pack_checksum().as_bytes() {
            return Err(Error::corrupt("times belong to another pack"));
        }
        Ok(Mtimes { bytes, hash, count })
    }

    /// Objects in the pack.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// When the object at a position of the index was last needed, seconds since 1970.
    ///
    /// # Errors
    /// [`Error::Corrupt`] past the end.
    pub fn seconds_at(&self, position: u32) -> Result<u32, Error> {
        (position < self.count)
            .then(|| u32_at(&self.bytes, HEADER_BYTES + position as usize * 4))
            .flatten()
            .ok_or(Error::corrupt("a position past the last time of a cruft pack"))
    }

    /// Recomputes the file's checksum; linear in its size.
    ///
    /// # Errors
    /// As [`checksum::verify_trailer`].
    pub fn verify_checksum(&self) -> Result<ObjectId, Error> {
        checksum::verify_trailer(&self.bytes, self.hash)
    }
}

/// Writes a .mtimes file; gives its trailing checksum. `seconds` come in the order of the index.
///
/// # Errors
/// Those of `out`.
pub fn write(
    seconds: impl IntoIterator<Item = u32>,
    pack_checksum: &ObjectId,
    out: impl Write,
) -> Result<ObjectId, Error> {
    let hash = pack_checksum.kind();
    let mut out = ChecksumWriter::new(hash, out);
    out.write(SIGNATURE)?;
    out.write(&1u32.to_be_bytes())?;
    out.write(&u32::from(hash.format_version()).to_be_bytes())?;
    for time in seconds {
        out.write(&time.to_be_bytes())?;
    }
    out.write(pack_checksum.as_bytes())?;
    Ok(out.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idx::write::{IndexEntry, write_v2};

    fn index(count: u8) -> Index {
        let pack = ObjectId::from_prefix(&[9; 20], HashKind::Sha1);
        let entry = |at: u32| IndexEntry {
            id: ObjectId::from_prefix(&[at as u8; 20], HashKind::Sha1),
            offset: 12 + u64::from(at),
            crc32: 0,
        };
        let mut bytes = Vec::new();
        write_v2(count.into(), entry, &pack, &mut bytes).expect("a vector takes everything");
        Index::open(bytes.into(), HashKind::Sha1).expect("a good index")
    }

    #[test]
    fn times_come_back_and_other_packs_are_refused() {
        let index = index(3);
        let mut bytes = Vec::new();
        write([7, 0, u32::MAX], &index.pack_checksum(), &mut bytes).expect("a vector");
        let times = Mtimes::open(bytes.clone().into(), &index).expect("its own");
        let read: Vec<_> = (0..3).map(|at| times.seconds_at(at).expect("there")).collect();
        assert_eq!(read, [7, 0, u32::MAX]);
        assert!(times.seconds_at(3).is_err());
        times.verify_checksum().expect("a good checksum");
        assert!(Mtimes::open(bytes.clone().into(), &self::index(2)).is_err());
        for len in [0, 11, 12, bytes.len() - 1] {
            assert!(Mtimes::open(bytes[..len].to_vec().into(), &index).is_err(), "{len}");
        }
        bytes[8] ^= 3;
        assert!(Mtimes::open(bytes.into(), &index).is_err(), "another hash");
    }
}
