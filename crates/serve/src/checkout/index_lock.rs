//! Replacing the index as every git program does: `index.lock` is made exclusively, filled,
//! and renamed to `index`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use object::HashKind;

use super::index::{IndexEntry, encode};
use super::{NOT_COMPARABLE, Refused};

/// A held `index.lock`; removed on drop unless it became the index.
#[derive(Debug)]
pub(super) struct IndexLock {
    index: PathBuf,
    path: PathBuf,
    file: File,
    held: bool,
}

impl IndexLock {
    /// Locks the index of a git directory.
    pub fn acquire(git_dir: &Path) -> Result<Self, Refused> {
        let (index, path) = (git_dir.join("index"), git_dir.join("index.lock"));
        let made = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = made.map_err(|error| {
            Refused::new(NOT_COMPARABLE, format!("cannot lock the index: {error}"))
        })?;
        Ok(IndexLock { index, path, file, held: true })
    }

    /// The index that is locked.
    pub fn index(&self) -> &Path {
        &self.index
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills the lock file with what will be the index.
    pub fn write(&self, entries: &[IndexEntry], hash: HashKind) -> io::Result<()> {
        if let Ok(before) = fs::metadata(&self.index) {
            // A shared repository stays shared.
            self.file.set_permissions(before.permissions())?;
        }
        (&self.file).write_all(&encode(entries, hash)?)
    }

    /// Makes the lock file the index.
    pub fn publish(&mut self) -> io::Result<()> {
        fs::rename(&self.path, &self.index)?;
        self.held = false;
        Ok(())
    }
}

impl Drop for IndexLock {
    fn drop(&mut self) {
        if self.held
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::error!("cannot remove {}: {error}", self.path.display());
        }
    }
}
