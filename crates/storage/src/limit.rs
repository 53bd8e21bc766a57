//! Size limits on what may be staged, over any store.

use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::{BlobMeta, BlobStore, BlobWriter, Error, OpenBlob, Result, Stage};

/// How much may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobLimits {
    /// Bytes in one blob. Default: no limit.
    pub blob_bytes_max: u64,
    /// Bytes in all blobs of one stage together. Default: no limit.
    pub stage_bytes_max: u64,
}

impl Default for BlobLimits {
    fn default() -> Self {
        BlobLimits { blob_bytes_max: u64::MAX, stage_bytes_max: u64::MAX }
    }
}

/// Refuses staged bytes past the limits with [`Error::TooLarge`]; reading is unlimited.
pub struct LimitBlobs {
    inner: Arc<dyn BlobStore>,
    limits: BlobLimits,
}

impl LimitBlobs {
    /// Puts `limits` on everything staged through the result.
    pub fn new(inner: Arc<dyn BlobStore>, limits: BlobLimits) -> Self {
        LimitBlobs { inner, limits }
    }
}

impl BlobStore for LimitBlobs {
    fn stat(&self, name: &str) -> Result<Option<BlobMeta>> {
        self.inner.stat(name)
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        self.inner.read(name, range)
    }

    fn open(&self, name: &str) -> Result<Option<Arc<dyn OpenBlob>>> {
        self.inner.open(name)
    }

    fn address(&self, name: &str, lifetime: Duration) -> Result<Option<String>> {
        self.inner.address(name, lifetime)
    }

    fn list(&self, prefix: &str) -> Result<Vec<BlobMeta>> {
        self.inner.list(prefix)
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.inner.delete(name)
    }

    fn stage(&self) -> Result<Box<dyn Stage>> {
        let staged_bytes = Arc::default();
        Ok(Box::new(LimitStage { inner: self.inner.stage()?, limits: self.limits, staged_bytes }))
    }

    fn map(&self, name: &str) -> Result<Option<Bytes>> {
        self.inner.map(name)
    }

    fn faults(&self) -> u64 {
        self.inner.faults()
    }
}

struct LimitStage {
    inner: Box<dyn Stage>,
    limits: BlobLimits,
    staged_bytes: Arc<AtomicU64>,
}

impl Stage for LimitStage {
    fn create(&mut self, name: &str) -> Result<Box<dyn BlobWriter>> {
        Ok(Box::new(LimitWriter {
            inner: self.inner.create(name)?,
            name: name.to_owned(),
            limits: self.limits,
            blob_bytes: 0,
            staged_bytes: Arc::clone(&self.staged_bytes),
        }))
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        self.inner.rename(from, to)
    }

    fn replace(&mut self, name: &str) -> Result<()> {
        self.inner.replace(name)
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        self.inner.read(name, range)
    }

    fn map(&self, name: &str) -> Result<Option<Bytes>> {
        self.inner.map(name)
    }

    fn store(&self) -> Arc<dyn BlobStore> {
        self.inner.store()
    }

    fn local_dir(&self) -> Option<&Path> {
        self.inner.local_dir()
    }

    fn publish(self: Box<Self>) -> Result<()> {
        self.inner.publish()
    }
}

struct LimitWriter {
    inner: Box<dyn BlobWriter>,
    name: String,
    limits: BlobLimits,
    blob_bytes: u64,
    staged_bytes: Arc<AtomicU64>,
}

impl LimitWriter {
    fn check(&self, bytes: u64, bytes_max: u64) -> io::Result<()> {
        if bytes <= bytes_max {
            return Ok(());
        }
        Err(Error::TooLarge { what: self.name.clone(), bytes, bytes_max }.into())
    }
}

impl Write for LimitWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let more = bytes.len() as u64;
        let staged = self.staged_bytes.load(Ordering::Relaxed);
        self.check(self.blob_bytes.saturating_add(more), self.limits.blob_bytes_max)?;
        self.check(staged.saturating_add(more), self.limits.stage_bytes_max)?;
        let written = self.inner.write(bytes)?;
        self.blob_bytes += written as u64;
        self.staged_bytes.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl BlobWriter for LimitWriter {
    fn finish(self: Box<Self>) -> Result<()> {
        self.inner.finish()
    }
}
