//! A transaction: one more table on the stack.
//!
//! The first half locks the list, verifies every edit and writes the table, which nobody sees;
//! the second half lists it.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::ops::ControlFlow;
use std::path::PathBuf;

use bstr::{BStr, BString, ByteSlice as _};
use object::{ObjectId, RefName};
use reftable::merged::{MergedLogs, MergedRefs};
use reftable::stack::{format_list, next_update_index, table_name};
use reftable::{LogEntry, LogRecord, RefRecord, RefValue, WriteOptions, table_of};
use storage::{
    Change, CommitError, Error, Peeled, Prepared, RefEdit, RefTransaction, ReflogLine, Result,
    Target, check_edits, prefixes_of,
};

use storage::BlobStore as _;

use super::{Inner, Stack};
use crate::disk::Directories;
use crate::lock::LockFile;
use crate::refs::prepare::check_changes;
use crate::refs::reflog::single_line;
use crate::refs::shallow::ShallowUpdate;

/// How many symbolic refs are followed to find an id (git: 5).
const SYMBOLIC_DEPTH_MAX: usize = 5;

/// Bytes of a ref's name and of the one it points at: two of them fit into a block of git's size,
/// or an index would not become shorter from level to level.
const NAME_BYTES_MAX: usize = 1900;

/// A transaction that holds the lock.
struct PreparedTables<'a> {
    inner: &'a Inner,
    /// Of a transaction that changes no ref, there is none.
    lock: Option<LockFile>,
    /// The new table, until it is listed.
    table: Option<PathBuf>,
    shallow: Option<ShallowUpdate>,
}

pub(super) fn prepare(
    inner: &Inner,
    tx: RefTransaction,
) -> Result<Box<dyn Prepared + '_>, CommitError> {
    check_edits(&tx.edits)?;
    check_changes(&tx.edits, inner.hash)?;
    for edit in &tx.edits {
        check_lengths(edit)?;
    }
    let mut prepared = PreparedTables { inner, lock: None, table: None, shallow: None };
    if !tx.edits.is_empty() {
        let faults = inner.files.faults();
        let lock = inner.lock()?;
        let stack = inner.stack()?;
        for edit in &tx.edits {
            inner.verify(&stack, edit)?;
        }
        inner.check_intact(faults)?;
        prepared.write(&stack, &tx.edits, &lock)?;
        prepared.lock = Some(lock);
    }
    if !tx.shallow_add.is_empty() || !tx.shallow_remove.is_empty() {
        let settings = (&inner.disk, inner.settings.lock_wait);
        let changes = (&*tx.shallow_add, &*tx.shallow_remove);
        let root = &inner.dirs.common_dir;
        prepared.shallow = Some(ShallowUpdate::write(settings, root, inner.hash, changes)?);
    }
    Ok(Box::new(prepared))
}

/// Names and targets must fit into a block of a table.
fn check_lengths(edit: &RefEdit) -> Result<()> {
    let target_bytes = match &edit.change {
        Change::Update(Target::Symbolic(target)) => target.len(),
        _ => 0,
    };
    if edit.name.len() + target_bytes > NAME_BYTES_MAX {
        let why = format!("has more than {NAME_BYTES_MAX} bytes, too many for a reftable");
        return Err(Error::corrupt(&edit.name, why));
    }
    Ok(())
}

impl Inner {
    fn verify(&self, stack: &Stack, edit: &RefEdit) -> Result<(), CommitError> {
        let name = &edit.name;
        let found = self.target(&stack.tables, name.as_bstr())?.map(|(target, _)| target);
        let expected = edit.expected.target();
        if found.as_ref() != expected {
            let (name, expected) = (name.clone(), expected.cloned());
            return Err(CommitError::Lost { name, expected, found });
        }
        if found.is_some() || matches!(edit.change, Change::Delete) {
            return Ok(());
        }
        // A name may not be another one's directory, nor inside it.
        let conflict =
            |with: &BStr| CommitError::NameConflict { name: name.clone(), with: with.to_owned() };
        for prefix in prefixes_of(name.as_bstr()) {
            if self.target(&stack.tables, prefix)?.is_some() {
                return Err(conflict(prefix));
            }
        }
        let directory: BString = [name.as_bytes(), b"/"].concat().into();
        let damaged = |error| self.damaged(error);
        let mut inside =
            MergedRefs::new(&stack.tables, directory.as_bstr(), false).map_err(damaged)?;
        inside.advance().map_err(damaged)?;
        match inside.present().filter(|view| view.name.starts_with(&directory)) {
            Some(view) => Err(conflict(view.name)),
            None => Ok(()),
        }
    }

    /// The object a target leads to in the end, if any.
    fn resolve(&self, stack: &Stack, target: &Target) -> Result<Option<ObjectId>> {
        let mut target = target.clone();
        for _ in 0..SYMBOLIC_DEPTH_MAX {
            match target {
                Target::Id(id) => return Ok(Some(id)),
                Target::Symbolic(name) => match self.target(&stack.tables, name.as_bstr())? {
                    Some((next, _)) => target = next,
                    None => return Ok(None),
                },
            }
        }
        Ok(None)
    }

    /// Visits the lines of a ref's log.
    fn log_of(
        &self,
        stack: &Stack,
        name: &BStr,
        visit: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<()> {
        let damaged = |error| self.damaged(error);
        let mut logs = MergedLogs::new(&stack.tables, name, false).map_err(damaged)?;
        while let Some(line) = logs.next_line().map_err(damaged)? {
            if line.name != name || visit(line.update_index).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Whether a change of this ref is noted.
    fn is_logged(&self, stack: &Stack, name: &RefName) -> Result<bool> {
        let mut is_logged = self.settings.reflogs.creates(name);
        if !is_logged {
            self.log_of(stack, name.as_bstr(), &mut |_| {
                is_logged = true;
                ControlFlow::Break(())
            })?;
        }
        Ok(is_logged)
    }
}

/// Lines by name, of one ref the latest first.
type Lines = BTreeMap<(BString, std::cmp::Reverse<u64>), Option<LogEntry>>;

impl PreparedTables<'_> {
    /// Writes the table and the list that names it.
    fn write(&mut self, stack: &Stack, edits: &[RefEdit], lock: &LockFile) -> Result<()> {
        let inner = self.inner;
        let index = next_update_index(&stack.tables);
        let mut refs: Vec<RefRecord> = edits.iter().map(|edit| record(edit, index)).collect();
        refs.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let logs = self.lines(stack, edits, index)?;
        let options = WriteOptions::new(inner.hash, index, index);
        let bytes = table_of(options, &refs, &logs).map_err(|error| inner.damaged(error))?;
        let random = RandomState::new().build_hasher().finish() as u32;
        let name = table_name(index, index, random);
        let path = inner.directory().join(&name);
        let at = |source| Error::io(path.display(), source);
        let file = inner.disk.create_new(&path, 0o666).map_err(at)?;
        self.table = Some(path.clone());
        inner.disk.write_all(&file, &path, &bytes).map_err(at)?;
        inner.disk.sync_file(&file, &path).map_err(at)?;
        let directory = Directories::from([inner.directory()]);
        inner.disk.sync_directories(&directory).map_err(at)?;
        let mut names = stack.names.clone();
        names.push(name);
        let list = inner.list();
        let written = lock.write(format_list(&names).as_bytes());
        written.map_err(|source| Error::io(list.display(), source))
    }

    fn lines(&self, stack: &Stack, edits: &[RefEdit], index: u64) -> Result<Vec<LogRecord>> {
        let inner = self.inner;
        let mut lines = Lines::new();
        // As in git, a change of the branch HEAD names is noted for HEAD too.
        let head = match edits.iter().any(|edit| edit.name == "HEAD") {
            true => None,
            false => match inner.target(&stack.tables, "HEAD".into())? {
                Some((Target::Symbolic(branch), _)) => Some(branch),
                _ => None,
            },
        };
        let null = ObjectId::null(inner.hash);
        for edit in edits {
            let old = match edit.expected.target() {
                Some(target) => inner.resolve(stack, target)?.unwrap_or(null),
                None => null,
            };
            let new = match &edit.change {
                Change::Delete => {
                    inner.log_of(stack, edit.name.as_bstr(), &mut |index| {
                        let key = (BString::from(edit.name.as_bytes()), std::cmp::Reverse(index));
                        lines.insert(key, None);
                        ControlFlow::Continue(())
                    })?;
                    null
                }
                Change::Update(target) => match inner.resolve(stack, target)? {
                    Some(new) => new,
                    // A symbolic ref to nowhere has no value to note.
                    None => continue,
                },
            };
            let Some(line) = &edit.reflog else { continue };
            if old.is_null() && new.is_null() {
                continue;
            }
            let entry = entry_of(line, old, new);
            let key = |name: &[u8]| (BString::from(name), std::cmp::Reverse(index));
            if !new.is_null() && inner.is_logged(stack, &edit.name)? {
                lines.insert(key(edit.name.as_bytes()), Some(entry.clone()));
            }
            if head.as_ref() == Some(&edit.name) && inner.is_logged(stack, &RefName::head())? {
                lines.insert(key(b"HEAD"), Some(entry));
            }
        }
        let record = |((name, index), entry): ((BString, std::cmp::Reverse<u64>), _)| LogRecord {
            name,
            update_index: index.0,
            entry,
        };
        Ok(lines.into_iter().map(record).collect())
    }
}

fn record(edit: &RefEdit, update_index: u64) -> RefRecord {
    let value = match (&edit.change, edit.peeled) {
        (Change::Delete, _) => RefValue::Deleted,
        (Change::Update(Target::Symbolic(target)), _) => {
            RefValue::Symbolic(BString::from(target.as_bytes()))
        }
        (Change::Update(Target::Id(id)), Peeled::To(peeled)) => RefValue::Tag { id: *id, peeled },
        (Change::Update(Target::Id(id)), _) => RefValue::Id(*id),
    };
    RefRecord { name: BString::from(edit.name.as_bytes()), update_index, value }
}

/// A line as a table has it: the committer taken apart.
fn entry_of(line: &ReflogLine, old: ObjectId, new: ObjectId) -> LogEntry {
    let committer = line.committer.as_bstr();
    let (name, rest) = committer.split_once_str("<").unwrap_or((committer, b""));
    let (email, when) = rest.split_once_str(">").unwrap_or((rest, b""));
    let mut when = when.fields();
    let mut number = || {
        let text = when.next()?.to_str().ok()?;
        text.parse::<i64>().ok()
    };
    let seconds = number().and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
    let zone = number().and_then(|zone| i16::try_from(zone).ok()).unwrap_or(0);
    let mut message = single_line(line.message.as_bstr());
    if !message.is_empty() {
        message.push(b'\n');
    }
    LogEntry {
        old,
        new,
        name: name.trim().into(),
        email: email.trim().into(),
        seconds,
        zone,
        message,
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
        if let Some(mut lock) = self.lock.take() {
            let list = inner.list();
            lock.replace_target().map_err(|source| Error::io(list.display(), source))?;
            self.table = None;
            changed.insert(inner.directory());
        }
        let synced = inner.disk.sync_directories(&changed);
        synced.map_err(|source| Error::io("syncing the refs", source))?;
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
