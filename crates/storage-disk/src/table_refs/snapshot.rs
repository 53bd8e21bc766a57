//! Reading refs: the tables of one moment, which nobody changes.

use std::ops::ControlFlow;
use std::sync::Arc;

use bstr::BStr;
use object::ObjectId;
use storage::{Ref, RefSnapshot, RefView, Result};
use storage_reftable::RefTables;

use super::Inner;
use crate::refs::{kept, shallow};

pub(super) struct TableSnapshot {
    inner: Arc<Inner>,
    stack: RefTables,
    /// How often maps had been lost when it was taken.
    faults: u64,
}

impl TableSnapshot {
    pub fn new(inner: Arc<Inner>, stack: RefTables, faults: u64) -> Self {
        TableSnapshot { inner, stack, faults }
    }
}

impl RefSnapshot for TableSnapshot {
    fn get(&self, name: &BStr) -> Result<Option<Ref>> {
        let found = self.stack.get(name)?;
        self.inner.check_intact(self.faults)?;
        Ok(found)
    }

    fn scan(
        &self,
        prefix: &BStr,
        visit: &mut dyn FnMut(RefView<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        self.stack.scan(prefix, visit)?;
        self.inner.check_intact(self.faults)
    }

    fn shallow(&self) -> Result<Vec<ObjectId>> {
        shallow::read(&self.inner.dirs.common_dir, self.inner.hash)
    }

    fn scan_kept(&self, visit: &mut dyn FnMut(ObjectId)) -> Result<()> {
        self.stack.scan_logged(visit)?;
        self.inner.check_intact(self.faults)?;
        kept::scan(&self.inner.dirs, self.inner.hash, visit)
    }

    fn keeps_unseen(&self) -> Result<bool> {
        kept::has_index(&self.inner.dirs)
    }
}
