//! Blobs in a sorted map; a stage is a map of its own until it is published.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use crate::blobs::check_list_prefix;
use crate::{BlobMeta, BlobStore, BlobWriter, Error, OpenBlob, Result, Stage, check_blob_name};

/// The strictest [`BlobStore`]: nothing staged can be read, and names are checked everywhere.
#[derive(Clone, Default)]
pub struct MemoryBlobs {
    blobs: Arc<Mutex<BTreeMap<String, Blob>>>,
    /// Names that some stage will replace.
    reserved: Arc<Mutex<BTreeSet<String>>>,
}

#[derive(Clone)]
struct Blob {
    bytes: Bytes,
    modified: SystemTime,
}

impl MemoryBlobs {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl BlobStore for MemoryBlobs {
    fn stat(&self, name: &str) -> Result<Option<BlobMeta>> {
        check_blob_name(name)?;
        Ok(lock(&self.blobs).get(name).map(|blob| blob.meta(name)))
    }

    fn open(&self, name: &str) -> Result<Option<Arc<dyn OpenBlob>>> {
        check_blob_name(name)?;
        let blob = lock(&self.blobs).get(name).cloned();
        Ok(blob.map(|blob| Arc::new(blob) as Arc<dyn OpenBlob>))
    }

    fn list(&self, prefix: &str) -> Result<Vec<BlobMeta>> {
        check_list_prefix(prefix)?;
        let blobs = lock(&self.blobs);
        let below =
            blobs.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        let here = below.filter(|(name, _)| !name[prefix.len()..].contains('/'));
        Ok(here.map(|(name, blob)| blob.meta(name)).collect())
    }

    fn delete(&self, name: &str) -> Result<()> {
        check_blob_name(name)?;
        lock(&self.blobs).remove(name);
        Ok(())
    }

    fn stage(&self) -> Result<Box<dyn Stage>> {
        Ok(Box::new(MemoryStage {
            target: self.clone(),
            finished: MemoryBlobs::new(),
            open: Arc::default(),
            replaces: BTreeSet::new(),
        }))
    }
}

impl Blob {
    fn meta(&self, name: &str) -> BlobMeta {
        BlobMeta { name: name.to_owned(), size: self.bytes.len() as u64, modified: self.modified }
    }
}

impl OpenBlob for Blob {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        Ok(slice(&self.bytes, range))
    }
}

type Unfinished = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

struct MemoryStage {
    target: MemoryBlobs,
    finished: MemoryBlobs,
    open: Unfinished,
    /// The names this stage has reserved in its target.
    replaces: BTreeSet<String>,
}

impl Stage for MemoryStage {
    fn create(&mut self, name: &str) -> Result<Box<dyn BlobWriter>> {
        check_blob_name(name)?;
        let mut open = lock(&self.open);
        if open.contains_key(name) || lock(&self.finished.blobs).contains_key(name) {
            return Err(Error::io(name, io::ErrorKind::AlreadyExists.into()));
        }
        open.insert(name.to_owned(), Vec::new());
        Ok(Box::new(MemoryWriter {
            name: name.to_owned(),
            open: Arc::clone(&self.open),
            finished: self.finished.clone(),
        }))
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        check_blob_name(from)?;
        check_blob_name(to)?;
        let mut finished = lock(&self.finished.blobs);
        if finished.contains_key(to) || lock(&self.open).contains_key(to) {
            return Err(Error::io(to, io::ErrorKind::AlreadyExists.into()));
        }
        let blob = finished.remove(from).ok_or_else(|| Error::not_found(from))?;
        finished.insert(to.to_owned(), blob);
        Ok(())
    }

    fn replace(&mut self, name: &str) -> Result<()> {
        check_blob_name(name)?;
        if self.replaces.contains(name) {
            return Ok(());
        }
        if !lock(&self.target.reserved).insert(name.to_owned()) {
            return Err(Error::Locked { what: name.to_owned(), lock: "another stage".to_owned() });
        }
        self.replaces.insert(name.to_owned());
        Ok(())
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        if let Some(bytes) = lock(&self.open).get(name) {
            let (start, end) = clamp(bytes.len(), range);
            return Ok(Bytes::copy_from_slice(&bytes[start..end]));
        }
        self.finished.read(name, range)
    }

    fn store(&self) -> Arc<dyn BlobStore> {
        Arc::new(Staged(self.finished.clone()))
    }

    fn publish(self: Box<Self>) -> Result<()> {
        if let Some(name) = lock(&self.open).keys().next() {
            let unfinished = io::Error::other("the blob is still being written");
            return Err(Error::io(name, unfinished));
        }
        let mut blobs = lock(&self.target.blobs);
        for (name, blob) in std::mem::take(&mut *lock(&self.finished.blobs)) {
            if self.replaces.contains(&name) {
                blobs.insert(name, blob);
            } else {
                blobs.entry(name).or_insert(blob);
            }
        }
        Ok(())
    }
}

impl Drop for MemoryStage {
    fn drop(&mut self) {
        let mut reserved = lock(&self.target.reserved);
        for name in &self.replaces {
            reserved.remove(name);
        }
    }
}

/// What a stage shows: its finished blobs, for reading only.
struct Staged(MemoryBlobs);

impl BlobStore for Staged {
    fn stat(&self, name: &str) -> Result<Option<BlobMeta>> {
        self.0.stat(name)
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        self.0.read(name, range)
    }

    fn open(&self, name: &str) -> Result<Option<Arc<dyn OpenBlob>>> {
        self.0.open(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<BlobMeta>> {
        self.0.list(prefix)
    }

    fn delete(&self, name: &str) -> Result<()> {
        Err(Error::read_only(name))
    }

    fn stage(&self) -> Result<Box<dyn Stage>> {
        Err(Error::read_only("a stage"))
    }
}

struct MemoryWriter {
    name: String,
    open: Unfinished,
    finished: MemoryBlobs,
}

impl io::Write for MemoryWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match lock(&self.open).get_mut(&self.name) {
            Some(blob) => blob.extend_from_slice(bytes),
            None => return Err(io::Error::other("the blob was finished")),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for MemoryWriter {
    fn finish(self: Box<Self>) -> Result<()> {
        let bytes = lock(&self.open).remove(&self.name).unwrap_or_default();
        let blob = Blob { bytes: bytes.into(), modified: SystemTime::now() };
        lock(&self.finished.blobs).insert(self.name.clone(), blob);
        Ok(())
    }
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        lock(&self.open).remove(&self.name);
    }
}

fn clamp(len: usize, range: Range<u64>) -> (usize, usize) {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(len);
    let start = at(range.start);
    (start, at(range.end).max(start))
}

fn slice(bytes: &Bytes, range: Range<u64>) -> Bytes {
    let (start, end) = clamp(bytes.len(), range);
    bytes.slice(start..end)
}

/// A panic elsewhere leaves a whole map behind: every change of it is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
