//! The content of one object, piece by piece: what is large and stored whole is never held whole.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use object::{Kind, ObjectId};
use pack::entry::EntryKind;
use pack::inflate::Inflater;

use super::loose::Loose;
use super::pack_handle::PackHandle;
use super::read::entry_header;
use super::{LooseOrPacked, Objects};
use crate::error::{Error, Result};

/// Content that is read from its beginning to its end. What is stored as a delta is rebuilt whole,
/// as everything else that asks for it does; git stores nothing large as one (`core.bigFileThreshold`).
pub struct ContentStream {
    size: u64,
    left: u64,
    source: Source,
}

enum Source {
    Whole(Arc<Vec<u8>>),
    Loose(Box<Loose>),
    Packed(Box<Entry>),
}

/// An entry of a pack that is no delta.
struct Entry {
    pack: Arc<PackHandle>,
    /// Compressed bytes that were not read yet.
    rest: Range<u64>,
    /// Compressed bytes that were read and not inflated yet.
    input: Bytes,
    inflater: Inflater,
    ended: bool,
}

impl Objects {
    /// The content of an object of a known kind.
    ///
    /// # Errors
    /// As [`Objects::read_expect`].
    pub fn content(&self, id: &ObjectId, expected: Kind) -> Result<ContentStream> {
        let missing = Error::Missing { id: *id, kind: Some(expected) };
        let slot = self.slot(id)?.ok_or(missing)?;
        let slot = match slot.is_loose() {
            true => match self.loose_or_packed(slot)? {
                LooseOrPacked::Loose(loose) => {
                    check_kind(id, loose.kind, expected)?;
                    return Ok(ContentStream::new(loose.size, Source::Loose(Box::new(loose))));
                }
                LooseOrPacked::Packed(slot) => slot,
            },
            false => slot,
        };
        if let Some((_, pack, offset)) = self.place(slot)? {
            let header = entry_header(&pack, offset)?;
            if let EntryKind::Base(kind) = header.kind {
                check_kind(id, kind, expected)?;
                let start = offset + header.header_len as u64;
                let entry = Box::new(Entry::new(pack, start)?);
                return Ok(ContentStream::new(header.size, Source::Packed(entry)));
            }
        }
        let object = self.read_expect(id, expected)?;
        Ok(ContentStream::new(object.data.len() as u64, Source::Whole(object.data)))
    }
}

fn check_kind(id: &ObjectId, found: Kind, expected: Kind) -> Result<()> {
    match found == expected {
        true => Ok(()),
        false => Err(Error::WrongKind { id: *id, expected, found }),
    }
}

impl ContentStream {
    fn new(size: u64, source: Source) -> Self {
        ContentStream { size, left: size, source }
    }

    /// All of it, bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next bytes; 0 at the end, and only there unless `buffer` is empty.
    ///
    /// # Errors
    /// When the storage fails, or the content has another length than its header says.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            if self.left == 0 && !buffer.is_empty() {
                self.check_end()?;
            }
            return Ok(0);
        }
        let buffer = &mut buffer[..most];
        let count = match &mut self.source {
            Source::Whole(data) => {
                let at = (self.size - self.left) as usize;
                buffer.copy_from_slice(&data[at..at + most]);
                most
            }
            Source::Loose(loose) => loose.read(buffer)?,
            Source::Packed(entry) => entry.read(buffer)?,
        };
        if count == 0 {
            return Err(self.wrong_size());
        }
        self.left -= count as u64;
        Ok(count)
    }

    fn check_end(&mut self) -> Result<()> {
        let mut one = [0];
        let more = match &mut self.source {
            Source::Whole(_) => 0,
            Source::Loose(loose) => loose.read(&mut one)?,
            Source::Packed(entry) => entry.read(&mut one)?,
        };
        if more > 0 { Err(self.wrong_size()) } else { Ok(()) }
    }

    fn wrong_size(&self) -> Error {
        match &self.source {
            Source::Packed(entry) => entry.pack.corrupt("an object has another size than declared"),
            Source::Loose(loose) => loose.wrong_size(),
            Source::Whole(_) => unreachable!("as long as it is"),
        }
    }
}

impl Entry {
    fn new(pack: Arc<PackHandle>, start: u64) -> Result<Self> {
        let end = pack.entries_end();
        // A map costs nothing to hold; elsewhere the end is worth looking up, and pieces are read.
        let (input, rest) = match pack.map() {
            Some(_) => (pack.bytes(start..end)?, end..end),
            None => (Bytes::new(), start..end),
        };
        Ok(Entry { pack, rest, input, inflater: Inflater::new(), ended: false })
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        while !self.ended {
            if self.input.is_empty() && !self.rest.is_empty() {
                let end = (self.rest.start + PIECE_BYTES).min(self.rest.end);
                self.input = self.pack.read_directly(self.rest.start..end)?;
                self.rest.start = end;
            }
            let step = self.inflater.step(&self.input, buffer).map_err(self.pack.named())?;
            self.input.advance(step.consumed);
            self.ended = step.ended;
            if step.produced > 0 {
                return Ok(step.produced);
            }
            if step.consumed == 0 && !step.ended && self.rest.is_empty() {
                return Err(self.pack.corrupt("an object ends before its time"));
            }
        }
        Ok(0)
    }
}

/// Compressed bytes read at a time from a store without a map.
const PIECE_BYTES: u64 = 1 << 20;
