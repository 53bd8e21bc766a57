//! A repository: refs, objects and configuration under one handle.

use std::sync::Arc;

use object::HashKind;
use storage::{BlobStore, LocalPaths, Parts, RefStore};

use crate::error::Result;
use crate::incoming::{Incoming, IncomingOptions};
use crate::memory::MemoryPool;
use crate::objects::{Objects, PackSet};

/// Settings of the engine that are not Git configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bytes of rebuilt objects one request keeps to rebuild others from, at most.
    pub delta_cache_bytes: usize,
    /// What the caches of all requests take their memory from.
    pub memory: Arc<MemoryPool>,
    /// Bytes the largest single object may have in memory.
    pub object_bytes_max: u64,
    /// Bytes of objects for which one fetch may make deltas in place of what the repository
    /// stores.
    pub fresh_delta_bytes_max: u64,
    /// How packs are read from stores that cannot map them.
    pub range_reads: RangeReads,
}

/// How packs are read from stores that cannot map them into memory, where every read is a
/// journey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeReads {
    /// Bytes of the longest read that a pack being sent is made of.
    pub bytes: u64,
    /// What is not sent is read too, up to so many bytes, when that saves a read.
    pub gap_bytes: u64,
    /// Reads under way at once for one pack being sent.
    pub ahead: usize,
    /// Bytes that all requests to one repository together keep of what they read one by one.
    pub cache_bytes: usize,
}

impl Default for RangeReads {
    fn default() -> Self {
        RangeReads { bytes: 2 << 20, gap_bytes: 256 << 10, ahead: 2, cache_bytes: 8 << 20 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            delta_cache_bytes: 12 << 20,
            memory: Arc::new(MemoryPool::unlimited()),
            object_bytes_max: 2 << 30,
            fresh_delta_bytes_max: 4 << 20,
            range_reads: RangeReads::default(),
        }
    }
}

/// One repository. Cheap to clone; shared between requests.
#[derive(Clone)]
pub struct Repository {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    settings: Settings,
    packs: Arc<PackSet>,
}

impl Repository {
    /// A repository over its parts. Reads nothing yet.
    pub fn open(parts: Parts, settings: Settings) -> Self {
        let stores = std::iter::once(&parts.blobs).chain(&parts.alternates).cloned().collect();
        let packs = Arc::new(PackSet::new(stores, parts.hash, &settings));
        Repository { inner: Arc::new(Inner { parts, settings, packs }) }
    }

    /// The hash that names this repository's objects.
    pub fn hash(&self) -> HashKind {
        self.inner.parts.hash
    }

    /// Its configuration, as read when it was opened.
    pub fn config(&self) -> &gitconfig::Config {
        &self.inner.parts.config
    }

    /// Its refs.
    pub fn refs(&self) -> &Arc<dyn RefStore> {
        &self.inner.parts.refs
    }

    /// Where its own objects are stored (alternates not included).
    pub fn blobs(&self) -> &Arc<dyn BlobStore> {
        &self.inner.parts.blobs
    }

    /// Everything it was opened with.
    pub fn parts(&self) -> &Parts {
        &self.inner.parts
    }

    /// Its folders, when it lies on this machine's disk.
    pub fn local(&self) -> Option<&LocalPaths> {
        self.inner.parts.local.as_ref()
    }

    /// The engine's settings.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// A view of its objects for one request.
    ///
    /// # Errors
    /// When the storage cannot be listed.
    pub fn objects(&self) -> Result<Objects> {
        let own_shallow = self.refs().snapshot()?.shallow()?;
        Objects::open(&self.inner.packs, own_shallow, &self.inner.settings)
    }

    /// A place for a pack that nobody can see until it is published.
    ///
    /// # Errors
    /// When the storage has no room for it.
    pub fn incoming(&self, options: IncomingOptions) -> Result<Incoming> {
        Incoming::begin(self.clone(), options)
    }
}
