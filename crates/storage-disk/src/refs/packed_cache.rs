//! `packed-refs`, opened again only when the file has changed.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use object::HashKind;
use storage::{Error, Result};

use crate::packed_refs::{PackedRefs, Reading};

/// A file that changed less than this ago may change again without its times showing it:
/// longer than any kernel's clock tick.
const RACY_WINDOW: Duration = Duration::from_millis(50);

pub(super) struct PackedCache {
    file: PathBuf,
    hash: HashKind,
    bytes_max: u64,
    cached: Mutex<Option<Cached>>,
}

struct Cached {
    stamp: Stamp,
    packed: Arc<PackedRefs>,
}

/// What tells one version of the file from the next. The file is replaced by a rename, which
/// changes the inode; the other members catch an inode number that was given out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the file, as it was at some time after `begun`, had changed so shortly before that
    /// another change since need not show.
    fn is_racy(&self, begun: SystemTime) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let changed = u64::try_from(seconds).ok().map(Duration::from_secs).map(|since| {
            SystemTime::UNIX_EPOCH + since + Duration::from_nanos(nanoseconds.unsigned_abs())
        });
        // A clock that was set back makes every file racy: slower, never wrong.
        let age = changed.and_then(|changed| begun.duration_since(changed).ok());
        age.is_none_or(|age| age < RACY_WINDOW)
    }
}

impl PackedCache {
    pub fn new(file: PathBuf, hash: HashKind, bytes_max: u64) -> Self {
        PackedCache { file, hash, bytes_max, cached: Mutex::new(None) }
    }

    /// The file as it is now.
    pub fn load(&self) -> Result<Arc<PackedRefs>> {
        let at = |source| Error::io(self.file.display(), source);
        let metadata = match std::fs::metadata(&self.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                *self.lock() = None;
                return Ok(Arc::new(PackedRefs::empty(self.hash)));
            }
            other => other.map_err(at)?,
        };
        let stamp = Stamp::of(&metadata);
        if let Some(cached) = &*self.lock()
            && cached.stamp == stamp
        {
            return Ok(Arc::clone(&cached.packed));
        }
        let begun = SystemTime::now();
        let (stamp, packed) = self.read()?;
        let packed = Arc::new(packed);
        let cached = Cached { stamp, packed: Arc::clone(&packed) };
        *self.lock() = (!stamp.is_racy(begun)).then_some(cached);
        Ok(packed)
    }

    fn read(&self) -> Result<(Stamp, PackedRefs)> {
        let at = |source| Error::io(self.file.display(), source);
        let file = File::open(&self.file).map_err(at)?;
        let stamp = Stamp::of(&file.metadata().map_err(at)?);
        if stamp.size > self.bytes_max {
            return Err(Error::TooLarge {
                what: self.file.display().to_string(),
                bytes: stamp.size,
                bytes_max: self.bytes_max,
            });
        }
        let packed = PackedRefs::open(file, stamp.size, self.hash, Reading::default())?;
        Ok((stamp, packed))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Cached>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
