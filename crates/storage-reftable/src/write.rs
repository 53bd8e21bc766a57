//! A transaction: one more table on the stack.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::ops::ControlFlow;

use bstr::{BStr, BString, ByteSlice as _};
use object::{HashKind, ObjectId, RefName};
use reftable::merged::MergedRefs;
use reftable::stack::{next_update_index, table_name};
use reftable::{LogEntry, LogRecord, RefRecord, RefValue, WriteOptions, table_of};
use storage::{
    Change, CommitError, Error, Peeled, RefEdit, ReflogLine, Result, Target, check_edits,
    check_ids, prefixes_of, single_line,
};

use crate::RefTables;

/// Bytes of a ref's name and of the one it points at: two of them fit into a block of git's size,
/// or an index would not become shorter from level to level.
const NAME_BYTES_MAX: usize = 1900;

/// A table that belongs on top of the stack it was made for.
pub struct NewTable {
    /// A name that no other table has.
    pub name: String,
    /// The table.
    pub bytes: Vec<u8>,
}

/// Whether a stack of tables can take these edits at all.
///
/// # Errors
/// [`Error::Corrupt`], which names the ref: for what is no id, a pseudoref that is a file of its
/// own, a name too long for a table, or a ref that is in the transaction twice.
pub fn check_transaction(edits: &[RefEdit], hash: HashKind) -> Result<(), CommitError> {
    check_edits(edits)?;
    check_ids(edits, hash)?;
    for edit in edits {
        if edit.name.is_special_file() {
            let why = format!("refusing to update pseudoref '{}'", edit.name);
            return Err(Error::corrupt(&edit.name, why).into());
        }
        check_lengths(edit)?;
    }
    Ok(())
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

/// Lines by name, of one ref the latest first.
type Lines = BTreeMap<(BString, std::cmp::Reverse<u64>), Option<LogEntry>>;

impl RefTables {
    /// Whether every ref is what an edit expects, and every new name is possible beside those
    /// that exist.
    ///
    /// # Errors
    /// [`CommitError::Lost`], [`CommitError::NameConflict`], and damage.
    pub fn verify(&self, edits: &[RefEdit]) -> Result<(), CommitError> {
        edits.iter().try_for_each(|edit| self.verify_one(edit))
    }

    /// The table that makes these edits, which were verified against this stack. `creates`:
    /// whether a ref without a reflog gets one.
    ///
    /// # Errors
    /// Damage.
    pub fn transaction(
        &self,
        edits: &[RefEdit],
        creates: &dyn Fn(&RefName) -> bool,
    ) -> Result<NewTable> {
        let index = next_update_index(&self.tables);
        let mut refs: Vec<RefRecord> = edits.iter().map(|edit| record(edit, index)).collect();
        refs.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let logs = self.lines(edits, index, creates)?;
        let options = WriteOptions::new(self.hash, index, index);
        let bytes = table_of(options, &refs, &logs).map_err(|error| self.damaged(error))?;
        let random = RandomState::new().build_hasher().finish() as u32;
        Ok(NewTable { name: table_name(index, index, random), bytes })
    }

    fn verify_one(&self, edit: &RefEdit) -> Result<(), CommitError> {
        let name = &edit.name;
        let found = self.target(name.as_bstr())?.map(|(target, _)| target);
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
            if self.target(prefix)?.is_some() {
                return Err(conflict(prefix));
            }
        }
        let directory: BString = [name.as_bytes(), b"/"].concat().into();
        let damaged = |error| self.damaged(error);
        let mut inside =
            MergedRefs::new(&self.tables, directory.as_bstr(), false).map_err(damaged)?;
        inside.advance().map_err(damaged)?;
        match inside.present().filter(|view| view.name.starts_with(&directory)) {
            Some(view) => Err(conflict(view.name)),
            None => Ok(()),
        }
    }

    /// Whether a change of this ref is noted.
    fn is_logged(&self, name: &RefName, creates: &dyn Fn(&RefName) -> bool) -> Result<bool> {
        let mut is_logged = creates(name);
        if !is_logged {
            self.log_of(name.as_bstr(), &mut |_| {
                is_logged = true;
                ControlFlow::Break(())
            })?;
        }
        Ok(is_logged)
    }

    fn lines(
        &self,
        edits: &[RefEdit],
        index: u64,
        creates: &dyn Fn(&RefName) -> bool,
    ) -> Result<Vec<LogRecord>> {
        let mut lines = Lines::new();
        // As in git, a change of the branch HEAD names is noted for HEAD too.
        let head = match edits.iter().any(|edit| edit.name == "HEAD") {
            true => None,
            false => match self.target("HEAD".into())? {
                Some((Target::Symbolic(branch), _)) => Some(branch),
                _ => None,
            },
        };
        let null = ObjectId::null(self.hash);
        for edit in edits {
            let old = match edit.expected.target() {
                Some(target) => self.resolve(target)?.unwrap_or(null),
                None => null,
            };
            let new = match &edit.change {
                Change::Delete => {
                    self.log_of(edit.name.as_bstr(), &mut |index| {
                        let key = (BString::from(edit.name.as_bytes()), std::cmp::Reverse(index));
                        lines.insert(key, None);
                        ControlFlow::Continue(())
                    })?;
                    null
                }
                Change::Update(target) => match self.resolve(target)? {
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
            if !new.is_null() && self.is_logged(&edit.name, creates)? {
                lines.insert(key(edit.name.as_bytes()), Some(entry.clone()));
            }
            if head.as_ref() == Some(&edit.name) && self.is_logged(&RefName::head(), creates)? {
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
