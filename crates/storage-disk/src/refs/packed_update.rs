//! A new `packed-refs` in the making: records taken out, records put in.
//!
//! As git does it: `packed-refs.lock` is held from before the file is read until the loose
//! files are gone, so that nobody packs a ref that is being deleted; the new content is
//! written to `packed-refs.new` and renamed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bstr::{BStr, BString};
use object::{ObjectId, RefName};
use storage::{CommitError, Error, Result};

use super::Inner;
use crate::disk::Directories;
use crate::lock::{LockFile, lock_path};
use crate::packed_refs::PackedRefs;

/// How much is collected before it is written, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// A value with what it peels to, unless it is no annotated tag.
#[derive(Debug, Clone, Copy)]
struct Record {
    id: ObjectId,
    peeled: Option<ObjectId>,
}

pub(super) struct PackedUpdate<'a> {
    inner: &'a Inner,
    lock: LockFile,
    file: PathBuf,
    packed: Arc<PackedRefs>,
    /// What becomes of each name: a new value, or nothing.
    changes: BTreeMap<BString, Option<Record>>,
    written: Option<PathBuf>,
}

impl<'a> PackedUpdate<'a> {
    /// Locks and reads `packed-refs`; `for_ref` is named when somebody else has it.
    pub fn lock(
        inner: &'a Inner,
        for_ref: &RefName,
        changed: &mut Directories,
    ) -> Result<Self, CommitError> {
        let root = &inner.dirs.common_dir;
        let mut file = root.join("packed-refs");
        // A link is followed, so that the file it names is replaced and not the link.
        if file.is_symlink() {
            file = fs::canonicalize(&file).map_err(|e| Error::io(file.display(), e))?;
        }
        let wait = inner.settings.packed_lock_wait;
        let lock = LockFile::acquire(&inner.disk, root, file.clone(), wait, changed);
        let lock = lock.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => CommitError::Locked {
                name: for_ref.clone(),
                lock: lock_path(&file).display().to_string(),
            },
            _ => Error::io(file.display(), error).into(),
        })?;
        let packed = inner.packed.load()?;
        Ok(PackedUpdate { inner, lock, file, packed, changes: BTreeMap::new(), written: None })
    }

    /// The file as it is.
    pub fn packed(&self) -> &Arc<PackedRefs> {
        &self.packed
    }

    /// Takes a ref out, if it is in.
    pub fn remove(&mut self, name: &RefName) -> Result<()> {
        if self.packed.find(name)?.is_some() {
            self.changes.insert(name.as_bstr().to_owned(), None);
        }
        Ok(())
    }

    /// Puts a ref in; `peeled` is what it leads to if it is an annotated tag.
    pub fn insert(&mut self, name: &RefName, id: ObjectId, peeled: Option<ObjectId>) {
        self.changes.insert(name.as_bstr().to_owned(), Some(Record { id, peeled }));
    }

    /// Writes and syncs the new file beside the old one.
    pub fn write(&mut self) -> Result<()> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let mut path = self.file.clone().into_os_string();
        path.push(".new");
        let path = PathBuf::from(path);
        let at = |source| Error::io(path.display(), source);
        if fs::symlink_metadata(&path).is_ok() {
            // Left behind by a process that died; we hold the lock, so nobody is writing it.
            self.inner.disk.remove_file(&path).map_err(at)?;
        }
        let file = self.inner.disk.create_new(&path, 0o666).map_err(at)?;
        self.written = Some(path.clone());
        let mut buffer = Vec::with_capacity(BUFFER_BYTES + 1024);
        buffer.extend_from_slice(self.packed.header());
        let flush = |buffer: &mut Vec<u8>, limit: usize| {
            if buffer.len() > limit {
                self.inner.disk.write_all(&file, &path, buffer).map_err(at)?;
                buffer.clear();
            }
            Ok::<(), Error>(())
        };
        let mut changes = self.changes.iter().peekable();
        let mut records = self.packed.cursor();
        while let Some(record) = records.next_record()? {
            while let Some((name, change)) = changes.next_if(|(name, _)| *name < record.name) {
                push(&mut buffer, name.as_ref(), *change);
            }
            match changes.next_if(|(name, _)| *name == record.name) {
                Some((name, change)) => push(&mut buffer, name.as_ref(), *change),
                None => buffer.extend_from_slice(record.lines),
            }
            flush(&mut buffer, BUFFER_BYTES)?;
        }
        for (name, change) in changes {
            push(&mut buffer, name.as_ref(), *change);
        }
        flush(&mut buffer, 0)?;
        self.inner.disk.sync_file(&file, &path).map_err(at)
    }

    /// Makes the new file the one everybody reads. The lock is held on.
    pub fn publish(&mut self, changed: &mut Directories) -> Result<()> {
        if let Some(path) = &self.written {
            let renamed = self.inner.disk.rename(path, &self.file);
            renamed.map_err(|source| Error::io(self.file.display(), source))?;
            self.written = None;
            changed.extend(self.file.parent().map(|parent| parent.to_owned()));
        }
        Ok(())
    }

    /// Lets others change the file again.
    pub fn release(&mut self) {
        self.lock.release();
    }
}

impl Drop for PackedUpdate<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.written.take()
            && let Err(error) = self.inner.disk.remove_file(&path)
        {
            tracing::warn!("cannot remove {}: {error}", path.display());
        }
    }
}

fn push(buffer: &mut Vec<u8>, name: &BStr, change: Option<Record>) {
    let Some(Record { id, peeled }) = change else { return };
    buffer.extend_from_slice(id.hex_into(&mut [0; 64]).as_bytes());
    buffer.push(b' ');
    buffer.extend_from_slice(name);
    buffer.push(b'\n');
    if let Some(peeled) = peeled {
        buffer.push(b'^');
        buffer.extend_from_slice(peeled.hex_into(&mut [0; 64]).as_bytes());
        buffer.push(b'\n');
    }
}
