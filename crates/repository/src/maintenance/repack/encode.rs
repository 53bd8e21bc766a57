//! Compressing what cannot be copied: objects written whole anew, and deltas that were found and
//! not kept.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use pack::delta::create::BaseIndex;

use super::RepackOptions;
use super::table::{Entry, Form};
use crate::error::{Error, Result};
use crate::objects::{Objects, Reader, Slot};

/// The threads' readers.
pub(super) struct Encoder<'a> {
    objects: &'a Objects,
    options: &'a RepackOptions,
    readers: Vec<Reader>,
}

impl<'a> Encoder<'a> {
    pub fn new(objects: &'a Objects, options: &'a RepackOptions) -> Self {
        let object_bytes_max = objects.settings().object_bytes_max;
        let reader = |_| Reader::new(options.read_cache_bytes, object_bytes_max);
        Encoder { objects, options, readers: (0..options.threads.max(1)).map(reader).collect() }
    }

    /// The compressed data of some entries, in their order, made on all threads.
    pub fn encode(&mut self, table: &[Entry], ranks: &[u32]) -> Result<Vec<Vec<u8>>> {
        let job = Job { objects: self.objects, level: self.options.compression_level, table };
        let (first, others) = self.readers.split_first_mut().expect("at least one thread");
        if ranks.len() < 2 || others.is_empty() {
            return ranks.iter().map(|rank| job.encode(*rank, first)).collect();
        }
        let made: Vec<OnceLock<Vec<u8>>> = ranks.iter().map(|_| OnceLock::new()).collect();
        let next = AtomicUsize::new(0);
        let work = |reader: &mut Reader| -> Result<()> {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(rank) = ranks.get(at) else { return Ok(()) };
                // Each place is taken by one thread.
                let _ = made[at].set(job.encode(*rank, reader)?);
            }
        };
        thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> =
                others.iter_mut().map(|reader| scope.spawn(move || work(reader))).collect();
            let outcome = work(first);
            threads.into_iter().fold(outcome, |outcome, thread| {
                outcome.and(thread.join().expect("a thread that panics ends the work"))
            })
        })?;
        Ok(made.into_iter().map(|made| made.into_inner().expect("every place was taken")).collect())
    }
}

/// What one batch is made from.
struct Job<'a> {
    objects: &'a Objects,
    table: &'a [Entry],
    level: i32,
}

impl Job<'_> {
    fn encode(&self, rank: u32, reader: &mut Reader) -> Result<Vec<u8>> {
        let entry = &self.table[rank as usize];
        let content = self.objects.read_slot(entry.slot, reader)?.data;
        if content.len() as u64 != entry.size {
            return Err(self.bad(entry.slot, "its size is not what its entry says"));
        }
        let mut compressed = Vec::new();
        if entry.form != Form::NewDelta {
            pack::inflate::deflate(&content, self.level, &mut compressed);
            return Ok(compressed);
        }
        let base = self.objects.read_slot(self.table[entry.base as usize].slot, reader)?.data;
        let (mut delta, max) = (Vec::new(), entry.delta_size as usize);
        let index = BaseIndex::new(&base);
        if !index.create(&base, &content, max, &mut delta) || delta.len() != max {
            return Err(self.bad(entry.slot, "it has changed while it was being packed"));
        }
        drop(content);
        pack::inflate::deflate(&delta, self.level, &mut compressed);
        Ok(compressed)
    }

    fn bad(&self, slot: Slot, reason: &str) -> Error {
        match self.objects.id(slot) {
            Ok(id) => Error::BadObject { id, reason: reason.into() },
            Err(error) => error,
        }
    }
}
