//! A directory beside the work tree, on the same file system: new files are made in it before
//! they are moved into place, old ones are kept in it until nobody needs them back.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bstr::BStr;
use object::EntryMode;
use rustix::fs::{Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::work_root::WorkRoot;

/// How many names are tried before giving up.
const ATTEMPTS_MAX: u32 = 1000;

/// The directory; removed with everything in it by [`Stage::clear`].
#[derive(Debug)]
pub(super) struct Stage {
    fd: OwnedFd,
    path: PathBuf,
}

impl Stage {
    /// Makes the directory in the git directory, where it is in nobody's way, or at the top of
    /// the work tree when the git directory is on another file system.
    pub fn new(root: &WorkRoot, work_tree: &Path, git_dir: &Path) -> io::Result<Self> {
        #[allow(clippy::useless_conversion)]
        let same = fs::metadata(git_dir)?.dev() == u64::from(root.stat()?.st_dev);
        let (base, prefix) =
            if same { (git_dir, "updating-work-tree") } else { (work_tree, ".updating-work-tree") };
        let process = std::process::id();
        for attempt in 0..ATTEMPTS_MAX {
            let path = base.join(format!("{prefix}-{process}-{attempt}"));
            match fs::create_dir(&path) {
                Ok(()) => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    let fd = rustix::fs::open(&path, flags, Mode::empty())?;
                    return Ok(Stage { fd, path });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Makes a file or a symbolic link with its final content and mode.
    pub fn make(&self, name: &str, mode: EntryMode, content: &[u8]) -> io::Result<()> {
        if mode.is_symlink() {
            return Ok(rustix::fs::symlinkat(content, self.fd(), name)?);
        }
        let bits = if mode == EntryMode::EXECUTABLE { 0o777 } else { 0o666 };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.fd(), name, flags, Mode::from_raw_mode(bits))?;
        File::from(file).write_all(content)
    }

    /// Moves a staged file to a path where nothing is.
    pub fn put(&self, name: &str, root: &WorkRoot, path: &BStr) -> io::Result<()> {
        root.within(path, |parent, target| {
            let moved =
                rustix::fs::renameat_with(self.fd(), name, parent, target, RenameFlags::NOREPLACE);
            match moved {
                // Not every file system can promise not to replace.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    rustix::fs::renameat(self.fd(), name, parent, target)
                }
                other => other,
            }
        })
    }

    /// Moves a file of the work tree here.
    pub fn take(&self, name: &str, root: &WorkRoot, path: &BStr) -> io::Result<()> {
        root.within(path, |parent, source| rustix::fs::renameat(parent, source, self.fd(), name))
    }

    /// Swaps a staged file and one of the work tree, which is never missing in between where
    /// the file system can do that.
    pub fn exchange(&self, name: &str, root: &WorkRoot, path: &BStr) -> io::Result<()> {
        root.within(path, |parent, other| {
            let flags = RenameFlags::EXCHANGE;
            match rustix::fs::renameat_with(self.fd(), name, parent, other, flags) {
                Err(Errno::INVAL | Errno::NOSYS) => {
                    let aside = format!("{name}.aside");
                    rustix::fs::renameat(parent, other, self.fd(), &*aside)?;
                    rustix::fs::renameat(self.fd(), name, parent, other)?;
                    rustix::fs::renameat(self.fd(), &*aside, self.fd(), name)
                }
                other => other,
            }
        })
    }

    /// Removes the directory and what is left in it.
    pub fn clear(&self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }

    /// Where the directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
