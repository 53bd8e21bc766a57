//! Where a daemon in the background has its lock, status and log.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};
use rustix::process::Pid;

use crate::git::Repository;

/// Behind the process in a lock, when that looks after other repositories, too.
const FOR_ALL: &str = "all";

/// A daemon's files.
pub struct Place {
    folder: PathBuf,
}

/// Whoever has a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// The process.
    pub process: Pid,
    /// Whether it looks after all repositories.
    pub for_all: bool,
}

impl Place {
    /// That of one repository.
    pub fn of(repository: &Repository) -> Self {
        Place { folder: repository.common_dir.join("remote-daemon") }
    }

    /// That of the one for all repositories: below the user's own state (XDG Base Directory Specification).
    ///
    /// # Errors
    /// In words, when nobody knows where that is.
    pub fn of_all() -> Result<Self, String> {
        let variable =
            |name: &str| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
        let state = variable("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let state = state.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".local/state")));
        let state = state.ok_or("neither HOME nor XDG_STATE_HOME is set")?;
        Ok(Place { folder: state.join("git-remote-daemon") })
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The lock, if nobody has it. Whoever dies gives it back, so that it is never stale.
    ///
    /// # Errors
    /// When the disk does not let us.
    pub fn lock(&self) -> io::Result<Option<File>> {
        std::fs::create_dir_all(&self.folder)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false);
        let file = file.open(self.path("lock"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The lock, with this process in it, if nobody has it.
    ///
    /// # Errors
    /// When the disk does not let us.
    pub fn take(&self, for_all: bool) -> io::Result<Option<File>> {
        let Some(mut lock) = self.lock()? else { return Ok(None) };
        lock.set_len(0)?;
        match for_all {
            true => writeln!(lock, "{} {FOR_ALL}", std::process::id())?,
            false => writeln!(lock, "{}", std::process::id())?,
        }
        Ok(Some(lock))
    }

    /// Whoever has the lock, if somebody has.
    ///
    /// # Errors
    /// When the disk does not let us look.
    pub fn running(&self) -> io::Result<Option<Running>> {
        if !self.path("lock").exists() || self.lock()?.is_some() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(self.path("lock"))?;
        let mut words = text.split_whitespace();
        let process = words.next().and_then(|word| word.parse().ok()).and_then(Pid::from_raw);
        let for_all = words.next() == Some(FOR_ALL);
        Ok(process.map(|process| Running { process, for_all }))
    }
}
