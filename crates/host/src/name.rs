//! Names of repositories as callers write them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Why a name is refused before anything is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is left of it.
    #[error("no repository is named")]
    Empty,
    /// A part of it would leave the served folder or hide.
    #[error("a repository's name has no part that begins with a dot, and no control characters")]
    BadPart,
    /// It is longer than [`RepositoryName::BYTES_MAX`].
    #[error("a repository's name has at most 1024 bytes")]
    TooLong,
}

/// A name that cannot lead out of the folder it is looked up in: parts between single slashes,
/// none of them empty or beginning with a dot, no control characters and no backslash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName {
    name: Vec<u8>,
    /// A path of this machine, given by a caller that could open it without us.
    is_path: bool,
}

impl RepositoryName {
    /// The longest name, bytes.
    pub const BYTES_MAX: usize = 1024;

    /// A name as it stands in a URL, decoded. Slashes around it are dropped.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn new(name: &[u8]) -> Result<Self, NameError> {
        if name.len() > Self::BYTES_MAX {
            return Err(NameError::TooLong);
        }
        let start = name.iter().position(|&byte| byte != b'/').ok_or(NameError::Empty)?;
        let end = name.iter().rposition(|&byte| byte != b'/').map_or(start, |last| last + 1);
        let name = &name[start..end];
        let fine = |part: &[u8]| {
            !part.is_empty()
                && part[0] != b'.'
                && part.iter().all(|&byte| byte >= b' ' && byte != 0x7f && byte != b'\\')
        };
        match name.split(|&byte| byte == b'/').all(fine) {
            true => Ok(RepositoryName { name: name.to_vec(), is_path: false }),
            false => Err(NameError::BadPart),
        }
    }

    /// A path of this machine, for programs that run with the caller's own rights.
    pub fn local_path(path: &Path) -> Self {
        RepositoryName { name: path.as_os_str().as_bytes().to_vec(), is_path: true }
    }

    /// The path, when it is one.
    pub(crate) fn as_local_path(&self) -> Option<&Path> {
        self.is_path.then(|| Path::new(OsStr::from_bytes(&self.name)))
    }

    /// The name below a folder.
    pub(crate) fn below(&self, folder: &Path) -> PathBuf {
        folder.join(OsStr::from_bytes(&self.name))
    }

    /// The name's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.name
    }
}

impl std::fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_folder() {
        for bad in
            ["..", "a/../b", "/../x", "a/./b", ".hidden", "a//b", "a/.git", "a\\b", "a\0b", ""]
        {
            assert!(RepositoryName::new(bad.as_bytes()).is_err(), "{bad:?}");
        }
        for good in ["a", "/a/b.git/", "with space", "ümlaut.git"] {
            RepositoryName::new(good.as_bytes()).expect(good);
        }
    }
}
