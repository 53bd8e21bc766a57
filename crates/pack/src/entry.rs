//! The header of one pack entry: what it is, how large its inflated data, where its base lies.
//!
//! Format: gitformat-pack, "pack-*.pack files have the following format". Knows nothing of the
//! compressed data that follows.

use object::{HashKind, ID_BYTES_MAX, Kind, ObjectId};

use crate::Error;

/// The longest entry header: a 64-bit size in ten bytes and either a base id or a distance.
pub const HEADER_BYTES_MAX: usize = 10 + ID_BYTES_MAX;

/// Bytes before the first entry of a pack: signature, version, object count.
pub const PACK_HEADER_BYTES: usize = 12;

const OFS_DELTA: u8 = 6;
const REF_DELTA: u8 = 7;

/// How an entry stores its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// Whole.
    Base(Kind),
    /// As a delta against an earlier entry of the same pack.
    OfsDelta {
        /// Bytes from the base entry's start to this entry's start; never zero.
        distance: u64,
    },
    /// As a delta against a named object, which a thin pack need not contain.
    RefDelta {
        /// The base object.
        base: ObjectId,
    },
}

impl EntryKind {
    /// Whether the entry's data is a delta.
    pub const fn is_delta(&self) -> bool {
        !matches!(self, EntryKind::Base(_))
    }
}

/// The header of one pack entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryHeader {
    /// How the object is stored.
    pub kind: EntryKind,
    /// Bytes of the inflated data: the object's own size, or the delta's for a delta.
    pub size: u64,
    /// Bytes of this header; the compressed data starts right behind it.
    pub header_len: usize,
}

impl EntryHeader {
    /// Reads a header from the start of `bytes`, which may go on past it.
    ///
    /// # Errors
    /// [`Error::Truncated`] when `bytes` ends inside the header (more bytes may cure it),
    /// [`Error::Corrupt`] for an unknown type, an overflowing number or a distance of zero.
    #[inline]
    pub fn parse(bytes: &[u8], hash: HashKind) -> Result<Self, Error> {
        let (type_number, size, mut at) = parse_type_and_size(bytes)?;
        let kind = match type_number {
            OFS_DELTA => {
                let (distance, used) = parse_distance(&bytes[at..])?;
                at += used;
                EntryKind::OfsDelta { distance }
            }
            REF_DELTA => {
                let id = bytes.get(at..at + hash.len()).ok_or(TRUNCATED)?;
                at += hash.len();
                EntryKind::RefDelta { base: ObjectId::from_prefix(id, hash) }
            }
            number => EntryKind::Base(
                Kind::from_pack_type(number).ok_or(Error::corrupt("unknown object type"))?,
            ),
        };
        Ok(EntryHeader { kind, size, header_len: at })
    }

    /// Where the base of an offset delta at `entry_offset` starts; `None` for other kinds.
    ///
    /// # Errors
    /// [`Error::BadEntry`] when that is before the first entry of the pack.
    pub fn base_offset(&self, entry_offset: u64) -> Result<Option<u64>, Error> {
        let EntryKind::OfsDelta { distance } = self.kind else { return Ok(None) };
        match entry_offset.checked_sub(distance) {
            Some(base) if base >= PACK_HEADER_BYTES as u64 => Ok(Some(base)),
            _ => Err(Error::BadEntry {
                offset: entry_offset,
                what: "delta base offset is out of bound",
            }),
        }
    }
}

/// Appends the header of an entry whose inflated data has `size` bytes.
pub fn encode(kind: &EntryKind, size: u64, out: &mut Vec<u8>) {
    let type_number = match kind {
        EntryKind::Base(kind) => kind.pack_type(),
        EntryKind::OfsDelta { .. } => OFS_DELTA,
        EntryKind::RefDelta { .. } => REF_DELTA,
    };
    encode_type_and_size(type_number, size, out);
    match kind {
        EntryKind::Base(_) => {}
        EntryKind::OfsDelta { distance } => encode_distance(*distance, out),
        EntryKind::RefDelta { base } => out.extend_from_slice(base.as_bytes()),
    }
}

const TRUNCATED: Error = Error::truncated("pack entry header");

#[inline]
fn parse_type_and_size(bytes: &[u8]) -> Result<(u8, u64, usize), Error> {
    let first = *bytes.first().ok_or(TRUNCATED)?;
    let mut size = u64::from(first & 0x0f);
    let mut at = 1;
    let mut shift = 4;
    let mut last = first;
    while last & 0x80 != 0 {
        last = *bytes.get(at).ok_or(TRUNCATED)?;
        at += 1;
        let part = u64::from(last & 0x7f);
        if shift >= u64::BITS || (part << shift) >> shift != part {
            return Err(Error::corrupt("object size overflows 64 bits"));
        }
        size |= part << shift;
        shift += 7;
    }
    Ok((first >> 4 & 7, size, at))
}

fn encode_type_and_size(type_number: u8, size: u64, out: &mut Vec<u8>) {
    let mut byte = type_number << 4 | (size & 0x0f) as u8;
    let mut rest = size >> 4;
    while rest != 0 {
        out.push(byte | 0x80);
        byte = (rest & 0x7f) as u8;
        rest >>= 7;
    }
    out.push(byte);
}

/// The "offset encoding" of gitformat-pack: each continuation adds one, so that no number has
/// two encodings.
#[inline]
fn parse_distance(bytes: &[u8]) -> Result<(u64, usize), Error> {
    let mut last = *bytes.first().ok_or(TRUNCATED)?;
    let mut distance = u64::from(last & 0x7f);
    let mut at = 1;
    while last & 0x80 != 0 {
        last = *bytes.get(at).ok_or(TRUNCATED)?;
        at += 1;
        if distance >= u64::MAX >> 8 {
            return Err(Error::corrupt("delta base offset overflows 64 bits"));
        }
        distance = (distance + 1) << 7 | u64::from(last & 0x7f);
    }
    if distance == 0 {
        return Err(Error::corrupt("delta base offset is zero"));
    }
    Ok((distance, at))
}

fn encode_distance(distance: u64, out: &mut Vec<u8>) {
    let mut buffer = [0u8; 10];
    let mut at = buffer.len() - 1;
    buffer[at] = (distance & 0x7f) as u8;
    let mut rest = distance >> 7;
    while rest != 0 {
        rest -= 1;
        at -= 1;
        buffer[at] = 0x80 | (rest & 0x7f) as u8;
        rest >>= 7;
    }
    out.extend_from_slice(&buffer[at..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(kind: EntryKind, size: u64, hash: HashKind) {
        let mut bytes = Vec::new();
        encode(&kind, size, &mut bytes);
        let len = bytes.len();
        assert!(len <= HEADER_BYTES_MAX);
        for cut in 0..len {
            let result = EntryHeader::parse(&bytes[..cut], hash);
            assert!(matches!(result, Err(Error::Truncated { .. })), "cut at {cut}");
        }
        bytes.extend_from_slice(b"trailing");
        let header = EntryHeader::parse(&bytes, hash).expect("own encoding");
        assert_eq!(header, EntryHeader { kind, size, header_len: len });
    }

    proptest! {
        #[test]
        fn headers_round_trip(size: u64, distance in 1..u64::MAX >> 8, shift in 0u32..56) {
            for kind in [Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag] {
                round_trip(EntryKind::Base(kind), size >> shift, HashKind::Sha1);
            }
            let distance = (distance >> shift).max(1);
            round_trip(EntryKind::OfsDelta { distance }, size, HashKind::Sha1);
        }
    }

    #[test]
    fn reference_deltas_carry_either_hash() {
        for hash in [HashKind::Sha1, HashKind::Sha256] {
            let base = ObjectId::from_prefix(&[7; 32], hash);
            round_trip(EntryKind::RefDelta { base }, 300, hash);
        }
    }

    #[test]
    fn refuses_what_no_pack_may_hold() {
        let refused: [&[u8]; 5] = [
            &[0x00],
            &[0x50],
            &[0x60, 0x00],
            &[0x9f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            &[0x60, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        ];
        for bytes in refused {
            let result = EntryHeader::parse(bytes, HashKind::Sha1);
            assert!(matches!(result, Err(Error::Corrupt { .. })), "{bytes:x?} gave {result:?}");
        }
    }

    #[test]
    fn a_base_lies_between_the_pack_header_and_the_delta() {
        let header = |distance| EntryHeader {
            kind: EntryKind::OfsDelta { distance },
            size: 1,
            header_len: 2,
        };
        assert_eq!(header(88).base_offset(100).expect("in bounds"), Some(12));
        assert!(header(89).base_offset(100).is_err());
        assert!(header(101).base_offset(100).is_err());
    }
}
