//! Packing everything reachable anew, and keeping the rest for a while.
//!
//! What nothing reaches goes into a cruft pack, which remembers when each of its objects was
//! last needed: when its file was written, or the pack it came in. What is older than the grace
//! period, and what no younger one reaches either, goes for good (`git gc`, "cruft packs";
//! gitformat-pack, "cruft packs").

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use object::{Kind, ObjectId, TreeIter};
use pack::{Index, Mtimes};
use rustc_hash::FxHashMap;
use std::ops::ControlFlow;
use storage::{Stage, forks};

use super::join::OwnObjects;
use super::{Expire, Replaced, Round};
use crate::error::{Error, Result};
use crate::incoming::write_blob;
use crate::maintenance::repack::{Packed, Selection, repack};
use crate::objects::{Loose, Objects, Reader, Slot, find_packed, parse_commit, read_whole};
use crate::walk::Marks;

/// Objects that nothing reaches, and when each was last needed, in seconds since 1970.
type Unreached = FxHashMap<ObjectId, u32>;

impl Round<'_> {
    /// Packs what is reachable into one pack and what is not into another.
    pub(super) fn full(&mut self, stage: &mut dyn Stage) -> Result<Replaced> {
        let objects = self.repository.objects()?;
        let (tips, nothing_unseen) = self.tips(&objects)?;
        let reached = Selection::reachable(&objects, tips, self.progress)?;
        let own = OwnObjects::of(&objects, self)?;
        let lasting: BTreeSet<&str> = self
            .survey
            .packs
            .iter()
            .filter(|pack| pack.is_kept || pack.is_promised)
            .map(|pack| pack.stem.as_str())
            .collect();
        let send = self.own_part(&objects, &own, &reached, &lasting)?;
        let mut unreached = self.unreached(&objects, &own, &reached, &lasting)?;
        let before = unreached.len();
        let mut expired = BTreeSet::new();
        if let (Expire::After(age), true) = (self.options.expire, nothing_unseen) {
            let cutoff = self.options.now.checked_sub(age).unwrap_or(UNIX_EPOCH);
            expired = drop_old(&objects, &mut unreached, seconds(cutoff))?;
        }
        debug_assert_eq!(before, unreached.len() + expired.len());
        self.report.expired_objects = expired.len() as u64;
        self.report.cruft_objects = unreached.len() as u64;

        let options = &self.options.repack;
        let packed = repack(self.repository, &objects, &send, options, stage, self.progress)?;
        let cruft = Selection::of(&objects, unreached.keys().copied())?;
        let crufty = repack(self.repository, &objects, &cruft, options, stage, self.progress)?;
        if let Some(crufty) = &crufty {
            self.write_times(crufty, &unreached, stage)?;
        }
        let mut stems = BTreeSet::new();
        for packed in packed.iter().chain(&crufty) {
            self.report.packed_objects += u64::from(packed.objects);
            self.report.reused_deltas += u64::from(packed.reused_deltas);
            stems.insert(packed.stem());
        }
        let old = self.survey.packs.iter().filter(|pack| !pack.is_kept && !pack.is_promised);
        let old = old.map(|pack| pack.stem.clone()).filter(|stem| !stems.contains(stem));
        Ok(Replaced {
            packs: old.collect(),
            loose: true,
            new: packed.iter().map(Packed::stem).collect(),
            expired,
        })
    }

    /// What keeps objects: refs, `HEAD`, reflogs; and whether that is all.
    fn tips(&self, objects: &Objects) -> Result<(Vec<ObjectId>, bool)> {
        let snapshot = self.repository.refs().snapshot()?;
        let mut tips = Vec::new();
        snapshot.scan("refs/".into(), &mut |found| {
            if let storage::TargetView::Id(id) = found.target {
                tips.push(id.to_id());
            }
            ControlFlow::Continue(())
        })?;
        if let Some(storage::Target::Id(id)) = snapshot.get("HEAD".into())?.map(|head| head.target)
        {
            tips.push(id);
        }
        let mut kept = BTreeSet::new();
        snapshot.scan_kept(&mut |id| {
            kept.insert(id);
        })?;
        for id in kept {
            // A reflog outlives what it names.
            if objects.contains(&id)? {
                tips.push(id);
            }
        }
        tips.sort_unstable();
        tips.dedup();
        // Nobody knows what borrowers reach.
        let is_lent = !forks::borrowers(&**self.repository.blobs())?.is_empty();
        Ok((tips, !snapshot.keeps_unseen()? && !is_lent))
    }

    /// Of what is reachable, what lies in the repository itself and in no pack that stays.
    fn own_part(
        &self,
        objects: &Objects,
        own: &OwnObjects,
        reached: &Selection,
        lasting: &BTreeSet<&str>,
    ) -> Result<Selection> {
        let mut part = Marks::new(objects.packed_count());
        let store = std::slice::from_ref(self.repository.blobs());
        for slot in reached.marks().iter() {
            let stays = match objects.place(slot)? {
                Some((_, pack, _)) => !own.holds(slot) || lasting.contains(pack.stem.as_str()),
                None => !Loose::exists(store, &objects.id(slot)?)?,
            };
            if !stays {
                part.insert(slot);
            }
        }
        Ok(Selection::from(part))
    }

    /// Own objects that are not reachable and lie in no pack that stays.
    fn unreached(
        &self,
        objects: &Objects,
        own: &OwnObjects,
        reached: &Selection,
        lasting: &BTreeSet<&str>,
    ) -> Result<Unreached> {
        let mut unreached = Unreached::default();
        let times = PackTimes::of(self)?;
        own.each_packed(&mut |slot, stem| {
            if lasting.contains(stem) || reached.marks().contains(slot) {
                return Ok(());
            }
            let id = objects.id(slot)?;
            // Of several copies the first is the one that was reached.
            let first = find_packed(&objects.units(), &id)?.unwrap_or(slot);
            if first != slot && reached.marks().contains(first) {
                return Ok(());
            }
            let time = times.of_object(stem, &id)?;
            let known = unreached.entry(id).or_insert(time);
            *known = (*known).max(time);
            Ok(())
        })?;
        for loose in &self.survey.loose {
            let is_reached = match objects.slot(&loose.id)? {
                Some(slot) => reached.marks().contains(slot),
                // Gone meanwhile.
                None => true,
            };
            if !is_reached {
                let time = seconds(loose.modified);
                let known = unreached.entry(loose.id).or_insert(time);
                *known = (*known).max(time);
            }
        }
        Ok(unreached)
    }

    /// Stages the times of a cruft pack, in the order of its index.
    fn write_times(&self, packed: &Packed, times: &Unreached, stage: &mut dyn Stage) -> Result<()> {
        let stem = packed.stem();
        let idx = format!("{stem}.idx");
        let bytes = read_whole(&*stage.store(), &idx)?;
        let index = Index::open(bytes, self.repository.hash()).map_err(Error::format(&idx))?;
        let name = format!("{stem}.mtimes");
        // The same objects may have been needed again since they were packed.
        stage.replace(&name)?;
        write_blob(&name, stage, |out| {
            let times = (0..index.count()).map(|at| times.get(&index.id_at(at)).copied());
            pack::mtimes::write(times.map(Option::unwrap_or_default), &packed.name, out).map(drop)
        })
    }
}

/// When the objects of packs were last needed.
struct PackTimes {
    packs: FxHashMap<String, (u32, Option<(Index, Mtimes)>)>,
}

impl PackTimes {
    fn of(round: &Round<'_>) -> Result<Self> {
        let mut packs = FxHashMap::default();
        for pack in &round.survey.packs {
            let each = match pack.is_cruft {
                true => {
                    let store = &**round.repository.blobs();
                    let idx = format!("{}.idx", pack.stem);
                    let index = Index::open(read_whole(store, &idx)?, round.repository.hash())
                        .map_err(Error::format(idx))?;
                    let name = format!("{}.mtimes", pack.stem);
                    let times = Mtimes::open(read_whole(store, &name)?, &index);
                    Some((index, times.map_err(Error::format(name))?))
                }
                false => None,
            };
            packs.insert(pack.stem.clone(), (seconds(pack.modified), each));
        }
        Ok(PackTimes { packs })
    }

    /// For a pack that came after the survey: now, the latest there is.
    fn of_object(&self, stem: &str, id: &ObjectId) -> Result<u32> {
        let Some((pack, each)) = self.packs.get(stem) else { return Ok(u32::MAX) };
        let Some((index, times)) = each else { return Ok(*pack) };
        match index.lookup(id) {
            Some(at) => times.seconds_at(at).map_err(Error::format(stem)),
            None => Ok(*pack),
        }
    }
}

fn seconds(time: SystemTime) -> u32 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// Takes out what was last needed before `cutoff` and is reached by nothing younger.
fn drop_old(
    objects: &Objects,
    unreached: &mut Unreached,
    cutoff: u32,
) -> Result<BTreeSet<ObjectId>> {
    let mut open: Vec<ObjectId> =
        unreached.iter().filter(|(_, time)| **time >= cutoff).map(|(id, _)| *id).collect();
    let mut old: BTreeSet<ObjectId> =
        unreached.iter().filter(|(_, time)| **time < cutoff).map(|(id, _)| *id).collect();
    let settings = objects.settings();
    let mut reader = Reader::of_request(settings);
    while let Some(id) = open.pop() {
        let Some(slot) = objects.slot(&id)? else { continue };
        for_each_link(objects, &id, slot, &mut reader, &mut |link| {
            if old.remove(&link) {
                open.push(link);
            }
        })?;
    }
    unreached.retain(|id, _| !old.contains(id));
    Ok(old)
}

/// What an object names. One that cannot be read names nothing: it is kept for its own sake.
fn for_each_link(
    objects: &Objects,
    id: &ObjectId,
    slot: Slot,
    reader: &mut Reader,
    visit: &mut dyn FnMut(ObjectId),
) -> Result<()> {
    let (kind, _) = objects.header_of(slot)?;
    if kind == Kind::Blob {
        return Ok(());
    }
    let data = objects.read_slot(slot, reader)?.data;
    let hash = objects.hash();
    match kind {
        Kind::Commit => {
            if let Ok(commit) = parse_commit(id, &data, hash) {
                visit(commit.tree);
                commit.parents.into_iter().for_each(visit);
            }
        }
        Kind::Tree => {
            for entry in TreeIter::new(&data, hash).map_while(Result::ok) {
                if !entry.mode.is_submodule() {
                    visit(entry.oid(hash));
                }
            }
        }
        Kind::Tag => {
            if let Ok(tag) = object::TagRef::parse(&data, hash) {
                visit(tag.target);
            }
        }
        Kind::Blob => {}
    }
    Ok(())
}
