//! A stage for stores that keep a blob as chunks in rows.
//!
//! What is written becomes chunks as it comes, under a number that no published blob has. The
//! ends of blobs, and small blobs whole, stay in memory and become rows when the stage is published,
//! in the same transaction: a small push costs one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::mem;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use crate::{
    BlobMeta, BlobStore, BlobWriter, Error, OpenBlob, Result, Stage, check_blob_name,
    check_list_prefix,
};

/// About how many bytes a writer gathers before they become chunks: few transactions, little
/// memory.
const GATHERED_BYTES: u64 = 1 << 20;

/// Bytes of finished blobs that a stage keeps in memory until it is published.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// What a store of chunks does for the stages of one of its repositories.
pub trait ChunkStore: Send + Sync + 'static {
    /// Bytes of every chunk but a blob's last one.
    fn chunk_bytes(&self) -> u64;

    /// A number for the chunks of one blob, never given before.
    fn new_chunks(&self) -> Result<u64>;

    /// Adds chunks, from the `first` one on, to a blob that nobody sees. A crash may leave them
    /// behind: the store drops them some time later.
    fn append(&self, chunks: u64, first: u64, bytes: Vec<u8>) -> Result<()>;

    /// The bytes in `range` of a blob nobody sees, of which `size` bytes were appended; the range lies
    /// within them. `name` is for errors.
    fn read_appended(&self, chunks: (u64, u64), name: &str, range: Range<u64>) -> Result<Bytes>;

    /// Drops what was appended.
    fn forget(&self, chunks: u64) -> Result<()>;

    /// Keeps others from replacing a blob until [`ChunkStore::release`]; [`Error::Locked`] when
    /// somebody else does so.
    fn reserve(&self, name: &str) -> Result<()>;

    /// Ends a reservation.
    fn release(&self, name: &str);

    /// Publishes the blobs, all at one moment and durably. Of a name that exists already the old
    /// blob is kept and the new one dropped, unless the name is in `reserved`.
    fn publish(
        &self,
        blobs: &BTreeMap<String, ChunkedBlob>,
        reserved: &BTreeSet<String>,
    ) -> Result<()>;
}

/// A blob of a stage.
#[derive(Debug, Clone)]
pub struct ChunkedBlob {
    /// Whose chunks are its first bytes; none has been given while there are no such chunks.
    pub chunks: Option<u64>,
    /// How many bytes are chunks already: whole ones, when there is a tail.
    pub appended: u64,
    /// The bytes behind them.
    pub tail: Vec<u8>,
    /// When it was finished.
    pub modified: SystemTime,
}

impl ChunkedBlob {
    fn empty() -> Self {
        let modified = SystemTime::UNIX_EPOCH;
        ChunkedBlob { chunks: None, appended: 0, tail: Vec::new(), modified }
    }

    /// Bytes in all.
    pub fn size(&self) -> u64 {
        self.appended + self.tail.len() as u64
    }

    fn meta(&self, name: &str) -> BlobMeta {
        BlobMeta { name: name.to_owned(), size: self.size(), modified: self.modified }
    }
}

/// A stage of a [`ChunkStore`].
pub struct ChunkStage<C: ChunkStore> {
    staged: Arc<Staged<C>>,
    /// The names this stage has reserved.
    reserved: BTreeSet<String>,
}

/// What the stage, its writers and its view share.
struct Staged<C> {
    target: C,
    names: Mutex<Names>,
}

#[derive(Default)]
struct Names {
    open: BTreeMap<String, ChunkedBlob>,
    finished: BTreeMap<String, ChunkedBlob>,
}

impl Names {
    fn check_free(&self, name: &str) -> Result<()> {
        match self.open.contains_key(name) || self.finished.contains_key(name) {
            true => Err(Error::io(name, io::ErrorKind::AlreadyExists.into())),
            false => Ok(()),
        }
    }
}

impl<C: ChunkStore> ChunkStage<C> {
    /// An empty stage.
    pub fn new(target: C) -> Self {
        let staged = Arc::new(Staged { target, names: Mutex::default() });
        ChunkStage { staged, reserved: BTreeSet::new() }
    }
}

impl<C: ChunkStore> Staged<C> {
    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        check_blob_name(name)?;
        let names = self.names();
        let blob = names.finished.get(name).or_else(|| names.open.get(name));
        let blob = blob.ok_or_else(|| Error::not_found(name))?;
        let (size, appended) = (blob.size(), blob.appended);
        let (start, end) = (range.start.min(size), range.end.min(size));
        if start >= end {
            return Ok(Bytes::new());
        }
        let in_tail = |at: u64| at.saturating_sub(appended) as usize;
        let tail = blob.tail[in_tail(start)..in_tail(end)].to_vec();
        let chunks = blob.chunks;
        drop(names);
        let rows = start.min(appended)..end.min(appended);
        match chunks.filter(|_| !rows.is_empty()) {
            None => Ok(tail.into()),
            Some(chunks) => {
                let bytes = self.target.read_appended((chunks, appended), name, rows)?;
                if tail.is_empty() {
                    return Ok(bytes);
                }
                Ok([&bytes[..], &tail].concat().into())
            }
        }
    }

    fn forget(&self, blob: &ChunkedBlob) {
        if let Some(Err(error)) = blob.chunks.map(|chunks| self.target.forget(chunks)) {
            tracing::warn!(%error, "what was staged is dropped by the store later");
        }
    }
}

impl<C: ChunkStore> Stage for ChunkStage<C> {
    fn create(&mut self, name: &str) -> Result<Box<dyn BlobWriter>> {
        check_blob_name(name)?;
        let mut names = self.staged.names();
        names.check_free(name)?;
        names.open.insert(name.to_owned(), ChunkedBlob::empty());
        Ok(Box::new(ChunkWriter { name: name.to_owned(), staged: self.staged.clone() }))
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        check_blob_name(from)?;
        check_blob_name(to)?;
        let mut names = self.staged.names();
        names.check_free(to)?;
        let blob = names.finished.remove(from).ok_or_else(|| Error::not_found(from))?;
        names.finished.insert(to.to_owned(), blob);
        Ok(())
    }

    fn replace(&mut self, name: &str) -> Result<()> {
        check_blob_name(name)?;
        if !self.reserved.contains(name) {
            self.staged.target.reserve(name)?;
            self.reserved.insert(name.to_owned());
        }
        Ok(())
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        self.staged.read(name, range)
    }

    fn store(&self) -> Arc<dyn BlobStore> {
        Arc::new(StagedView(self.staged.clone()))
    }

    fn publish(self: Box<Self>) -> Result<()> {
        let mut names = self.staged.names();
        if let Some(name) = names.open.keys().next() {
            let unfinished = io::Error::other("the blob is still being written");
            return Err(Error::io(name, unfinished));
        }
        let finished = mem::take(&mut names.finished);
        drop(names);
        if finished.is_empty() {
            return Ok(());
        }
        let published = self.staged.target.publish(&finished, &self.reserved);
        if published.is_err() {
            // Still ours: dropped with the stage.
            self.staged.names().finished = finished;
        }
        published
    }
}

impl<C: ChunkStore> Drop for ChunkStage<C> {
    fn drop(&mut self) {
        for name in mem::take(&mut self.reserved) {
            self.staged.target.release(&name);
        }
        let finished = mem::take(&mut self.staged.names().finished);
        finished.values().for_each(|blob| self.staged.forget(blob));
    }
}

/// What a stage shows: its finished blobs, for reading only.
struct StagedView<C>(Arc<Staged<C>>);

impl<C: ChunkStore> BlobStore for StagedView<C> {
    fn stat(&self, name: &str) -> Result<Option<BlobMeta>> {
        check_blob_name(name)?;
        Ok(self.0.names().finished.get(name).map(|blob| blob.meta(name)))
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        match self.stat(name)? {
            Some(_) => self.0.read(name, range),
            None => Err(Error::not_found(name)),
        }
    }

    fn open(&self, name: &str) -> Result<Option<Arc<dyn OpenBlob>>> {
        let Some(meta) = self.stat(name)? else { return Ok(None) };
        Ok(Some(Arc::new(StagedBlob { staged: self.0.clone(), meta })))
    }

    fn list(&self, prefix: &str) -> Result<Vec<BlobMeta>> {
        check_list_prefix(prefix)?;
        let names = self.0.names();
        let below = names.finished.range(prefix.to_owned()..);
        let below = below.take_while(|(name, _)| name.starts_with(prefix));
        let here = below.filter(|(name, _)| !name[prefix.len()..].contains('/'));
        Ok(here.map(|(name, blob)| blob.meta(name)).collect())
    }

    fn delete(&self, name: &str) -> Result<()> {
        Err(Error::read_only(name))
    }

    fn stage(&self) -> Result<Box<dyn Stage>> {
        Err(Error::read_only("a stage"))
    }
}

/// A finished blob of a stage: there as long as its stage is, and never replaced.
struct StagedBlob<C> {
    staged: Arc<Staged<C>>,
    meta: BlobMeta,
}

impl<C: ChunkStore> OpenBlob for StagedBlob<C> {
    fn size(&self) -> u64 {
        self.meta.size
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.staged.read(&self.meta.name, range)
    }
}

struct ChunkWriter<C: ChunkStore> {
    name: String,
    staged: Arc<Staged<C>>,
}

impl<C: ChunkStore> ChunkWriter<C> {
    fn finished_before(&self) -> Error {
        Error::io(&self.name, io::Error::other("the blob was finished"))
    }

    /// Makes chunks of what was gathered: whole ones, or of all of it.
    fn append(&self, all: bool) -> Result<()> {
        let chunk = self.staged.target.chunk_bytes();
        let mut names = self.staged.names();
        let Some(blob) = names.open.get_mut(&self.name) else {
            return Err(self.finished_before());
        };
        let whole = blob.tail.len() - blob.tail.len() % chunk as usize;
        let count = if all { blob.tail.len() } else { whole };
        if count == 0 {
            return Ok(());
        }
        let (first, bytes) = (blob.appended / chunk, blob.tail[..count].to_vec());
        let given = blob.chunks;
        // Others may read what was gathered while it becomes rows.
        drop(names);
        let chunks = given.map_or_else(|| self.staged.target.new_chunks(), Ok)?;
        if let Some(blob) = self.staged.names().open.get_mut(&self.name) {
            blob.chunks = Some(chunks);
        }
        self.staged.target.append(chunks, first, bytes)?;
        if let Some(blob) = self.staged.names().open.get_mut(&self.name) {
            blob.tail.drain(..count);
            blob.appended += count as u64;
        }
        Ok(())
    }
}

impl<C: ChunkStore> Write for ChunkWriter<C> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let chunk = self.staged.target.chunk_bytes();
        let gathered_max = (GATHERED_BYTES / chunk).max(1) * chunk;
        let mut names = self.staged.names();
        let Some(blob) = names.open.get_mut(&self.name) else {
            return Err(self.finished_before().into());
        };
        let room = gathered_max as usize - blob.tail.len().min(gathered_max as usize);
        let taken = bytes.len().min(room);
        blob.tail.extend_from_slice(&bytes[..taken]);
        let is_full = blob.tail.len() as u64 >= gathered_max;
        drop(names);
        if is_full {
            self.append(false)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<C: ChunkStore> BlobWriter for ChunkWriter<C> {
    fn finish(self: Box<Self>) -> Result<()> {
        let names = self.staged.names();
        let kept: usize = names.finished.values().map(|blob| blob.tail.len()).sum();
        let tail = names.open.get(&self.name).map_or(0, |blob| blob.tail.len());
        drop(names);
        if kept + tail > KEPT_BYTES_MAX {
            self.append(true)?;
        }
        let mut names = self.staged.names();
        if let Some(mut blob) = names.open.remove(&self.name) {
            blob.tail.shrink_to_fit();
            blob.modified = SystemTime::now();
            names.finished.insert(self.name.clone(), blob);
        }
        Ok(())
    }
}

impl<C: ChunkStore> Drop for ChunkWriter<C> {
    fn drop(&mut self) {
        let unfinished = self.staged.names().open.remove(&self.name);
        if let Some(blob) = unfinished {
            self.staged.forget(&blob);
        }
    }
}
