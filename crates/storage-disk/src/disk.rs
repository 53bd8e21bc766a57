//! Every change to the file system goes through here: one place that makes it durable,
//! gives it the repository's permissions, and lets a test stop at any step.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::shared::SharedPermissions;
use crate::syncs::Syncs;

/// Whether an acknowledged change survives a power failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Files and directories are synced before a change is acknowledged.
    #[default]
    Fsync,
    /// The system writes when it likes (`core.fsync=none`): for tests and throw-away copies.
    None,
}

/// Called before every change with the name of the step and the path it is about. An error
/// makes the step fail; tests copy the repository here, or stop.
pub type BeforeChange = Arc<dyn Fn(&'static str, &Path) -> io::Result<()> + Send + Sync>;

/// The file system, for writing.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub durability: Durability,
    pub shared: SharedPermissions,
    pub before_change: Option<BeforeChange>,
    pub syncs: Arc<Syncs>,
}

/// Directories whose entries changed and that are to be synced once.
pub(crate) type Directories = BTreeSet<PathBuf>;

impl Disk {
    pub fn step(&self, step: &'static str, path: &Path) -> io::Result<()> {
        match &self.before_change {
            Some(hook) => hook(step, path),
            None => Ok(()),
        }
    }

    /// A new file for writing and reading; `AlreadyExists` when there is one.
    pub fn create_new(&self, path: &Path, mode: u32) -> io::Result<File> {
        self.step("create", path)?;
        let file = File::options().read(true).write(true).create_new(true).mode(mode).open(path)?;
        if let Err(error) = self.shared.adjust(path) {
            // A file of the wrong mode must not stay behind.
            let _ = fs::remove_file(path);
            return Err(error);
        }
        Ok(file)
    }

    pub fn write_all(&self, mut file: &File, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step("write", path)?;
        file.write_all(bytes)
    }

    /// Writes what fits, for callers that count themselves.
    pub fn write(&self, mut file: &File, path: &Path, bytes: &[u8]) -> io::Result<usize> {
        self.step("write", path)?;
        file.write(bytes)
    }

    /// Opens a file for appending, creating it when `create` says so.
    pub fn append(&self, path: &Path, create: bool) -> io::Result<File> {
        self.step("append", path)?;
        let file = File::options().append(true).create(create).mode(0o666).open(path)?;
        self.shared.adjust(path)?;
        Ok(file)
    }

    pub fn sync_file(&self, file: &File, path: &Path) -> io::Result<()> {
        self.step("sync", path)?;
        match self.durability {
            Durability::Fsync => file.sync_all(),
            Durability::None => Ok(()),
        }
    }

    /// Syncs every directory of the set. One that is gone took its entries along; then that it is
    /// gone is what must last, and the nearest directory above it is synced.
    pub fn sync_directories(&self, directories: &Directories) -> io::Result<()> {
        if self.durability == Durability::None {
            return Ok(());
        }
        for directory in directories {
            for directory in directory.ancestors() {
                self.step("sync directory", directory)?;
                match File::open(directory) {
                    Ok(opened) => {
                        self.syncs.after_now(directory, || opened.sync_all())?;
                        break;
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step("rename", to)?;
        fs::rename(from, to)
    }

    /// Moves a file to a name nobody has; `AlreadyExists` when somebody has it.
    pub fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step("rename", to)?;
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{CWD, RenameFlags, renameat_with};
            use rustix::io::Errno;
            match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
                // File systems that lack the flag; every one of them can link.
                Err(Errno::INVAL | Errno::NOSYS) => {}
                other => return other.map_err(io::Error::from),
            }
        }
        fs::hard_link(from, to)?;
        fs::remove_file(from)
    }

    pub fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step("remove", path)?;
        fs::remove_file(path)
    }

    /// Makes a directory; one that is there already is fine. `NotADirectory` when there is
    /// something else.
    pub fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.step("create directory", path)?;
        match fs::create_dir(path) {
            Ok(()) => self.shared.adjust(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match path.is_dir() {
                true => Ok(()),
                false => Err(io::ErrorKind::NotADirectory.into()),
            },
            Err(error) => Err(error),
        }
    }

    /// Makes the directories that lead to `path`, outermost first, below `root`; notes the
    /// parents of new ones in `changed`.
    pub fn create_parents(
        &self,
        root: &Path,
        path: &Path,
        changed: &mut Directories,
    ) -> io::Result<()> {
        let Some(parent) = path.parent() else { return Ok(()) };
        if parent.is_dir() {
            return Ok(());
        }
        let mut missing: Vec<&Path> = Vec::new();
        for ancestor in parent.ancestors() {
            if ancestor == root || ancestor.is_dir() {
                break;
            }
            missing.push(ancestor);
        }
        for directory in missing.into_iter().rev() {
            self.create_dir(directory)?;
            changed.extend(directory.parent().map(Path::to_owned));
        }
        Ok(())
    }

    pub fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.step("remove directory", path)?;
        fs::remove_dir(path)
    }

    /// Removes a directory that holds nothing but empty directories; an error otherwise.
    pub fn remove_empty_tree(&self, path: &Path) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            self.remove_empty_tree(&entry.path())?;
        }
        match self.remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Removes the now empty directories above `path`, innermost first, below `root`. What is
    /// in use stays; nothing is reported, for nothing depends on it.
    pub fn remove_empty_parents(&self, root: &Path, path: &Path) {
        for directory in path.ancestors().skip(1).take_while(|ancestor| *ancestor != root) {
            if self.remove_dir(directory).is_err() {
                break;
            }
        }
    }
}
