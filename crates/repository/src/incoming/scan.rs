//! The first pass, made while the bytes arrive: every entry is inflated once, its raw bytes are
//! stored, objects stored whole are named, deltas are remembered by their base.

use std::io::BufRead;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use object::{Kind, ObjectHasher, ObjectId};
use pack::EntryKind;
use pack::scan::{Entry, EntryEnd, Scanner};
use storage::BlobWriter;

use super::Context;
use super::crew::{BATCH_BYTES, Batch, Failure, ObjectsOut, QUEUE_LEN, RawOut, Tee, help};
use super::family::Found;
use super::table::{PACK_BYTES_MAX, Stored, Table};
use crate::error::{Error, Result};
use crate::progress::{Progress, Stage};

/// Progress is told after this many objects.
const PROGRESS_STEP: u32 = 64;

/// A pack after the first pass.
pub(super) struct Scanned {
    pub table: Table,
    pub found: Found,
    /// Objects that were not held and that the repository has under the same name.
    pub to_compare: Vec<u32>,
    pub checksum: ObjectId,
    /// Bytes of the whole pack, trailer included.
    pub bytes: u64,
}

/// Reads a pack to its last byte and not further; its raw bytes go to `writer`.
pub(super) fn scan(
    input: &mut dyn BufRead,
    writer: Box<dyn BlobWriter>,
    context: &Context<'_>,
    progress: &mut dyn Progress,
) -> Result<Scanned> {
    let bytes_max = context.options.max_input_size_bytes.unwrap_or(PACK_BYTES_MAX);
    let bytes_max = bytes_max.min(PACK_BYTES_MAX);
    if context.options.threads <= 1 {
        let mut tee = Tee::new(RawOut::Here(writer), bytes_max);
        let scanned = Pass::new(context, ObjectsOut::Here).run(input, &mut tee, progress)?;
        tee.into_writer().expect("no helper has it").finish()?;
        return Ok(scanned);
    }
    let failure = Failure::default();
    thread::scope(|scope| {
        let (inspector, hash, failure) = (context.inspector, context.hash, &failure);
        let (raw_jobs, raw_queue) = sync_channel(QUEUE_LEN);
        let (raw_done, raw_back) = channel();
        let (objects_done, objects_back) = channel();
        let mut objects_jobs = raw_jobs.clone();
        if context.options.threads > 2 {
            let (jobs, queue) = sync_channel(QUEUE_LEN);
            objects_jobs = jobs;
            let done = (raw_done.clone(), objects_done.clone());
            scope.spawn(move || help(queue, None, done, inspector, hash, failure));
        }
        let done = (raw_done, objects_done);
        let storing =
            scope.spawn(move || help(raw_queue, Some(writer), done, inspector, hash, failure));
        let raw = RawOut::Helper { jobs: raw_jobs, done: raw_back, failure };
        let objects = ObjectsOut::Helper { jobs: objects_jobs, done: objects_back, failure };
        let mut tee = Tee::new(raw, bytes_max);
        let mut pass = Pass::new(context, objects);
        let end = pass.read(input, &mut tee, progress)?;
        drop(tee);
        let scanned = pass.finish(end)?;
        match storing.join() {
            Ok(Some(writer)) => writer.finish()?,
            Ok(None) => return Err(Error::Cancelled),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        Ok(scanned)
    })
}

struct Pass<'a> {
    context: &'a Context<'a>,
    table: Table,
    found: Found,
    batch: Batch,
    objects: ObjectsOut<'a>,
    to_compare: Vec<u32>,
}

impl<'a> Pass<'a> {
    fn new(context: &'a Context<'a>, objects: ObjectsOut<'a>) -> Self {
        Pass {
            context,
            table: Table::new(context.hash),
            found: Found::new(context.hash),
            batch: Batch::default(),
            objects,
            to_compare: Vec::new(),
        }
    }

    fn run(
        mut self,
        input: &mut dyn BufRead,
        tee: &mut Tee<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Scanned> {
        let end = self.read(input, tee, progress)?;
        self.finish(end)
    }

    fn read(
        &mut self,
        input: &mut dyn BufRead,
        tee: &mut Tee<'_>,
        progress: &mut dyn Progress,
    ) -> Result<pack::scan::PackEnd> {
        self.read_entries(input, tee, progress).map_err(|failed| match failed {
            Failed::Here(error) => error,
            Failed::Pack(pack::Error::Store(error)) => tee.error.take().unwrap_or(Error::Io(error)),
            Failed::Pack(error) => refused(error),
        })
    }

    fn read_entries(
        &mut self,
        input: &mut dyn BufRead,
        tee: &mut Tee<'_>,
        progress: &mut dyn Progress,
    ) -> Result<pack::scan::PackEnd, Failed> {
        let mut scanner = Scanner::open(input, tee, self.context.hash)?;
        let declared = scanner.object_count();
        if declared > self.context.options.objects_max {
            return Err(Failed::Here(Error::Limit {
                setting: "objects_max",
                limit: u64::from(self.context.options.objects_max),
                what: format!("the pack declares {declared} objects"),
            }));
        }
        while let Some(entry) = scanner.next_entry()? {
            let (stored, (end, id)) = match entry.header.kind {
                EntryKind::Base(kind) => {
                    (Stored::Whole(kind), self.whole(&mut scanner, &entry, kind)?)
                }
                _ => (self.delta(&entry)?, (scanner.skip_data()?, None)),
            };
            self.table.push(entry.offset, stored, end.crc32, declared);
            if let Some(id) = id {
                self.table.set_id(self.table.len() - 1, &id);
            }
            self.table.set_end(end.end);
            if self.batch.is_full() {
                self.name_batch()?;
            }
            if self.table.len().is_multiple_of(PROGRESS_STEP) {
                progress.update(
                    Stage::Receiving,
                    self.table.len().into(),
                    Some(declared.into()),
                )?;
            }
        }
        let end = scanner.finish()?;
        progress.finish(Stage::Receiving, declared.into())?;
        Ok(end)
    }

    fn delta(&mut self, entry: &Entry) -> Result<Stored, Failed> {
        let (number, size) = (self.table.len(), entry.header.size);
        if size > self.context.options.held_object_bytes_max {
            return Err(too_large_to_hold(self.context, entry.offset, size).into());
        }
        if let EntryKind::RefDelta { base } = entry.header.kind {
            self.found.on_id(&base, number);
            return Ok(Stored::RefDelta);
        }
        let base =
            entry.header.base_offset(entry.offset)?.and_then(|offset| self.table.find(offset));
        let base =
            base.ok_or_else(|| bad_object(entry.offset, "delta base offset is out of bound"))?;
        self.found.on_entry(base, number);
        Ok(Stored::OfsDelta)
    }

    /// Reads an object that is stored whole: into a batch, or past a hasher.
    fn whole<R: BufRead, W: std::io::Write>(
        &mut self,
        scanner: &mut Scanner<R, W>,
        entry: &Entry,
        kind: Kind,
    ) -> Result<(EntryEnd, Option<ObjectId>), Failed> {
        let (number, size, options) = (self.table.len(), entry.header.size, self.context.options);
        if options.object_bytes_max.is_some_and(|max| size > max) {
            return Err(Failed::Here(Error::Limit {
                setting: "object_bytes_max",
                limit: options.object_bytes_max.unwrap_or(u64::MAX),
                what: format!("the object at offset {} has {size} bytes", entry.offset),
            }));
        }
        let whole = self.context.inspector.wants_whole(kind);
        if size > BATCH_BYTES as u64 && !whole {
            return self.streamed(scanner, entry, kind);
        }
        if whole && size > options.held_object_bytes_max {
            return Err(too_large_to_hold(self.context, entry.offset, size).into());
        }
        let content = &mut self.batch.content;
        let end = scanner.stream_data::<pack::Error>(|chunk| {
            content.extend_from_slice(chunk);
            Ok(())
        })?;
        self.batch.close_item(number, kind);
        Ok((end, None))
    }

    fn streamed<R: BufRead, W: std::io::Write>(
        &mut self,
        scanner: &mut Scanner<R, W>,
        entry: &Entry,
        kind: Kind,
    ) -> Result<(EntryEnd, Option<ObjectId>), Failed> {
        let size = entry.header.size;
        let mut hasher = ObjectHasher::new(self.context.hash, kind, size);
        let end = scanner.stream_data::<pack::Error>(|chunk| {
            hasher.update(chunk);
            Ok(())
        })?;
        let id = hasher.finish().map_err(|error| bad_object(entry.offset, &error.to_string()))?;
        self.context.inspector.pass_unseen(kind, &id);
        if self.context.existing.has(&id)? {
            self.to_compare.push(self.table.len());
        }
        Ok((end, Some(id)))
    }

    fn name_batch(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let Context { hash, inspector, .. } = *self.context;
        self.batch = self.objects.name(batch, &mut self.table, hash, inspector)?;
        Ok(())
    }

    fn finish(mut self, end: pack::scan::PackEnd) -> Result<Scanned> {
        if !self.batch.is_empty() {
            self.name_batch()?;
        }
        self.objects.finish(&mut self.table)?;
        Ok(Scanned {
            table: self.table,
            found: self.found,
            to_compare: self.to_compare,
            checksum: end.checksum,
            bytes: end.len,
        })
    }
}

/// Damage found by the pack reader, or anything else.
enum Failed {
    Pack(pack::Error),
    Here(Error),
}

impl From<pack::Error> for Failed {
    fn from(error: pack::Error) -> Self {
        Failed::Pack(error)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed::Here(error)
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Failed::Here(Error::Io(error))
    }
}

/// Damage in a received pack, in the words git has for it.
pub(super) fn refused(error: pack::Error) -> Error {
    match error {
        pack::Error::Truncated { .. } => Error::Refused("early EOF".into()),
        pack::Error::BadEntry { offset, what } => bad_object(offset, what),
        pack::Error::Io(error) => Error::Io(error),
        other => Error::Refused(other.to_string()),
    }
}

pub(super) fn bad_object(offset: u64, what: &str) -> Error {
    Error::Refused(format!("pack has bad object at offset {offset}: {what}"))
}

pub(super) fn too_large_to_hold(context: &Context<'_>, offset: u64, bytes: u64) -> Error {
    Error::Limit {
        setting: "held_object_bytes_max",
        limit: context.options.held_object_bytes_max,
        what: format!("the object at offset {offset} of the pack needs {bytes} bytes"),
    }
}
