//! What keeps objects besides refs: reflogs, files such as `ORIG_HEAD`, and work trees.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use object::{HashKind, ObjectId};
use storage::{Error, Result};

use crate::worktree::RefDirs;

/// Bytes of a line that can hold ids; what follows is a name and a message.
const LINE_BYTES_READ: usize = 2 * 64 + 1;

/// Visits both ids of every line of every reflog, and the ids that begin the lines of
/// `ORIG_HEAD`, `FETCH_HEAD` and their like.
pub(crate) fn scan(dirs: &RefDirs, hash: HashKind, visit: &mut dyn FnMut(ObjectId)) -> Result<()> {
    let mut open: Vec<PathBuf> = both(dirs).map(|dir| dir.join("logs")).collect();
    while let Some(directory) = open.pop() {
        for (path, kind) in entries(&directory)? {
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() {
                ids_of(&path, hash, 2, visit).map_err(|error| Error::io(path.display(), error))?;
            }
        }
    }
    for directory in both(dirs) {
        for (path, kind) in entries(directory)? {
            let name = path.file_name().unwrap_or_default().as_bytes();
            if kind.is_file() && name.ends_with(b"_HEAD") {
                ids_of(&path, hash, 1, visit).map_err(|error| Error::io(path.display(), error))?;
            }
        }
    }
    Ok(())
}

/// Whether there is an index, or a work tree beside the first, which may have one.
pub(crate) fn has_index(dirs: &RefDirs) -> Result<bool> {
    for directory in both(dirs) {
        for name in ["index", "worktrees"] {
            let path = directory.join(name);
            match path.try_exists() {
                Ok(false) => {}
                Ok(true) => return Ok(true),
                Err(error) => return Err(Error::io(path.display(), error)),
            }
        }
    }
    Ok(false)
}

/// The repository's directory, and the work tree's if that is another.
fn both(dirs: &RefDirs) -> impl Iterator<Item = &Path> {
    let own = (dirs.git_dir != dirs.common_dir).then_some(dirs.git_dir.as_path());
    std::iter::once(dirs.common_dir.as_path()).chain(own)
}

/// What lies in a directory; one that is not there is empty.
fn entries(directory: &Path) -> Result<Vec<(PathBuf, fs::FileType)>> {
    let read = || -> io::Result<Vec<_>> {
        fs::read_dir(directory)?
            .map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))))
            .collect()
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|error| Error::io(directory.display(), error)),
    }
}

/// The first ids of each line, at most `count`, separated by single spaces. Null ids are none.
fn ids_of(
    path: &Path,
    hash: HashKind,
    count: usize,
    visit: &mut dyn FnMut(ObjectId),
) -> io::Result<()> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let mut lines = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read =
            io::Read::take(&mut lines, LINE_BYTES_READ as u64).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        for hex in line.chunks(hash.hex_len() + 1).take(count) {
            let id = ObjectId::from_hex_of(&hex[..hex.len().min(hash.hex_len())], hash);
            if let Some(id) = id.filter(|id| !id.is_null()) {
                visit(id);
            }
        }
        if !line.ends_with(b"\n") {
            lines.skip_until(b'\n')?;
        }
    }
}
