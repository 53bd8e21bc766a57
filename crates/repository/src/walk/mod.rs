//! Which objects to send: what the wants reach and the haves do not.
//!
//! Three ways to the same set. With a reachability bitmap, whole histories are joined by word
//! operations and only what came later is walked ([`bitmaps`]). When few commits are new, their
//! trees are compared with those of their parents ([`changes`]).
//! Otherwise commits are painted from both sides ([`commits`]), the trees at the
//! edge are marked as known and the new commits' trees are walked ([`trees`]).

mod bitmaps;
mod changes;
mod commits;
mod known;
mod marks;
mod pseudo_merges;
mod tree_scan;
mod trees;

use std::sync::Arc;

use object::{Kind, ObjectId};
use rustc_hash::FxHashSet;

use crate::error::{Error, Result};
use crate::filter::Sieve;
use crate::objects::{
    Cached, Commit, Objects, Placed, Reader, Recency, Slot, find_packed, parse_commit,
};
use crate::progress::{Progress, Stage};
use crate::send::PackRequest;

pub(crate) use changes::Versions;
pub(crate) use known::Known;
pub(crate) use marks::{Marks, RecentIds, TABLES_BYTES};
pub(crate) use tree_scan::TreeScanner;
pub(crate) use trees::{first_entry, in_pack_order};

/// The answer of a walk.
pub(crate) struct Reached {
    /// What to send.
    pub send: Marks,
    /// What the client is known to have; a part of what it has.
    pub known: Known,
    /// Of objects to send: versions the client has, as far as that is known.
    pub versions: Versions,
}

/// How many objects pass between two progress reports.
const REPORT_EVERY: u64 = 4096;

pub(crate) struct Walk<'a> {
    objects: &'a Objects,
    units: Arc<Vec<Placed>>,
    reader: Reader,
    scanner: TreeScanner,
    recent_blobs: RecentIds,
    recent_trees: RecentIds,
    /// Wanted, as far as it is known.
    send: Marks,
    /// Known to be at the client.
    known: Known,
    versions: Versions,
    sieve: Sieve,
    /// Commits at which the client's new history ends.
    cut: FxHashSet<ObjectId>,
    /// Commits at which the client's present history ends.
    old_cut: FxHashSet<ObjectId>,
    /// The repository is a partial clone itself: what is missing is not sent.
    missing_allowed: bool,
    progress: &'a mut dyn Progress,
    found: u64,
}

/// Finds what to send for a request.
pub(crate) fn reached(
    objects: &Objects,
    request: &PackRequest,
    progress: &mut dyn Progress,
) -> Result<Reached> {
    let mut walk = Walk::new(objects, request, progress);
    if let Some(index) = bitmaps::usable(&walk.units, request) {
        walk.by_bitmaps(index, request)?;
        return walk.finish(request);
    }
    if walk.may_compare(request) {
        if walk.by_comparing(request)? {
            return walk.finish(request);
        }
        // The other ways take a marked commit for one whose history is marked.
        walk = Walk::new(objects, request, progress);
    }
    walk.by_walking(request)?;
    walk.finish(request)
}

impl<'a> Walk<'a> {
    fn new(objects: &'a Objects, request: &PackRequest, progress: &'a mut dyn Progress) -> Self {
        let settings = objects.settings();
        let packed = objects.packed_count();
        Walk {
            objects,
            units: objects.units(),
            reader: Reader::beside_another(settings),
            scanner: TreeScanner::of_request(settings),
            recent_blobs: RecentIds::new(objects.hash().len()),
            recent_trees: RecentIds::new(objects.hash().len()),
            send: Marks::new(packed),
            known: Known::new(packed),
            versions: Versions::default(),
            sieve: Sieve::new(request.filter.as_ref()),
            cut: request.shallow.iter().copied().collect(),
            old_cut: request.old_shallow.iter().copied().collect(),
            missing_allowed: request.missing_allowed,
            progress,
            found: 0,
        }
    }

    fn finish(mut self, request: &PackRequest) -> Result<Reached> {
        // What bitmaps say of the client was taken out when they were joined.
        self.send.and_not(self.known.marks());
        // What was asked for by its id is sent whatever the filter says.
        if request.filter.is_some() {
            for id in &request.wants {
                self.send_asked(id)?;
                self.send_tagged(id)?;
            }
        }
        for (tag, peeled) in &request.include_tag {
            self.include_tag(tag, peeled)?;
        }
        self.progress.finish(Stage::Enumerating, self.send.count())?;
        Ok(Reached { send: self.send, known: self.known, versions: self.versions })
    }

    fn send_asked(&mut self, id: &ObjectId) -> Result<()> {
        if let Some(slot) = self.slot(id)?
            && !self.known.contains(slot)
        {
            self.send.insert(slot);
        }
        Ok(())
    }

    /// Asking for a tag asks for what it names.
    fn send_tagged(&mut self, id: &ObjectId) -> Result<()> {
        let mut id = *id;
        while let Some(slot) = self.slot(&id)?
            && self.objects.header_of(slot)?.0 == Kind::Tag
        {
            id = self.objects.tag_target(&id)?.0;
            self.send_asked(&id)?;
        }
        Ok(())
    }

    /// Adds a tag, and the tags it is a tag of, when what it names is sent.
    fn include_tag(&mut self, tag: &ObjectId, peeled: &ObjectId) -> Result<()> {
        let sent = self.slot(peeled)?.is_some_and(|slot| self.send.contains(slot));
        let mut id = *tag;
        while sent && id != *peeled {
            let Some(slot) = self.slot(&id)? else { return Ok(()) };
            if self.known.contains(slot) || !self.send.insert(slot) {
                return Ok(());
            }
            id = self.objects.tag_target(&id)?.0;
        }
        Ok(())
    }

    /// The object's slot, looked for in the packs at hand before anything else.
    fn slot(&self, id: &ObjectId) -> Result<Option<Slot>> {
        match find_packed(&self.units, id)? {
            Some(slot) => Ok(Some(slot)),
            None => self.objects.slot(id),
        }
    }

    /// As [`Walk::slot`]; a missing object is damage, unless the repository is partial.
    fn slot_of_reachable(&self, id: &ObjectId, kind: Kind) -> Result<Option<Slot>> {
        match self.slot(id)? {
            None if !self.missing_allowed => Err(Error::Missing { id: *id, kind: Some(kind) }),
            found => Ok(found),
        }
    }

    fn read(&mut self, slot: Slot, expected: Kind) -> Result<Cached> {
        let object = self.objects.read_slot(slot, &mut self.reader)?;
        if object.kind != expected {
            let id = self.objects.id(slot)?;
            return Err(Error::WrongKind { id, expected, found: object.kind });
        }
        Ok(object)
    }

    fn commit(&mut self, id: &ObjectId, slot: Slot) -> Result<Commit> {
        Ok(self.commit_and_recency(id, slot)?.0)
    }

    fn commit_and_recency(&mut self, id: &ObjectId, slot: Slot) -> Result<(Commit, Recency)> {
        if self.objects.graph().is_some() {
            return self.objects.commit_and_recency(id);
        }
        let object = self.read(slot, Kind::Commit)?;
        let mut commit = parse_commit(id, &object.data, self.objects.hash())?;
        self.objects.cut_at_own_shallow(id, &mut commit);
        let recency = Recency::outside(commit.time);
        Ok((commit, recency))
    }

    fn report(&mut self, found: u64) -> Result<()> {
        let before = self.found;
        self.found += found;
        if before / REPORT_EVERY != self.found / REPORT_EVERY {
            self.progress.update(Stage::Enumerating, self.found, None)?;
        }
        Ok(())
    }

    /// Sorts tips into commits (returned) and anything else (marked at once, with what it
    /// reaches); tags on the way are marked too.
    fn tips(&mut self, ids: &[ObjectId], side: Side) -> Result<Vec<(ObjectId, Slot)>> {
        // In the order of the index: thousands of them then touch each of its pages once.
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        let mut commits = Vec::with_capacity(ids.len());
        for mut id in ids {
            loop {
                let Some(slot) = self.slot(&id)? else {
                    if side == Side::Known || self.missing_allowed {
                        break;
                    }
                    return Err(Error::Missing { id, kind: None });
                };
                match self.objects.header_of(slot)?.0 {
                    Kind::Commit => {
                        commits.push((id, slot));
                        break;
                    }
                    Kind::Tag => {
                        self.mark(slot, side);
                        id = self.objects.tag_target(&id)?.0;
                    }
                    Kind::Tree => {
                        self.wanted_tree(slot, side)?;
                        break;
                    }
                    Kind::Blob => {
                        self.mark(slot, side);
                        break;
                    }
                }
            }
        }
        Ok(commits)
    }

    fn mark(&mut self, slot: Slot, side: Side) {
        match side {
            Side::Wanted => self.send.insert(slot),
            Side::Known => self.known.insert(slot),
        };
    }
}

/// Whose history is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// What the client asks for.
    Wanted,
    /// What the client has.
    Known,
}
