//! Deliveries on a disk: `queue/HOOK/ID` waits, `failed/HOOK/ID` was given up.
//!
//! Each is a file that appears whole and durable, as mail does in a maildir, so that whoever looks or helps needs no
//! tools. Ids sort as they were made.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// Folders in the folder.
const QUEUE: &str = "queue";
const FAILED: &str = "failed";
/// What is written begins so.
const UNFINISHED: &str = ".new-";

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The repository it is about.
    pub repository: String,
    /// What is sent, as it is sent.
    pub body: String,
}

/// A folder that cannot be used.
#[derive(Debug)]
pub enum SpoolError {
    /// Another server uses it.
    InUse(PathBuf),
    /// The disk refuses.
    Io(PathBuf, io::Error),
}

impl fmt::Display for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpoolError::InUse(path) => {
                write!(f, "another server keeps its webhooks in '{}'", path.display())
            }
            SpoolError::Io(path, error) => write!(f, "'{}': {error}", path.display()),
        }
    }
}

impl std::error::Error for SpoolError {}

/// The folder, for one process.
pub(crate) struct Spool {
    folder: PathBuf,
    /// Microseconds since 1970 in the last id that was made.
    last: AtomicU64,
    _lock: File,
}

impl Spool {
    /// Takes a folder, or makes it.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn open(folder: &Path) -> Result<Self, SpoolError> {
        let failed = |error| SpoolError::Io(folder.to_owned(), error);
        make_folder(folder).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(folder.join("lock"))
            .map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(SpoolError::InUse(folder.to_owned()));
            }
            Err(error) => return Err(failed(error.into())),
        }
        Ok(Spool { folder: folder.to_owned(), last: AtomicU64::default(), _lock: lock })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A new id, later than all before.
    pub fn id(&self) -> io::Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let later = |last: u64| Some(now.max(last + 1));
        let (Ok(last) | Err(last)) =
            self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
        let number = now.max(last + 1);
        Ok(format!("{number:016}-{:08x}", getrandom::u32().map_err(io::Error::other)?))
    }

    /// Makes the folder of a receiver, and clears away what was never finished.
    pub fn prepare(&self, hook: &str) -> io::Result<()> {
        let folder = self.folder.join(QUEUE).join(hook);
        make_folder(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Keeps a delivery; when this comes back it is durable.
    pub fn put(&self, hook: &str, id: &str, kept: &Kept) -> io::Result<()> {
        let folder = self.folder.join(QUEUE).join(hook);
        let unfinished = folder.join(format!("{UNFINISHED}{id}"));
        let write = || {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
            file.write_all(&serde_json::to_vec(kept)?)?;
            file.sync_data()?;
            fs::rename(&unfinished, folder.join(id))
        };
        write().inspect_err(|_| drop(fs::remove_file(&unfinished)))?;
        File::open(&folder)?.sync_all()
    }

    /// A delivery; `None` when it is not there any more.
    pub fn read(&self, hook: &str, id: &str) -> io::Result<Option<Kept>> {
        match fs::read(self.folder.join(QUEUE).join(hook).join(id)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// It was delivered.
    pub fn remove(&self, hook: &str, id: &str) -> io::Result<()> {
        match fs::remove_file(self.folder.join(QUEUE).join(hook).join(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// It was given up; of those, so many are kept, the latest.
    pub fn give_up(&self, hook: &str, id: &str, most: usize) -> io::Result<()> {
        let folder = self.folder.join(FAILED).join(hook);
        make_folder(&folder)?;
        let ids = ids(&folder)?;
        let surplus = (ids.len() + 1).saturating_sub(most.max(1));
        for old in ids.iter().take(surplus) {
            fs::remove_file(folder.join(old))?;
        }
        fs::rename(self.folder.join(QUEUE).join(hook).join(id), folder.join(id))
    }

    /// What waits for a receiver.
    pub fn pending(&self, hook: &str) -> io::Result<BTreeSet<String>> {
        pending(&self.folder, hook)
    }
}

/// When an id was made.
pub(crate) fn made_at(id: &str) -> Option<SystemTime> {
    let micros = id.split_once('-')?.0.parse().ok()?;
    UNIX_EPOCH.checked_add(Duration::from_micros(micros))
}

fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn ids(folder: &Path) -> io::Result<BTreeSet<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries?,
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.filter(|name| !name.as_ref().is_ok_and(|name| name.starts_with('.'))).collect()
}

/// The deliveries that wait for a receiver, the oldest first.
///
/// # Errors
/// When the folder cannot be read.
pub fn pending(folder: &Path, hook: &str) -> io::Result<BTreeSet<String>> {
    ids(&folder.join(QUEUE).join(hook))
}

/// Those that were given up.
///
/// # Errors
/// When the folder cannot be read.
pub fn failed(folder: &Path, hook: &str) -> io::Result<BTreeSet<String>> {
    ids(&folder.join(FAILED).join(hook))
}

/// Puts one that was given up among those that wait, where a running server finds it.
///
/// # Errors
/// When it is not there, or the disk refuses.
pub fn retry(folder: &Path, hook: &str, id: &str) -> io::Result<()> {
    let queue = folder.join(QUEUE).join(hook);
    make_folder(&queue)?;
    // With a time of its own, or it would be given up again at once.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let tail = id.split_once('-').map_or(id, |(_, tail)| tail);
    fs::rename(folder.join(FAILED).join(hook).join(id), queue.join(format!("{now:016}-{tail}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_come_back_in_their_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::open(folder.path()).expect("a spool");
        assert!(matches!(Spool::open(folder.path()), Err(SpoolError::InUse(_))));
        spool.prepare("ci").expect("a folder");
        let kept = Kept { repository: "a".into(), body: "{\"x\":\"\u{fffd}\"}".into() };
        let made: Vec<String> = (0..5).map(|_| spool.id().expect("an id")).collect();
        for id in &made {
            spool.put("ci", id, &kept).expect("kept");
        }
        fs::write(folder.path().join("queue/ci/.new-x"), "half").expect("a file");
        assert_eq!(spool.pending("ci").expect("ids").into_iter().collect::<Vec<_>>(), made);
        assert_eq!(spool.read("ci", &made[0]).expect("a file"), Some(kept));
        spool.remove("ci", &made[0]).expect("removed");
        assert_eq!(spool.read("ci", &made[0]).expect("none"), None);
        for id in &made[1..] {
            spool.give_up("ci", id, 2).expect("given up");
        }
        let kept: Vec<String> = failed(folder.path(), "ci").expect("ids").into_iter().collect();
        assert_eq!(kept, made[3..]);
        retry(folder.path(), "ci", &kept[0]).expect("again");
        retry(folder.path(), "ci", &made[1]).expect_err("it is not there");
        let again = pending(folder.path(), "ci").expect("ids");
        assert!(again.len() == 1 && again.first() > made.last());
        let age = made_at(again.first().expect("one")).expect("a time").elapsed().expect("past");
        assert!(age < Duration::from_secs(3600));
        spool.prepare("ci").expect("cleared");
        assert!(!folder.path().join("queue/ci/.new-x").exists());
    }
}
