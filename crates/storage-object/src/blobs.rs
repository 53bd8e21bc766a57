//! The objects directory of one repository.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use storage::{BlobMeta, BlobStore, OpenBlob, Result, Stage};

use crate::cache::Cacheable;
use crate::client::{Client, Listed, Tagged};
use crate::packs::{self, File, Known, LastListing, Packs};
use crate::stage::ObjectStage;
use crate::store::Shared;

/// The blobs below `NAME.git/objects` of a bucket.
pub(crate) struct ObjectBlobs {
    pub shared: Arc<Shared>,
    /// The repository's directory in the bucket, without `/` at its end.
    pub directory: Arc<str>,
    /// Tells the repository from others that had or will have its name.
    pub number: u64,
    listing: Arc<LastListing>,
    /// Whether there are objects that lie alone, and when that was looked up.
    loose: Arc<Mutex<Option<(bool, Instant)>>>,
    /// What may be replaced, as it was read last.
    replaceable: Arc<Mutex<HashMap<String, Tagged>>>,
}

impl Clone for ObjectBlobs {
    fn clone(&self) -> Self {
        ObjectBlobs {
            shared: self.shared.clone(),
            directory: self.directory.clone(),
            number: self.number,
            listing: self.listing.clone(),
            loose: self.loose.clone(),
            replaceable: self.replaceable.clone(),
        }
    }
}

impl ObjectBlobs {
    pub fn new(shared: Arc<Shared>, directory: Arc<str>, number: u64) -> Self {
        let (listing, loose, replaceable) = Default::default();
        ObjectBlobs { shared, directory, number, listing, loose, replaceable }
    }

    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// What lies in `pack/` now.
    pub fn packs(&self) -> Result<Packs> {
        let directory = format!("{}/objects/pack", self.directory);
        let (files, _) = self.client().list(&directory)?;
        Ok(Packs::of(files, &directory, self.client().options.gone_keep))
    }

    /// The file of a blob in `pack/` that lasts.
    fn find(&self, short: &str) -> Result<Option<File>> {
        let known = match self.listing.look(short) {
            Known::Unknown => {
                self.listing.set(self.packs()?);
                self.listing.look(short)
            }
            known => known,
        };
        Ok(match known {
            Known::There(file) => Some(file),
            Known::Absent | Known::Unknown => None,
        })
    }

    /// A blob that may be replaced at any time: all of it, as it is now.
    fn replaceable(&self, name: &str, key: &str) -> Result<Option<Bytes>> {
        let lock = || self.replaceable.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(name).cloned();
        let read = match &known {
            None => self.client().get(key)?,
            Some(known) => match self.client().get_changed(key, &known.tag)? {
                None => return Ok(Some(known.bytes.clone())),
                Some(read) => read,
            },
        };
        let mut all = lock();
        match &read {
            Some(read) if is_overview(name) => drop(all.insert(name.to_owned(), read.clone())),
            _ => drop(all.remove(name)),
        }
        Ok(read.map(|read| read.bytes))
    }

    /// The key of a blob.
    pub fn key(&self, name: &str) -> Result<String> {
        storage::check_blob_name(name)?;
        Ok(format!("{}/objects/{name}", self.directory))
    }

    /// What was known of the blobs is so no more.
    pub fn changed(&self) {
        self.listing.forget();
        *self.loose.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether this can be the name of an object that lies alone and is there. Packhorse writes
    /// none, and each look for one would be a request.
    fn may_be_there(&self, name: &str) -> Result<bool> {
        if !is_loose(name) {
            return Ok(true);
        }
        let known = *self.loose.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((is_there, at)) = known
            && at.elapsed() < LOOSE_KNOWN
        {
            return Ok(is_there);
        }
        let (_, folders) = self.client().list(&format!("{}/objects", self.directory))?;
        let last = |folder: &String| folder.rsplit('/').next().map(|last| format!("{last}/0"));
        let is_there = folders.iter().filter_map(last).any(|name| is_loose(&name));
        let mut known = self.loose.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((is_there, Instant::now()));
        Ok(is_there)
    }

    fn meta(&self, file: Listed) -> Option<BlobMeta> {
        let name = file.key.strip_prefix(&*self.directory)?.strip_prefix("/objects/")?;
        Some(BlobMeta { name: name.to_owned(), size: file.size, modified: file.modified })
    }
}

/// How long it is taken for true that there are no objects that lie alone.
const LOOSE_KNOWN: Duration = Duration::from_secs(10);

/// Whether this is where git keeps an object that lies alone.
fn is_loose(name: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.split_once('/').is_some_and(|(folder, file)| folder.len() == 2 && hex(folder) && hex(file))
}

impl BlobStore for ObjectBlobs {
    fn stat(&self, name: &str) -> Result<Option<BlobMeta>> {
        let key = self.key(name)?;
        if !self.may_be_there(name)? {
            return Ok(None);
        }
        match name.strip_prefix("pack/").filter(|_| packs::is_lasting(name)) {
            Some(short) => Ok(self.find(short)?.map(|file| BlobMeta {
                name: name.to_owned(),
                size: file.size,
                modified: file.modified,
            })),
            None => Ok(self.client().head(&key)?.and_then(|found| self.meta(found))),
        }
    }

    fn open(&self, name: &str) -> Result<Option<Arc<dyn OpenBlob>>> {
        let key = self.key(name)?;
        if !self.may_be_there(name)? {
            return Ok(None);
        }
        if let Some(short) = name.strip_prefix("pack/").filter(|_| packs::is_lasting(name)) {
            let shared = self.shared.clone();
            let open = |file: File| LastingBlob { shared, blob: file.cacheable(), key: file.key };
            return Ok(self.find(short)?.map(|file| Arc::new(open(file)) as _));
        }
        Ok(self.replaceable(name, &key)?.map(|bytes| Arc::new(WholeBlob(bytes)) as _))
    }

    fn map(&self, name: &str) -> Result<Option<Bytes>> {
        let key = self.key(name)?;
        if is_loose(name) {
            return Ok(None);
        }
        let Some(short) = name.strip_prefix("pack/").filter(|_| packs::is_lasting(name)) else {
            return self.replaceable(name, &key);
        };
        let Some(file) = self.find(short)? else { return Ok(None) };
        let blob =
            LastingBlob { shared: self.shared.clone(), blob: file.cacheable(), key: file.key };
        match short.ends_with(".pack") {
            // It is read in parts, as much of it as is needed.
            true => Ok(self.shared.cache.mapped(&blob.blob)),
            false => blob.whole(),
        }
    }

    fn faults(&self) -> u64 {
        self.client().losses.count()
    }

    fn list(&self, prefix: &str) -> Result<Vec<BlobMeta>> {
        storage::check_list_prefix(prefix)?;
        if prefix == "pack/" {
            let packs = self.packs()?;
            let metas = packs.blobs.iter().map(|(name, file)| BlobMeta {
                name: format!("pack/{name}"),
                size: file.size,
                modified: file.modified,
            });
            let metas = metas.collect();
            self.listing.set(packs);
            return Ok(metas);
        }
        let directory = format!("{}/objects/{prefix}", self.directory);
        let (files, _) = self.client().list(directory.trim_end_matches('/'))?;
        let mut blobs: Vec<_> = files.into_iter().filter_map(|file| self.meta(file)).collect();
        // Locks are nobody's business.
        blobs.retain(|blob| !blob.name.ends_with(".lock"));
        blobs.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(blobs)
    }

    fn delete(&self, name: &str) -> Result<()> {
        let key = self.key(name)?;
        let Some(short) = name.strip_prefix("pack/").filter(|_| packs::is_lasting(name)) else {
            return self.client().delete(&key);
        };
        if let Some(file) = self.find(short)? {
            packs::mark(self.client(), &file.key)?;
            self.listing.remove(short);
        }
        self.listing.sweep(self.client())
    }

    fn stage(&self) -> Result<Box<dyn Stage>> {
        Ok(Box::new(ObjectStage::new(self.clone())?))
    }
}

/// Whether this speaks of what else is there, and is read by every request.
fn is_overview(name: &str) -> bool {
    name == "pack/multi-pack-index" || name.starts_with("info/")
}

/// A blob that keeps its bytes as long as anybody reads it.
struct LastingBlob {
    shared: Arc<Shared>,
    blob: Cacheable,
    key: String,
}

impl LastingBlob {
    fn fetch(&self, range: Range<u64>) -> Result<Bytes> {
        self.shared.client.read(&self.key, range)
    }

    fn whole(&self) -> Result<Option<Bytes>> {
        let at_once = self.shared.client.bytes_at_once();
        self.shared.cache.whole(&self.blob, at_once, &|range| self.fetch(range))
    }
}

impl OpenBlob for LastingBlob {
    fn size(&self) -> u64 {
        self.blob.size
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let (start, end) = (range.start.min(self.blob.size), range.end.min(self.blob.size));
        self.shared.cache.read(&self.blob, start..end.max(start), &|range| self.fetch(range))
    }
}

/// All bytes of a blob.
struct WholeBlob(Bytes);

impl OpenBlob for WholeBlob {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let cut = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(self.0.len());
        let start = cut(range.start);
        Ok(self.0.slice(start..cut(range.end).max(start)))
    }
}
