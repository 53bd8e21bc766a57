//! A store that tells somebody of every read and waits for him, over any store: what a store
//! far away costs can be counted, and it can be made slow.
//!
//! For tests of every floor; nothing in a server uses it.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use std::time::Duration;

use bytes::Bytes;

use crate::{BlobMeta, BlobName, BlobStore, OpenBlob, Result, Stage};

/// Called before a read, with the blob's name and the range: it may take its time.
type BeforeRead = dyn Fn(&str, &Range<u64>) + Send + Sync;

/// What was read.
#[derive(Default)]
pub struct Meter {
    reads: Mutex<Vec<(BlobName, Range<u64>)>>,
    before_read: Option<Box<BeforeRead>>,
}

impl Meter {
    /// A meter that holds reads up.
    pub fn with_delay(before_read: Box<BeforeRead>) -> Self {
        Meter { reads: Mutex::default(), before_read: Some(before_read) }
    }

    /// The ranges read of blobs whose name ends in this, in the order the reads began.
    pub fn reads_of(&self, ending: &str) -> Vec<Range<u64>> {
        let reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        let those = reads.iter().filter(|(name, _)| name.ends_with(ending));
        those.map(|(_, range)| range.clone()).collect()
    }

    fn note(&self, name: &str, range: &Range<u64>) {
        let read = (name.to_owned(), range.clone());
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).push(read);
        if let Some(before_read) = &self.before_read {
            before_read(name, range);
        }
    }

    /// Forgets what was read so far.
    pub fn reset(&self) {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A [`BlobStore`] with a meter, whose blobs can be read and never mapped.
#[derive(Clone)]
pub struct MeteredBlobs {
    inner: Arc<dyn BlobStore>,
    meter: Arc<Meter>,
}

impl MeteredBlobs {
    /// A store that tells `meter` what is read of `inner`.
    pub fn new(inner: Arc<dyn BlobStore>, meter: Arc<Meter>) -> Self {
        MeteredBlobs { inner, meter }
    }
}

impl BlobStore for MeteredBlobs {
    fn stat(&self, name: &str) -> Result<Option<BlobMeta>> {
        self.inner.stat(name)
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        self.meter.note(name, &range);
        self.inner.read(name, range)
    }

    fn open(&self, name: &str) -> Result<Option<Arc<dyn OpenBlob>>> {
        let Some(inner) = self.inner.open(name)? else { return Ok(None) };
        let meter = Arc::clone(&self.meter);
        Ok(Some(Arc::new(MeteredBlob { inner, name: name.to_owned(), meter })))
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
        self.inner.stage()
    }

    fn faults(&self) -> u64 {
        self.inner.faults()
    }
}

struct MeteredBlob {
    inner: Arc<dyn OpenBlob>,
    name: BlobName,
    meter: Arc<Meter>,
}

impl OpenBlob for MeteredBlob {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.meter.note(&self.name, &range);
        self.inner.read(range)
    }
}
