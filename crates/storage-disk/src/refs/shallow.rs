//! The `shallow` file: commits whose parents are not here, one hexadecimal id per line.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bstr::ByteSlice as _;
use object::{HashKind, ObjectId, RefName};
use storage::{CommitError, Error, Result};

use crate::disk::{Directories, Disk};
use crate::gitdir::read_limited;
use crate::lock::{LockFile, lock_path};

/// The largest file that is read, in bytes: more than a million commits.
const FILE_BYTES_MAX: u64 = 64 << 20;

pub(crate) fn read(common_dir: &Path, hash: HashKind) -> Result<Vec<ObjectId>> {
    let file = common_dir.join("shallow");
    let content = match read_limited(&file, FILE_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|source| Error::io(file.display(), source))?,
    };
    let parse = |line: &[u8]| {
        line.get(..hash.hex_len()).and_then(|hex| ObjectId::from_hex_of(hex, hash)).ok_or_else(
            || {
                let shown = line[..line.len().min(80)].as_bstr();
                Error::corrupt(file.display(), format!("bad shallow line: {shown}"))
            },
        )
    };
    content.lines().map(parse).collect()
}

/// The file's content after the change; `None` when no shallow commit is left.
fn changed(now: Vec<ObjectId>, add: &[ObjectId], remove: &[ObjectId]) -> Option<String> {
    let mut ids: BTreeSet<ObjectId> = now.into_iter().chain(add.iter().copied()).collect();
    for id in remove {
        ids.remove(id);
    }
    (!ids.is_empty()).then(|| ids.iter().map(|id| format!("{id}\n")).collect())
}

/// The change of the `shallow` file; without content the file goes away.
pub(crate) struct ShallowUpdate {
    lock: LockFile,
    path: PathBuf,
    has_content: bool,
}

impl ShallowUpdate {
    /// Locks the file below `root` and writes what it will be.
    pub fn write(
        (disk, wait): (&Disk, Duration),
        root: &Path,
        hash: HashKind,
        (add, remove): (&[ObjectId], &[ObjectId]),
    ) -> Result<Self, CommitError> {
        let path = root.join("shallow");
        let lock = LockFile::acquire(disk, root, path.clone(), wait, &mut Directories::new());
        let lock = lock.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => CommitError::Locked {
                name: RefName::head(),
                lock: lock_path(&path).display().to_string(),
            },
            _ => Error::io(path.display(), error).into(),
        })?;
        let content = changed(read(root, hash)?, add, remove);
        if let Some(content) = &content {
            let written = lock.write(content.as_bytes());
            written.map_err(|source| Error::io(path.display(), source))?;
        }
        Ok(ShallowUpdate { lock, path, has_content: content.is_some() })
    }

    /// Puts it in place.
    pub fn publish(&mut self, changed: &mut Directories) -> Result<()> {
        let done = match self.has_content {
            true => self.lock.replace_target(),
            false => remove(&mut self.lock, &self.path),
        };
        done.map_err(|source| Error::io(self.path.display(), source))?;
        changed.extend(self.path.parent().map(|parent| parent.to_owned()));
        Ok(())
    }
}

fn remove(lock: &mut LockFile, path: &std::path::Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) => lock.remove_target()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    lock.release();
    Ok(())
}
