//! Refs in a stack of reftables, as git's reftable backend keeps them (`extensions.refStorage`):
//! immutable tables, a list of them, and one lock file for all writers.

mod compact;
mod prepare;
mod snapshot;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gitconfig::Config;
use object::HashKind;
use reftable::Table;
use reftable::stack::{LIST, parse_list};
use storage::{
    BlobStore as _, CommitError, Error, HeldRefs, Line, Prepared, RefEdit, RefSnapshot, RefStore,
    RefTransaction, Result, Rounds, Turn, Wake, Watching,
};

use storage_reftable::RefTables;

use crate::blobs::DiskBlobs;
use crate::disk::Disk;
use crate::events;
use crate::gitdir::read_limited;
use crate::lock::{LockFile, lock_path};
use crate::refs::RefSettings;
use crate::worktree::RefDirs;

/// The largest list that is read, bytes.
const LIST_BYTES_MAX: u64 = 16 << 20;
/// How often a stack is read again of which a table is gone: somebody made several one.
const ATTEMPTS_MAX: usize = 100;
/// Transactions that share a table.
const TOGETHER_MAX: usize = 1024;
/// How long a transaction waits for others of this process, which stand in line before the lock.
const LINE_WAIT: Duration = Duration::from_secs(60);
/// How long a transaction waits for another one's lock (`reftable.lockTimeout`).
const LOCK_WAIT: Duration = Duration::from_millis(100);

/// The refs of one repository in reftables.
pub struct TableRefs {
    inner: Arc<Inner>,
}

/// What snapshots share with their store.
struct Inner {
    dirs: RefDirs,
    hash: HashKind,
    settings: RefSettings,
    disk: Disk,
    files: DiskBlobs,
    /// Tables that were mapped, by name: those of the list that was read last. And how often a
    /// map had turned out to be lost by then.
    open: Mutex<(HashMap<String, Table>, u64)>,
    /// Transactions of this process that are prepared.
    held: HeldRefs,
    /// Those that come together are committed together.
    rounds: Rounds<Vec<RefEdit>, prepare::Outcome>,
    /// Who wants the list's lock, of this process: a lock file knows no order.
    line: Line,
}

impl TableRefs {
    pub(crate) fn new(dirs: RefDirs, hash: HashKind, settings: RefSettings, disk: Disk) -> Self {
        let files = DiskBlobs::with_disk(&dirs.common_dir.join("reftable"), disk.clone());
        let inner = Inner {
            dirs,
            hash,
            settings,
            disk,
            files,
            open: Mutex::default(),
            held: HeldRefs::default(),
            rounds: Rounds::new(TOGETHER_MAX),
            line: Line::new(1),
        };
        TableRefs { inner: Arc::new(inner) }
    }

    /// `reftable.lockTimeout`, in place of the wait for single refs.
    pub(crate) fn lock_wait(config: &Config) -> Result<Duration> {
        const KEY: &str = "reftable.lockTimeout";
        match config.int(KEY).map_err(|error| Error::corrupt(KEY, error))? {
            None => Ok(LOCK_WAIT),
            // As for single refs: git waits without end, a server a minute.
            Some(ms) => {
                Ok(u64::try_from(ms).map_or(Duration::from_secs(60), Duration::from_millis))
            }
        }
    }
}

impl Inner {
    fn directory(&self) -> PathBuf {
        self.dirs.common_dir.join("reftable")
    }

    fn list(&self) -> PathBuf {
        self.directory().join(LIST)
    }

    /// The names of the tables there are now.
    fn names(&self) -> Result<Vec<String>> {
        let list = self.list();
        let text = match read_limited(&list, LIST_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|source| Error::io(list.display(), source))?,
        };
        parse_list(&text).map_err(|error| Error::corrupt(list.display(), error))
    }

    /// The tables there are now, mapped.
    fn stack(&self) -> Result<RefTables> {
        for _ in 0..ATTEMPTS_MAX {
            let names = self.names()?;
            if let Some(tables) = self.tables(&names)? {
                let what = self.directory().display().to_string();
                return Ok(RefTables { what, hash: self.hash, names, tables });
            }
        }
        Err(Error::corrupt(self.list().display(), "it names tables that are not there"))
    }

    /// The tables of these names; `None` when one is gone.
    fn tables(&self, names: &[String]) -> Result<Option<Vec<Table>>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (open, faults) = &mut *open;
        if std::mem::replace(faults, self.files.faults()) != self.files.faults() {
            open.clear();
        }
        open.retain(|name, _| names.contains(name));
        let mut tables = Vec::with_capacity(names.len());
        for name in names {
            let table = match open.get(name) {
                Some(table) => table.clone(),
                None => match self.open_table(name)? {
                    Some(table) => table,
                    None => return Ok(None),
                },
            };
            open.insert(name.clone(), table.clone());
            tables.push(table);
        }
        Ok(Some(tables))
    }

    fn open_table(&self, name: &str) -> Result<Option<Table>> {
        let path = self.directory().join(name);
        let Some(bytes) = self.files.map_file(&path)? else { return Ok(None) };
        let table = Table::open(bytes).map_err(|error| Error::corrupt(name, error))?;
        match table.hash() == self.hash {
            true => Ok(Some(table)),
            false => Err(Error::corrupt(name, "its objects are named by another hash")),
        }
    }

    /// Refuses what was read when a map was lost meanwhile: zeros stand where refs were.
    fn check_intact(&self, faults_before: u64) -> Result<()> {
        match self.files.faults() == faults_before {
            true => Ok(()),
            false => {
                let what = self.directory();
                Err(Error::corrupt(what.display(), "a table was lost while it was read"))
            }
        }
    }

    /// Locks the list. That somebody else holds it is about the store, not about one ref.
    fn lock(&self) -> Result<(LockFile, Turn<'_>), CommitError> {
        let list = self.list();
        let locked = || Error::Locked {
            what: list.display().to_string(),
            lock: lock_path(&list).display().to_string(),
        };
        let turn = self.line.enter(LINE_WAIT).ok_or_else(locked)?;
        let root = &self.dirs.common_dir;
        let wait = self.settings.lock_wait;
        match LockFile::acquire(&self.disk, root, list.clone(), wait, &mut Default::default()) {
            Ok(lock) => Ok((lock, turn)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(locked().into()),
            Err(error) => Err(Error::io(list.display(), error).into()),
        }
    }
}

impl RefStore for TableRefs {
    fn snapshot(&self) -> Result<Arc<dyn RefSnapshot>> {
        let faults = self.inner.files.faults();
        let stack = self.inner.stack()?;
        Ok(Arc::new(snapshot::TableSnapshot::new(self.inner.clone(), stack, faults)))
    }

    fn prepare<'a>(&'a self, tx: RefTransaction) -> Result<Box<dyn Prepared + 'a>, CommitError> {
        prepare::prepare(&self.inner, tx)
    }

    fn watch(&self, wake: Wake) -> Result<Watching> {
        let Inner { dirs, settings, .. } = &*self.inner;
        Ok(events::watch(dirs, settings.watch_poll, wake))
    }

    fn tidy(&self, _: &mut storage::Peel<'_>) -> Result<usize> {
        self.inner.compact()?;
        Ok(0)
    }
}
