//! Which packs a repository has, kept open between requests.
//!
//! Every request lists the pack folders anew and reuses what is already open, so
//! packs that stock git or another process added are seen and packs it removed
//! are let go once the last request that uses them is done.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use object::HashKind;
use pack::MultiPackIndex;
use storage::{BlobMeta, BlobStore};

use super::blocks::BlockCache;
use super::pack_handle::{PackHandle, read_whole};
use super::pack_sums::PackSums;
use super::unit::{Unit, UnitIndex};
use crate::error::{Error, Result};
use crate::repository::Settings;

pub(crate) struct PackSet {
    pub stores: Vec<Arc<dyn BlobStore>>,
    pub hash: HashKind,
    open: Mutex<Open>,
    next_serial: AtomicU32,
    blocks: Arc<BlockCache>,
    pub sums: PackSums,
}

/// Units by store number and name, and how many faults the stores had before they were opened.
#[derive(Default)]
struct Open {
    units: BTreeMap<(usize, String), Known>,
    faults: u64,
}

/// A unit and the files it is made of, as they were when it was opened.
#[derive(Clone)]
struct Known {
    files: Vec<Option<FileState>>,
    /// `None`: it is damaged, and left out for as long as its files stay as they are.
    unit: Option<Arc<Unit>>,
}

/// What a listing found.
pub(crate) struct Listed {
    /// Those searched first in front: a multi-pack-index, then packs by size.
    pub units: Vec<Arc<Unit>>,
    /// [`PackSet::faults`] before anything of this was opened.
    pub faults: u64,
}

/// Size and time: a file of which neither changed is the one that is open.
type FileState = (u64, SystemTime);

/// How often packs are listed when listed ones vanish.
const LISTINGS_MAX: usize = 4;

const MIDX: &str = "pack/multi-pack-index";

impl PackSet {
    pub fn new(stores: Vec<Arc<dyn BlobStore>>, hash: HashKind, settings: &Settings) -> Self {
        let (open, next_serial) = Default::default();
        let blocks = Arc::new(BlockCache::new(settings.range_reads.cache_bytes));
        PackSet { stores, hash, open, next_serial, blocks, sums: PackSums::default() }
    }

    /// Makes the serial numbers of packs opened from now on start at `first`.
    pub fn number_from(&self, first: u32) {
        self.next_serial.store(first, Ordering::Relaxed);
    }

    /// All units.
    pub fn units(&self) -> Result<Listed> {
        let mut seen = Open { faults: self.faults(), ..Open::default() };
        let mut units = Vec::new();
        for (number, store) in self.stores.iter().enumerate() {
            for (name, known) in self.units_of_store(number, store, seen.faults)? {
                units.extend(known.unit.clone());
                seen.units.insert((number, name), known);
            }
        }
        let faults = seen.faults;
        *self.open.lock().expect("no holder of the lock panics") = seen;
        Ok(Listed { units, faults })
    }

    /// [`BlobStore::faults`] of all stores.
    pub fn faults(&self) -> u64 {
        self.stores.iter().map(|store| store.faults()).sum()
    }

    /// The units of one store. What maintenance took away between the listing and the opening has
    /// come back under another name: then the listing is made again.
    fn units_of_store(
        &self,
        number: usize,
        store: &Arc<dyn BlobStore>,
        faults: u64,
    ) -> Result<Vec<(String, Known)>> {
        let mut vanished = false;
        let mut units = self.units_of(number, store, faults, &mut vanished)?;
        for _ in 1..LISTINGS_MAX {
            if !vanished {
                break;
            }
            vanished = false;
            units = self.units_of(number, store, faults, &mut vanished)?;
        }
        Ok(units)
    }

    /// The units of one listing; tells when something listed was not there any more.
    fn units_of(
        &self,
        number: usize,
        store: &Arc<dyn BlobStore>,
        faults: u64,
        vanished: &mut bool,
    ) -> Result<Vec<(String, Known)>> {
        let mut files = store.list("pack/")?;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let files = Files(files);
        let mut packs: Vec<&BlobMeta> = files
            .0
            .iter()
            .filter(|file| {
                let stem = file.name.strip_suffix(".pack");
                stem.is_some_and(|stem| files.state(&format!("{stem}.idx")).is_some())
            })
            .collect();
        packs.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.name.cmp(&b.name)));

        let mut units = Vec::with_capacity(packs.len());
        let mut covered = std::collections::BTreeSet::new();
        if files.state(MIDX).is_some() {
            let of_all = || files.of_multi(packs.iter().map(|file| file.name.as_str()));
            let known = self.known(number, MIDX, faults, |known| match &known.unit {
                Some(unit) => files.of_multi_unit(unit),
                None => of_all(),
            });
            let known = known.unwrap_or_else(|| match self.open_multi(store, &packs) {
                Ok(unit) => Known { files: files.of_multi_unit(&unit), unit: Some(Arc::new(unit)) },
                Err(error) => {
                    *vanished |= matches!(error, Error::Storage(storage::Error::NotFound { .. }));
                    tracing::warn!(%error, "the multi-pack-index is not used");
                    Known { files: of_all(), unit: None }
                }
            });
            let packs = known.unit.iter().flat_map(|unit| unit.packs());
            covered.extend(packs.map(|pack| pack.stem.clone()));
            units.push((MIDX.to_owned(), known));
        }
        for file in packs {
            let stem = file.name.strip_suffix(".pack").unwrap_or(&file.name);
            if covered.contains(stem) {
                continue;
            }
            let known = match self.known(number, &file.name, faults, |_| files.of_pack(stem)) {
                Some(known) => known,
                None => match self.open_single(store, file) {
                    Ok(unit) => Known { files: files.of_pack(stem), unit: Some(Arc::new(unit)) },
                    Err(Error::Storage(storage::Error::NotFound { .. })) => {
                        *vanished = true;
                        continue;
                    }
                    Err(error @ Error::Format { .. }) => {
                        tracing::error!(%error, "a pack is left out");
                        Known { files: files.of_pack(stem), unit: None }
                    }
                    Err(error) => return Err(error),
                },
            };
            units.push((file.name.clone(), known));
        }
        Ok(units)
    }

    /// What is known of this name, while the files are those it was opened from and nothing of
    /// what is mapped was lost.
    fn known(
        &self,
        number: usize,
        name: &str,
        faults: u64,
        files_now: impl FnOnce(&Known) -> Vec<Option<FileState>>,
    ) -> Option<Known> {
        let open = self.open.lock().expect("no holder of the lock panics");
        let known = open.units.get(&(number, name.to_owned()))?;
        // What could not be opened is no better for what was lost elsewhere.
        let intact = open.faults == faults || known.unit.is_none();
        let is_best = known.unit.as_ref().is_none_or(|unit| !unit.could_be_mapped());
        (intact && is_best && files_now(known) == known.files).then(|| known.clone())
    }

    /// The unit of the pack with this stem, opened anew, in the first store that has it.
    pub fn open_pack_unit(&self, stem: &str) -> Result<Unit> {
        let pack = self.find_pack(stem)?;
        pack.index()?;
        Ok(Unit::new(UnitIndex::Single(pack)))
    }

    /// The unit of the multi-pack-index, opened anew, in the first store that has one. Its packs
    /// may lie in other stores of the set.
    pub fn open_multi_unit(&self) -> Result<Unit> {
        for store in &self.stores {
            if store.stat(MIDX)?.is_none() {
                continue;
            }
            let midx = MultiPackIndex::open(read_whole(&**store, MIDX)?, self.hash)
                .map_err(Error::format(MIDX))?;
            let mut packs = Vec::new();
            for number in 0..midx.pack_count() {
                let name = String::from_utf8_lossy(midx.pack_name(number).unwrap_or_default());
                let stem = name.strip_suffix(".idx").unwrap_or(&name);
                packs.push(self.find_pack(&format!("pack/{stem}"))?);
            }
            return Ok(Unit::new(UnitIndex::Multi { midx, packs, store: store.clone() }));
        }
        Err(storage::Error::not_found(MIDX).into())
    }

    fn find_pack(&self, stem: &str) -> Result<Arc<PackHandle>> {
        let name = format!("{stem}.pack");
        for store in &self.stores {
            if let Some(file) = store.stat(&name)? {
                return self.open_pack(store, &file);
            }
        }
        Err(storage::Error::not_found(name).into())
    }

    fn open_single(&self, store: &Arc<dyn BlobStore>, file: &BlobMeta) -> Result<Unit> {
        let pack = self.open_pack(store, file)?;
        pack.index()?;
        Ok(Unit::new(UnitIndex::Single(pack)))
    }

    fn open_pack(&self, store: &Arc<dyn BlobStore>, file: &BlobMeta) -> Result<Arc<PackHandle>> {
        let stem = file.name.strip_suffix(".pack").unwrap_or(&file.name);
        let serial = self.next_serial.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(PackHandle::open(store, stem, serial, self.hash, &self.blocks)?))
    }

    fn open_multi(&self, store: &Arc<dyn BlobStore>, packs: &[&BlobMeta]) -> Result<Unit> {
        let midx = MultiPackIndex::open(read_whole(&**store, MIDX)?, self.hash)
            .map_err(Error::format(MIDX))?;
        let mut handles = Vec::new();
        for number in 0..midx.pack_count() {
            let name = midx.pack_name(number).unwrap_or_default();
            let stem = name.strip_suffix(b".idx").unwrap_or(name);
            let is_it = |file: &&&BlobMeta| {
                let own = file.name.strip_prefix("pack/").and_then(|n| n.strip_suffix(".pack"));
                own.is_some_and(|own| own.as_bytes() == stem)
            };
            let file = packs
                .iter()
                .find(is_it)
                .ok_or_else(|| storage::Error::not_found(String::from_utf8_lossy(name)))?;
            handles.push(self.open_pack(store, file)?);
        }
        Ok(Unit::new(UnitIndex::Multi { midx, packs: handles, store: store.clone() }))
    }
}

/// A folder's files, sorted by name.
struct Files(Vec<BlobMeta>);

impl Files {
    fn state(&self, name: &str) -> Option<FileState> {
        let at = self.0.binary_search_by(|file| file.name.as_str().cmp(name)).ok()?;
        Some((self.0[at].size, self.0[at].modified))
    }

    /// A pack and the files beside it.
    fn of_pack(&self, stem: &str) -> Vec<Option<FileState>> {
        let endings = ["idx", "rev", "bitmap", "pack"];
        endings.iter().map(|ending| self.state(&format!("{stem}.{ending}"))).collect()
    }

    /// The multi-pack-index and its packs. Of these the size alone: git changes the time of a
    /// pack when an object in it is needed again.
    fn of_multi<'n>(&self, packs: impl Iterator<Item = &'n str>) -> Vec<Option<FileState>> {
        let size_of = |name| self.state(name).map(|(size, _)| (size, SystemTime::UNIX_EPOCH));
        std::iter::once(self.state(MIDX)).chain(packs.map(size_of)).collect()
    }

    fn of_multi_unit(&self, unit: &Unit) -> Vec<Option<FileState>> {
        let names: Vec<String> =
            unit.packs().iter().map(|pack| format!("{}.pack", pack.stem)).collect();
        self.of_multi(names.iter().map(String::as_str))
    }
}
