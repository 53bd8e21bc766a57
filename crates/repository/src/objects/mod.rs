//! A request's view of a repository's objects, packed and loose, alternates included.
//!
//! Every object that is met gets a [`Slot`]: a small number that stays the same
//! for the life of the view, so that a set of objects is a bit per slot.

mod blocks;
mod content;
mod delta_cache;
mod graph;
mod loose;
mod names;
mod pack_handle;
mod pack_set;
mod pack_sums;
mod placed;
mod read;
mod unit;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use object::{CommitRef, HashKind, Kind, ObjectId, TagRef};
use pack::CommitGraph;
use rustc_hash::{FxHashMap, FxHashSet};
use storage::BlobStore;

use crate::error::{Error, Result};
use crate::repository::Settings;

pub use content::ContentStream;
pub(crate) use delta_cache::{CACHE_BYTES_MIN, Cached, DeltaCache};
pub(crate) use graph::{Generation, Recency, open_graph_in};
pub(crate) use loose::{Loose, loose_name};
pub use names::PREFIX_DIGITS_MIN;
pub(crate) use pack_handle::PackHandle;
pub(crate) use pack_handle::read_whole;
pub(crate) use pack_set::PackSet;
pub(crate) use pack_sums::PackSums;
pub use placed::Slot;
use placed::place;
pub(crate) use placed::{Placed, find_packed, unit_of};
pub(crate) use read::{
    BESIDE_PART, Reader, chain_of, delta_result_size, entry_header, inflate, kind_at, object_header,
};
pub(crate) use unit::Unit;

/// An object, whole.
#[derive(Debug, Clone)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Its content.
    pub data: Arc<Vec<u8>>,
}

/// What history needs to know of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its tree.
    pub tree: ObjectId,
    /// Its parents, in order.
    pub parents: Vec<ObjectId>,
    /// Committer time, seconds since 1970.
    pub time: i64,
}

/// Serial numbers from here on are those of packs in a store that was added to a view.
pub(crate) const FIRST_EXTRA_SERIAL: u32 = u32::MAX / 2;

/// Sets of objects that a request for a pack has at the same time.
const FETCH_SETS: usize = 6;

/// A view of a repository's objects. Cheap to clone; clones share the view.
#[derive(Clone)]
pub struct Objects {
    view: Arc<View>,
}

struct View {
    set: Arc<PackSet>,
    /// Where loose objects are looked for.
    stores: Vec<Arc<dyn BlobStore>>,
    units: RwLock<Arc<Vec<Placed>>>,
    refreshed: AtomicBool,
    loose: Mutex<LooseSlots>,
    reader: Mutex<Reader>,
    graph: OnceLock<Option<CommitGraph>>,
    /// [`PackSet::faults`] when the view was opened.
    faults: u64,
    /// Commits at which the repository's own history ends.
    own_shallow: FxHashSet<ObjectId>,
    settings: Settings,
}

/// What became of an object that was loose when it was met.
pub(crate) enum LooseOrPacked {
    Loose(Loose),
    Packed(Slot),
}

#[derive(Default)]
struct LooseSlots {
    ids: Vec<ObjectId>,
    slots: FxHashMap<ObjectId, u32>,
}

impl Objects {
    pub(crate) fn open(
        set: &Arc<PackSet>,
        own_shallow: Vec<ObjectId>,
        settings: &Settings,
    ) -> Result<Objects> {
        let mut units = Vec::new();
        let listed = set.units()?;
        place(&mut units, listed.units)?;
        let own_shallow = own_shallow.into_iter().collect();
        let over = (set.clone(), listed.faults);
        Ok(Self::over(over, set.stores.clone(), units, own_shallow, settings.clone()))
    }

    /// A view of one unit, whose positions are its slots. Anything else in the set's stores is
    /// found when it is asked for by its id.
    pub(crate) fn of_unit(
        set: Arc<PackSet>,
        unit: Arc<Unit>,
        settings: &Settings,
    ) -> Result<Objects> {
        let mut units = Vec::new();
        place(&mut units, vec![unit])?;
        let (stores, faults) = (set.stores.clone(), set.faults());
        Ok(Self::over((set, faults), stores, units, FxHashSet::default(), settings.clone()))
    }

    fn over(
        (set, faults): (Arc<PackSet>, u64),
        stores: Vec<Arc<dyn BlobStore>>,
        units: Vec<Placed>,
        own_shallow: FxHashSet<ObjectId>,
        settings: Settings,
    ) -> Objects {
        let reader = Reader::beside_another(&settings);
        Objects {
            view: Arc::new(View {
                faults,
                set,
                stores,
                units: RwLock::new(Arc::new(units)),
                refreshed: AtomicBool::new(false),
                loose: Mutex::default(),
                reader: Mutex::new(reader),
                graph: OnceLock::new(),
                own_shallow,
                settings,
            }),
        }
    }

    /// The same view with the objects of one more store, such as a quarantine.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn with_extra_store(&self, store: Arc<dyn BlobStore>) -> Result<Objects> {
        let extra = PackSet::new(vec![store.clone()], self.hash(), self.settings());
        let mut units = self.units().to_vec();
        // Serial numbers of another set may repeat; this view's reader starts empty,
        // and keys its cache by serial, so the extra packs get numbers of their own.
        extra.number_from(FIRST_EXTRA_SERIAL);
        place(&mut units, extra.units()?.units)?;
        let mut stores = self.view.stores.clone();
        stores.push(store);
        let View { set, faults, own_shallow, settings, .. } = &*self.view;
        Ok(Self::over((set.clone(), *faults), stores, units, own_shallow.clone(), settings.clone()))
    }

    /// Says so when memory that was mapped before this view was opened, or for it, was lost
    /// since: what was read through the view may be zeros in place of stored bytes.
    ///
    /// # Errors
    /// [`storage::Error::Corrupt`] when that is so.
    pub(crate) fn check_intact(&self) -> Result<()> {
        match self.view.set.faults() == self.view.faults {
            true => Ok(()),
            false => {
                Err(storage::Error::corrupt("a pack or an index", "it was cut, or cannot be read")
                    .into())
            }
        }
    }

    /// The hash that names the objects.
    pub fn hash(&self) -> HashKind {
        self.view.set.hash
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.view.settings
    }

    /// Checksums of packs that were sent before.
    pub(crate) fn sums(&self) -> &PackSums {
        &self.view.set.sums
    }

    pub(crate) fn units(&self) -> Arc<Vec<Placed>> {
        self.view.units.read().expect("no holder of the lock panics").clone()
    }

    /// How many slots packed objects have.
    pub(crate) fn packed_count(&self) -> u32 {
        self.units().last().map_or(0, |last| last.first_slot + last.count)
    }

    /// Bytes a request for a pack holds at least while it is worked out: the sets of objects,
    /// caches that have only begun to fill, tables of a fixed size.
    pub fn fetch_bytes_min(&self) -> usize {
        let set = self.packed_count() as usize / 8;
        set * FETCH_SETS + crate::walk::TABLES_BYTES + 3 * CACHE_BYTES_MIN
    }

    /// The object's slot; `None` when the repository does not have it.
    ///
    /// # Errors
    /// When the storage fails or the repository is damaged.
    pub fn slot(&self, id: &ObjectId) -> Result<Option<Slot>> {
        if let Some(slot) = find_packed(&self.units(), id)? {
            return Ok(Some(slot));
        }
        if Loose::exists(&self.view.stores, id)? {
            return Ok(Some(self.loose_slot(id)));
        }
        // Packed by somebody else since the packs were listed?
        if self.refresh()?
            && let Some(slot) = find_packed(&self.units(), id)?
        {
            return Ok(Some(slot));
        }
        Ok(id.is_empty_tree().then(|| self.loose_slot(id)))
    }

    fn loose_slot(&self, id: &ObjectId) -> Slot {
        let mut loose = self.view.loose.lock().expect("no holder of the lock panics");
        let next = loose.ids.len() as u32;
        let slot = *loose.slots.entry(*id).or_insert(next);
        if slot == next {
            loose.ids.push(*id);
        }
        Slot(Slot::LOOSE + slot)
    }

    /// Lists the packs anew, once in the life of a view. Known slots stay as they are.
    fn refresh(&self) -> Result<bool> {
        match self.view.refreshed.swap(true, Ordering::Relaxed) {
            true => Ok(false),
            false => self.list_again(),
        }
    }

    /// Lists the packs anew; whether there are new ones.
    fn list_again(&self) -> Result<bool> {
        let listed = self.view.set.units()?.units;
        let mut units = self.view.units.write().expect("no holder of the lock panics");
        let new: Vec<_> = listed
            .into_iter()
            .filter(|unit| !units.iter().any(|known| Arc::ptr_eq(&known.unit, unit)))
            .collect();
        if new.is_empty() {
            return Ok(false);
        }
        let mut grown = units.to_vec();
        place(&mut grown, new)?;
        *units = Arc::new(grown);
        Ok(true)
    }

    /// The id of the object in a slot.
    ///
    /// # Errors
    /// When the repository is damaged.
    pub fn id(&self, slot: Slot) -> Result<ObjectId> {
        if slot.is_loose() {
            let loose = self.view.loose.lock().expect("no holder of the lock panics");
            return Ok(loose.ids[(slot.0 - Slot::LOOSE) as usize]);
        }
        let units = self.units();
        let placed = unit_of(&units, slot);
        placed.unit.id_at(slot.0 - placed.first_slot)
    }

    /// Whether the repository has the object.
    ///
    /// # Errors
    /// As [`Objects::slot`].
    pub fn contains(&self, id: &ObjectId) -> Result<bool> {
        Ok(self.slot(id)?.is_some())
    }

    /// Kind and size (bytes) of an object, without rebuilding it.
    ///
    /// # Errors
    /// As [`Objects::slot`].
    pub fn header(&self, id: &ObjectId) -> Result<Option<(Kind, u64)>> {
        match self.slot(id)? {
            Some(slot) => self.header_of(slot).map(Some),
            None => Ok(None),
        }
    }

    pub(crate) fn kind_of(&self, slot: Slot) -> Result<Kind> {
        let slot = match slot.is_loose() {
            true => match self.loose_or_packed(slot)? {
                LooseOrPacked::Loose(loose) => return Ok(loose.kind),
                LooseOrPacked::Packed(slot) => slot,
            },
            false => slot,
        };
        let units = self.units();
        let placed = unit_of(&units, slot);
        let (pack, offset) = placed.unit.place(slot.0 - placed.first_slot)?;
        kind_at(self, pack, offset)
    }

    pub(crate) fn header_of(&self, slot: Slot) -> Result<(Kind, u64)> {
        let slot = match slot.is_loose() {
            true => match self.loose_or_packed(slot)? {
                LooseOrPacked::Loose(loose) => return Ok((loose.kind, loose.size)),
                LooseOrPacked::Packed(slot) => slot,
            },
            false => slot,
        };
        let units = self.units();
        let placed = unit_of(&units, slot);
        let (pack, offset) = placed.unit.place(slot.0 - placed.first_slot)?;
        object_header(self, pack, offset)
    }

    pub(crate) fn open_loose(&self, id: &ObjectId) -> Result<Loose> {
        Loose::find(&self.view.stores, id)?.ok_or(Error::Missing { id: *id, kind: None })
    }

    /// A loose object, or where it was packed since it was met: maintenance of any kind may
    /// run beside this view.
    pub(crate) fn loose_or_packed(&self, slot: Slot) -> Result<LooseOrPacked> {
        let id = self.id(slot)?;
        if let Some(loose) = Loose::find(&self.view.stores, &id)? {
            return Ok(LooseOrPacked::Loose(loose));
        }
        let mut packed = find_packed(&self.units(), &id)?;
        if packed.is_none() {
            self.list_again()?;
            packed = find_packed(&self.units(), &id)?;
        }
        packed.map(LooseOrPacked::Packed).ok_or(Error::Missing { id, kind: None })
    }

    /// An object, whole; `None` when the repository does not have it.
    ///
    /// # Errors
    /// As [`Objects::slot`], and when the object is larger than `object_bytes_max`.
    pub fn read(&self, id: &ObjectId) -> Result<Option<Object>> {
        let Some(slot) = self.slot(id)? else { return Ok(None) };
        let mut reader = self.view.reader.lock().expect("no holder of the lock panics");
        let Cached { kind, data } = self.read_slot(slot, &mut reader)?;
        Ok(Some(Object { kind, data }))
    }

    /// An object of a known kind.
    ///
    /// # Errors
    /// As [`Objects::read`]; [`Error::Missing`] and [`Error::WrongKind`] besides.
    pub fn read_expect(&self, id: &ObjectId, expected: Kind) -> Result<Object> {
        let object = self.read(id)?.ok_or(Error::Missing { id: *id, kind: Some(expected) })?;
        if object.kind != expected {
            return Err(Error::WrongKind { id: *id, expected, found: object.kind });
        }
        Ok(object)
    }

    /// Reads an object with a reader of the caller's, which keeps its bases apart.
    pub(crate) fn read_slot(&self, slot: Slot, reader: &mut Reader) -> Result<Cached> {
        let slot = match slot.is_loose() {
            true => match self.loose_or_packed(slot)? {
                LooseOrPacked::Loose(loose) => return loose.content(reader.object_bytes_max()),
                LooseOrPacked::Packed(slot) => slot,
            },
            false => slot,
        };
        let units = self.units();
        let placed = unit_of(&units, slot);
        let (pack, offset) = placed.unit.place(slot.0 - placed.first_slot)?;
        reader.read(self, pack, offset)
    }

    /// The unit a packed object belongs to, and the pack and offset it is read from.
    pub(crate) fn place(&self, slot: Slot) -> Result<Option<(Placed, Arc<PackHandle>, u64)>> {
        if slot.is_loose() {
            return Ok(None);
        }
        let units = self.units();
        let placed = unit_of(&units, slot);
        let (pack, offset) = placed.unit.place(slot.0 - placed.first_slot)?;
        Ok(Some((placed.clone(), pack.clone(), offset)))
    }

    /// The base of a delta that lies outside the delta's pack.
    fn read_delta_base(&self, id: &ObjectId, reader: &mut Reader) -> Result<Cached> {
        let slot = self.slot(id)?.ok_or(Error::Missing { id: *id, kind: None })?;
        self.read_slot(slot, reader)
    }

    /// What history needs to know of a commit; from the commit-graph where it has it.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::WrongKind`], or as [`Objects::read`].
    pub fn commit(&self, id: &ObjectId) -> Result<Commit> {
        Ok(self.commit_and_place(id)?.0)
    }

    /// A commit, and its position in the commit-graph if that has it.
    fn commit_and_place(&self, id: &ObjectId) -> Result<(Commit, Option<u32>)> {
        let (mut commit, position) = match self.commit_from_graph(id) {
            Some((commit, position)) => (commit, Some(position)),
            None => {
                let object = self.read_expect(id, Kind::Commit)?;
                (parse_commit(id, &object.data, self.hash())?, None)
            }
        };
        self.cut_at_own_shallow(id, &mut commit);
        Ok((commit, position))
    }

    /// Where the repository's own history ends, a commit has no parents to follow.
    pub(crate) fn cut_at_own_shallow(&self, id: &ObjectId, commit: &mut Commit) {
        let own_shallow = &self.view.own_shallow;
        if !own_shallow.is_empty() && own_shallow.contains(id) {
            commit.parents.clear();
        }
    }

    /// Whether the repository is a shallow clone itself.
    pub fn is_shallow(&self) -> bool {
        !self.view.own_shallow.is_empty()
    }

    /// Follows a chain of tags to the object at its end. `None` when the object is missing.
    ///
    /// # Errors
    /// As [`Objects::read`].
    pub fn peel(&self, id: &ObjectId) -> Result<Option<(ObjectId, Kind)>> {
        const TAGS_OF_TAGS_MAX: usize = 1000;
        let mut id = *id;
        for _ in 0..TAGS_OF_TAGS_MAX {
            let Some((kind, _)) = self.header(&id)? else { return Ok(None) };
            if kind != Kind::Tag {
                return Ok(Some((id, kind)));
            }
            id = self.tag_target(&id)?.0;
        }
        Err(Error::BadObject { id, reason: "a chain of tags does not end".into() })
    }

    /// What a tag points at, and the kind it says that is.
    ///
    /// # Errors
    /// As [`Objects::read_expect`].
    pub fn tag_target(&self, id: &ObjectId) -> Result<(ObjectId, Kind)> {
        let object = self.read_expect(id, Kind::Tag)?;
        let tag = TagRef::parse(&object.data, self.hash())
            .map_err(|error| Error::BadObject { id: *id, reason: error.to_string() })?;
        Ok((tag.target, tag.target_kind))
    }
}

pub(crate) fn parse_commit(id: &ObjectId, data: &[u8], hash: HashKind) -> Result<Commit> {
    let commit = CommitRef::parse(data, hash)
        .map_err(|error| Error::BadObject { id: *id, reason: error.to_string() })?;
    let parents = commit.parents().collect();
    Ok(Commit { tree: commit.tree, parents, time: commit.committer_time() })
}
