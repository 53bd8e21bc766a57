//! A transaction: one more table on the stack, together with those that come at the same time.
//!
//! The first half holds the names against others of this process and verifies every edit; the second half
//! is done in rounds, one for all that wait: the list is locked, all is verified once more, since
//! other programs may have changed refs meanwhile, and one table is written and listed.

use std::path::PathBuf;

use object::RefName;
use reftable::Table;
use reftable::stack::{compact, due, format_list, table_name};
use storage::{
    BlobStore as _, CommitError, Error, Hold, Prepared, RefEdit, RefTransaction, Result,
};
use storage_reftable::{NewTable, RefTables, check_transaction};

use super::Inner;
use super::compact::FRAME_BYTES;
use crate::disk::Directories;
use crate::events;
use crate::lock::LockFile;
use crate::refs::shallow::ShallowUpdate;

/// Bytes of older tables that a round makes one with its own; more are left to [`Inner::compact`].
const FOLDED_BYTES_MAX: u64 = 1 << 20;

/// How one of a round's transactions went.
pub(super) type Outcome = Result<(), CommitError>;

/// A transaction whose names are held, and which was verified.
struct PreparedTables<'a> {
    inner: &'a Inner,
    edits: Vec<RefEdit>,
    shallow: Option<ShallowUpdate>,
    _hold: Hold<'a>,
}

pub(super) fn prepare(
    inner: &Inner,
    tx: RefTransaction,
) -> Result<Box<dyn Prepared + '_>, CommitError> {
    check_transaction(&tx.edits, inner.hash)?;
    let names: Vec<&RefName> = tx.edits.iter().map(|edit| &edit.name).collect();
    let hold = inner.held.take(b"", &names, inner.settings.lock_wait)?;
    if !tx.edits.is_empty() {
        let faults = inner.files.faults();
        inner.stack()?.verify(&tx.edits)?;
        inner.check_intact(faults)?;
    }
    let mut shallow = None;
    if !tx.shallow_add.is_empty() || !tx.shallow_remove.is_empty() {
        let settings = (&inner.disk, inner.settings.lock_wait);
        let changes = (&*tx.shallow_add, &*tx.shallow_remove);
        let root = &inner.dirs.common_dir;
        shallow = Some(ShallowUpdate::write(settings, root, inner.hash, changes)?);
    }
    Ok(Box::new(PreparedTables { inner, edits: tx.edits, shallow, _hold: hold }))
}

impl Prepared for PreparedTables<'_> {
    fn commit(mut self: Box<Self>) -> Result<(), CommitError> {
        let inner = self.inner;
        if let Some(shallow) = &mut self.shallow {
            let mut changed = Directories::new();
            shallow.publish(&mut changed)?;
            let synced = inner.disk.sync_directories(&changed);
            synced.map_err(|source| Error::io("syncing the shallow commits", source))?;
        }
        if self.edits.is_empty() {
            return Ok(());
        }
        let names = events::told_of(&inner.dirs.git_dir, &self.edits);
        let edits = std::mem::take(&mut self.edits);
        inner.rounds.run(edits, &|all| inner.commit_all(&all))?;
        events::ring(&inner.dirs.git_dir, &names);
        Ok(())
    }
}

impl Inner {
    /// Commits transactions together; how each went.
    fn commit_all(&self, all: &[Vec<RefEdit>]) -> Vec<Outcome> {
        let mut settled: Vec<Option<Outcome>> = all.iter().map(|_| None).collect();
        let failed = match self.commit_round(all, &mut settled) {
            Ok(()) => None,
            Err(CommitError::Storage(error)) => Some(error),
            Err(other) => Some(Error::corrupt(self.directory().display(), other)),
        };
        if failed.is_none()
            && let Err(error) = self.compact()
        {
            // Nothing is lost, and the next one tries again.
            tracing::warn!(%error, "reftables were not made fewer");
        }
        let outcome = |one: Option<Outcome>| match (one, &failed) {
            (Some(outcome), _) => outcome,
            (None, Some(error)) => Err(error.again().into()),
            (None, None) => Ok(()),
        };
        settled.into_iter().map(outcome).collect()
    }

    /// Those that are not settled are committed, or none of them.
    fn commit_round(
        &self,
        all: &[Vec<RefEdit>],
        settled: &mut [Option<Outcome>],
    ) -> Result<(), CommitError> {
        let faults = self.files.faults();
        let (mut lock, _turn) = self.lock()?;
        let old = self.stack()?;
        let mut stack = RefTables {
            what: old.what.clone(),
            hash: old.hash,
            names: old.names.clone(),
            tables: old.tables.clone(),
        };
        let creates = |name: &_| self.settings.reflogs.creates(name);
        for (edits, settled) in all.iter().zip(settled) {
            // Each upon those before it.
            if let Err(error) = stack.verify(edits) {
                *settled = Some(Err(error));
                continue;
            }
            let table = stack.transaction(edits, &creates)?;
            let opened = Table::open(table.bytes.into());
            stack.tables.push(opened.map_err(|error| stack.damaged(error))?);
            stack.names.push(table.name);
        }
        self.check_intact(faults)?;
        if stack.tables.len() == old.tables.len() {
            return Ok(());
        }
        let (start, held) = self.folded(&stack, old.tables.len())?;
        let table = one_of(&stack, start)?;
        self.list_table(&mut lock, &stack.names[..start], &table)?;
        drop(lock);
        for name in &old.names[start..] {
            // Whoever has it open reads on; what stays behind, git removes.
            let path = self.directory().join(name);
            if let Err(error) = self.disk.remove_file(&path) {
                tracing::debug!("{}: {error}", path.display());
            }
        }
        drop(held);
        Ok(())
    }

    /// From which place on tables become one with the new ones, and the locks of those that are older.
    fn folded(&self, stack: &RefTables, old_count: usize) -> Result<(usize, Vec<LockFile>)> {
        let mut sizes: Vec<u64> =
            stack.tables.iter().map(|table| table.size().saturating_sub(FRAME_BYTES)).collect();
        let new = sizes.drain(old_count..).sum();
        sizes.push(new);
        let mut start = match due(&sizes) {
            Some(range) if range.end == sizes.len() => range.start,
            _ => old_count,
        };
        while sizes[start..old_count].iter().sum::<u64>() > FOLDED_BYTES_MAX {
            start += 1;
        }
        let mut held = Vec::new();
        for at in (start..old_count).rev() {
            let path = self.directory().join(&stack.names[at]);
            match self.try_lock(&path, std::time::Duration::ZERO)? {
                Some(lock) => held.push(lock),
                // Somebody else makes it one with others.
                None => return Ok((at + 1, held)),
            }
        }
        Ok((start, held))
    }

    /// Writes a table, and lists it behind others; the list is locked.
    fn list_table(&self, lock: &mut LockFile, before: &[String], table: &NewTable) -> Result<()> {
        let path = self.directory().join(&table.name);
        let unlisted = Unlisted { inner: self, path: &path, is_listed: false };
        let at = |source| Error::io(path.display(), source);
        let file = self.disk.create_new(&path, 0o666).map_err(at)?;
        self.disk.write_all(&file, &path, &table.bytes).map_err(at)?;
        self.disk.sync_file(&file, &path).map_err(at)?;
        let directory = Directories::from([self.directory()]);
        self.disk.sync_directories(&directory).map_err(at)?;
        let mut names = before.to_vec();
        names.push(table.name.clone());
        let list = self.list();
        let at = |source| Error::io(list.display(), source);
        lock.write(format_list(&names).as_bytes()).map_err(at)?;
        lock.replace_target().map_err(at)?;
        unlisted.keep();
        self.disk.sync_directories(&directory).map_err(|error| Error::io("syncing the refs", error))
    }
}

/// All tables from a place on as one.
fn one_of(stack: &RefTables, start: usize) -> Result<NewTable> {
    let tables = &stack.tables[start..];
    let [first, .., last] = tables else {
        let bytes = tables.first().map(|only| only.bytes().to_vec()).unwrap_or_default();
        return Ok(NewTable { name: stack.names.last().cloned().unwrap_or_default(), bytes });
    };
    let bytes = compact(tables, start == 0, Vec::new()).map_err(|error| stack.damaged(error))?;
    let name = table_name(first.min_update_index(), last.max_update_index(), random());
    Ok(NewTable { name, bytes })
}

fn random() -> u32 {
    use std::collections::hash_map::RandomState;
    use std::hash::{BuildHasher as _, Hasher as _};
    RandomState::new().build_hasher().finish() as u32
}

/// A table that is removed unless it is listed.
struct Unlisted<'a> {
    inner: &'a Inner,
    path: &'a PathBuf,
    is_listed: bool,
}

impl Unlisted<'_> {
    fn keep(mut self) {
        self.is_listed = true;
    }
}

impl Drop for Unlisted<'_> {
    fn drop(&mut self) {
        if !self.is_listed
            && let Err(error) = self.inner.disk.remove_file(self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}
