//! Writing a pack, chunk by chunk.
//!
//! Stored bytes leave as slices of the memory map. Where the answer is one stored pack
//! as it lies, or was sent before, the checksum is known and nothing is hashed at all.

use std::collections::VecDeque;

use bytes::{BufMut as _, Bytes, BytesMut};
use object::ObjectId;
use pack::delta::create::between_versions;
use pack::entry::{self, EntryHeader, EntryKind};

use super::choice::{Chooser, Piece, Stored};
use super::extents::{Extent, Holds};
use super::feed::{Feed, SLICE_BYTES};
use super::kin::{Kin, Relative};
use super::sent::Sent;
use super::sum::Sum;
use super::{PackPlan, Reuse};
use crate::error::{Error, Result};
use crate::objects::{
    CACHE_BYTES_MIN, Cached, LooseOrPacked, Reader, Slot, chain_of, object_header,
};

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
    chooser: Chooser,
    feed: Feed,
    /// Entries of a mapped pack that follow each other, to leave in one slice.
    run: Option<Part>,
    /// What is left of a long part that is being sent.
    rest: Option<Part>,
    sent: Sent,
    kin: Kin,
    /// Where to look for the next loose object that is sent.
    next_loose: Slot,
    loose: Option<LooseEntry>,
    buffer: BytesMut,
    ready: VecDeque<Bytes>,
    sum: Sum,
    /// Bytes written, those in the buffer included and those of the run not.
    written: u64,
    reader: Reader,
    state: State,
    level: i32,
}

/// Bytes of a stored pack.
#[derive(Clone, Copy)]
struct Part {
    pack: u32,
    start: u64,
    end: u64,
}

#[derive(PartialEq, Eq)]
enum State {
    Header,
    Entries,
    Done,
}

/// A loose object on its way: inflated and deflated again without ever being held whole.
struct LooseEntry {
    source: crate::objects::Loose,
    left: u64,
    deflate: flate2::Compress,
    input: Vec<u8>,
}

impl PackStream {
    /// Buffers, and a cache that has only begun to fill.
    pub(super) const BUFFERS_BYTES: usize = 2 * BUFFER_BYTES + CACHE_BYTES_MIN;

    pub(super) fn new(plan: PackPlan) -> Self {
        let settings = plan.objects.settings();
        let reader = Reader::of_request(settings);
        let range_reads = settings.range_reads.clone();
        PackStream {
            sum: Sum::new(&plan),
            level: pack::inflate::LEVEL_DEFAULT,
            chooser: Chooser::new(&plan),
            feed: Feed::new(plan.reached.clone(), plan.extents(), range_reads),
            plan,
            run: None,
            rest: None,
            sent: Sent::default(),
            kin: Kin::default(),
            next_loose: Slot(Slot::LOOSE),
            loose: None,
            buffer: BytesMut::new(),
            ready: VecDeque::new(),
            written: 0,
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

    /// How many of the objects were copied so far, and how.
    pub fn reuse(&self) -> Reuse {
        self.chooser.reuse
    }

    /// The next bytes of the pack, at most 1 MiB; `None` after the last.
    ///
    /// # Errors
    /// When the storage fails or an object is damaged: the pack cannot be finished.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                // What is lost reads as zeros: they are not sent to the end.
                self.plan.objects.check_intact()?;
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

    /// Takes one step: a slice of a long part, a chunk of a loose object, or the next object.
    fn advance(&mut self) -> Result<()> {
        if let Some(rest) = self.rest.take() {
            return self.stored(rest);
        }
        if let Some(entry) = self.loose.take() {
            return self.loose_chunk(entry);
        }
        if let Some(extent) = self.feed.next()? {
            return match extent.holds {
                Holds::Pack(objects) => self.whole_pack(&extent, objects),
                Holds::Entry(slot) => self.entry(&extent, slot),
            };
        }
        self.flush_run()?;
        match self.plan.reached.send.next_loose(self.next_loose) {
            Some(slot) => {
                self.next_loose = Slot(slot.0 + 1);
                self.open_loose(slot)
            }
            None => self.trailer(),
        }
    }

    fn whole_pack(&mut self, extent: &Extent, objects: u32) -> Result<()> {
        self.chooser.whole_pack(objects);
        self.flush_run()?;
        self.stored(Part::of(extent))
    }

    fn entry(&mut self, extent: &Extent, slot: Option<Slot>) -> Result<()> {
        let pack = self.feed.pack(extent.pack).clone();
        let head = self.feed.head(extent)?;
        let header = EntryHeader::parse(&head, pack.hash).map_err(pack.named())?;
        let at = self.position();
        let piece = self.chooser.piece(&pack, (extent, slot), &header, (&self.sent, at))?;
        match piece {
            Piece::AsStored => self.as_stored(extent),
            Piece::Moved { base_at } => {
                let kind = EntryKind::OfsDelta { distance: at - base_at };
                self.renamed(extent, &header, &kind)
            }
            Piece::Named { base } => self.renamed(extent, &header, &EntryKind::RefDelta { base }),
            Piece::Whole => self.anew(extent),
            Piece::Fresh { slot, stored } => self.fresh(extent, &header, slot, stored),
        }
    }

    /// A delta on what the client has, or the object as it is stored when that is smaller.
    fn fresh(
        &mut self,
        extent: &Extent,
        header: &EntryHeader,
        slot: Slot,
        stored: Stored,
    ) -> Result<()> {
        let object =
            self.reader.read(&self.plan.objects, self.feed.pack(extent.pack), extent.start)?;
        if let Some((base, delta)) = self.delta_for(slot, &object)? {
            let mut compressed = Vec::new();
            pack::inflate::deflate(&delta, self.level, &mut compressed);
            let smaller = (compressed.len() as u64) < extent.end - extent.start;
            if smaller || matches!(stored, Stored::Unusable) {
                self.flush_run()?;
                let kind = EntryKind::RefDelta { base };
                self.new_header(extent, &kind, delta.len() as u64);
                self.gather(&compressed);
                return Ok(());
            }
        }
        match stored {
            Stored::Whole => self.as_stored(extent),
            Stored::Named(base) => self.renamed(extent, header, &EntryKind::RefDelta { base }),
            Stored::Unusable => self.anew(extent),
        }
    }

    /// The object as a delta on the version the client has, if that is worth it.
    fn delta_for(&mut self, slot: Slot, object: &Cached) -> Result<Option<(ObjectId, Vec<u8>)>> {
        let Some(base) = self.plan.reached.versions.get(&slot).copied() else { return Ok(None) };
        if self.plan.objects.header_of(base)?.1 > DELTA_BASE_BYTES_MAX {
            return Ok(None);
        }
        let id = self.plan.objects.id(base)?;
        let base = self.plan.objects.read_slot(base, &mut self.reader)?;
        Ok(delta_between(&base, object).map(|delta| (id, delta)))
    }

    /// Where the next entry begins.
    fn position(&self) -> u64 {
        self.written + self.run.map_or(0, |run| run.end - run.start)
    }

    fn note(&mut self, extent: &Extent) {
        self.sent.note(extent.pack, extent.start, extent.end, self.position());
    }

    /// An entry as it lies.
    fn as_stored(&mut self, extent: &Extent) -> Result<()> {
        let mut part = Part::of(extent);
        let is_mapped = self.feed.pack(part.pack).map().is_some();
        if !is_mapped || part.len() > SLICE_BYTES {
            self.flush_run()?;
            self.note(extent);
            return self.stored(part);
        }
        match self.run {
            Some(run) if run.pack == part.pack && run.end == part.start => part.start = run.start,
            _ => self.flush_run()?,
        }
        self.note(extent);
        self.run = Some(part);
        match part.len() >= SLICE_BYTES {
            true => self.flush_run(),
            false => Ok(()),
        }
    }

    /// Hands on the run that was gathered.
    fn flush_run(&mut self) -> Result<()> {
        let Some(run) = self.run.take() else { return Ok(()) };
        // At most two slices long, and no more than a reference to the map.
        self.stored(run)?;
        while let Some(rest) = self.rest.take() {
            self.stored(rest)?;
        }
        Ok(())
    }

    /// Bytes of a stored pack, as they lie: as many as are at hand, the rest later.
    fn stored(&mut self, part: Part) -> Result<()> {
        let bytes = self.feed.bytes(part.pack, part.start, part.end)?;
        let until = part.start + bytes.len() as u64;
        if until < part.end {
            self.rest = Some(Part { start: until, ..part });
        }
        if (bytes.len() as u64) < GATHER_BYTES {
            self.gather(&bytes);
        } else {
            self.flush_buffer();
            self.emit(bytes);
        }
        Ok(())
    }

    /// A stored delta whose base is named in another way.
    fn renamed(&mut self, extent: &Extent, header: &EntryHeader, kind: &EntryKind) -> Result<()> {
        self.flush_run()?;
        self.new_header(extent, kind, header.size);
        let start = extent.start + header.header_len as u64;
        self.stored(Part { start, ..Part::of(extent) })
    }

    /// Begins an entry with a header of its own; what was there before has been handed on.
    fn new_header(&mut self, extent: &Extent, kind: &EntryKind, size: u64) {
        self.note(extent);
        let mut header = Vec::with_capacity(entry::HEADER_BYTES_MAX);
        entry::encode(kind, size, &mut header);
        self.gather(&header);
    }

    /// A packed object whose base is not sent: as a delta on one that was, if there is one that
    /// it is like; or else rebuilt and deflated anew.
    fn anew(&mut self, extent: &Extent) -> Result<()> {
        self.flush_run()?;
        let pack = self.feed.pack(extent.pack).clone();
        let object = self.reader.read(&self.plan.objects, &pack, extent.start)?;
        let chain = chain_of(&pack, extent.start)?;
        let relative = self.kin.nearest(extent.pack, &chain, &self.sent);
        let made = match relative {
            Some(Relative { offset, .. }) => {
                let size = object_header(&self.plan.objects, &pack, offset)?.1;
                match size <= DELTA_BASE_BYTES_MAX {
                    true => {
                        let base = self.reader.read(&self.plan.objects, &pack, offset)?;
                        delta_between(&base, &object)
                    }
                    false => None,
                }
            }
            None => None,
        };
        match (relative, made) {
            (Some(base), Some(delta)) => {
                let kind = match self.sent.place_of(extent.pack, base.offset) {
                    Some(at) if self.plan.ofs_delta => {
                        EntryKind::OfsDelta { distance: self.position() - at }
                    }
                    _ => EntryKind::RefDelta { base: pack.id_at_offset(base.offset)? },
                };
                self.kin.note(extent.pack, extent.start, &chain, Some(base));
                self.new_header(extent, &kind, delta.len() as u64);
                self.deflated(&delta);
            }
            _ => {
                self.kin.note(extent.pack, extent.start, &chain, None);
                self.new_header(extent, &EntryKind::Base(object.kind), object.data.len() as u64);
                self.deflated(&object.data);
            }
        }
        Ok(())
    }

    /// The content of an entry, deflated.
    fn deflated(&mut self, content: &[u8]) {
        let mut compressed = Vec::new();
        pack::inflate::deflate(content, self.level, &mut compressed);
        if (compressed.len() as u64) < GATHER_BYTES {
            self.gather(&compressed);
        } else {
            self.flush_buffer();
            self.emit(compressed.into());
        }
    }

    fn open_loose(&mut self, slot: Slot) -> Result<()> {
        let mut header = Vec::with_capacity(entry::HEADER_BYTES_MAX);
        if self.chooser.loose_as_delta(slot)? {
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
                self.deflated(&object.data);
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
        self.sum.update(&self.buffer);
        let sum = self.sum.finish(&self.plan);
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
            self.sum.update(&bytes);
            self.ready.push_back(bytes);
        }
    }

    fn emit(&mut self, bytes: Bytes) {
        self.written += bytes.len() as u64;
        self.sum.update(&bytes);
        self.ready.push_back(bytes);
    }
}

impl Part {
    fn of(extent: &Extent) -> Self {
        Part { pack: extent.pack, start: extent.start, end: extent.end }
    }

    fn len(&self) -> u64 {
        self.end - self.start
    }
}

/// A delta that makes `object` of `base`, if it is worth it.
fn delta_between(base: &Cached, object: &Cached) -> Option<Vec<u8>> {
    let (mut delta, bytes_max) = (Vec::new(), object.data.len() / 2);
    let small = base.kind == object.kind
        && between_versions(&base.data, &object.data, bytes_max, &mut delta);
    small.then_some(delta)
}
