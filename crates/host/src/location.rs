//! Where a repository lies.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a repository lies, whatever it is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    /// A git directory of this machine.
    Directory(PathBuf),
    /// A name in the store that is served.
    Named(String),
}

impl Location {
    /// The git directory, of those that have one.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Location::Directory(path) => Some(path),
            Location::Named(_) => None,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Directory(path) => path.display().fmt(f),
            Location::Named(name) => name.fmt(f),
        }
    }
}
