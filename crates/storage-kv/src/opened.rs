//! Blobs that are open, and chunks of blobs that were removed meanwhile.
//!
//! What has no name any more is first only noted as belonging to no blob. Its chunks go when that
//! is committed and nobody reads them; after a crash, when the file is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use redb::WriteTransaction;
use storage::{OpenBlob, Result};

use crate::chunks;
use crate::store::Shared;

/// Whose chunks are read, by how many, and which of them have no name any more.
#[derive(Default)]
pub(crate) struct Opened {
    readers: BTreeMap<u64, usize>,
    nameless: BTreeSet<u64>,
}

impl Opened {
    /// One more reader.
    pub fn open(&mut self, chunks: u64) {
        *self.readers.entry(chunks).or_default() += 1;
    }

    /// One reader less; whether these chunks can go now.
    fn close(&mut self, chunks: u64) -> bool {
        let Some(readers) = self.readers.get_mut(&chunks) else { return false };
        *readers -= 1;
        *readers == 0 && {
            self.readers.remove(&chunks);
            self.nameless.remove(&chunks)
        }
    }

    /// Whether chunks that have no name any more can go; otherwise they do with their last reader.
    fn retire(&mut self, chunks: u64) -> bool {
        let is_read = self.readers.contains_key(&chunks);
        if is_read {
            self.nameless.insert(chunks);
        }
        !is_read
    }
}

/// What a transaction takes the name of.
#[derive(Clone, Default)]
pub(crate) struct Retired(Arc<Mutex<Vec<u64>>>);

impl Retired {
    /// Notes that these chunks belong to no blob.
    pub fn retire(&self, rows: &WriteTransaction, chunks: u64) -> Result<(), redb::Error> {
        chunks::disown(rows, chunks)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(chunks);
        Ok(())
    }

    /// Once that is committed: drops what nobody reads.
    pub fn drop_unread(&self, shared: &Shared) {
        let retired = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut opened = shared.opened();
        let unread: Vec<_> = retired.into_iter().filter(|chunks| opened.retire(*chunks)).collect();
        drop(opened);
        drop_chunks(shared, unread);
    }
}

fn drop_chunks(shared: &Shared, unread: Vec<u64>) {
    if unread.is_empty() {
        return;
    }
    let dropped = shared.group.run_soon(Box::new(move |rows| {
        unread.into_iter().try_for_each(|chunks| chunks::remove(rows, chunks))
    }));
    if let Err(error) = dropped {
        tracing::warn!(%error, "what was removed takes its room until the file is opened again");
    }
}

/// An open blob.
pub(crate) struct KvBlob {
    pub shared: Arc<Shared>,
    pub name: String,
    pub chunks: u64,
    pub size: u64,
}

impl OpenBlob for KvBlob {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let transaction = self.shared.begin_read()?;
        chunks::read(&self.shared, &transaction, (self.chunks, self.size), &self.name, range)
    }
}

impl Drop for KvBlob {
    fn drop(&mut self) {
        if self.shared.opened().close(self.chunks) {
            drop_chunks(&self.shared, vec![self.chunks]);
        }
    }
}
