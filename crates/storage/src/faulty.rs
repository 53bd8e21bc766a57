//! Faults on purpose, over any store: the n-th write fails or everything stops there, and
//! reads come back short. A seed replays a run.
//!
//! For tests of every floor; nothing in a server uses it.

use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use std::time::Duration;

use bytes::Bytes;

use crate::{
    BlobMeta, BlobStore, BlobWriter, CommitError, Error, OpenBlob, Peel, Prepared, RefSnapshot,
    RefStore, RefTransaction, Result, Stage, Wake, Watching,
};

/// What happens, and when. Writes are counted from 1 over all stores that share a [`Faults`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: only count.
    None,
    /// The write of this number fails with this kind of error; later ones succeed.
    FailWrite(u64, io::ErrorKind),
    /// The write of this number and everything after it fails, as if the process had died.
    CrashAtWrite(u64),
    /// By the write of this number, memory that a blob was mapped into is lost: readers of it find
    /// zeros, and [`BlobStore::faults`] tells.
    LoseMapAtWrite(u64),
}

/// The state that faulty stores share: the plan, the count, the random numbers.
#[derive(Debug)]
pub struct Faults {
    fault: Fault,
    /// One read in this many comes back short; 0: none.
    short_reads_one_in: u64,
    writes: AtomicU64,
    crashed: AtomicBool,
    random: Mutex<u64>,
}

impl Faults {
    /// A plan without short reads.
    pub fn new(fault: Fault) -> Arc<Self> {
        Self::with_short_reads(fault, 0, 0)
    }

    /// A plan in which one blob read in `one_in` fails half way, chosen by `seed`.
    pub fn with_short_reads(fault: Fault, one_in: u64, seed: u64) -> Arc<Self> {
        Arc::new(Faults {
            fault,
            short_reads_one_in: one_in,
            writes: AtomicU64::new(0),
            crashed: AtomicBool::new(false),
            // An all-zero state would stay zero.
            random: Mutex::new(seed.wrapping_mul(2).wrapping_add(1)),
        })
    }

    /// How many writes were tried so far.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    /// What a store with these faults tells as [`BlobStore::faults`].
    fn lost_maps(&self) -> u64 {
        match self.fault {
            Fault::LoseMapAtWrite(at) => u64::from(self.writes() >= at),
            _ => 0,
        }
    }

    /// Whether the planned crash has happened.
    pub fn crashed(&self) -> bool {
        self.crashed.load(Ordering::SeqCst)
    }

    /// Counts one write about `what` and fails when its turn has come. For stores and
    /// backends that want to fail inside their own steps.
    pub fn before_write(&self, what: &str) -> io::Result<()> {
        self.alive()?;
        let number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        match self.fault {
            Fault::FailWrite(at, kind) if at == number => {
                Err(io::Error::new(kind, format!("injected at write {number} ({what})")))
            }
            Fault::CrashAtWrite(at) if number >= at => {
                self.crashed.store(true, Ordering::SeqCst);
                self.alive()
            }
            _ => Ok(()),
        }
    }

    fn alive(&self) -> io::Result<()> {
        match self.crashed() {
            true => Err(io::Error::new(io::ErrorKind::BrokenPipe, "injected crash")),
            false => Ok(()),
        }
    }

    fn write(&self, what: &str) -> Result<()> {
        self.before_write(what).map_err(|source| Error::io(what, source))
    }

    fn read(&self, what: &str) -> Result<()> {
        self.alive().map_err(|source| Error::io(what, source))
    }

    /// Xorshift (Marsaglia, "Xorshift RNGs", 2003): repeatable, and good enough to pick reads.
    fn next_random(&self) -> u64 {
        let mut state = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    fn shorten(&self, what: &str, bytes: Bytes) -> Result<Bytes> {
        let one_in = self.short_reads_one_in;
        if one_in == 0 || !self.next_random().is_multiple_of(one_in) {
            return Ok(bytes);
        }
        let cut = io::Error::new(io::ErrorKind::UnexpectedEof, "injected short read");
        Err(Error::io(what, cut))
    }
}

/// A [`BlobStore`] with faults.
pub struct FaultyBlobs {
    inner: Arc<dyn BlobStore>,
    faults: Arc<Faults>,
}

impl FaultyBlobs {
    /// Puts `faults` on every call to `inner`.
    pub fn new(inner: Arc<dyn BlobStore>, faults: Arc<Faults>) -> Self {
        FaultyBlobs { inner, faults }
    }
}

impl BlobStore for FaultyBlobs {
    fn stat(&self, name: &str) -> Result<Option<BlobMeta>> {
        self.faults.read(name)?;
        self.inner.stat(name)
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        self.faults.read(name)?;
        self.faults.shorten(name, self.inner.read(name, range)?)
    }

    fn open(&self, name: &str) -> Result<Option<Arc<dyn OpenBlob>>> {
        self.faults.read(name)?;
        let Some(inner) = self.inner.open(name)? else { return Ok(None) };
        let faults = Arc::clone(&self.faults);
        Ok(Some(Arc::new(FaultyBlob { inner, name: name.to_owned(), faults })))
    }

    fn address(&self, name: &str, lifetime: Duration) -> Result<Option<String>> {
        self.inner.address(name, lifetime)
    }

    fn list(&self, prefix: &str) -> Result<Vec<BlobMeta>> {
        self.faults.read(prefix)?;
        self.inner.list(prefix)
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.faults.write(name)?;
        self.inner.delete(name)
    }

    fn stage(&self) -> Result<Box<dyn Stage>> {
        self.faults.write("stage")?;
        Ok(Box::new(FaultyStage { inner: self.inner.stage()?, faults: Arc::clone(&self.faults) }))
    }

    fn faults(&self) -> u64 {
        self.inner.faults() + self.faults.lost_maps()
    }

    // Not mapped: a mapping would be read behind the faults' back.
    fn map(&self, name: &str) -> Result<Option<Bytes>> {
        crate::check_blob_name(name).map(|()| None)
    }
}

struct FaultyBlob {
    inner: Arc<dyn OpenBlob>,
    name: String,
    faults: Arc<Faults>,
}

impl OpenBlob for FaultyBlob {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.faults.read(&self.name)?;
        self.faults.shorten(&self.name, self.inner.read(range)?)
    }
}

struct FaultyStage {
    inner: Box<dyn Stage>,
    faults: Arc<Faults>,
}

impl Stage for FaultyStage {
    fn create(&mut self, name: &str) -> Result<Box<dyn BlobWriter>> {
        self.faults.write(name)?;
        Ok(Box::new(FaultyWriter {
            inner: self.inner.create(name)?,
            name: name.to_owned(),
            faults: Arc::clone(&self.faults),
        }))
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        self.faults.write(to)?;
        self.inner.rename(from, to)
    }

    fn replace(&mut self, name: &str) -> Result<()> {
        self.faults.write(name)?;
        self.inner.replace(name)
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        self.faults.read(name)?;
        self.faults.shorten(name, self.inner.read(name, range)?)
    }

    fn store(&self) -> Arc<dyn BlobStore> {
        Arc::new(FaultyBlobs { inner: self.inner.store(), faults: Arc::clone(&self.faults) })
    }

    fn local_dir(&self) -> Option<&Path> {
        self.inner.local_dir()
    }

    fn publish(self: Box<Self>) -> Result<()> {
        self.faults.write("publish")?;
        self.inner.publish()
    }
}

struct FaultyWriter {
    inner: Box<dyn BlobWriter>,
    name: String,
    faults: Arc<Faults>,
}

impl Write for FaultyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.faults.before_write(&self.name)?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.faults.alive()?;
        self.inner.flush()
    }
}

impl BlobWriter for FaultyWriter {
    fn finish(self: Box<Self>) -> Result<()> {
        self.faults.write(&self.name)?;
        self.inner.finish()
    }
}

/// A [`RefStore`] with faults: preparing and committing are one write each.
pub struct FaultyRefs {
    inner: Arc<dyn RefStore>,
    faults: Arc<Faults>,
}

impl FaultyRefs {
    /// Puts `faults` on every call to `inner`.
    pub fn new(inner: Arc<dyn RefStore>, faults: Arc<Faults>) -> Self {
        FaultyRefs { inner, faults }
    }
}

impl RefStore for FaultyRefs {
    fn snapshot(&self) -> Result<Arc<dyn RefSnapshot>> {
        self.faults.read("refs")?;
        self.inner.snapshot()
    }

    fn prepare<'a>(&'a self, tx: RefTransaction) -> Result<Box<dyn Prepared + 'a>, CommitError> {
        self.faults.write("prepare refs")?;
        let inner = self.inner.prepare(tx)?;
        Ok(Box::new(FaultyPrepared { inner, faults: Arc::clone(&self.faults) }))
    }

    fn watch(&self, wake: Wake) -> Result<Watching> {
        self.faults.read("watch refs")?;
        self.inner.watch(wake)
    }

    fn tidy(&self, peel: &mut Peel<'_>) -> Result<usize> {
        self.faults.write("tidy refs")?;
        self.inner.tidy(peel)
    }
}

struct FaultyPrepared<'a> {
    inner: Box<dyn Prepared + 'a>,
    faults: Arc<Faults>,
}

impl Prepared for FaultyPrepared<'_> {
    fn commit(self: Box<Self>) -> Result<(), CommitError> {
        self.faults.write("commit refs")?;
        self.inner.commit()
    }
}
