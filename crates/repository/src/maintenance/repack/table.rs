//! The table of objects to pack: what each is, how it is stored now, how it will be.

use object::Kind;
use pack::EntryKind;

use super::RepackOptions;
use crate::error::{Error, Result};
use crate::objects::{Objects, Slot, delta_result_size, entry_header, object_header};
use crate::progress::{self, Progress};
use crate::walk::{Marks, in_pack_order};

/// No entry, no rank, no address.
pub(super) const NONE: u32 = u32::MAX;
/// How many objects pass between two progress reports.
const REPORT_EVERY: u64 = 4096;

/// One object to pack; 48 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Bytes of the object.
    pub size: u64,
    /// Where its entry begins in the new pack; 0 before it is written.
    pub offset: u64,
    pub slot: Slot,
    /// Its place in the order of recency, the newest first.
    pub rank: u32,
    /// The hash of the path it was found at.
    pub name_hash: u32,
    /// The object it is a delta on: first by place in the table, from [`super::names`] on by rank.
    pub base: u32,
    /// Bytes of the delta, inflated.
    pub delta_size: u32,
    /// Where the new delta is kept, if it is.
    pub kept_at: u32,
    /// Deltas on the way to the object stored whole.
    pub depth: u16,
    /// Kept deltas on the longest way from an object stored whole to one that leans on it.
    pub height: u16,
    pub kind: Kind,
    pub form: Form,
}

/// How an object goes into the new pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Whole, compressed as it lies in its pack.
    Copied,
    /// Whole, compressed anew.
    Rebuilt,
    /// The delta that lies in its pack.
    KeptDelta,
    /// A delta that was found.
    NewDelta,
}

impl Form {
    pub const fn is_delta(self) -> bool {
        matches!(self, Form::KeptDelta | Form::NewDelta)
    }
}

impl Entry {
    /// An object of which nothing is known yet.
    pub fn new(slot: Slot) -> Self {
        Entry {
            size: 0,
            offset: 0,
            slot,
            rank: NONE,
            name_hash: 0,
            base: NONE,
            delta_size: 0,
            kept_at: NONE,
            depth: 0,
            height: 0,
            kind: Kind::Blob,
            form: Form::Rebuilt,
        }
    }
}

/// The place in a table that is in the order of slots.
pub(super) fn place_of(table: &[Entry], slot: Slot) -> Option<usize> {
    table.binary_search_by_key(&slot, |entry| entry.slot).ok()
}

/// Looks the selected objects up; in the order of slots.
pub(super) fn collect(
    objects: &Objects,
    marks: &Marks,
    options: &RepackOptions,
    progress: &mut dyn Progress,
) -> Result<Vec<Entry>> {
    let count = marks.count();
    if count >= u64::from(NONE) {
        return Err(Error::Limit {
            setting: "objects per pack",
            limit: u64::from(NONE),
            what: "more objects are selected than a pack can hold".into(),
        });
    }
    let mut collector = Collector {
        objects,
        table: Vec::with_capacity(count as usize),
        seen: Marks::new(objects.packed_count()),
        reuse_deltas: options.reuse_deltas,
    };
    collector.table.extend(marks.iter().map(Entry::new));
    let mut done = 0;
    // A base lies before its deltas, so that its kind is known when theirs is asked for.
    for slot in in_pack_order(&objects.units(), marks)? {
        collector.look_up(slot?)?;
        done += 1;
        if done % REPORT_EVERY == 0 {
            progress.update(progress::Stage::Counting, done, Some(count))?;
        }
    }
    progress.finish(progress::Stage::Counting, count)?;
    Ok(collector.table)
}

struct Collector<'a> {
    objects: &'a Objects,
    table: Vec<Entry>,
    /// Objects that were looked up.
    seen: Marks,
    reuse_deltas: bool,
}

impl Collector<'_> {
    fn look_up(&mut self, slot: Slot) -> Result<()> {
        let at = place_of(&self.table, slot).expect("every selected object is in the table");
        let Some((placed, pack, offset)) = self.objects.place(slot)? else {
            (self.table[at].kind, self.table[at].size) = self.objects.header_of(slot)?;
            return Ok(());
        };
        let header = entry_header(&pack, offset)?;
        let base = match header.kind {
            EntryKind::Base(kind) => {
                let entry = &mut self.table[at];
                (entry.kind, entry.size, entry.form) = (kind, header.size, Form::Copied);
                self.seen.insert(slot);
                return Ok(());
            }
            EntryKind::RefDelta { base } => self.objects.slot(&base)?,
            EntryKind::OfsDelta { .. } => {
                let base = header.base_offset(offset).map_err(pack.named())?;
                let base = base.ok_or_else(|| pack.corrupt("a delta without a base"))?;
                match placed.slot_at(&pack, base)? {
                    Some(slot) => Some(slot),
                    None => self.objects.slot(&pack.id_at_offset(base)?)?,
                }
            }
        };
        let size = delta_result_size(&pack, offset, &header)?;
        let base_at = base.and_then(|base| place_of(&self.table, base));
        let kind = match (base, base_at) {
            (Some(base), Some(base_at)) if self.seen.contains(base) => self.table[base_at].kind,
            _ => object_header(self.objects, &pack, offset)?.0,
        };
        let entry = &mut self.table[at];
        (entry.kind, entry.size) = (kind, size);
        if let (Some(base_at), Ok(delta_size), true) =
            (base_at, u32::try_from(header.size), self.reuse_deltas)
        {
            entry.form = Form::KeptDelta;
            (entry.base, entry.delta_size) = (base_at as u32, delta_size);
        }
        self.seen.insert(slot);
        Ok(())
    }
}
