//! Refs as files, as git's files backend keeps them: one file per ref, `packed-refs` beside
//! them, a lock file per change.

mod capture;
mod commit;
pub(crate) mod kept;
mod loose;
mod packed_cache;
mod packed_update;
pub(crate) mod prepare;
pub(crate) mod reflog;
pub(crate) mod shallow;
mod snapshot;
mod tidy;

use std::sync::Arc;
use std::time::Duration;

use gitconfig::Config;
use object::HashKind;
use storage::{
    CommitError, Error, Peel, Prepared, RefSnapshot, RefStore, RefTransaction, ReflogPolicy,
    Result, Wake, Watching,
};

use crate::disk::Disk;
use crate::events;
use crate::worktree::RefDirs;
use packed_cache::PackedCache;

/// How refs are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefSettings {
    /// How long a transaction waits for another one's lock on a ref
    /// (`core.filesRefLockTimeout`). Default: 100 ms.
    pub lock_wait: Duration,
    /// How long it waits for the lock on `packed-refs` (`core.packedRefsTimeout`).
    /// Default: 1 s.
    pub packed_lock_wait: Duration,
    /// Which refs get a reflog (`core.logAllRefUpdates`). Default: none without one.
    pub reflogs: ReflogPolicy,
    /// A transaction that creates at least this many refs writes them straight into
    /// `packed-refs`. Default: 50.
    pub packed_refs_min: usize,
    /// The largest `packed-refs` that is read, in bytes. Default: 4 GiB.
    pub packed_refs_bytes_max: u64,
    /// Whoever watches looks at the refs this often although nothing was heard. Default: a minute.
    pub watch_poll: Duration,
}

impl Default for RefSettings {
    fn default() -> Self {
        RefSettings {
            lock_wait: Duration::from_millis(100),
            packed_lock_wait: Duration::from_secs(1),
            reflogs: ReflogPolicy::default(),
            packed_refs_min: 50,
            packed_refs_bytes_max: 4 << 30,
            watch_poll: Duration::from_secs(60),
        }
    }
}

impl RefSettings {
    /// Reads the settings of a repository.
    pub(crate) fn from_config(config: &Config, bare: bool) -> Result<Self> {
        let defaults = RefSettings::default();
        let wait = |key: &str, default: Duration| match config.int(key) {
            Ok(None) => Ok(default),
            // Git waits without end for a negative number; a server waits a minute.
            Ok(Some(ms)) => {
                Ok(u64::try_from(ms).map_or(Duration::from_secs(60), Duration::from_millis))
            }
            Err(error) => Err(Error::corrupt(key, error)),
        };
        Ok(RefSettings {
            lock_wait: wait("core.filesRefLockTimeout", defaults.lock_wait)?,
            packed_lock_wait: wait("core.packedRefsTimeout", defaults.packed_lock_wait)?,
            reflogs: ReflogPolicy::from_config(config, bare)?,
            ..defaults
        })
    }
}

/// The refs of one repository (of one of its work trees).
pub struct FilesRefs {
    inner: Arc<Inner>,
}

/// What snapshots share with their store.
struct Inner {
    dirs: RefDirs,
    hash: HashKind,
    settings: RefSettings,
    disk: Disk,
    packed: PackedCache,
}

impl FilesRefs {
    pub(crate) fn new(dirs: RefDirs, hash: HashKind, settings: RefSettings, disk: Disk) -> Self {
        let file = dirs.common_dir.join("packed-refs");
        let packed = PackedCache::new(file, hash, settings.packed_refs_bytes_max);
        FilesRefs { inner: Arc::new(Inner { dirs, hash, settings, disk, packed }) }
    }
}

impl RefStore for FilesRefs {
    fn snapshot(&self) -> Result<Arc<dyn RefSnapshot>> {
        Ok(Arc::new(snapshot::FilesSnapshot::new(Arc::clone(&self.inner))))
    }

    fn prepare<'a>(&'a self, tx: RefTransaction) -> Result<Box<dyn Prepared + 'a>, CommitError> {
        prepare::prepare(&self.inner, tx)
    }

    fn watch(&self, wake: Wake) -> Result<Watching> {
        let Inner { dirs, settings, .. } = &*self.inner;
        Ok(events::watch(dirs, settings.watch_poll, wake))
    }

    fn tidy(&self, peel: &mut Peel<'_>) -> Result<usize> {
        tidy::tidy(&self.inner, peel)
    }
}
