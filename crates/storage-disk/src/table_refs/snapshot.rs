//! Reading refs: the tables of one moment, which nobody changes.

use std::ops::ControlFlow;
use std::sync::Arc;

use bstr::{BStr, ByteSlice as _};
use object::{IdView, ObjectId, RefName};
use reftable::merged::{MergedLogs, MergedRefs, find};
use reftable::{RefRecord, RefValue, Table, ValueView};
use storage::{Error, Peeled, PeeledView, Ref, RefSnapshot, RefView, Result, Target, TargetView};

use super::Inner;
use crate::refs::{kept, shallow};

pub(super) struct TableSnapshot {
    inner: Arc<Inner>,
    tables: Vec<Table>,
    /// How often maps had been lost when it was taken.
    faults: u64,
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

impl TableSnapshot {
    pub fn new(inner: Arc<Inner>, tables: Vec<Table>, faults: u64) -> Self {
        TableSnapshot { inner, tables, faults }
    }
}

impl Inner {
    /// What a ref points at in these tables.
    pub fn target(&self, tables: &[Table], name: &BStr) -> Result<Option<(Target, Peeled)>> {
        let found = find(tables, name, self.hash).map_err(|error| self.damaged(error))?;
        Ok(found.map(target_of).transpose()?.flatten())
    }
}

impl RefSnapshot for TableSnapshot {
    fn get(&self, name: &BStr) -> Result<Option<Ref>> {
        let Ok(name) = RefName::new(name.as_bytes()) else { return Ok(None) };
        let found = self.inner.target(&self.tables, name.as_bstr())?;
        self.inner.check_intact(self.faults)?;
        Ok(found.map(|(target, peeled)| Ref { name, target, peeled }))
    }

    fn scan(
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
        let damaged = |error| self.inner.damaged(error);
        let mut refs = MergedRefs::new(&self.tables, start.as_bstr(), false).map_err(damaged)?;
        while refs.advance().map_err(damaged)? {
            let Some(view) = refs.present() else { break };
            if !view.name.starts_with(start) {
                break;
            }
            let id = |bytes: &[u8]| ObjectId::from_prefix(bytes, self.inner.hash);
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
        self.inner.check_intact(self.faults)
    }

    fn shallow(&self) -> Result<Vec<ObjectId>> {
        shallow::read(&self.inner.dirs.common_dir, self.inner.hash)
    }

    fn scan_kept(&self, visit: &mut dyn FnMut(ObjectId)) -> Result<()> {
        let damaged = |error| self.inner.damaged(error);
        let mut logs = MergedLogs::new(&self.tables, "".into(), false).map_err(damaged)?;
        while let Some(line) = logs.next_line().map_err(damaged)? {
            let ids = line.entry.iter().flat_map(|entry| [entry.old, entry.new]);
            ids.filter(|id| !id.is_null()).for_each(&mut *visit);
        }
        self.inner.check_intact(self.faults)?;
        kept::scan(&self.inner.dirs, self.inner.hash, visit)
    }

    fn keeps_unseen(&self) -> Result<bool> {
        kept::has_index(&self.inner.dirs)
    }
}
