//! Blobs in the making: in memory while they are small, then in files of this machine that have no
//! name. Nothing of them is in the bucket before they are published.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use storage::{
    BlobMeta, BlobStore, BlobWriter, Error, OpenBlob, Result, Stage, check_blob_name,
    check_list_prefix,
};

use crate::blobs::ObjectBlobs;
use crate::cache::Sink;
use crate::packs;
use crate::requests::Tag;

/// Bytes of a blob that are kept in memory.
const IN_MEMORY_MAX: usize = 256 << 10;

/// The bytes of a staged blob.
#[derive(Default)]
struct Data {
    /// Those that are not in the file.
    tail: Vec<u8>,
    file: Option<Arc<File>>,
    in_file: u64,
}

impl Data {
    fn size(&self) -> u64 {
        self.in_file + self.tail.len() as u64
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tail.extend_from_slice(bytes);
        if self.tail.len() <= IN_MEMORY_MAX {
            return Ok(());
        }
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(Arc::new(tempfile::tempfile()?)),
        };
        file.write_all_at(&self.tail, self.in_file)?;
        self.in_file += self.tail.len() as u64;
        self.tail.clear();
        Ok(())
    }

    fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let (start, end) = (range.start.min(self.size()), range.end.min(self.size()));
        if start >= end {
            return Ok(Bytes::new());
        }
        let in_tail = |at: u64| at.saturating_sub(self.in_file) as usize;
        let tail = &self.tail[in_tail(start)..in_tail(end)];
        let mut bytes = vec![0; (end - start) as usize];
        let from_file = bytes.len() - tail.len();
        if let Some(file) = self.file.as_ref().filter(|_| from_file > 0) {
            file.read_exact_at(&mut bytes[..from_file], start)?;
        }
        bytes[from_file..].copy_from_slice(tail);
        Ok(bytes.into())
    }
}

/// A finished blob.
struct Finished {
    data: Data,
    modified: SystemTime,
}

impl OpenBlob for Finished {
    fn size(&self) -> u64 {
        self.data.size()
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.data.read(range).map_err(|source| Error::io("a staged blob", source))
    }
}

#[derive(Default)]
struct Names {
    open: BTreeMap<String, Data>,
    finished: BTreeMap<String, Arc<Finished>>,
}

impl Names {
    fn check_free(&self, name: &str) -> Result<()> {
        match self.open.contains_key(name) || self.finished.contains_key(name) {
            true => Err(Error::io(name, io::ErrorKind::AlreadyExists.into())),
            false => Ok(()),
        }
    }

    fn meta(&self, name: &str) -> Option<BlobMeta> {
        let blob = self.finished.get(name)?;
        Some(BlobMeta { name: name.to_owned(), size: blob.size(), modified: blob.modified })
    }
}

type SharedNames = Arc<Mutex<Names>>;

fn lock(names: &Mutex<Names>) -> MutexGuard<'_, Names> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The stage of a repository in a bucket.
pub(crate) struct ObjectStage {
    target: ObjectBlobs,
    names: SharedNames,
    /// The names this stage has reserved, and the keys of their leases.
    reserved: BTreeMap<String, String>,
}

impl ObjectStage {
    pub fn new(target: ObjectBlobs) -> Result<Self> {
        Ok(ObjectStage { target, names: Arc::default(), reserved: BTreeMap::new() })
    }

    fn upload(&self, name: &str, blob: &Finished, replaces: bool) -> Result<()> {
        let client = self.target.client();
        let large = blob.size() > client.options.part_bytes;
        let put = |key: &str| match large {
            true => client.put_parts(key, blob.size(), |range| blob.read(range)),
            false => client.put(key, blob.read(0..blob.size())?),
        };
        let key = self.target.key(name)?;
        if replaces {
            return put(&key).map(drop);
        }
        for generation in packs::generations() {
            let key = packs::of_generation(&key, generation);
            // Of two that write the same large blob both write the same bytes.
            let written = match large {
                true if client.head(&key)?.is_some() => Written::Not,
                true => Written::As(put(&key)?),
                false => self.put_new(&key, blob)?,
            };
            match written {
                Written::As(tag) if packs::is_lasting(name) => self.keep(&key, &tag, blob),
                Written::Not if packs::is_lasting(name) && packs::is_marked(client, &key)? => {
                    continue;
                }
                _ => {}
            }
            return Ok(());
        }
        let source = io::Error::new(io::ErrorKind::ResourceBusy, "it was removed too often");
        Err(Error::Unavailable { what: key, source })
    }

    /// What was written is at hand for whoever reads it next.
    fn keep(&self, key: &str, tag: &Tag, blob: &Finished) {
        let Some(cacheable) = packs::cacheable(key, tag, blob.size()) else { return };
        let from_here = |range: Range<u64>, sink: Sink<'_>| {
            let mut at = range.start;
            while at < range.end {
                let bytes = blob.read(at..range.end.min(at + IN_MEMORY_MAX as u64))?;
                sink(at, &bytes).map_err(|source| Error::io(key, source))?;
                at += bytes.len().max(1) as u64;
            }
            Ok(())
        };
        if let Err(error) =
            self.target.shared.cache.prefetch(&cacheable, 0..blob.size(), &from_here)
        {
            tracing::debug!(%error, "what was written will be read from the bucket");
        }
    }

    /// Writes an object unless there is one.
    fn put_new(&self, key: &str, blob: &Finished) -> Result<Written> {
        let bytes = blob.read(0..blob.size())?;
        // Where there is one it may be our own: then it has no mark.
        Ok(self.target.client().put_shared(key, bytes)?.map_or(Written::Not, Written::As))
    }
}

/// What became of an object that was to be written.
enum Written {
    As(Tag),
    /// There is one already.
    Not,
}

impl Stage for ObjectStage {
    fn create(&mut self, name: &str) -> Result<Box<dyn BlobWriter>> {
        check_blob_name(name)?;
        let mut names = lock(&self.names);
        names.check_free(name)?;
        names.open.insert(name.to_owned(), Data::default());
        Ok(Box::new(Writer { name: name.to_owned(), names: self.names.clone() }))
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        check_blob_name(from)?;
        check_blob_name(to)?;
        let mut names = lock(&self.names);
        names.check_free(to)?;
        let blob = names.finished.remove(from).ok_or_else(|| Error::not_found(from))?;
        names.finished.insert(to.to_owned(), blob);
        Ok(())
    }

    fn replace(&mut self, name: &str) -> Result<()> {
        if !self.reserved.contains_key(name) {
            let key = format!("{}.lock", self.target.key(name)?);
            self.target.shared.leases.take(self.target.client(), &key)?;
            self.reserved.insert(name.to_owned(), key);
            // What is made from the old must be made from the newest.
            self.target.changed();
        }
        Ok(())
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        check_blob_name(name)?;
        let names = lock(&self.names);
        if let Some(open) = names.open.get(name) {
            return open.read(range).map_err(|source| Error::io(name, source));
        }
        let blob = names.finished.get(name).cloned();
        drop(names);
        blob.ok_or_else(|| Error::not_found(name))?.read(range)
    }

    fn store(&self) -> Arc<dyn BlobStore> {
        Arc::new(View(self.names.clone()))
    }

    fn publish(self: Box<Self>) -> Result<()> {
        let mut names = lock(&self.names);
        if let Some(name) = names.open.keys().next() {
            let unfinished = io::Error::other("the blob is still being written");
            return Err(Error::io(name, unfinished));
        }
        let finished = mem::take(&mut names.finished);
        drop(names);
        if finished.is_empty() {
            return Ok(());
        }
        self.target.check_alive()?;
        let replaced: BTreeSet<&str> = self.reserved.keys().map(String::as_str).collect();
        let mut ordered: Vec<_> = finished.iter().collect();
        ordered.sort_by_key(|(name, _)| turn(name, replaced.contains(name.as_str())));
        // Those of one turn could go together; there are few.
        for (name, blob) in ordered {
            let replaces = replaced.contains(name.as_str());
            if let Some(key) = self.reserved.get(name.as_str()) {
                self.target.shared.leases.check(self.target.client(), key)?;
            }
            self.upload(name, blob, replaces)?;
        }
        self.target.changed();
        Ok(())
    }
}

impl Drop for ObjectStage {
    fn drop(&mut self) {
        for key in mem::take(&mut self.reserved).into_values() {
            self.target.shared.leases.release(self.target.client(), &key);
        }
    }
}

/// When a blob may become visible: a pack before its index, what speaks of packs after them, and
/// what replaces others last.
fn turn(name: &str, replaces: bool) -> u32 {
    let is_beside_pack = name.starts_with("pack/pack-");
    match name.rsplit('.').next() {
        _ if replaces => 4,
        Some("keep" | "pack") if is_beside_pack => 0,
        Some("idx") if is_beside_pack => 2,
        _ if is_beside_pack => 1,
        _ => 3,
    }
}

/// What a stage shows: its finished blobs, for reading only.
struct View(SharedNames);

impl BlobStore for View {
    fn stat(&self, name: &str) -> Result<Option<BlobMeta>> {
        check_blob_name(name)?;
        Ok(lock(&self.0).meta(name))
    }

    fn open(&self, name: &str) -> Result<Option<Arc<dyn OpenBlob>>> {
        check_blob_name(name)?;
        Ok(lock(&self.0).finished.get(name).map(|blob| blob.clone() as _))
    }

    fn list(&self, prefix: &str) -> Result<Vec<BlobMeta>> {
        check_list_prefix(prefix)?;
        let names = lock(&self.0);
        let below = names.finished.range(prefix.to_owned()..).map(|(name, _)| name);
        let below = below.take_while(|name| name.starts_with(prefix));
        let here = below.filter(|name| !name[prefix.len()..].contains('/'));
        Ok(here.filter_map(|name| names.meta(name)).collect())
    }

    fn delete(&self, name: &str) -> Result<()> {
        Err(Error::read_only(name))
    }

    fn stage(&self) -> Result<Box<dyn Stage>> {
        Err(Error::read_only("a stage"))
    }
}

struct Writer {
    name: String,
    names: SharedNames,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match lock(&self.names).open.get_mut(&self.name) {
            Some(data) => data.write(bytes)?,
            None => return Err(io::Error::other("the blob was finished")),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for Writer {
    fn finish(self: Box<Self>) -> Result<()> {
        let mut names = lock(&self.names);
        if let Some(data) = names.open.remove(&self.name) {
            let blob = Finished { data, modified: SystemTime::now() };
            names.finished.insert(self.name.clone(), Arc::new(blob));
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        lock(&self.names).open.remove(&self.name);
    }
}
