//! Writing a planned pack, chunk by chunk.
//!
//! Stored bytes leave as slices of the memory map. Where the answer is one stored pack
//! as it lies, its own checksum is sent with it and nothing is hashed at all.

use std::collections::VecDeque;

use bytes::{BufMut as _, Bytes, BytesMut};
use object::{Checksum, ObjectId};
use pack::delta::create::BaseIndex;
use pack::entry::{self, EntryKind};

use crate::error::{Error, Result};
use crate::objects::{
    CACHE_BYTES_MIN, Cached, LooseOrPacked, PackHandle, Reader, Slot, entry_header,
};
use crate::plan::{PackPlan, Piece};

/// The most bytes handed on in one slice.
const SLICE_BYTES: u64 = 1 << 20;
/// Pieces shorter than this are gathered in a buffer instead of sent one by one.
const GATHER_BYTES: u64 = 4096;
/// The buffer's size.
const BUFFER_BYTES: usize = 64 << 10;
/// No delta is made on a base larger than this, bytes: its index would take as much again.
const DELTA_BASE_BYTES_MAX: u64 = 32 << 20;
/// Input taken from a loose object at a time, bytes.
const LOOSE_READ_BYTES: usize = 32 << 10;

/// A pack being written.
pub struct PackStream {
    plan: PackPlan,
    next_piece: usize,
    /// The rest of a range that is being sent: pack number, first and past-the-end offset.
    rest: Option<(u32, u64, u64)>,
    loose: Option<LooseEntry>,
    buffer: BytesMut,
    ready: VecDeque<Bytes>,
    sum: Sum,
    /// Bytes written, those in the buffer included.
    written: u64,
    /// Where stored entries went: source pack, source extent, place in the new pack.
    placed: Vec<Placement>,
    reader: Reader,
    state: State,
    level: i32,
}

/// How the trailing checksum comes about.
enum Sum {
    Computed(Checksum),
    /// One stored pack as it lies: its own checksum holds.
    Stored,
}

#[derive(PartialEq, Eq)]
enum State {
    Header,
    Entries,
    Done,
}

struct Placement {
    pack: u32,
    start: u64,
    end: u64,
    at: u64,
}

/// A loose object on its way: inflated and deflated again without ever being held whole.
struct LooseEntry {
    source: crate::objects::Loose,
    left: u64,
    deflate: flate2::Compress,
    input: Vec<u8>,
}

impl PackStream {
    /// What is noted of each piece that was sent.
    pub(crate) const BYTES_PER_PIECE: usize = size_of::<Placement>();
    /// Buffers, and a cache that has only begun to fill.
    pub(crate) const BUFFERS_BYTES: usize = 2 * BUFFER_BYTES + CACHE_BYTES_MIN;

    pub(crate) fn new(plan: PackPlan) -> Self {
        let hash = plan.objects.hash();
        let settings = plan.objects.settings();
        let reader = Reader::of_request(settings);
        let sum = match stored_whole(&plan) {
            true => Sum::Stored,
            false => Sum::Computed(Checksum::new(hash)),
        };
        PackStream {
            level: pack::inflate::LEVEL_DEFAULT,
            plan,
            next_piece: 0,
            rest: None,
            loose: None,
            buffer: BytesMut::new(),
            ready: VecDeque::new(),
            sum,
            written: 0,
            placed: Vec::new(),
            reader,
            state: State::Header,
        }
    }

    /// How many objects the pack holds.
    pub fn object_count(&self) -> u32 {
        self.plan.object_count()
    }

    /// Bytes handed out so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The next bytes of the pack, at most 1 MiB; `None` after the last.
    ///
    /// # Errors
    /// When the storage fails or an object is damaged: the pack cannot be finished.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Ok(Some(chunk));
            }
            match self.state {
                State::Done => return Ok(None),
                State::Header => {
                    let mut header = *b"PACK\0\0\0\x02\0\0\0\0";
                    header[8..].copy_from_slice(&self.plan.object_count().to_be_bytes());
                    self.gather(&header);
                    self.state = State::Entries;
                }
                State::Entries => self.advance()?,
            }
        }
    }

    /// Takes one step: a slice of a range, a chunk of a loose object, or the next piece.
    fn advance(&mut self) -> Result<()> {
        if let Some((pack, start, end)) = self.rest.take() {
            return self.stored(pack, start, end);
        }
        if let Some(entry) = self.loose.take() {
            return self.loose_chunk(entry);
        }
        let Some(piece) = self.plan.pieces.get(self.next_piece).copied() else {
            return self.trailer();
        };
        self.next_piece += 1;
        match piece {
            Piece::Range { pack, start, end } => {
                self.place(pack, start, end);
                self.stored(pack, start, end)
            }
            Piece::Moved { pack, start, end } => self.moved(pack, start, end),
            Piece::Named { pack, start, end } => self.named(pack, start, end),
            Piece::Whole { pack, start } => self.whole(pack, start),
            Piece::Fresh { pack, start, end, slot, stored } => {
                self.fresh(pack, start, end, slot, stored)
            }
            Piece::Loose(slot) => self.open_loose(slot),
        }
    }

    /// A delta on what the client has, or the object as it is stored when that is smaller.
    fn fresh(&mut self, number: u32, start: u64, end: u64, slot: Slot, stored: bool) -> Result<()> {
        let pack = self.plan.packs[number as usize].clone();
        let object = self.reader.read(&self.plan.objects, &pack, start)?;
        if let Some((base, delta)) = self.delta_for(slot, &object)? {
            let mut compressed = Vec::new();
            pack::inflate::deflate(&delta, self.level, &mut compressed);
            if !stored || (compressed.len() as u64) < end - start {
                let kind = EntryKind::RefDelta { base };
                self.new_header(number, start, end, &kind, delta.len() as u64);
                self.gather(&compressed);
                return Ok(());
            }
        }
        match entry_header(&pack, start)?.kind {
            _ if !stored => self.whole(number, start),
            EntryKind::OfsDelta { .. } => self.named(number, start, end),
            EntryKind::Base(_) | EntryKind::RefDelta { .. } => {
                self.place(number, start, end);
                self.stored(number, start, end)
            }
        }
    }

    /// The object as a delta on the version the client has, if that is worth it.
    fn delta_for(&mut self, slot: Slot, object: &Cached) -> Result<Option<(ObjectId, Vec<u8>)>> {
        let Some(base) = self.plan.versions.get(&slot).copied() else { return Ok(None) };
        if self.plan.objects.header_of(base)?.1 > DELTA_BASE_BYTES_MAX {
            return Ok(None);
        }
        let id = self.plan.objects.id(base)?;
        let base = self.plan.objects.read_slot(base, &mut self.reader)?;
        let mut delta = Vec::new();
        let small = base.kind == object.kind
            && BaseIndex::new(&base.data).create(
                &base.data,
                &object.data,
                object.data.len() / 2,
                &mut delta,
            );
        Ok(small.then_some((id, delta)))
    }

    fn place(&mut self, pack: u32, start: u64, end: u64) {
        self.placed.push(Placement { pack, start, end, at: self.written });
    }

    /// Bytes of a stored pack, as they lie.
    fn stored(&mut self, pack: u32, start: u64, end: u64) -> Result<()> {
        let until = end.min(start + SLICE_BYTES);
        let bytes = self.plan.packs[pack as usize].bytes(start..until)?;
        if until < end {
            self.rest = Some((pack, until, end));
        }
        if until - start < GATHER_BYTES {
            self.gather(&bytes);
        } else {
            self.flush_buffer();
            self.emit(bytes);
        }
        Ok(())
    }

    fn moved(&mut self, number: u32, start: u64, end: u64) -> Result<()> {
        let pack = self.plan.packs[number as usize].clone();
        let header = entry_header(&pack, start)?;
        let base = header.base_offset(start).map_err(pack.named())?;
        let base_at = base.and_then(|base| self.new_place(number, base));
        let base_at = base_at.ok_or_else(|| pack.corrupt("a delta's base has not been sent"))?;
        let kind = EntryKind::OfsDelta { distance: self.written - base_at };
        self.new_header(number, start, end, &kind, header.size);
        self.stored(number, start + header.header_len as u64, end)
    }

    fn named(&mut self, number: u32, start: u64, end: u64) -> Result<()> {
        let pack = self.plan.packs[number as usize].clone();
        let header = entry_header(&pack, start)?;
        let base = header.base_offset(start).map_err(pack.named())?;
        let base = base.ok_or_else(|| pack.corrupt("a delta without a base"))?;
        let kind = EntryKind::RefDelta { base: pack.id_at_offset(base)? };
        self.new_header(number, start, end, &kind, header.size);
        self.stored(number, start + header.header_len as u64, end)
    }

    fn new_header(&mut self, pack: u32, start: u64, end: u64, kind: &EntryKind, size: u64) {
        self.place(pack, start, end);
        let mut header = Vec::with_capacity(entry::HEADER_BYTES_MAX);
        entry::encode(kind, size, &mut header);
        self.gather(&header);
    }

    /// Where the entry at `offset` of a stored pack begins in the new one. Pieces of one
    /// pack were placed in the order of their offsets.
    fn new_place(&self, pack: u32, offset: u64) -> Option<u64> {
        let from = self.placed.partition_point(|placed| placed.pack < pack);
        let pieces = &self.placed[from..];
        let after = pieces.partition_point(|placed| placed.pack == pack && placed.start <= offset);
        let placed = pieces[..after].last()?;
        (offset < placed.end).then(|| placed.at + (offset - placed.start))
    }

    /// A packed object, rebuilt and deflated anew.
    fn whole(&mut self, number: u32, start: u64) -> Result<()> {
        let pack = self.plan.packs[number as usize].clone();
        let object = self.reader.read(&self.plan.objects, &pack, start)?;
        let size = object.data.len() as u64;
        self.new_header(number, start, start + 1, &EntryKind::Base(object.kind), size);
        self.deflated(&object);
        Ok(())
    }

    /// An object's content, deflated.
    fn deflated(&mut self, object: &Cached) {
        let mut compressed = Vec::new();
        pack::inflate::deflate(&object.data, self.level, &mut compressed);
        if (compressed.len() as u64) < GATHER_BYTES {
            self.gather(&compressed);
        } else {
            self.flush_buffer();
            self.emit(compressed.into());
        }
    }

    fn open_loose(&mut self, slot: Slot) -> Result<()> {
        let mut header = Vec::with_capacity(entry::HEADER_BYTES_MAX);
        if self.plan.versions.contains_key(&slot) {
            let object = self.plan.objects.read_slot(slot, &mut self.reader)?;
            if let Some((base, delta)) = self.delta_for(slot, &object)? {
                let kind = EntryKind::RefDelta { base };
                entry::encode(&kind, delta.len() as u64, &mut header);
                self.gather(&header);
                let mut compressed = Vec::new();
                pack::inflate::deflate(&delta, self.level, &mut compressed);
                self.gather(&compressed);
                return Ok(());
            }
        }
        let source = match self.plan.objects.loose_or_packed(slot)? {
            LooseOrPacked::Loose(source) => source,
            LooseOrPacked::Packed(slot) => {
                let object = self.plan.objects.read_slot(slot, &mut self.reader)?;
                let size = object.data.len() as u64;
                entry::encode(&EntryKind::Base(object.kind), size, &mut header);
                self.gather(&header);
                self.deflated(&object);
                return Ok(());
            }
        };
        entry::encode(&EntryKind::Base(source.kind), source.size, &mut header);
        self.gather(&header);
        let level = flate2::Compression::new(self.level as u32);
        let left = source.size;
        let deflate = flate2::Compress::new(level, true);
        self.loose_chunk(LooseEntry { source, left, deflate, input: vec![0; LOOSE_READ_BYTES] })
    }

    /// Deflates the next part of a loose object's content into the buffer.
    fn loose_chunk(&mut self, mut entry: LooseEntry) -> Result<()> {
        let count = entry.source.read(&mut entry.input)?;
        if count as u64 > entry.left || (count == 0 && entry.left > 0) {
            let what = "a loose object's size is not what its header says";
            return Err(Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, what)));
        }
        entry.left -= count as u64;
        let flush = match entry.left {
            0 => flate2::FlushCompress::Finish,
            _ => flate2::FlushCompress::None,
        };
        let mut input = &entry.input[..count];
        let mut output = vec![0; LOOSE_READ_BYTES];
        loop {
            let (taken, made) = (entry.deflate.total_in(), entry.deflate.total_out());
            let status = entry
                .deflate
                .compress(input, &mut output, flush)
                .map_err(|error| Error::Io(error.into()))?;
            input = &input[(entry.deflate.total_in() - taken) as usize..];
            let made = (entry.deflate.total_out() - made) as usize;
            self.gather(&output[..made]);
            match status {
                flate2::Status::StreamEnd => return Ok(()),
                _ if input.is_empty() && entry.left > 0 => break,
                _ => {}
            }
        }
        self.loose = Some(entry);
        Ok(())
    }

    fn trailer(&mut self) -> Result<()> {
        self.state = State::Done;
        let sum = match std::mem::replace(&mut self.sum, Sum::Stored) {
            Sum::Stored => {
                let pack = &self.plan.packs[0];
                pack.bytes(pack.entries_end()..pack.size)?
            }
            Sum::Computed(mut sum) => {
                sum.update(&self.buffer);
                Bytes::copy_from_slice(sum.finish().as_bytes())
            }
        };
        self.written += sum.len() as u64;
        self.buffer.put_slice(&sum);
        self.ready.push_back(self.buffer.split().freeze());
        Ok(())
    }

    fn gather(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        self.buffer.put_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush_buffer();
        }
    }

    fn flush_buffer(&mut self) {
        if !self.buffer.is_empty() {
            let bytes = self.buffer.split().freeze();
            if let Sum::Computed(sum) = &mut self.sum {
                sum.update(&bytes);
            }
            self.ready.push_back(bytes);
        }
    }

    fn emit(&mut self, bytes: Bytes) {
        self.written += bytes.len() as u64;
        if let Sum::Computed(sum) = &mut self.sum {
            sum.update(&bytes);
        }
        self.ready.push_back(bytes);
    }
}

/// Whether the plan is one stored pack, whole and alone.
fn stored_whole(plan: &PackPlan) -> bool {
    let [Piece::Range { pack: 0, start: 12, end }] = plan.pieces[..] else { return false };
    let pack: &PackHandle = &plan.packs[0];
    let same_count = pack.index().is_ok_and(|index| index.count() == plan.object_count());
    // The checksum covers the header, so the header must be the one written here.
    let version_2 = pack.bytes(0..8).is_ok_and(|header| header[..] == *b"PACK\0\0\0\x02");
    same_count && version_2 && end == pack.entries_end()
}
