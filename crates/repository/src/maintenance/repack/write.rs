//! Writing the pack: what is copied, what was compressed before, what is compressed now.

use std::io::Write as _;

use flate2::write::ZlibEncoder;
use pack::entry::{self, EntryKind};
use pack::pack_file::PackHeader;
use storage::Stage;

use super::encode::Encoder;
use super::index::write_indices;
use super::kept::{Blocks, KeptDeltas};
use super::output::{Output, UNNAMED, failed};
use super::table::{Entry, Form, NONE};
use super::{Packed, RepackOptions};
use crate::error::{Error, Result};
use crate::objects::{Objects, entry_header};
use crate::progress::{self, Progress};

/// Stored bytes copied at a time.
const COPY_BYTES: u64 = 1 << 20;
/// Content read at a time to be compressed as a stream.
const STREAM_BYTES: usize = 64 << 10;
/// Entries compressed at a time.
const BATCH_ENTRIES: usize = 4096;

/// Writes the objects of a table, which is in the order of ranks, in the order given.
pub(super) fn write(
    objects: &Objects,
    table: Vec<Entry>,
    order: Vec<u32>,
    kept: KeptDeltas,
    options: &RepackOptions,
    stage: &mut dyn Stage,
    progress: &mut dyn Progress,
) -> Result<Packed> {
    let mut writer = Writer {
        objects,
        options,
        kept: kept.into_blocks(),
        crcs: vec![0; table.len()],
        table,
        out: Output::new(objects.hash(), stage.create(UNNAMED)?),
    };
    writer.entries(&order, progress)?;
    let Writer { table, crcs, out, .. } = writer;
    let (name, bytes) = out.finish()?;
    let stem = format!("pack/pack-{name}");
    stage.rename(UNNAMED, &format!("{stem}.pack"))?;
    write_indices(objects, &table, &crcs, &order, &name, &stem, stage)?;
    let count = |form: Form| table.iter().filter(|entry| entry.form == form).count() as u32;
    let reused_deltas = count(Form::KeptDelta);
    Ok(Packed {
        name,
        objects: table.len() as u32,
        deltas: reused_deltas + count(Form::NewDelta),
        reused_deltas,
        bytes,
    })
}

struct Writer<'a> {
    objects: &'a Objects,
    options: &'a RepackOptions,
    kept: Blocks,
    table: Vec<Entry>,
    /// By rank.
    crcs: Vec<u32>,
    out: Output,
}

impl Writer<'_> {
    fn entries(&mut self, order: &[u32], progress: &mut dyn Progress) -> Result<()> {
        self.out.put(&PackHeader::encode(order.len() as u32))?;
        let mut encoder = Encoder::new(self.objects, self.options);
        let (mut rest, mut written) = (order, 0);
        while !rest.is_empty() {
            let (batch, jobs) = self.next_batch(rest);
            rest = &rest[batch.len()..];
            let mut made = encoder.encode(&self.table, &jobs)?.into_iter();
            for rank in batch {
                let compressed = match self.is_encoded(&self.table[*rank as usize]) {
                    true => made.next(),
                    false => None,
                };
                self.entry(*rank, compressed)?;
                written += 1;
                if written % BATCH_ENTRIES as u64 == 0 {
                    let total = Some(order.len() as u64);
                    progress.update(progress::Stage::Writing, written, total)?;
                }
            }
        }
        Ok(progress.finish(progress::Stage::Writing, written)?)
    }

    /// The next entries to write, and those of them that have to be compressed first.
    fn next_batch<'o>(&self, order: &'o [u32]) -> (&'o [u32], Vec<u32>) {
        let (mut jobs, mut bytes, mut end) = (Vec::new(), 0, 0);
        while end < order.len()
            && bytes < self.options.write_batch_bytes
            && jobs.len() < BATCH_ENTRIES
        {
            let entry = &self.table[order[end] as usize];
            if self.is_encoded(entry) {
                jobs.push(order[end]);
                bytes += entry.size;
            }
            end += 1;
        }
        (&order[..end], jobs)
    }

    /// Whether an entry is compressed before it is written.
    fn is_encoded(&self, entry: &Entry) -> bool {
        match entry.form {
            Form::Copied | Form::KeptDelta => false,
            Form::Rebuilt => !self.is_streamed(entry),
            Form::NewDelta => entry.kept_at == NONE,
        }
    }

    /// Whether an object is compressed while it is written, and never held.
    fn is_streamed(&self, entry: &Entry) -> bool {
        entry.slot.is_loose() && entry.size > self.options.big_file_threshold_bytes
    }

    fn entry(&mut self, rank: u32, compressed: Option<Vec<u8>>) -> Result<()> {
        let entry = self.table[rank as usize];
        let start = self.out.begin_entry();
        self.table[rank as usize].offset = start;
        if entry.form != Form::Copied {
            self.header(&entry, start)?;
        }
        match (entry.form, compressed) {
            (_, Some(compressed)) => self.out.put(&compressed)?,
            (Form::Copied | Form::KeptDelta, None) => self.stored(&entry)?,
            (Form::NewDelta, None) => self.out.put(self.kept.get(entry.kept_at))?,
            (Form::Rebuilt, None) => self.streamed(&entry)?,
        }
        self.crcs[rank as usize] = self.out.end_entry();
        Ok(())
    }

    fn header(&mut self, entry: &Entry, start: u64) -> Result<()> {
        let (kind, size) = match entry.form.is_delta() {
            true => {
                let distance = start - self.table[entry.base as usize].offset;
                (EntryKind::OfsDelta { distance }, u64::from(entry.delta_size))
            }
            false => (EntryKind::Base(entry.kind), entry.size),
        };
        let mut header = Vec::with_capacity(entry::HEADER_BYTES_MAX);
        entry::encode(&kind, size, &mut header);
        self.out.put(&header)
    }

    /// The compressed data of an entry that lies in a pack, with its header if that is right
    /// still. What is copied is compared with the checksum in the index: damage is not passed on.
    fn stored(&mut self, entry: &Entry) -> Result<()> {
        let (_, pack, offset) =
            self.objects.place(entry.slot)?.expect("only what lies in a pack is copied from one");
        let position = pack.order_position(offset)?;
        let (start, end) = (
            offset + entry_header(&pack, offset)?.header_len as u64,
            pack.offset_in_order(position + 1)?,
        );
        let mut crc = crc32fast::Hasher::new();
        let header = pack.bytes(offset..start)?;
        crc.update(&header);
        if entry.form == Form::Copied {
            self.out.put(&header)?;
        }
        let mut at = start;
        while at < end {
            let bytes = pack.bytes(at..end.min(at + COPY_BYTES))?;
            crc.update(&bytes);
            self.out.put(&bytes)?;
            at += bytes.len() as u64;
        }
        let indexed = pack.index()?.crc_at(pack.own_position(position)?);
        match indexed.is_some_and(|indexed| indexed != crc.finalize()) {
            true => Err(pack.corrupt("an entry does not match its checksum in the index")),
            false => Ok(()),
        }
    }

    /// A large loose object, inflated and deflated again piece by piece.
    fn streamed(&mut self, entry: &Entry) -> Result<()> {
        let id = self.objects.id(entry.slot)?;
        let loose = self.objects.open_loose(&id)?;
        let level = match self.options.compression_level {
            level @ 0..=9 => level,
            _ => pack::inflate::LEVEL_DEFAULT,
        };
        let mut encoder = ZlibEncoder::new(&mut self.out, flate2::Compression::new(level as u32));
        let mut buffer = vec![0; STREAM_BYTES];
        let (mut loose, mut left) = (loose, entry.size);
        loop {
            let count = loose.read(&mut buffer)? as u64;
            if count > left || (count == 0 && left > 0) {
                let reason = "its size is not what its header says".into();
                return Err(Error::BadObject { id, reason });
            }
            if count == 0 {
                break;
            }
            left -= count;
            encoder.write_all(&buffer[..count as usize]).map_err(failed)?;
        }
        encoder.finish().map_err(failed).map(drop)
    }
}
