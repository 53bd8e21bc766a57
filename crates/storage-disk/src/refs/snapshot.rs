//! Reading refs: loose refs win over packed ones.
//!
//! The order of reading matters. A ref moves from loose to packed by being written into
//! `packed-refs` first and removed second: whoever does not find it loose must look into a
//! `packed-refs` that is at least as new.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use bstr::{BStr, ByteSlice as _};
use object::{ObjectId, RefName, check_ref_format};
use storage::{Error, Peeled, Ref, RefSnapshot, RefView, Result, Target, TargetView};

use super::capture::{LooseRefs, LooseView};
use super::loose::{self, Loose};
use super::{Inner, shallow};
use crate::packed_refs::{PackedIter, PackedRecord, PackedRefs};
use crate::worktree::RefDirs;

/// The refs of a repository while it goes on changing.
///
/// The first scan of everything freezes what is below `refs/`; until then every call sees the
/// files as they are at that moment.
pub(super) struct FilesSnapshot {
    inner: Arc<Inner>,
    frozen: OnceLock<View>,
}

/// Loose refs, and packed refs read after them.
struct View {
    loose: LooseRefs,
    packed: Arc<PackedRefs>,
}

impl FilesSnapshot {
    pub fn new(inner: Arc<Inner>) -> Self {
        FilesSnapshot { inner, frozen: OnceLock::new() }
    }

    fn view(&self, prefix: &BStr) -> Result<View> {
        let loose = LooseRefs::read(&self.inner.dirs, prefix, self.inner.hash)?;
        Ok(View { loose, packed: self.inner.packed.load()? })
    }
}

impl RefSnapshot for FilesSnapshot {
    fn get(&self, name: &BStr) -> Result<Option<Ref>> {
        let inner = &*self.inner;
        if let Some((dirs, name)) = inner.dirs.of_other_worktree(name) {
            return inner.get_in(&dirs, name);
        }
        match (self.frozen.get(), name.starts_with(b"refs/")) {
            (Some(view), true) => view.get(name),
            _ => inner.get_in(&inner.dirs, name),
        }
    }

    fn scan(
        &self,
        prefix: &BStr,
        visit: &mut dyn FnMut(RefView<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        if let Some(view) = self.frozen.get() {
            return view.scan(prefix, visit);
        }
        let view = self.view(prefix)?;
        if b"refs/".starts_with(prefix.as_bytes()) {
            return self.frozen.get_or_init(|| view).scan(prefix, visit);
        }
        view.scan(prefix, visit)
    }

    fn shallow(&self) -> Result<Vec<ObjectId>> {
        shallow::read(&self.inner.dirs.common_dir, self.inner.hash)
    }
}

impl Inner {
    /// One ref as it is now.
    pub fn get_in(&self, dirs: &RefDirs, name: &BStr) -> Result<Option<Ref>> {
        let Ok(name) = RefName::new(name) else { return Ok(None) };
        match loose::read(&dirs.file_of(&name), self.hash)? {
            Loose::Found(target) => Ok(Some(Ref { name, target, peeled: Peeled::Unknown })),
            Loose::Broken(why) => Err(broken(&name, why)),
            Loose::Missing | Loose::Directory if name.is_pseudo() => Ok(None),
            Loose::Missing | Loose::Directory => {
                let packed = self.packed.load()?;
                Ok(packed.find(&name)?.map(|record| Ref {
                    name,
                    target: Target::Id(record.id),
                    peeled: record.peeled,
                }))
            }
        }
    }
}

pub(super) fn broken(name: &RefName, why: &str) -> Error {
    let detail = format!("unable to resolve reference '{name}': reference broken ({why})");
    Error::corrupt(name, detail)
}

impl View {
    fn get(&self, name: &BStr) -> Result<Option<Ref>> {
        let Ok(name) = RefName::new(name) else { return Ok(None) };
        if let Some(found) = self.loose.find(&name) {
            let target = found.target.ok_or_else(|| broken(&name, "see the log"))?.to_target();
            return Ok(Some(Ref { name, target, peeled: Peeled::Unknown }));
        }
        let found = self.packed.find(&name)?;
        Ok(found.map(|record| Ref { name, target: Target::Id(record.id), peeled: record.peeled }))
    }

    /// Merges the two sorted sequences; where both have a name, the loose ref counts.
    fn scan(
        &self,
        prefix: &BStr,
        visit: &mut dyn FnMut(RefView<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let start = prefix.max(b"refs/".as_bstr());
        let mut loose = self.loose.iter_from(start).peekable();
        let mut packed = Packed { iter: self.packed.iter_from(start)?, prefix };
        let mut record = packed.next()?;
        loop {
            let next_loose = loose.peek().filter(|view| view.name.starts_with(prefix)).copied();
            let view = match (next_loose, record) {
                (None, None) => return Ok(()),
                (Some(view), Some(hidden)) if view.name == hidden.name => {
                    loose.next();
                    record = packed.next()?;
                    loose_view(view)
                }
                (Some(view), other) if other.is_none_or(|other| view.name < other.name) => {
                    loose.next();
                    loose_view(view)
                }
                (_, Some(found)) => {
                    record = packed.next()?;
                    Some(packed_view(found))
                }
                (Some(_), None) => unreachable!("the guard above holds for every loose ref"),
            };
            if let Some(view) = view
                && visit(view).is_break()
            {
                return Ok(());
            }
        }
    }
}

fn loose_view(view: LooseView<'_>) -> Option<RefView<'_>> {
    let target = view.target?;
    Some(RefView { name: view.name, target, peeled: Peeled::Unknown })
}

fn packed_view(record: PackedRecord<'_>) -> RefView<'_> {
    let target = TargetView::Id(record.id);
    RefView { name: record.name, target, peeled: record.peeled }
}

/// The packed refs of one scan, without those nobody may see.
struct Packed<'a> {
    iter: PackedIter<'a>,
    prefix: &'a BStr,
}

impl<'a> Packed<'a> {
    fn next(&mut self) -> Result<Option<PackedRecord<'a>>> {
        while let Some(record) = self.iter.next().transpose()? {
            if !record.name.starts_with(self.prefix) || !record.name.starts_with(b"refs/") {
                return Ok(None);
            }
            if check_ref_format(record.name).is_ok() && !record.id.is_null() {
                return Ok(Some(record));
            }
            tracing::warn!("ignoring broken ref {} in packed-refs", record.name);
        }
        Ok(None)
    }
}
