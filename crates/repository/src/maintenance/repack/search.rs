//! The search for deltas, on all allowed threads.
//!
//! The table is sorted so that objects likely to resemble each other are neighbours, as git's
//! `type_size_sort` does it, and cut into chunks where the name changes. Each thread takes one
//! chunk at a time.

use std::cmp::{Ordering, Reverse};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::RepackOptions;
use super::kept::KeptDeltas;
use super::table::{Entry, Form};
use super::window::Window;
use crate::error::{Error, Result};
use crate::objects::Objects;
use crate::progress::{self, Progress};

/// Smaller objects gain nothing as deltas.
const SIZE_MIN: u64 = 50;
/// Chunks are small enough for the threads to end together, large enough that the beginnings of
/// chunks, where there is nothing to compare with, do not matter.
const CHUNKS_PER_THREAD: usize = 16;
/// How often the caller's progress hears of the threads' work.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Finds deltas for the objects of the table, which is in the order of ranks afterwards.
pub(super) fn search(
    objects: &Objects,
    table: &mut [Entry],
    kept: &KeptDeltas,
    options: &RepackOptions,
    progress: &mut dyn Progress,
) -> Result<()> {
    let size_max = options
        .big_file_threshold_bytes
        .min(objects.settings().object_bytes_max)
        .min(u64::from(u32::MAX));
    let takes_part =
        |entry: &Entry| !entry.form.is_delta() && entry.size >= SIZE_MIN && entry.size <= size_max;
    table.sort_unstable_by(|a, b| takes_part(b).cmp(&takes_part(a)).then_with(|| likeness(a, b)));
    let count = table.partition_point(takes_part);
    if count > 1 && options.window > 0 {
        let crew = Crew {
            objects,
            options,
            kept,
            chunks: Mutex::new(chunks(&mut table[..count], options)),
            searched: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        };
        crew.run(count as u64, progress)?;
    }
    table.sort_unstable_by_key(|entry| entry.rank);
    Ok(())
}

/// Kinds apart, then paths that end alike together, the largest and newest first: deleting is
/// cheaper to say than inserting, and new objects are read more often.
fn likeness(a: &Entry, b: &Entry) -> Ordering {
    let key = |entry: &Entry| {
        let Entry { kind, name_hash, size, rank, .. } = *entry;
        (Reverse((kind.pack_type(), name_hash, size)), rank)
    };
    key(a).cmp(&key(b))
}

/// Pieces of the list, the first one last. Objects of one name stay together.
fn chunks<'t>(mut rest: &'t mut [Entry], options: &RepackOptions) -> Vec<&'t mut [Entry]> {
    let pieces = match options.threads {
        0 | 1 => 1,
        threads => threads * CHUNKS_PER_THREAD,
    };
    let len = rest.len().div_ceil(pieces).max(2 * options.window);
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let mut end = len.min(rest.len());
        let same_name = |list: &[Entry], at: usize| {
            list[at].name_hash != 0 && list[at].name_hash == list[at - 1].name_hash
        };
        while end < rest.len() && same_name(rest, end) {
            end += 1;
        }
        let (chunk, after) = std::mem::take(&mut rest).split_at_mut(end);
        chunks.push(chunk);
        rest = after;
    }
    chunks.reverse();
    chunks
}

/// What the threads of one search share.
struct Crew<'a, 't> {
    objects: &'a Objects,
    options: &'a RepackOptions,
    kept: &'a KeptDeltas,
    chunks: Mutex<Vec<&'t mut [Entry]>>,
    searched: AtomicU64,
    failed: AtomicBool,
}

impl<'t> Crew<'_, 't> {
    fn run(&self, total: u64, progress: &mut dyn Progress) -> Result<()> {
        thread::scope(|scope| {
            let (done, finished) = channel();
            for _ in 0..self.options.threads.max(1) {
                let done = done.clone();
                scope.spawn(move || {
                    let result = self.work();
                    if result.is_err() {
                        self.failed.store(true, Relaxed);
                    }
                    // The receiver outlives the threads.
                    let _ = done.send(result);
                });
            }
            drop(done);
            let mut outcome = Ok(());
            loop {
                match finished.recv_timeout(PROGRESS_INTERVAL) {
                    Ok(result) => outcome = first_failure(outcome, result),
                    Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => {
                        let searched = self.searched.load(Relaxed);
                        let stage = progress::Stage::Compressing;
                        if let Err(error) = progress.update(stage, searched, Some(total)) {
                            self.failed.store(true, Relaxed);
                            outcome = first_failure(outcome, Err(error.into()));
                        }
                    }
                }
            }
            outcome?;
            Ok(progress.finish(progress::Stage::Compressing, total)?)
        })
    }

    fn work(&self) -> Result<()> {
        let mut window = Window::new(self.objects, self.options, self.kept.keeper());
        while let Some(chunk) = self.next_chunk() {
            window.clear();
            for entry in chunk {
                if self.failed.load(Relaxed) {
                    return Err(Error::Cancelled);
                }
                debug_assert_ne!(entry.form, Form::NewDelta, "each object is passed once");
                window.pass(entry)?;
                self.searched.fetch_add(1, Relaxed);
            }
        }
        Ok(())
    }

    fn next_chunk(&self) -> Option<&'t mut [Entry]> {
        self.chunks.lock().expect("no holder of the lock panics").pop()
    }
}

/// The first error that is more than word of another one.
fn first_failure(a: Result<()>, b: Result<()>) -> Result<()> {
    match (a, b) {
        (Err(Error::Cancelled), Err(error)) => Err(error),
        (Err(error), _) => Err(error),
        (Ok(()), b) => b,
    }
}
