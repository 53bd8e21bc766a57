//! The objects directory of one repository.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use storage::{BlobMeta, BlobStore, OpenBlob, Result, Stage, check_blob_name, check_list_prefix};

use crate::cache::{Cacheable, Sink};
use crate::client::Client;
use crate::packs::{self, File, LastListing, Listing};
use crate::pieces::WINDOW_BYTES;
use crate::refs::Epoch;
use crate::requests::Tagged;
use crate::stage::ObjectStage;
use crate::store::Shared;

/// The blobs below `NAME.git/objects` of a bucket.
#[derive(Clone)]
pub(crate) struct ObjectBlobs {
    pub shared: Arc<Shared>,
    /// The repository's directory in the bucket, without `/` at its end.
    pub directory: Arc<str>,
    /// Tells the repository from others that had or will have its name.
    pub number: u64,
    listing: Arc<LastListing>,
    epoch: Arc<Epoch>,
    /// What may be replaced, as it was read last.
    replaceable: Arc<Mutex<HashMap<String, Tagged>>>,
}

impl ObjectBlobs {
    pub fn new(shared: Arc<Shared>, directory: Arc<str>, number: u64, epoch: Arc<Epoch>) -> Self {
        let (listing, replaceable) = Default::default();
        ObjectBlobs { shared, directory, number, listing, epoch, replaceable }
    }

    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// The key of a blob.
    pub fn key(&self, name: &str) -> Result<String> {
        check_blob_name(name)?;
        Ok(format!("{}/objects/{name}", self.directory))
    }

    /// What was known of the blobs is so no more.
    pub fn changed(&self) {
        self.listing.forget();
    }

    /// Lists everything: one request, which answers most of those that would follow.
    fn list_all(&self) -> Result<()> {
        // Before it is made: what comes meanwhile is of a later one.
        let epoch = self.epoch.get();
        let directory = format!("{}/objects", self.directory);
        let files = self.client().list_below(&directory)?;
        let keep = self.client().options.gone_keep;
        self.listing.set(Listing::of(files, &directory, keep), epoch);
        Ok(())
    }

    /// The file of a blob.
    fn find(&self, name: &str) -> Result<Option<File>> {
        check_blob_name(name)?;
        if let Some(known) = self.listing.look(name, self.epoch.get()) {
            return Ok(known);
        }
        self.list_all()?;
        Ok(self.listing.look(name, self.epoch.get()).flatten())
    }

    fn lasting(&self, file: File) -> LastingBlob {
        let blob = file.cacheable();
        LastingBlob(Arc::new(Lasting { shared: self.shared.clone(), blob, key: file.key }))
    }

    /// A blob that may be replaced at any time: all of it, as it is now.
    fn replaceable(&self, name: &str) -> Result<Option<Bytes>> {
        let lock = || self.replaceable.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = self.find(name)? else { return Ok(None) };
        if let Some(known) = lock().get(name).filter(|known| known.tag.is_same(&file.tag)) {
            return Ok(Some(known.bytes.clone()));
        }
        let read = self.client().get(&file.key)?;
        let mut all = lock();
        match &read {
            Some(read) if is_overview(name) => drop(all.insert(name.to_owned(), read.clone())),
            _ => drop(all.remove(name)),
        }
        Ok(read.map(|read| read.bytes))
    }
}

fn meta(name: String, file: &File) -> BlobMeta {
    BlobMeta { name, size: file.size, modified: file.modified }
}

/// Whether this speaks of what else is there, and is read by every request.
fn is_overview(name: &str) -> bool {
    name == "pack/multi-pack-index" || name.starts_with("info/")
}

impl BlobStore for ObjectBlobs {
    fn stat(&self, name: &str) -> Result<Option<BlobMeta>> {
        Ok(self.find(name)?.map(|file| meta(name.to_owned(), &file)))
    }

    fn open(&self, name: &str) -> Result<Option<Arc<dyn OpenBlob>>> {
        if packs::is_lasting(name) {
            return Ok(self.find(name)?.map(|file| Arc::new(self.lasting(file)) as _));
        }
        Ok(self.replaceable(name)?.map(|bytes| Arc::new(WholeBlob(bytes)) as _))
    }

    fn list(&self, prefix: &str) -> Result<Vec<BlobMeta>> {
        check_list_prefix(prefix)?;
        if !self.listing.is_of(self.epoch.get()) {
            self.list_all()?;
        }
        let below = self.listing.below(prefix);
        Ok(below.into_iter().map(|(name, file)| meta(name, &file)).collect())
    }

    fn delete(&self, name: &str) -> Result<()> {
        let key = self.key(name)?;
        if !packs::is_lasting(name) {
            self.client().delete(&key)?;
        } else if let Some(file) = self.find(name)? {
            packs::mark(self.client(), &file.key)?;
        }
        self.listing.remove(name);
        self.listing.sweep(self.client())
    }

    fn address(&self, name: &str, lifetime: Duration) -> Result<Option<String>> {
        match self.find(name)? {
            Some(file) => self.client().address(&file.key, lifetime),
            None => Ok(None),
        }
    }

    fn stage(&self) -> Result<Box<dyn Stage>> {
        Ok(Box::new(ObjectStage::new(self.clone())?))
    }

    fn map(&self, name: &str) -> Result<Option<Bytes>> {
        check_blob_name(name)?;
        if is_overview(name) {
            return self.replaceable(name);
        }
        if !packs::is_lasting(name) {
            return Ok(None);
        }
        let Some(file) = self.find(name)? else { return Ok(None) };
        match name.ends_with(".pack") {
            // It is read in parts, as much of it as is needed.
            true => Ok(self.shared.cache.mapped(&file.cacheable())),
            false => self.lasting(file).0.whole(),
        }
    }

    fn faults(&self) -> u64 {
        self.client().losses.count()
    }
}

/// A blob that keeps its bytes as long as anybody reads it.
struct Lasting {
    shared: Arc<Shared>,
    blob: Cacheable,
    key: String,
}

struct LastingBlob(Arc<Lasting>);

impl Lasting {
    fn fetch(&self, range: Range<u64>, sink: Sink<'_>) -> Result<()> {
        self.shared.client.read_to(&self.key, range, sink)
    }

    /// Gets what follows a range beside whatever is done now, when somebody reads on.
    fn read_ahead(self: &Arc<Self>, range: &Range<u64>) {
        for ahead in self.shared.cache.ahead_of(&self.blob, range) {
            let this = self.clone();
            self.shared.client.in_background(move || {
                let fetch = |range: Range<u64>, sink: Sink<'_>| this.fetch(range, sink);
                if let Err(error) = this.shared.cache.prefetch(&this.blob, ahead, &fetch) {
                    tracing::debug!(%error, "what may be needed could not be read ahead");
                }
            });
        }
    }

    /// All of it, mapped; `None` when the cache has no room for it.
    fn whole(self: &Arc<Self>) -> Result<Option<Bytes>> {
        let cache = &self.shared.cache;
        let mut at = 0;
        while at < self.blob.size {
            if let Some(map) = cache.mapped(&self.blob) {
                return Ok(Some(map));
            }
            let range = at..self.blob.size.min(at + WINDOW_BYTES);
            self.read_ahead(&range);
            cache.prefetch(&self.blob, range, &|range, sink| self.fetch(range, sink))?;
            at += WINDOW_BYTES;
        }
        Ok(cache.mapped(&self.blob))
    }
}

impl OpenBlob for LastingBlob {
    fn size(&self) -> u64 {
        self.0.blob.size
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let (start, end) = (range.start.min(self.0.blob.size), range.end.min(self.0.blob.size));
        let range = start..end.max(start);
        self.0.read_ahead(&range);
        let fetch = |range: Range<u64>, sink: Sink<'_>| self.0.fetch(range, sink);
        self.0.shared.cache.read(&self.0.blob, range, &fetch)
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
