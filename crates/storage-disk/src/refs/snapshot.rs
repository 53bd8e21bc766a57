//! Reading refs: loose refs win over packed ones.
//!
//! The order of reading matters. A ref moves from loose to packed by being written into
//! `packed-refs` first and removed second: whoever does not find it loose must look into a
//! `packed-refs` that is at least as new.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use bstr::{BStr, ByteSlice as _};
use object::{ObjectId, RefName, check_ref_format};
use storage::{Error, Peeled, PeeledView, Ref, RefSnapshot, RefView, Result, Target, TargetView};

use super::capture::{LooseRefs, LooseView};
use super::loose::{self, Loose};
use super::{Inner, kept, shallow};
use crate::packed_refs::{PackedRecord, PackedRefs, PackedValue};
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

    fn scan_kept(&self, visit: &mut dyn FnMut(ObjectId)) -> Result<()> {
        kept::scan(&self.inner.dirs, self.inner.hash, visit)
    }

    fn keeps_unseen(&self) -> Result<bool> {
        kept::has_index(&self.inner.dirs)
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
                Ok(packed.find(&name)?.map(|found| packed_ref(name, found)))
            }
        }
    }
}

fn packed_ref(name: RefName, found: PackedValue) -> Ref {
    Ref { name, target: Target::Id(found.id), peeled: found.peeled }
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
        Ok(self.packed.find(&name)?.map(|found| packed_ref(name, found)))
    }

    /// Merges the two sorted sequences; where both have a name, the loose ref counts.
    fn scan(
        &self,
        prefix: &BStr,
        visit: &mut dyn FnMut(RefView<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let start = prefix.max(b"refs/".as_bstr());
        let mut loose = self.loose.iter_from(start).peekable();
        let mut packed = self.packed.cursor_from(start)?;
        let mut show = |view: RefView<'_>| visit(view).is_break();
        while let Some(record) = packed.next_record()? {
            let name = record.name;
            if !name.starts_with(prefix) || !name.starts_with(b"refs/") {
                break;
            }
            // Only peeked at, which is free when there are no loose refs, as behind the last one.
            let mut hiding = None;
            while hiding.is_none() && loose.peek().is_some_and(|view| view.name <= name) {
                let Some(view) = loose.next() else { break };
                if view.name == name {
                    hiding = Some(view);
                } else if loose_view(view).is_some_and(&mut show) {
                    return Ok(());
                }
            }
            let view = match hiding {
                Some(view) => loose_view(view),
                None => packed_view(record),
            };
            if view.is_some_and(&mut show) {
                return Ok(());
            }
        }
        for view in loose.take_while(|view| view.name.starts_with(prefix)) {
            if loose_view(view).is_some_and(&mut show) {
                break;
            }
        }
        Ok(())
    }
}

fn loose_view(view: LooseView<'_>) -> Option<RefView<'_>> {
    let target = view.target?;
    Some(RefView { name: view.name, target, peeled: PeeledView::Unknown })
}

/// A packed ref, unless nobody may see it.
#[inline]
fn packed_view(record: PackedRecord<'_>) -> Option<RefView<'_>> {
    if check_ref_format(record.name).is_err() || record.id.is_null() {
        tracing::warn!("ignoring broken ref {} in packed-refs", record.name);
        return None;
    }
    let target = TargetView::Id(record.id);
    Some(RefView { name: record.name, target, peeled: record.peeled })
}
