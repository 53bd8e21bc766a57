//! The first words of receive-pack: its refs, what alternates have, the shallow boundary.

use std::collections::HashSet;
use std::ops::ControlFlow;

use bstr::BStr;
use object::ObjectId;
use repository::Repository;
use storage::{RefSnapshot, RefView, TargetView};
use wire::advertise::RefAdvertisement;
use wire::{PacketWriter, Protocol, ReceivePackOffer, Sink};

use crate::hooks::Hooks;
use crate::{Error, HiddenRefs, Namespace};

use super::{alternates, refs};

/// Writes the advertisement and flushes it.
pub(super) fn advertise(
    repo: &Repository,
    hooks: Option<&Hooks<'_>>,
    namespace: &Namespace,
    hidden: &HiddenRefs,
    protocol: Protocol,
    offer: &ReceivePackOffer,
    output: &mut dyn Sink,
) -> Result<(), Error> {
    let snapshot = repo.refs().snapshot()?;
    let mut writer = PacketWriter::new(output);
    let lines = RefAdvertisement::receive_pack(&mut writer, protocol, offer)?;
    let mut listing = Listing { lines, seen: Seen::new(repo, namespace), failed: None };

    each_ref(&*snapshot, BStr::new("refs/"), &mut |name, id| {
        let shown = namespace.shown(name);
        if hidden.hides(shown, name) {
            return ControlFlow::Continue(());
        }
        listing.show(shown, id)
    })?;
    alternates::each_tip(repo, hooks, &mut |id| listing.show(None, id))?;
    listing.finish(&snapshot.shallow()?)?;
    writer.flush()?;
    Ok(())
}

/// The ids that have been shown; kept only where something could be shown twice.
struct Seen(Option<HashSet<ObjectId>>);

impl Seen {
    fn new(repo: &Repository, namespace: &Namespace) -> Self {
        let borrows = repo.local().is_some_and(|local| !local.alternate_dirs.is_empty());
        let repeats = !namespace.is_whole() || borrows || !repo.parts().alternate_refs.is_empty();
        Seen(repeats.then(HashSet::new))
    }

    /// Whether the id is new.
    fn insert(&mut self, id: ObjectId) -> bool {
        self.0.as_mut().is_none_or(|seen| seen.insert(id))
    }
}

struct Listing<'w, 's> {
    lines: RefAdvertisement<'w, 's>,
    seen: Seen,
    failed: Option<std::io::Error>,
}

impl Listing<'_, '_> {
    fn show(&mut self, name: Option<&BStr>, id: ObjectId) -> ControlFlow<()> {
        let new = self.seen.insert(id);
        let written = match name {
            Some(name) => self.lines.reference(&id, name),
            None if new => self.lines.have(&id),
            None => Ok(()),
        };
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn finish(self, shallow: &[ObjectId]) -> std::io::Result<()> {
        match self.failed {
            Some(error) => Err(error),
            None => self.lines.finish(shallow),
        }
    }
}

/// Every ref with the object it finally names; dangling ones are left out.
pub(super) fn each_ref(
    snapshot: &dyn RefSnapshot,
    prefix: &BStr,
    visit: &mut dyn FnMut(&BStr, ObjectId) -> ControlFlow<()>,
) -> Result<(), storage::Error> {
    let mut failed = None;
    snapshot.scan(prefix, &mut |found: RefView<'_>| {
        let id = match found.target {
            TargetView::Id(id) => Some(id.to_id()),
            TargetView::Symbolic(target) => match refs::resolve(snapshot, target) {
                Ok(resolved) => resolved.and_then(|resolved| resolved.id),
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            },
        };
        match id {
            Some(id) => visit(found.name, id),
            None => ControlFlow::Continue(()),
        }
    })?;
    failed.map_or(Ok(()), Err)
}
