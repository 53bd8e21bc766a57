//! A block: records in the order of their keys, each key by what it shares with the one before.

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};

use crate::varint::{take, take_bytes};
use crate::{Error, Result};

pub(crate) const REFS: u8 = b'r';
pub(crate) const LOGS: u8 = b'g';
pub(crate) const INDEX: u8 = b'i';
const OBJECTS: u8 = b'o';

/// Kind and length in front of a block.
pub(crate) const HEAD_BYTES: usize = 4;

/// Where a block is looked for.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    /// Bytes of the table's header, which the first block begins with.
    pub header_size: usize,
    /// Alignment of blocks; 0 when there is none.
    pub block_size: usize,
    /// Where the footer begins.
    pub end: usize,
}

/// One block, of logs inflated.
pub(crate) struct Block {
    pub kind: u8,
    bytes: Bytes,
    /// Where the first record begins, where the table of restarts does, and how many those are.
    first: usize,
    restarts: usize,
    restart_count: usize,
    /// Bytes it takes up in the table, what it is filled up with included.
    pub stored: usize,
}

fn u24(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 3)?;
    Some(usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]))
}

impl Block {
    /// The kind of the block that begins at a place of a table; `None` at the end.
    fn kind_at(table: &[u8], at: usize, frame: Frame) -> Option<u8> {
        let head = if at == 0 { frame.header_size } else { at };
        table[..frame.end].get(head).copied()
    }

    /// Whether a block of this kind begins at a place; not so at the end, and for another kind.
    pub fn is_kind_at(table: &[u8], at: u64, frame: Frame, wanted: u8) -> Result<bool> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if at >= frame.end || (at == 0 && frame.end == frame.header_size) {
            return Ok(false);
        }
        match Block::kind_at(table, at, frame) {
            Some(kind) if kind == wanted => Ok(true),
            Some(REFS | LOGS | INDEX | OBJECTS) => Ok(false),
            // Zeros, most likely: what a crash or a bad disk leaves.
            _ => Err(Error::Corrupt("a block is of no known kind")),
        }
    }

    /// The block that begins at a place of a table.
    pub fn open(table: &Bytes, at: usize, frame: Frame) -> Result<Block> {
        const SHORT: Error = Error::Corrupt("a block ends early");
        let head = if at == 0 { frame.header_size } else { 0 };
        let rest = match at < frame.end {
            true => table.slice(at..frame.end),
            false => return Err(SHORT),
        };
        let kind = *rest.get(head).ok_or(SHORT)?;
        let length = u24(&rest, head + 1).ok_or(SHORT)?;
        let first = head + HEAD_BYTES;
        if length < first + 2 {
            return Err(SHORT);
        }
        let (bytes, stored) = match kind {
            LOGS => inflate(&rest, first, length)?,
            _ if length > rest.len() => return Err(SHORT),
            _ => {
                let is_filled = rest.get(length).is_some_and(|byte| *byte == 0);
                let filled = if is_filled { frame.block_size.min(rest.len()) } else { length };
                (rest.slice(..length), filled.max(length))
            }
        };
        let count = [bytes[length - 2], bytes[length - 1]];
        let restart_count = usize::from(u16::from_be_bytes(count));
        let restarts = (length - 2).checked_sub(3 * restart_count);
        let restarts = restarts.filter(|at| *at >= first).ok_or(SHORT)?;
        Ok(Block { kind, bytes, first, restarts, restart_count, stored })
    }

    /// The whole key a restart begins with.
    fn restart(&self, number: usize) -> Result<(usize, &[u8])> {
        const BAD: Error = Error::Corrupt("a restart is no record");
        let at = u24(&self.bytes, self.restarts + 3 * number).ok_or(BAD)?;
        let mut record = self.bytes.get(at..self.restarts).ok_or(BAD)?;
        if at < self.first || take(&mut record)? != 0 {
            return Err(BAD);
        }
        let suffix = take(&mut record)? >> 3;
        Ok((at, take_bytes(&mut record, suffix)?))
    }
}

/// The content of a block of logs behind as many bytes as were in front of it, and the bytes the
/// block takes up.
fn inflate(rest: &[u8], first: usize, length: usize) -> Result<(Bytes, usize)> {
    const BAD: Error = Error::Corrupt("a block of logs cannot be inflated");
    let mut bytes = vec![0; length];
    bytes[..first].copy_from_slice(&rest[..first]);
    let mut inflate = Decompress::new(true);
    let status = inflate.decompress(&rest[first..], &mut bytes[first..], FlushDecompress::Finish);
    match status {
        Ok(Status::StreamEnd) if inflate.total_out() == (length - first) as u64 => {
            Ok((bytes.into(), first + inflate.total_in() as usize))
        }
        _ => Err(BAD),
    }
}

/// A place in a block.
pub(crate) struct BlockCursor {
    block: Block,
    /// Where the next record begins; of one whose key was read, its value.
    at: usize,
    key: Vec<u8>,
    /// The three bits beside the length of the key that was read last.
    kind: u8,
    /// The key was read by looking for it, and nobody was told yet.
    is_pending: bool,
}

impl BlockCursor {
    /// In front of the first record.
    pub fn new(block: Block) -> Self {
        let at = block.first;
        BlockCursor { block, at, key: Vec::new(), kind: 0, is_pending: false }
    }

    /// The key that was read last.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Reads the next key; its three bits, or `None` at the end. The value must be taken next.
    pub fn next(&mut self) -> Result<Option<u8>> {
        if std::mem::take(&mut self.is_pending) {
            return Ok(Some(self.kind));
        }
        let mut record = &self.block.bytes[self.at..self.block.restarts];
        if record.is_empty() {
            return Ok(None);
        }
        let prefix = take(&mut record)?;
        let suffix = take(&mut record)?;
        let text = take_bytes(&mut record, suffix >> 3)?;
        if prefix > self.key.len() as u64 {
            return Err(Error::Corrupt("a key shares more than the one before has"));
        }
        self.key.truncate(prefix as usize);
        self.key.extend_from_slice(text);
        self.kind = (suffix & 7) as u8;
        self.at = self.block.restarts - record.len();
        Ok(Some(self.kind))
    }

    /// What is behind the key: the value, and more.
    pub fn value(&self) -> &[u8] {
        &self.block.bytes[self.at..self.block.restarts]
    }

    /// As [`BlockCursor::value`], from a place that [`BlockCursor::place`] gave before.
    pub fn value_from(&self, place: usize) -> &[u8] {
        &self.block.bytes[place..self.block.restarts]
    }

    pub fn place(&self) -> usize {
        self.at
    }

    /// The value has been read: so many bytes are behind it.
    pub fn behind_value(&mut self, left: usize) {
        self.at = self.block.restarts - left;
    }

    /// Goes to the first record whose key is not below `wanted`; whether there is one. `skip` reads
    /// past a value.
    pub fn seek(
        &mut self,
        wanted: &[u8],
        skip: impl Fn(u8, &mut &[u8]) -> Result<()>,
    ) -> Result<bool> {
        // The last restart below what is wanted.
        let (mut low, mut high) = (0, self.block.restart_count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.block.restart(middle)?.1 < wanted {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        self.at = match low.checked_sub(1) {
            Some(number) => self.block.restart(number)?.0,
            None => self.block.first,
        };
        self.key.clear();
        self.is_pending = false;
        while let Some(kind) = self.next()? {
            if self.key.as_slice() >= wanted {
                self.is_pending = true;
                return Ok(true);
            }
            let mut rest = self.value();
            skip(kind, &mut rest)?;
            let left = rest.len();
            self.behind_value(left);
        }
        Ok(false)
    }
}
