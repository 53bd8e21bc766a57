//! What makes a directory a repository, and the small files that lead from one
//! directory to another: `.git` files and `commondir`.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use bstr::ByteSlice as _;
use object::ObjectId;
use storage::{Error, Result};

/// The largest `.git` or `commondir` file, in bytes (git's own limit).
const LINK_FILE_BYTES_MAX: u64 = 1 << 20;

/// Whether git would take the directory for a repository: a valid `HEAD`, and `objects`
/// and `refs` in the common directory.
pub(crate) fn is_git_directory(path: &Path) -> bool {
    let Ok(common) = common_dir(path) else { return false };
    head_is_valid(&path.join("HEAD"))
        && may_enter(&common.join("objects"))
        && may_enter(&common.join("refs"))
}

fn may_enter(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// A symbolic link into `refs/`, a `ref: refs/…`, or an object id.
fn head_is_valid(path: &Path) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else { return false };
    if metadata.is_symlink() {
        let target = fs::read_link(path).unwrap_or_default();
        return target.as_os_str().as_bytes().starts_with(b"refs/");
    }
    let Ok(content) = read_limited(path, 255) else { return false };
    if let Some(target) = content.strip_prefix(b"ref:") {
        return target.trim_start().starts_with(b"refs/");
    }
    [64, 40].iter().any(|&len| content.get(..len).and_then(ObjectId::from_hex).is_some())
}

/// The directory all work trees share: what `commondir` names, or the git directory itself.
pub(crate) fn common_dir(git_dir: &Path) -> Result<PathBuf> {
    let file = git_dir.join("commondir");
    let content = match read_limited(&file, LINK_FILE_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(git_dir.to_owned()),
        // The git directory itself is a file or in a file's place.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Ok(git_dir.to_owned());
        }
        other => other.map_err(|source| Error::io(file.display(), source))?,
    };
    let name = content.trim_end_with(|c| matches!(c, '\n' | '\r'));
    let path = git_dir.join(OsStr::from_bytes(name));
    fs::canonicalize(&path).map_err(|source| Error::io(path.display(), source))
}

/// The repository a `.git` file names; `None` when `path` is no regular file.
pub(crate) fn read_gitfile(path: &Path) -> Result<Option<PathBuf>> {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > LINK_FILE_BYTES_MAX && metadata.is_file() => {
            return Err(Error::corrupt(shown, "too large to be a .git file"));
        }
        Ok(metadata) if metadata.is_file() => {}
        // Directories and what is not there: no gitfile, and nothing wrong with that.
        _ => return Ok(None),
    }
    let content = read_limited(path, LINK_FILE_BYTES_MAX)
        .map_err(|source| Error::io(shown.to_string(), source))?;
    let Some(rest) = content.strip_prefix(b"gitdir: ") else {
        return Err(Error::corrupt(&shown, format!("invalid gitfile format: {shown}")));
    };
    let name = rest.trim_end_with(|c| matches!(c, '\n' | '\r'));
    if name.is_empty() {
        return Err(Error::corrupt(&shown, format!("no path in gitfile: {shown}")));
    }
    let base = path.parent().unwrap_or(Path::new(""));
    let target = base.join(OsStr::from_bytes(name));
    if !is_git_directory(&target) {
        let words = format!("not a git repository: {}", target.display());
        return Err(Error::corrupt(&shown, words));
    }
    let real = fs::canonicalize(&target);
    real.map(Some).map_err(|source| Error::io(target.display(), source))
}

/// A small file's first `bytes_max` bytes.
pub(crate) fn read_limited(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(bytes_max).read_to_end(&mut content)?;
    Ok(content)
}
