//! An objects directory as a [`BlobStore`].
//!
//! Packs, indices and graphs never change under their name: they are mapped. Everything
//! else is read: a mapped file that is cut would read as zeros at best ([`maps`]).

mod publish;
mod stage;

use std::fs::{self, File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use maps::Losses;
use storage::{BlobMeta, BlobStore, Error, OpenBlob, Result, Stage, check_blob_name};

use crate::disk::Disk;

/// One objects directory: a repository's own, an alternate's, or a stage's.
pub struct DiskBlobs {
    root: PathBuf,
    disk: Disk,
    losses: Arc<Losses>,
}

impl DiskBlobs {
    /// The blobs below `objects_dir`; writes are synced and get the umask's permissions.
    pub fn new(objects_dir: &Path) -> Self {
        Self::with_disk(objects_dir, Disk::default())
    }

    pub(crate) fn with_disk(objects_dir: &Path, disk: Disk) -> Self {
        DiskBlobs { root: objects_dir.to_owned(), disk, losses: Losses::new() }
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        check_blob_name(name)?;
        Ok(self.root.join(name))
    }
}

impl BlobStore for DiskBlobs {
    fn stat(&self, name: &str) -> Result<Option<BlobMeta>> {
        let path = self.path(name)?;
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(meta(name.to_owned(), &metadata))),
            Ok(_) => Ok(None),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(Error::io(path.display(), error)),
        }
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        DiskBlob::open(&self.path(name)?)?.read(range)
    }

    fn open(&self, name: &str) -> Result<Option<Arc<dyn OpenBlob>>> {
        match DiskBlob::open(&self.path(name)?) {
            Ok(blob) => Ok(Some(Arc::new(blob))),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<BlobMeta>> {
        let directory = match prefix.strip_suffix('/') {
            Some(directory) => self.path(directory)?,
            None if prefix.is_empty() => self.root.clone(),
            None => return Err(Error::InvalidName { what: prefix.to_owned() }),
        };
        let at = |source| Error::io(directory.display(), source);
        let entries = match fs::read_dir(&directory) {
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            other => other.map_err(at)?,
        };
        let mut blobs = Vec::new();
        for entry in entries {
            let entry = entry.map_err(at)?;
            let file_name = entry.file_name();
            let Some(name) = file_name.to_str().map(|name| format!("{prefix}{name}")) else {
                continue;
            };
            if check_blob_name(&name).is_err() {
                continue;
            }
            // Links are followed: annexes and old clones keep packs as links.
            match fs::metadata(entry.path()) {
                Ok(metadata) if metadata.is_file() => blobs.push(meta(name, &metadata)),
                Ok(_) => {}
                // Gone since the directory was read.
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(Error::io(entry.path().display(), error)),
            }
        }
        blobs.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(blobs)
    }

    fn delete(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        match self.disk.remove_file(&path) {
            Err(error) if !is_absent(&error) => Err(Error::io(path.display(), error)),
            _ => Ok(()),
        }
    }

    fn stage(&self) -> Result<Box<dyn Stage>> {
        Ok(Box::new(stage::DiskStage::new(&self.root, &self.disk)?))
    }

    fn map(&self, name: &str) -> Result<Option<Bytes>> {
        let path = self.path(name)?;
        if !never_changes(name) {
            return Ok(None);
        }
        self.map_file(&path)
    }

    fn faults(&self) -> u64 {
        self.losses.count()
    }
}

impl DiskBlobs {
    pub(crate) fn map_file(&self, path: &Path) -> Result<Option<Bytes>> {
        let at = |source| Error::io(path.display(), source);
        let file = match File::open(path) {
            Err(error) if is_absent(&error) => return Ok(None),
            other => other.map_err(at)?,
        };
        let metadata = file.metadata().map_err(at)?;
        if !metadata.is_file() {
            return Ok(None);
        }
        // The file is one of those git replaces by renaming and never writes into.
        maps::map(&file, &self.losses).map(Some).map_err(at)
    }
}

/// Whether git never writes into a file of this name once it is there.
fn never_changes(name: &str) -> bool {
    const EXTENSIONS: [&str; 6] = [".pack", ".idx", ".rev", ".bitmap", ".mtimes", ".graph"];
    name == "info/commit-graph"
        || name.starts_with("pack/multi-pack-index")
        || EXTENSIONS.iter().any(|extension| name.ends_with(extension))
}

/// An open file: it can be read on when it is removed.
struct DiskBlob {
    path: PathBuf,
    file: File,
    size: u64,
}

impl DiskBlob {
    fn open(path: &Path) -> Result<Self> {
        let at = |source| Error::io(path.display(), source);
        let file = match File::open(path) {
            Err(error) if is_absent(&error) => return Err(Error::not_found(path.display())),
            other => other.map_err(at)?,
        };
        let metadata = file.metadata().map_err(at)?;
        if !metadata.is_file() {
            return Err(Error::not_found(path.display()));
        }
        Ok(DiskBlob { path: path.to_owned(), file, size: metadata.len() })
    }
}

impl OpenBlob for DiskBlob {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let at = |source| Error::io(self.path.display(), source);
        let start = range.start.min(self.size);
        let wanted = range.end.clamp(start, self.size) - start;
        let mut bytes = Vec::new();
        let wanted = usize::try_from(wanted).map_err(|_| at(io::ErrorKind::OutOfMemory.into()))?;
        bytes.try_reserve_exact(wanted).map_err(|_| at(io::ErrorKind::OutOfMemory.into()))?;
        bytes.resize(wanted, 0);
        let mut filled = 0;
        while filled < wanted {
            match self.file.read_at(&mut bytes[filled..], start + filled as u64) {
                // The file became shorter while it was read.
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(at(error)),
            }
        }
        bytes.truncate(filled);
        Ok(bytes.into())
    }
}

fn meta(name: String, metadata: &Metadata) -> BlobMeta {
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    BlobMeta { name, size: metadata.len(), modified }
}

fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
}
