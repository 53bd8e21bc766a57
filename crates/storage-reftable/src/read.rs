//! Reading refs: the tables of one moment, which nobody changes.

use std::ops::ControlFlow;

use bstr::{BStr, ByteSlice as _};
use object::{HashKind, IdView, ObjectId, RefName};
use reftable::merged::{MergedLogs, MergedRefs, find};
use reftable::{RefRecord, RefValue, Table, ValueView};
use storage::{Error, Peeled, PeeledView, Ref, RefView, Result, Target, TargetView};

/// How many symbolic refs are followed to find an id (git: 5).
const SYMBOLIC_DEPTH_MAX: usize = 5;

/// The tables of a list, the oldest first.
pub struct RefTables {
    /// What to call the stack in errors.
    pub what: String,
    /// What names its objects.
    pub hash: HashKind,
    /// The tables' names.
    pub names: Vec<String>,
    /// The tables, one for each name.
    pub tables: Vec<Table>,
}

/// The target a record names, and what it tells of tags: git peels every ref it writes.
fn target_of(record: RefRecord) -> Result<Option<(Target, Peeled)>> {
    Ok(match record.value {
        RefValue::Deleted => None,
        RefValue::Id(id) => Some((Target::Id(id), Peeled::NotATag)),
        RefValue::Tag { id, peeled } => Some((Target::Id(id), Peeled::To(peeled))),
        RefValue::Symbolic(target) => {
            let target = RefName::new(target.as_slice())
                .map_err(|error| Error::corrupt(&record.name, error))?;
            Some((Target::Symbolic(target), Peeled::Unknown))
        }
    })
}

impl RefTables {
    /// What a ref points at, and what is known of its peeled value.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a damaged table.
    pub fn target(&self, name: &BStr) -> Result<Option<(Target, Peeled)>> {
        let found = find(&self.tables, name, self.hash).map_err(|error| self.damaged(error))?;
        Ok(found.map(target_of).transpose()?.flatten())
    }

    /// As [`storage::RefSnapshot::get`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a damaged table.
    pub fn get(&self, name: &BStr) -> Result<Option<Ref>> {
        let Ok(name) = RefName::new(name.as_bytes()) else { return Ok(None) };
        let found = self.target(name.as_bstr())?;
        Ok(found.map(|(target, peeled)| Ref { name, target, peeled }))
    }

    /// As [`storage::RefSnapshot::scan`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a damaged table.
    pub fn scan(
        &self,
        prefix: &BStr,
        visit: &mut dyn FnMut(RefView<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        const REFS_DIRECTORY: &[u8] = b"refs/";
        let start: &[u8] = match prefix.starts_with(REFS_DIRECTORY) {
            true => prefix,
            false if REFS_DIRECTORY.starts_with(prefix) => REFS_DIRECTORY,
            false => return Ok(()),
        };
        let damaged = |error| self.damaged(error);
        let mut refs = MergedRefs::new(&self.tables, start.as_bstr(), false).map_err(damaged)?;
        while refs.advance().map_err(damaged)? {
            let Some(view) = refs.present() else { break };
            if !view.name.starts_with(start) {
                break;
            }
            let id = |bytes: &[u8]| ObjectId::from_prefix(bytes, self.hash);
            let (one, other);
            let (target, peeled) = match view.value {
                ValueView::Deleted => continue,
                ValueView::Id(bytes) => {
                    one = id(bytes);
                    (TargetView::Id(IdView::from(&one)), PeeledView::NotATag)
                }
                ValueView::Tag(bytes, peeled) => {
                    (one, other) = (id(bytes), id(peeled));
                    let peeled = PeeledView::To(IdView::from(&other));
                    (TargetView::Id(IdView::from(&one)), peeled)
                }
                ValueView::Symbolic(target) => (TargetView::Symbolic(target), PeeledView::Unknown),
            };
            let names = match target {
                TargetView::Symbolic(target) => [Some(view.name), Some(target)],
                TargetView::Id(_) => [Some(view.name), None],
            };
            let is_valid = |name: &BStr| RefName::new(name.as_bytes()).is_ok();
            if !names.into_iter().flatten().all(is_valid) {
                tracing::warn!(name = %view.name, "ignoring a broken ref");
                continue;
            }
            if visit(RefView { name: view.name, target, peeled }).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Visits the objects that reflogs name.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a damaged table.
    pub fn scan_logged(&self, visit: &mut dyn FnMut(ObjectId)) -> Result<()> {
        let damaged = |error| self.damaged(error);
        let mut logs = MergedLogs::new(&self.tables, "".into(), false).map_err(damaged)?;
        while let Some(line) = logs.next_line().map_err(damaged)? {
            let ids = line.entry.iter().flat_map(|entry| [entry.old, entry.new]);
            ids.filter(|id| !id.is_null()).for_each(&mut *visit);
        }
        Ok(())
    }

    /// The object a target leads to in the end, if any.
    pub(crate) fn resolve(&self, target: &Target) -> Result<Option<ObjectId>> {
        let mut target = target.clone();
        for _ in 0..SYMBOLIC_DEPTH_MAX {
            match target {
                Target::Id(id) => return Ok(Some(id)),
                Target::Symbolic(name) => match self.target(name.as_bstr())? {
                    Some((next, _)) => target = next,
                    None => return Ok(None),
                },
            }
        }
        Ok(None)
    }

    /// Visits the lines of a ref's log by the numbers of their transactions.
    pub(crate) fn log_of(
        &self,
        name: &BStr,
        visit: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<()> {
        let damaged = |error| self.damaged(error);
        let mut logs = MergedLogs::new(&self.tables, name, false).map_err(damaged)?;
        while let Some(line) = logs.next_line().map_err(damaged)? {
            if line.name != name || visit(line.update_index).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Damage, told with the stack's name.
    pub fn damaged(&self, error: reftable::Error) -> Error {
        Error::corrupt(&self.what, error)
    }
}
