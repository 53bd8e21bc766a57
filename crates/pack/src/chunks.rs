//! The chunk-based frame that multi-pack-index and commit-graph share.
//!
//! Format: gitformat-chunk. Knows which bytes belong to which chunk, not what they mean.

use bytes::Bytes;
use object::HashKind;

use crate::Error;
use crate::big_endian::{u32_at, u64_at};

pub(crate) const ROW_BYTES: usize = 12;

/// A file's chunks by their four-letter names.
#[derive(Debug, Clone)]
pub(crate) struct Chunks {
    chunks: Vec<([u8; 4], Bytes)>,
}

impl Chunks {
    /// Reads a table of contents of `count` chunks that starts at byte `table_at`.
    ///
    /// Chunks must follow each other between the table and the trailing checksum.
    pub(crate) fn read(
        bytes: &Bytes,
        table_at: usize,
        count: u8,
        hash: HashKind,
    ) -> Result<Self, Error> {
        const BAD: Error = Error::corrupt("table of chunks is damaged");
        let data_end = bytes.len().checked_sub(hash.len()).ok_or(BAD)?;
        let table_end = table_at + (usize::from(count) + 1) * ROW_BYTES;
        if table_end > data_end {
            return Err(Error::truncated("table of chunks"));
        }
        let mut chunks: Vec<([u8; 4], Bytes)> = Vec::with_capacity(usize::from(count));
        for row in 0..usize::from(count) {
            let at = table_at + row * ROW_BYTES;
            let name = name_at(bytes, at).filter(|name| *name != [0; 4]).ok_or(BAD)?;
            let start = offset_at(bytes, at).filter(|start| *start >= table_end).ok_or(BAD)?;
            let end = offset_at(bytes, at + ROW_BYTES)
                .filter(|end| (start..=data_end).contains(end))
                .ok_or(BAD)?;
            if chunks.iter().any(|(other, _)| *other == name) {
                return Err(Error::corrupt("chunk appears twice"));
            }
            chunks.push((name, bytes.slice(start..end)));
        }
        if name_at(bytes, table_end - ROW_BYTES) != Some([0; 4]) {
            return Err(Error::corrupt("table of chunks does not end"));
        }
        Ok(Chunks { chunks })
    }

    /// The bytes of a chunk that the file may leave out.
    pub(crate) fn optional(&self, name: &[u8; 4]) -> Option<Bytes> {
        self.chunks.iter().find(|(other, _)| other == name).map(|(_, bytes)| bytes.clone())
    }

    /// The bytes of a chunk that must be there.
    pub(crate) fn required(&self, name: &[u8; 4]) -> Result<Bytes, Error> {
        self.optional(name).ok_or(Error::corrupt("required chunk is missing"))
    }
}

fn name_at(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    u32_at(bytes, at).map(u32::to_be_bytes)
}

fn offset_at(bytes: &[u8], at: usize) -> Option<usize> {
    u64_at(bytes, at + 4).and_then(|offset| usize::try_from(offset).ok())
}

/// The layers a chain file lists, base first: one id in hexadecimal per line.
///
/// # Errors
/// [`Error::Corrupt`] for any other line.
pub(crate) fn chain_layers(
    chain: &[u8],
    hash: HashKind,
) -> impl Iterator<Item = Result<object::ObjectId, Error>> {
    let lines = chain.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(move |line| {
        object::ObjectId::from_hex_of(line, hash)
            .ok_or(Error::corrupt("chain file has a line that is not an id"))
    })
}
