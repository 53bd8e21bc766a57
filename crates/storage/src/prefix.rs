//! One store's blobs below a directory of another store, so that many repositories
//! can share a bucket.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::blobs::check_list_prefix;
use crate::{BlobMeta, BlobStore, BlobWriter, OpenBlob, Result, Stage, check_blob_name};

/// Shows only the blobs below `prefix`, under names without it.
#[derive(Clone)]
pub struct PrefixBlobs {
    inner: Arc<dyn BlobStore>,
    /// Ends in `/`.
    prefix: Arc<str>,
}

impl PrefixBlobs {
    /// The blobs of `inner` below the directory `prefix` (without a `/` at its end).
    pub fn new(inner: Arc<dyn BlobStore>, prefix: &str) -> Result<Self> {
        check_blob_name(prefix)?;
        Ok(PrefixBlobs { inner, prefix: format!("{prefix}/").into() })
    }

    fn full(&self, name: &str) -> Result<String> {
        check_blob_name(name)?;
        Ok(format!("{}{name}", self.prefix))
    }

    fn strip(&self, mut meta: BlobMeta) -> BlobMeta {
        if let Some(name) = meta.name.strip_prefix(&*self.prefix) {
            meta.name = name.to_owned();
        }
        meta
    }
}

impl BlobStore for PrefixBlobs {
    fn stat(&self, name: &str) -> Result<Option<BlobMeta>> {
        let meta = self.inner.stat(&self.full(name)?)?;
        Ok(meta.map(|meta| self.strip(meta)))
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        self.inner.read(&self.full(name)?, range)
    }

    fn open(&self, name: &str) -> Result<Option<Arc<dyn OpenBlob>>> {
        self.inner.open(&self.full(name)?)
    }

    fn address(&self, name: &str, lifetime: Duration) -> Result<Option<String>> {
        self.inner.address(&self.full(name)?, lifetime)
    }

    fn list(&self, prefix: &str) -> Result<Vec<BlobMeta>> {
        check_list_prefix(prefix)?;
        let found = self.inner.list(&format!("{}{prefix}", self.prefix))?;
        Ok(found.into_iter().map(|meta| self.strip(meta)).collect())
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.inner.delete(&self.full(name)?)
    }

    fn stage(&self) -> Result<Box<dyn Stage>> {
        Ok(Box::new(PrefixStage { inner: self.inner.stage()?, names: self.clone() }))
    }

    fn map(&self, name: &str) -> Result<Option<Bytes>> {
        self.inner.map(&self.full(name)?)
    }

    fn faults(&self) -> u64 {
        self.inner.faults()
    }
}

struct PrefixStage {
    inner: Box<dyn Stage>,
    names: PrefixBlobs,
}

impl Stage for PrefixStage {
    fn create(&mut self, name: &str) -> Result<Box<dyn BlobWriter>> {
        self.inner.create(&self.names.full(name)?)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        self.inner.rename(&self.names.full(from)?, &self.names.full(to)?)
    }

    fn replace(&mut self, name: &str) -> Result<()> {
        self.inner.replace(&self.names.full(name)?)
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        self.inner.read(&self.names.full(name)?, range)
    }

    fn map(&self, name: &str) -> Result<Option<Bytes>> {
        self.inner.map(&self.names.full(name)?)
    }

    fn store(&self) -> Arc<dyn BlobStore> {
        Arc::new(PrefixBlobs { inner: self.inner.store(), prefix: Arc::clone(&self.names.prefix) })
    }

    // The inner stage's directory is not laid out as this store's objects directory.
    fn local_dir(&self) -> Option<&Path> {
        None
    }

    fn publish(self: Box<Self>) -> Result<()> {
        self.inner.publish()
    }
}
