//! A transaction: one more table on the stack.
//!
//! The first half locks the list, verifies every edit and writes the table, which nobody sees;
//! the second half lists it.

use std::path::PathBuf;

use object::RefName;
use reftable::stack::format_list;
use storage::{
    BlobStore as _, CommitError, Error, Prepared, RefEdit, RefTransaction, Result, Turn,
};
use storage_reftable::{RefTables, check_transaction};

use super::Inner;
use crate::disk::Directories;
use crate::events;
use crate::lock::LockFile;
use crate::refs::shallow::ShallowUpdate;

/// A transaction that holds the lock.
struct PreparedTables<'a> {
    inner: &'a Inner,
    /// Of a transaction that changes no ref, there is none.
    lock: Option<(LockFile, Turn<'a>)>,
    /// The new table, until it is listed.
    table: Option<PathBuf>,
    shallow: Option<ShallowUpdate>,
    /// The refs it changes, if somebody wants to know.
    names: Vec<RefName>,
}

pub(super) fn prepare(
    inner: &Inner,
    tx: RefTransaction,
) -> Result<Box<dyn Prepared + '_>, CommitError> {
    check_transaction(&tx.edits, inner.hash)?;
    let mut prepared =
        PreparedTables { inner, lock: None, table: None, shallow: None, names: Vec::new() };
    if !tx.edits.is_empty() {
        let faults = inner.files.faults();
        let (lock, turn) = inner.lock()?;
        let stack = inner.stack()?;
        stack.verify(&tx.edits)?;
        inner.check_intact(faults)?;
        prepared.write(&stack, &tx.edits, &lock)?;
        prepared.lock = Some((lock, turn));
        prepared.names = events::told_of(&inner.dirs.git_dir, &tx.edits);
    }
    if !tx.shallow_add.is_empty() || !tx.shallow_remove.is_empty() {
        let settings = (&inner.disk, inner.settings.lock_wait);
        let changes = (&*tx.shallow_add, &*tx.shallow_remove);
        let root = &inner.dirs.common_dir;
        prepared.shallow = Some(ShallowUpdate::write(settings, root, inner.hash, changes)?);
    }
    Ok(Box::new(prepared))
}

impl PreparedTables<'_> {
    /// Writes the table and the list that names it.
    fn write(&mut self, stack: &RefTables, edits: &[RefEdit], lock: &LockFile) -> Result<()> {
        let inner = self.inner;
        let creates = |name: &_| inner.settings.reflogs.creates(name);
        let table = stack.transaction(edits, &creates)?;
        let path = inner.directory().join(&table.name);
        let at = |source| Error::io(path.display(), source);
        let file = inner.disk.create_new(&path, 0o666).map_err(at)?;
        self.table = Some(path.clone());
        inner.disk.write_all(&file, &path, &table.bytes).map_err(at)?;
        inner.disk.sync_file(&file, &path).map_err(at)?;
        let directory = Directories::from([inner.directory()]);
        inner.disk.sync_directories(&directory).map_err(at)?;
        let mut names = stack.names.clone();
        names.push(table.name);
        let list = inner.list();
        let written = lock.write(format_list(&names).as_bytes());
        written.map_err(|source| Error::io(list.display(), source))
    }
}

impl Prepared for PreparedTables<'_> {
    fn commit(mut self: Box<Self>) -> Result<(), CommitError> {
        let inner = self.inner;
        let mut changed = Directories::new();
        if let Some(shallow) = &mut self.shallow {
            shallow.publish(&mut changed)?;
        }
        let has_table = self.lock.is_some();
        if let Some((mut lock, _turn)) = self.lock.take() {
            let list = inner.list();
            lock.replace_target().map_err(|source| Error::io(list.display(), source))?;
            self.table = None;
            changed.insert(inner.directory());
        }
        let synced = inner.disk.sync_directories(&changed);
        synced.map_err(|source| Error::io("syncing the refs", source))?;
        events::ring(&inner.dirs.git_dir, &self.names);
        if has_table && let Err(error) = inner.compact() {
            // Nothing is lost, and the next one tries again.
            tracing::warn!(%error, "reftables were not made fewer");
        }
        Ok(())
    }
}

impl Drop for PreparedTables<'_> {
    fn drop(&mut self) {
        if let Some(table) = self.table.take()
            && let Err(error) = self.inner.disk.remove_file(&table)
        {
            tracing::warn!("cannot remove {}: {error}", table.display());
        }
    }
}
