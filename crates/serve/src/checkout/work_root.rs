//! Files below one directory and nowhere else: every path is walked component by component
//! from the opened root, and no symbolic link is followed on the way.
//!
//! Paths here are relative, `/`-separated and made of proper names; the listings they come
//! from see to that.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use bstr::{BStr, BString, ByteSlice as _};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An opened work tree.
#[derive(Debug)]
pub(super) struct WorkRoot {
    root: OwnedFd,
}

impl WorkRoot {
    /// Opens the directory; the root itself may be named through links.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = DIRECTORY.difference(OFlags::NOFOLLOW);
        Ok(WorkRoot { root: rustix::fs::open(path, flags, Mode::empty())? })
    }

    /// The root itself.
    pub fn stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(&self.root)?)
    }

    /// Opens the directory a path lies in, and calls `act` with it and the last component.
    pub fn within<T>(
        &self,
        path: &BStr,
        act: impl FnOnce(BorrowedFd<'_>, &OsStr) -> rustix::io::Result<T>,
    ) -> io::Result<T> {
        let Some((above, name)) = path.rsplit_once_str("/") else {
            return Ok(act(self.root.as_fd(), OsStr::from_bytes(path))?);
        };
        let parent = self.directory(above.as_bstr())?;
        Ok(act(parent.as_fd(), OsStr::from_bytes(name))?)
    }

    fn directory(&self, path: &BStr) -> rustix::io::Result<OwnedFd> {
        let mut current: Option<OwnedFd> = None;
        for name in path.split_str("/") {
            let above = current.as_ref().map_or(self.root.as_fd(), |fd| fd.as_fd());
            current = Some(rustix::fs::openat(above, name, DIRECTORY, Mode::empty())?);
        }
        current.ok_or(Errno::INVAL)
    }

    /// What is at a path, links not followed; `None` when nothing is there, or something else
    /// than a directory is above it.
    pub fn look(&self, path: &BStr) -> io::Result<Option<Stat>> {
        let found = self.within(path, |parent, name| {
            rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        });
        absent(found)
    }

    /// Opens a regular file for reading; `None` when there is none.
    pub fn file(&self, path: &BStr) -> io::Result<Option<File>> {
        // Without NONBLOCK, a fifo would make us wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let opened = self
            .within(path, |parent, name| rustix::fs::openat(parent, name, flags, Mode::empty()));
        let Some(file) = absent(opened)?.map(File::from) else { return Ok(None) };
        Ok(file.metadata()?.is_file().then_some(file))
    }

    /// The target of a symbolic link.
    pub fn link(&self, path: &BStr) -> io::Result<Vec<u8>> {
        let target =
            self.within(path, |parent, name| rustix::fs::readlinkat(parent, name, Vec::new()))?;
        Ok(target.into_bytes())
    }

    /// The names in a directory, in no special order.
    pub fn names(&self, path: &BStr) -> io::Result<Vec<BString>> {
        let directory = self.directory(path)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.into());
            }
        }
        Ok(names)
    }

    /// Makes a directory; false when one is there already.
    pub fn make_directory(&self, path: &BStr) -> io::Result<bool> {
        let made = self.within(path, |parent, name| {
            rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o777))
        });
        match made {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match self.look(path)?.is_some_and(|stat| is_directory(&stat)) {
                    true => Ok(false),
                    false => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Removes a directory; false when it has something in it or is gone already.
    pub fn remove_empty_directory(&self, path: &BStr) -> io::Result<bool> {
        let removed = self
            .within(path, |parent, name| rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR));
        match removed {
            Ok(()) => Ok(true),
            Err(error) => match error.kind() {
                io::ErrorKind::DirectoryNotEmpty
                | io::ErrorKind::NotFound
                | io::ErrorKind::NotADirectory => Ok(false),
                _ => Err(error),
            },
        }
    }
}

/// Whether it is a directory.
pub(super) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Nothing there, a file above, or a link above or in its place.
fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Every directory above a path, the outermost first.
pub(super) fn above(path: &BStr) -> impl Iterator<Item = &BStr> {
    path.find_iter("/").map(|end| path[..end].as_bstr())
}
