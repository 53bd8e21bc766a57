//! Blobs in the making: a directory `tmp_objdir-incoming-…` below the objects directory.
//!
//! The name is git's own for a push in quarantine; what a killed process leaves behind,
//! `git prune` and `git gc` remove.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use storage::{BlobMeta, BlobStore, BlobWriter, Error, OpenBlob, Result, Stage, check_blob_name};
use tempfile::TempDir;

use super::{DiskBlobs, publish};
use crate::disk::{Directories, Disk};
use crate::lock::{LockFile, lock_path};

/// Git's mode for objects and packs: nobody writes them again.
const OBJECT_MODE: u32 = 0o444;

pub(super) struct DiskStage {
    /// The objects directory blobs are published to.
    target: std::path::PathBuf,
    disk: Disk,
    /// Removed with everything in it when dropped.
    directory: TempDir,
    blobs: Arc<DiskBlobs>,
    names: Arc<Mutex<Names>>,
    /// Git's locks on the files that staged blobs will take the place of.
    replaces: BTreeMap<String, LockFile>,
}

/// Every staged name, and whether its writer is still at work.
#[derive(Default)]
struct Names {
    blobs: BTreeMap<String, State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Finished,
}

impl DiskStage {
    pub fn new(objects_dir: &Path, disk: &Disk) -> Result<Self> {
        let at = |source| Error::io(objects_dir.display(), source);
        disk.step("create directory", &objects_dir.join("tmp_objdir-incoming-")).map_err(at)?;
        let directory = tempfile::Builder::new()
            .prefix("tmp_objdir-incoming-")
            .rand_bytes(6)
            .tempdir_in(objects_dir)
            .map_err(at)?;
        // As git: receivers find the directory for packs made.
        disk.create_dir(&directory.path().join("pack")).map_err(at)?;
        let blobs = Arc::new(DiskBlobs::with_disk(directory.path(), disk.clone()));
        Ok(DiskStage {
            target: objects_dir.to_owned(),
            disk: disk.clone(),
            directory,
            blobs,
            names: Arc::default(),
            replaces: BTreeMap::new(),
        })
    }
}

impl Stage for DiskStage {
    fn create(&mut self, name: &str) -> Result<Box<dyn BlobWriter>> {
        let path = self.blobs.path(name)?;
        let at = |source| Error::io(path.display(), source);
        let root = self.directory.path();
        self.disk.create_parents(root, &path, &mut Directories::new()).map_err(at)?;
        let file = self.disk.create_new(&path, OBJECT_MODE).map_err(at)?;
        lock(&self.names).blobs.insert(name.to_owned(), State::Open);
        Ok(Box::new(DiskWriter {
            name: name.to_owned(),
            path,
            file,
            disk: self.disk.clone(),
            names: Arc::clone(&self.names),
            finished: false,
        }))
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let (from_path, to_path) = (self.blobs.path(from)?, self.blobs.path(to)?);
        let at = |source| Error::io(to_path.display(), source);
        let mut names = lock(&self.names);
        if names.blobs.get(from) != Some(&State::Finished) {
            return Err(Error::not_found(from));
        }
        if names.blobs.contains_key(to) {
            return Err(at(io::ErrorKind::AlreadyExists.into()));
        }
        let root = self.directory.path();
        self.disk.create_parents(root, &to_path, &mut Directories::new()).map_err(at)?;
        self.disk.rename_new(&from_path, &to_path).map_err(at)?;
        names.blobs.remove(from);
        names.blobs.insert(to.to_owned(), State::Finished);
        Ok(())
    }

    fn replace(&mut self, name: &str) -> Result<()> {
        check_blob_name(name)?;
        if self.replaces.contains_key(name) {
            return Ok(());
        }
        let path = self.target.join(name);
        let mut changed = Directories::new();
        // As git, which does not wait for these locks: whoever holds one does this work.
        let wait = std::time::Duration::ZERO;
        let lock = LockFile::acquire(&self.disk, &self.target, path.clone(), wait, &mut changed);
        let lock = lock.map_err(|error| {
            let lock = lock_path(&path).display().to_string();
            match error.kind() {
                io::ErrorKind::AlreadyExists => Error::Locked { what: name.to_owned(), lock },
                _ => Error::io(lock, error),
            }
        })?;
        let synced = self.disk.sync_directories(&changed);
        synced.map_err(|source| Error::io(path.display(), source))?;
        self.replaces.insert(name.to_owned(), lock);
        Ok(())
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        self.blobs.read(name, range)
    }

    fn map(&self, name: &str) -> Result<Option<Bytes>> {
        self.view().map(name)
    }

    fn store(&self) -> Arc<dyn BlobStore> {
        Arc::new(self.view())
    }

    fn local_dir(&self) -> Option<&Path> {
        Some(self.directory.path())
    }

    fn publish(mut self: Box<Self>) -> Result<()> {
        let names: BTreeSet<String> = {
            let names = lock(&self.names);
            if let Some((name, _)) = names.blobs.iter().find(|(_, s)| **s == State::Open) {
                let unfinished = io::Error::other("the blob is still being written");
                return Err(Error::io(name, unfinished));
            }
            names.blobs.keys().cloned().collect()
        };
        let this = &mut *self;
        let stage = this.directory.path();
        publish::publish(&this.disk, stage, &this.target, &names, &mut this.replaces)
    }
}

impl DiskStage {
    fn view(&self) -> StageView {
        StageView { blobs: Arc::clone(&self.blobs), names: Arc::clone(&self.names) }
    }
}

/// The finished blobs of a stage, for reading.
struct StageView {
    blobs: Arc<DiskBlobs>,
    names: Arc<Mutex<Names>>,
}

impl StageView {
    /// Hooks may put more objects into the stage: only what is known to be unfinished is hidden.
    fn shows(&self, name: &str) -> bool {
        lock(&self.names).blobs.get(name) != Some(&State::Open)
    }
}

impl BlobStore for StageView {
    fn stat(&self, name: &str) -> Result<Option<BlobMeta>> {
        Ok(self.blobs.stat(name)?.filter(|meta| self.shows(&meta.name)))
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        check_blob_name(name)?;
        match self.shows(name) {
            true => self.blobs.read(name, range),
            false => Err(Error::not_found(name)),
        }
    }

    fn open(&self, name: &str) -> Result<Option<Arc<dyn OpenBlob>>> {
        check_blob_name(name)?;
        match self.shows(name) {
            true => self.blobs.open(name),
            false => Ok(None),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<BlobMeta>> {
        let mut blobs = self.blobs.list(prefix)?;
        blobs.retain(|meta| self.shows(&meta.name));
        Ok(blobs)
    }

    fn delete(&self, name: &str) -> Result<()> {
        Err(Error::read_only(name))
    }

    fn stage(&self) -> Result<Box<dyn Stage>> {
        Err(Error::read_only("a stage"))
    }

    fn map(&self, name: &str) -> Result<Option<Bytes>> {
        check_blob_name(name)?;
        match self.shows(name) {
            true => self.blobs.map(name),
            false => Ok(None),
        }
    }

    fn faults(&self) -> u64 {
        self.blobs.faults()
    }
}

struct DiskWriter {
    name: String,
    path: std::path::PathBuf,
    file: File,
    disk: Disk,
    names: Arc<Mutex<Names>>,
    finished: bool,
}

impl io::Write for DiskWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.write(&self.file, &self.path, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for DiskWriter {
    fn finish(mut self: Box<Self>) -> Result<()> {
        self.finished = true;
        lock(&self.names).blobs.insert(self.name.clone(), State::Finished);
        Ok(())
    }
}

impl Drop for DiskWriter {
    fn drop(&mut self) {
        if !self.finished {
            lock(&self.names).blobs.remove(&self.name);
            // With its directory it would go anyway; gone now, the name can be used again.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A panic elsewhere leaves a whole map behind: every change of it is one call.
fn lock(names: &Mutex<Names>) -> MutexGuard<'_, Names> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}
