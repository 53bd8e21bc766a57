//! Completing a thin pack: bases that only the repository has are appended to it.
//!
//! Bases are looked for in the order of the deltas that wait for them, and the deltas below a
//! base are resolved before the next delta is looked at, so that a base which is itself a delta
//! of the pack is not appended (as `git index-pack --fix-thin` does it). The pack's header must
//! name the final count of objects, so the completed pack is written anew, in one pass over the
//! old one; its checksum is computed on the way.

use std::io::Write;
use std::sync::Mutex;

use bytes::Bytes;
use object::{Checksum, HashKind, ObjectId, object_id};
use pack::entry::{EntryKind, PACK_HEADER_BYTES, encode};
use pack::pack_file::PackHeader;
use storage::{BlobWriter, Stage};

use super::Context;
use super::family::Family;
use super::resolve::{Root, Shared};
use super::staged::StagedPack;
use super::table::{Stored, Table};
use crate::error::{Error, Result};

/// Where appended entries wait until their number is known.
const BASES: &str = "pack/incoming.bases";

/// Bytes copied at once.
const COPY_BYTES: u64 = 1 << 20;

/// The bases found so far, and which waiting delta comes next.
pub(super) struct Completion<'a> {
    context: &'a Context<'a>,
    state: Mutex<State>,
}

struct State {
    /// Position among the waiting deltas.
    next: usize,
    writer: Box<dyn BlobWriter>,
    written: u64,
    appended: Vec<Appended>,
    buffer: Vec<u8>,
}

struct Appended {
    id: ObjectId,
    stored: Stored,
    /// Bytes of the entry.
    len: u64,
    crc: u32,
}

impl<'a> Completion<'a> {
    pub fn begin(context: &'a Context<'a>, stage: &mut dyn Stage) -> Result<Self> {
        let writer = stage.create(BASES)?;
        let state = State { next: 0, writer, written: 0, appended: Vec::new(), buffer: Vec::new() };
        Ok(Completion { context, state: Mutex::new(state) })
    }

    /// The next base that the repository has, appended to the pack, with the deltas on it.
    pub fn next_base(&self, shared: &Shared<'_>) -> Result<Option<Root>> {
        let waiting = &shared.family.waiting;
        loop {
            let mut state = self.state.lock().expect("no holder of the lock panics");
            if state.next >= waiting.len() || shared.is_cancelled() {
                return Ok(None);
            }
            let at = state.next;
            state.next += 1;
            let Some(id) = waiting.unclaimed_base(at) else { continue };
            let Some(base) = self.context.existing.objects.read(&id)? else { continue };
            if object_id(self.context.hash, base.kind, &base.data) != Ok(id) {
                return Err(Error::BadObject { id, reason: "local object is corrupt".into() });
            }
            let mut children = shared.children_of(u32::MAX, Some(&id));
            if children.is_empty() {
                continue; // another thread rebuilt the base meanwhile
            }
            children.linked = 0..0;
            let level = self.context.options.compression_level;
            state.append(id, Stored::Whole(base.kind), &base.data, level)?;
            drop(state);
            let content = std::sync::Arc::unwrap_or_clone(base.data);
            return Ok(Some(Root { kind: base.kind, content, children }));
        }
    }

    /// Writes the completed pack into `target`, adds the appended entries to the table, and
    /// gives the new checksum and how many objects were appended.
    pub fn conclude(
        self,
        old: &dyn Stage,
        target: &mut dyn Stage,
        name: &str,
        pack: &StagedPack,
        table: &mut Table,
    ) -> Result<(ObjectId, u32)> {
        let state = self.state.into_inner().expect("no holder of the lock panics");
        state.writer.finish()?;
        let entries_end = table.entries_end();
        let count = table.len() + state.appended.len() as u32;
        let mut out = Summed::new(self.context.hash, target.create(name)?);
        out.write(&PackHeader::encode(count))?;
        copy(PACK_HEADER_BYTES as u64, entries_end, |range| pack.bytes(range), &mut out)?;
        copy(0, state.written, |range| Ok(old.read(BASES, range)?), &mut out)?;
        let mut offset = entries_end;
        for base in &state.appended {
            table.push_known(offset, base.stored, base.crc, &base.id);
            offset += base.len;
        }
        table.set_end(offset);
        Ok((out.finish()?, state.appended.len() as u32))
    }
}

impl State {
    fn append(&mut self, id: ObjectId, stored: Stored, content: &[u8], level: i32) -> Result<()> {
        let Stored::Whole(kind) = stored else { return Ok(()) };
        self.buffer.clear();
        encode(&EntryKind::Base(kind), content.len() as u64, &mut self.buffer);
        pack::inflate::deflate(content, level, &mut self.buffer);
        self.writer.write_all(&self.buffer).map_err(|e| storage::Error::io(BASES, e))?;
        let len = self.buffer.len() as u64;
        self.written += len;
        let crc = crc32fast::hash(&self.buffer);
        self.appended.push(Appended { id, stored, len, crc });
        Ok(())
    }
}

/// A writer and the checksum of what went through it.
struct Summed {
    writer: Box<dyn BlobWriter>,
    checksum: Checksum,
}

impl Summed {
    fn new(hash: HashKind, writer: Box<dyn BlobWriter>) -> Self {
        Summed { writer, checksum: Checksum::new(hash) }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.checksum.update(bytes);
        Ok(self.writer.write_all(bytes).map_err(|e| storage::Error::io("the completed pack", e))?)
    }

    fn finish(mut self) -> Result<ObjectId> {
        let checksum = self.checksum.finish();
        let trailer = self.writer.write_all(checksum.as_bytes());
        trailer.map_err(|e| storage::Error::io("the completed pack", e))?;
        self.writer.finish()?;
        Ok(checksum)
    }
}

fn copy(
    mut from: u64,
    end: u64,
    read: impl Fn(std::ops::Range<u64>) -> Result<Bytes>,
    out: &mut Summed,
) -> Result<()> {
    while from < end {
        let bytes = read(from..end.min(from + COPY_BYTES))?;
        if bytes.is_empty() {
            let early = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            return Err(storage::Error::io("the received pack", early).into());
        }
        out.write(&bytes)?;
        from += bytes.len() as u64;
    }
    Ok(())
}

/// How many deltas have no base, neither in the pack nor in the repository.
pub(super) fn check_resolved(family: &Family, resolved: u64) -> Result<()> {
    match u64::from(family.delta_count) - resolved {
        0 => Ok(()),
        1 => Err(Error::Refused("pack has 1 unresolved delta".into())),
        missing => Err(Error::Refused(format!("pack has {missing} unresolved deltas"))),
    }
}
