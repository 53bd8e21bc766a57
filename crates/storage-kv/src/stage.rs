//! Blobs in the making: their chunks are rows already, their names are in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::mem;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use redb::ReadableTable as _;
use storage::{
    BlobMeta, BlobStore, BlobWriter, Error, Result, Stage, check_blob_name, check_list_prefix,
};

use crate::blobs::KvBlobs;
use crate::chunks::{self, CHUNK_BYTES};
use crate::tables::{BLOBS, BlobRow, NUMBERS, STAGED};

/// Bytes a writer gathers before they become rows: few transactions, little memory.
const GATHERED_BYTES: usize = 16 * CHUNK_BYTES as usize;

/// A stage of one repository.
pub(crate) struct KvStage {
    staged: Arc<Staged>,
    /// The names this stage has reserved in its target.
    replaces: BTreeSet<String>,
}

/// What the stage, its writers and its view share.
struct Staged {
    target: KvBlobs,
    names: Mutex<Names>,
}

#[derive(Default)]
struct Names {
    open: BTreeMap<String, Open>,
    finished: BTreeMap<String, BlobRow>,
}

/// A blob that is being written.
struct Open {
    chunks: u64,
    /// Bytes that are rows already: whole chunks.
    written: u64,
    gathered: Vec<u8>,
}

impl KvStage {
    pub fn new(target: KvBlobs) -> Self {
        let staged = Arc::new(Staged { target, names: Mutex::default() });
        KvStage { staged, replaces: BTreeSet::new() }
    }
}

impl Staged {
    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        check_blob_name(name)?;
        let names = self.names();
        if let Some(row) = names.finished.get(name).copied() {
            drop(names);
            let shared = &self.target.shared;
            let (chunks, transaction) = ((row.chunks, row.size), shared.begin_read()?);
            return chunks::read(shared, &transaction, chunks, name, range);
        }
        let open = names.open.get(name).ok_or_else(|| Error::not_found(name))?;
        let size = open.written + open.gathered.len() as u64;
        let (start, end) = (range.start.min(size), range.end.min(size));
        if start >= end {
            return Ok(Bytes::new());
        }
        let tail = |at: u64| at.saturating_sub(open.written) as usize;
        let tail = open.gathered[tail(start)..tail(end)].to_vec();
        let (chunks, written) = (open.chunks, open.written);
        drop(names);
        let rows = start.min(written)..end.min(written);
        let shared = &self.target.shared;
        let transaction = shared.begin_read()?;
        let mut bytes = chunks::read(shared, &transaction, (chunks, written), name, rows)?.to_vec();
        bytes.extend_from_slice(&tail);
        Ok(bytes.into())
    }

    /// Drops the chunks of one blob.
    fn forget(&self, chunks: u64) {
        let forgotten =
            self.target.shared.group.run_soon(Box::new(move |rows| chunks::remove(rows, chunks)));
        if let Err(error) = forgotten {
            tracing::warn!(%error, "what was staged is removed when the file is opened next");
        }
    }
}

impl Stage for KvStage {
    fn create(&mut self, name: &str) -> Result<Box<dyn BlobWriter>> {
        check_blob_name(name)?;
        let mut names = self.staged.names();
        if names.open.contains_key(name) || names.finished.contains_key(name) {
            return Err(Error::io(name, io::ErrorKind::AlreadyExists.into()));
        }
        let chunks = self.staged.target.shared.next_chunks();
        names.open.insert(name.to_owned(), Open { chunks, written: 0, gathered: Vec::new() });
        Ok(Box::new(KvWriter { name: name.to_owned(), staged: self.staged.clone() }))
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        check_blob_name(from)?;
        check_blob_name(to)?;
        let mut names = self.staged.names();
        if names.finished.contains_key(to) || names.open.contains_key(to) {
            return Err(Error::io(to, io::ErrorKind::AlreadyExists.into()));
        }
        let row = names.finished.remove(from).ok_or_else(|| Error::not_found(from))?;
        names.finished.insert(to.to_owned(), row);
        Ok(())
    }

    fn replace(&mut self, name: &str) -> Result<()> {
        check_blob_name(name)?;
        if self.replaces.contains(name) {
            return Ok(());
        }
        let key = (self.staged.target.repository, name.to_owned());
        if !self.staged.target.shared.reserved().insert(key) {
            return Err(Error::Locked { what: name.to_owned(), lock: "another stage".to_owned() });
        }
        self.replaces.insert(name.to_owned());
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
        let finished = names.finished.clone();
        drop(names);
        if finished.is_empty() {
            return Ok(());
        }
        let (repository, replaces) = (self.staged.target.repository, self.replaces.clone());
        let was_there = Arc::new(AtomicBool::new(true));
        let told = was_there.clone();
        self.staged.target.shared.group.run(Box::new(move |rows| {
            let is_there = rows.open_table(NUMBERS)?.get(&repository.own_key()[..])?.is_some();
            was_there.store(is_there, Ordering::Release);
            for (name, row) in &finished {
                if !is_there {
                    // The repository was removed, and what would be in it.
                    chunks::remove(rows, row.chunks)?;
                    continue;
                }
                let key = repository.key(name.as_bytes());
                let mut blobs = rows.open_table(BLOBS)?;
                let present = blobs.get(&*key)?.map(|row| row.value().to_vec());
                let present = present.map(|row| BlobRow::decode(name, &row)).transpose();
                let present = present.map_err(|error| redb::Error::Corrupted(error.to_string()))?;
                match present {
                    Some(_) if !replaces.contains(name) => {
                        drop(blobs);
                        chunks::remove(rows, row.chunks)?;
                    }
                    present => {
                        blobs.insert(&*key, &row.encode()[..])?;
                        drop(blobs);
                        rows.open_table(STAGED)?.remove(&row.chunks.to_be_bytes()[..])?;
                        if let Some(old) = present {
                            chunks::remove(rows, old.chunks)?;
                        }
                    }
                }
            }
            Ok(())
        }))?;
        // They belong to the store now, or are gone.
        names = self.staged.names();
        names.finished.clear();
        match told.load(Ordering::Acquire) {
            true => Ok(()),
            false => Err(Error::not_found("the repository, which was removed")),
        }
    }
}

impl Drop for KvStage {
    fn drop(&mut self) {
        let mut reserved = self.staged.target.shared.reserved();
        for name in mem::take(&mut self.replaces) {
            reserved.remove(&(self.staged.target.repository, name));
        }
        drop(reserved);
        let finished = mem::take(&mut self.staged.names().finished);
        for row in finished.into_values() {
            self.staged.forget(row.chunks);
        }
    }
}

/// What a stage shows: its finished blobs, for reading only.
struct StagedView(Arc<Staged>);

impl BlobStore for StagedView {
    fn stat(&self, name: &str) -> Result<Option<BlobMeta>> {
        check_blob_name(name)?;
        Ok(self.0.names().finished.get(name).map(|row| row.meta(name)))
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        match self.stat(name)? {
            Some(_) => self.0.read(name, range),
            None => Err(Error::not_found(name)),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<BlobMeta>> {
        check_list_prefix(prefix)?;
        let names = self.0.names();
        let below = names.finished.range(prefix.to_owned()..);
        let below = below.take_while(|(name, _)| name.starts_with(prefix));
        let here = below.filter(|(name, _)| !name[prefix.len()..].contains('/'));
        Ok(here.map(|(name, row)| row.meta(name)).collect())
    }

    fn delete(&self, name: &str) -> Result<()> {
        Err(Error::read_only(name))
    }

    fn stage(&self) -> Result<Box<dyn Stage>> {
        Err(Error::read_only("a stage"))
    }
}

struct KvWriter {
    name: String,
    staged: Arc<Staged>,
}

impl KvWriter {
    /// Makes rows of what was gathered: of whole chunks, or in the end of all.
    fn flush_rows(&self, all: bool) -> Result<()> {
        let mut names = self.staged.names();
        let Some(open) = names.open.get_mut(&self.name) else {
            return Err(Error::io(&self.name, io::Error::other("the blob was finished")));
        };
        let first = open.written / CHUNK_BYTES;
        let whole = open.gathered.len() - open.gathered.len() % CHUNK_BYTES as usize;
        let count = if all { open.gathered.len() } else { whole };
        if count == 0 && !(all && first == 0) {
            return Ok(());
        }
        let (chunks, bytes) = (open.chunks, open.gathered[..count].to_vec());
        drop(names);
        let work = move |rows: &redb::WriteTransaction| chunks::append(rows, chunks, first, &bytes);
        self.staged.target.shared.group.run_soon(Box::new(work))?;
        if let Some(open) = self.staged.names().open.get_mut(&self.name) {
            open.gathered.drain(..count);
            open.written += count as u64;
        }
        Ok(())
    }
}

impl Write for KvWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut names = self.staged.names();
        let Some(open) = names.open.get_mut(&self.name) else {
            return Err(io::Error::other("the blob was finished"));
        };
        let room = GATHERED_BYTES - open.gathered.len().min(GATHERED_BYTES);
        let taken = bytes.len().min(room);
        open.gathered.extend_from_slice(&bytes[..taken]);
        let is_full = open.gathered.len() >= GATHERED_BYTES;
        drop(names);
        if is_full {
            self.flush_rows(false)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for KvWriter {
    fn finish(self: Box<Self>) -> Result<()> {
        self.flush_rows(true)?;
        let mut names = self.staged.names();
        if let Some(open) = names.open.remove(&self.name) {
            let modified = SystemTime::now();
            let row = BlobRow { chunks: open.chunks, size: open.written, modified };
            names.finished.insert(self.name.clone(), row);
        }
        Ok(())
    }
}

impl Drop for KvWriter {
    fn drop(&mut self) {
        let unfinished = self.staged.names().open.remove(&self.name);
        if let Some(open) = unfinished.filter(|open| open.written > 0) {
            self.staged.forget(open.chunks);
        }
    }
}
