//! Writing a version 2 index, byte for byte as git does.

use std::io::Write;

use object::{HashKind, ObjectId};

use super::{LARGE_OFFSET, SIGNATURE};
use crate::Error;
use crate::checksum::ChecksumWriter;

/// Offsets up to this one fit the table of 32-bit offsets.
pub const SMALL_OFFSET_MAX: u32 = LARGE_OFFSET - 1;

/// What an index says of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexEntry {
    /// The object.
    pub id: ObjectId,
    /// Bytes from the start of the pack to its entry.
    pub offset: u64,
    /// The CRC-32 of the raw entry: header, base and compressed data.
    pub crc32: u32,
}

/// Writes the index of `count` objects; gives its trailing checksum.
///
/// `entry_at` tells the object at each position, in ascending order of ids, and is asked several
/// times, so that a caller may keep its entries in whatever form is smallest.
///
/// # Errors
/// [`Error::Corrupt`] when the ids are not in order or not of `pack_checksum`'s hash,
/// [`Error::Io`] of `out`.
pub fn write_v2(
    count: u32,
    entry_at: impl Fn(u32) -> IndexEntry,
    pack_checksum: &ObjectId,
    out: impl Write,
) -> Result<ObjectId, Error> {
    write_v2_limited(count, entry_at, pack_checksum, SMALL_OFFSET_MAX, out)
}

/// Like [`write_v2`], with another limit beyond which offsets go to the table of 64-bit ones
/// (the second number of git's `--index-version=2,OFFSET`).
///
/// # Errors
/// As [`write_v2`].
pub fn write_v2_limited(
    count: u32,
    entry_at: impl Fn(u32) -> IndexEntry,
    pack_checksum: &ObjectId,
    small_offset_max: u32,
    out: impl Write,
) -> Result<ObjectId, Error> {
    let limit = u64::from(small_offset_max.min(SMALL_OFFSET_MAX));
    let mut out = ChecksumWriter::new(pack_checksum.kind(), out);
    out.write(SIGNATURE)?;
    out.write(&2u32.to_be_bytes())?;
    for number in fanout(count, &entry_at, pack_checksum.kind())? {
        out.write(&number.to_be_bytes())?;
    }
    for position in 0..count {
        out.write(entry_at(position).id.as_bytes())?;
    }
    for position in 0..count {
        out.write(&entry_at(position).crc32.to_be_bytes())?;
    }
    let mut large_count = 0u32;
    for position in 0..count {
        let offset = entry_at(position).offset;
        let field = if offset > limit {
            large_count += 1;
            LARGE_OFFSET | (large_count - 1)
        } else {
            offset as u32
        };
        out.write(&field.to_be_bytes())?;
    }
    if large_count > 0 {
        for offset in (0..count).map(|position| entry_at(position).offset) {
            if offset > limit {
                out.write(&offset.to_be_bytes())?;
            }
        }
    }
    out.write(pack_checksum.as_bytes())?;
    Ok(out.finish()?)
}

fn fanout(
    count: u32,
    entry_at: impl Fn(u32) -> IndexEntry,
    hash: HashKind,
) -> Result<[u32; 256], Error> {
    let mut table = [0u32; 256];
    let mut before: Option<ObjectId> = None;
    for position in 0..count {
        let id = entry_at(position).id;
        if id.kind() != hash || before.is_some_and(|before| before > id) {
            return Err(Error::corrupt("objects of an index are not in order"));
        }
        table[id.as_bytes()[0] as usize] += 1;
        before = Some(id);
    }
    let mut sum = 0;
    for number in &mut table {
        sum += *number;
        *number = sum;
    }
    Ok(table)
}
