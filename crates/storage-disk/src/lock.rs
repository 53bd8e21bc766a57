//! Git's lock files: whoever creates `<file>.lock` may replace `<file>`.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::disk::{Directories, Disk};

/// A lock that is held. Dropped, it is given up and nothing has changed.
pub(crate) struct LockFile {
    disk: Disk,
    target: PathBuf,
    path: PathBuf,
    file: File,
    held: bool,
}

/// The first pause between two attempts; the next ones grow as the squares, as git's do.
const PAUSE_UNIT: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(64);

/// How often a directory that is cleaned away under our feet is made again (git: 3).
const DIRECTORY_ATTEMPTS: usize = 3;

impl LockFile {
    /// Locks `target`, making the directories that lead to it below `root`. `AlreadyExists`
    /// when somebody else still holds the lock after `wait`.
    pub fn acquire(
        disk: &Disk,
        root: &Path,
        target: PathBuf,
        wait: Duration,
        changed: &mut Directories,
    ) -> io::Result<Self> {
        let path = lock_path(&target);
        let start = Instant::now();
        let (mut pauses, mut vanished) = (0u32, 0);
        loop {
            let created = disk
                .create_parents(root, &path, changed)
                .and_then(|()| disk.create_new(&path, 0o666));
            let error = match created {
                Ok(file) => {
                    let disk = disk.clone();
                    return Ok(LockFile { disk, target, path, file, held: true });
                }
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::NotFound if vanished < DIRECTORY_ATTEMPTS => vanished += 1,
                io::ErrorKind::AlreadyExists if start.elapsed() < wait => {
                    pauses += 1;
                    let pause = (PAUSE_UNIT * pauses * pauses).min(PAUSE_MAX);
                    std::thread::sleep(pause.min(wait.saturating_sub(start.elapsed())));
                }
                _ => return Err(error),
            }
        }
    }

    /// Writes and syncs what `target` will be.
    pub fn write(&self, content: &[u8]) -> io::Result<()> {
        self.disk.write_all(&self.file, &self.path, content)?;
        self.disk.sync_file(&self.file, &self.path)
    }

    /// Takes a finished, synced file from elsewhere as what `target` will be.
    pub fn adopt(&self, from: &Path) -> io::Result<()> {
        self.disk.rename(from, &self.path)
    }

    /// Removes `target` itself; the lock is held on.
    pub fn remove_target(&self) -> io::Result<()> {
        self.disk.remove_file(&self.target)
    }

    /// Puts what was written in place of `target`; the lock ends with that.
    pub fn replace_target(&mut self) -> io::Result<()> {
        self.disk.rename(&self.path, &self.target)?;
        self.held = false;
        Ok(())
    }

    /// Gives the lock up without a change.
    pub fn release(&mut self) {
        if std::mem::take(&mut self.held)
            && let Err(error) = self.disk.remove_file(&self.path)
        {
            tracing::warn!("cannot remove the lock {}: {error}", self.path.display());
        }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        self.release();
    }
}

/// `<target>.lock`.
pub(crate) fn lock_path(target: &Path) -> PathBuf {
    let mut path = OsString::from(target);
    path.push(".lock");
    path.into()
}
