//! Who does the work that need not wait for the next byte of input: storing raw bytes and
//! naming the objects a pack stores whole.
//!
//! With one thread the receiving thread does it itself. With more, it goes through bounded
//! channels to one helper, or to one for the raw bytes and one for the objects. Buffers come
//! back through channels too, so their number is fixed.

use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, SyncSender};

use object::{HashKind, Kind, ObjectId};
use storage::BlobWriter;

use super::hash_batch::name_objects;
use super::inspect::Inspector;
use super::table::Table;
use crate::error::{Error, Result};

/// Raw bytes are written in pieces of this size.
pub(super) const RAW_CHUNK_BYTES: usize = 256 << 10;
/// Objects up to this size are named in batches of about this size.
pub(super) const BATCH_BYTES: usize = 256 << 10;
const BATCH_ITEMS_MAX: usize = 512;
/// Buffers under way in each channel.
pub(super) const QUEUE_LEN: usize = 3;

/// Several whole objects, their contents end to end.
#[derive(Default)]
pub(super) struct Batch {
    pub content: Vec<u8>,
    items: Vec<Item>,
    ids: Vec<ObjectId>,
}

struct Item {
    entry: u32,
    kind: Kind,
    end: usize,
}

impl Batch {
    /// What was appended to `content` since the last call is this entry's object.
    pub fn close_item(&mut self, entry: u32, kind: Kind) {
        self.items.push(Item { entry, kind, end: self.content.len() });
    }

    pub fn is_full(&self) -> bool {
        self.content.len() >= BATCH_BYTES || self.items.len() >= BATCH_ITEMS_MAX
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn objects(&self) -> impl Iterator<Item = (Kind, &[u8])> {
        let starts = std::iter::once(0).chain(self.items.iter().map(|item| item.end));
        starts.zip(&self.items).map(|(start, item)| (item.kind, &self.content[start..item.end]))
    }

    /// Names the objects and looks at each.
    fn name(&mut self, hash: HashKind, inspector: &Inspector<'_>) -> Result<()> {
        let mut ids = std::mem::take(&mut self.ids);
        name_objects(hash, self.objects(), &mut ids)?;
        for ((kind, content), id) in self.objects().zip(&ids) {
            inspector.inspect(kind, id, content)?;
        }
        self.ids = ids;
        Ok(())
    }

    /// Puts the names into the table and empties the batch for another use.
    fn record(&mut self, table: &mut Table) {
        for (item, id) in self.items.iter().zip(&self.ids) {
            table.set_id(item.entry, id);
        }
        self.items.clear();
        self.content.clear();
        self.content.shrink_to(2 * BATCH_BYTES);
    }
}

/// Work for a helper.
pub(super) enum Job {
    Raw(Vec<u8>),
    Objects(Batch),
}

/// What stopped a helper; told to whoever hands it more work.
pub(super) type Failure = Mutex<Option<Error>>;

fn stopped(failure: &Failure) -> Error {
    failure.lock().expect("no holder of the lock panics").take().unwrap_or(Error::Cancelled)
}

/// A helper's life: works until the channel closes. Gives back the writer it was given.
pub(super) fn help(
    jobs: Receiver<Job>,
    mut writer: Option<Box<dyn BlobWriter>>,
    done: (Sender<Vec<u8>>, Sender<Batch>),
    inspector: &Inspector<'_>,
    hash: HashKind,
    failure: &Failure,
) -> Option<Box<dyn BlobWriter>> {
    for job in jobs {
        let result = match job {
            Job::Raw(mut bytes) => {
                let writer = writer.as_mut().expect("raw bytes go to the helper with the writer");
                let written = writer.write_all(&bytes).map_err(storing);
                bytes.clear();
                // The receiving side may be gone; the channel of jobs will say so.
                written.map(|()| drop(done.0.send(bytes)))
            }
            Job::Objects(mut batch) => {
                batch.name(hash, inspector).map(|()| drop(done.1.send(batch)))
            }
        };
        if let Err(error) = result {
            failure.lock().expect("no holder of the lock panics").get_or_insert(error);
            return None;
        }
    }
    writer
}

fn storing(error: io::Error) -> Error {
    Error::Storage(storage::Error::io("the received pack", error))
}

/// Where raw bytes go.
pub(super) enum RawOut<'a> {
    Here(Box<dyn BlobWriter>),
    Helper { jobs: SyncSender<Job>, done: Receiver<Vec<u8>>, failure: &'a Failure },
}

/// Gathers raw bytes into large pieces, up to the size a pack may have.
pub(super) struct Tee<'a> {
    pending: Vec<u8>,
    out: RawOut<'a>,
    bytes: u64,
    bytes_max: u64,
    /// Why writing failed, in this crate's words.
    pub error: Option<Error>,
}

impl<'a> Tee<'a> {
    pub fn new(out: RawOut<'a>, bytes_max: u64) -> Self {
        let pending = Vec::with_capacity(2 * RAW_CHUNK_BYTES);
        Tee { pending, out, bytes: 0, bytes_max, error: None }
    }

    /// The writer, where no helper has it. Ends the helper's work.
    pub fn into_writer(self) -> Option<Box<dyn BlobWriter>> {
        match self.out {
            RawOut::Here(writer) => Some(writer),
            RawOut::Helper { .. } => None,
        }
    }

    fn hand_over(&mut self) -> Result<()> {
        match &mut self.out {
            RawOut::Here(writer) => {
                writer.write_all(&self.pending).map_err(storing)?;
                self.pending.clear();
            }
            RawOut::Helper { jobs, done, failure } => {
                let empty =
                    done.try_recv().unwrap_or_else(|_| Vec::with_capacity(2 * RAW_CHUNK_BYTES));
                let full = std::mem::replace(&mut self.pending, empty);
                jobs.send(Job::Raw(full)).map_err(|_| stopped(failure))?;
            }
        }
        Ok(())
    }

    fn fail(&mut self, error: Error) -> io::Error {
        let told = io::Error::other(error.to_string());
        self.error = Some(error);
        told
    }
}

impl Write for Tee<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.bytes_max {
            let words = format!("pack exceeds maximum allowed size ({})", human(self.bytes_max));
            return Err(self.fail(Error::Refused(words)));
        }
        let bytes = &bytes[..bytes.len().min(RAW_CHUNK_BYTES)];
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= RAW_CHUNK_BYTES {
            self.hand_over().map_err(|error| self.fail(error))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.hand_over().map_err(|error| self.fail(error))
    }
}

/// Who names the objects.
pub(super) enum ObjectsOut<'a> {
    Here,
    Helper { jobs: SyncSender<Job>, done: Receiver<Batch>, failure: &'a Failure },
}

impl ObjectsOut<'_> {
    /// Has a batch named and gives an empty one. Names arrive in `table` now or later.
    pub fn name(
        &mut self,
        mut batch: Batch,
        table: &mut Table,
        hash: HashKind,
        inspector: &Inspector<'_>,
    ) -> Result<Batch> {
        match self {
            ObjectsOut::Here => {
                batch.name(hash, inspector)?;
                batch.record(table);
                Ok(batch)
            }
            ObjectsOut::Helper { jobs, done, failure } => {
                jobs.send(Job::Objects(batch)).map_err(|_| stopped(failure))?;
                let mut spare = Batch::default();
                while let Ok(mut named) = done.try_recv() {
                    named.record(table);
                    spare = named;
                }
                Ok(spare)
            }
        }
    }

    /// Closes the channel and waits for the names that are still under way.
    pub fn finish(self, table: &mut Table) -> Result<()> {
        if let ObjectsOut::Helper { jobs, done, failure } = self {
            drop(jobs);
            for mut named in done {
                named.record(table);
            }
            if failure.lock().expect("no holder of the lock panics").is_some() {
                return Err(stopped(failure));
            }
        }
        Ok(())
    }
}

/// A number of bytes as git words it: `1.00 KiB`.
pub(super) fn human(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes > 1 << shift {
            let hundredths = ((bytes & ((1 << shift) - 1)) * 100) >> shift;
            return format!("{}.{hundredths:02} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} {}", if bytes == 1 { "byte" } else { "bytes" })
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_are_worded_as_git_words_them() {
        let worded = [1, 1024, 1536, 10 << 20, 5 << 30].map(human);
        assert_eq!(worded, ["1 byte", "1024 bytes", "1.50 KiB", "10.00 MiB", "5.00 GiB"]);
    }
}
