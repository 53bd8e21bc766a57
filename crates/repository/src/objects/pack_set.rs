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

/// Units by store number and name, and how many faults the stores had when they were opened.
#[derive(Default)]
struct Open {
    units: BTreeMap<(usize, String), OpenUnit>,
    faults: u64,
}

/// A unit and the files it is made of, as they were when it was opened.
#[derive(Clone)]
struct OpenUnit {
    files: Vec<Option<FileState>>,
    unit: Arc<Unit>,
}

/// Size and time: a file of which neither changed is the one that is open.
type FileState = (u64, SystemTime);

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

    /// All units, those searched first in front: a multi-pack-index, then packs by size.
    pub fn units(&self) -> Result<Vec<Arc<Unit>>> {
        let mut seen = Open { faults: self.faults(), ..Open::default() };
        let mut units = Vec::new();
        for (number, store) in self.stores.iter().enumerate() {
            for (name, open) in self.units_of(number, store, seen.faults)? {
                units.push(open.unit.clone());
                seen.units.insert((number, name), open);
            }
        }
        *self.open.lock().expect("no holder of the lock panics") = seen;
        Ok(units)
    }

    /// [`BlobStore::faults`] of all stores.
    pub fn faults(&self) -> u64 {
        self.stores.iter().map(|store| store.faults()).sum()
    }

    fn units_of(
        &self,
        number: usize,
        store: &Arc<dyn BlobStore>,
        faults: u64,
    ) -> Result<Vec<(String, OpenUnit)>> {
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
            let known = self.known(number, MIDX, faults, &files);
            match known.map_or_else(|| self.open_multi(store, &packs).map(Arc::new), Ok) {
                Ok(unit) => {
                    covered.extend(unit.packs().iter().map(|pack| pack.stem.clone()));
                    let files = files.of_unit(MIDX, &unit);
                    units.push((MIDX.to_owned(), OpenUnit { files, unit }));
                }
                Err(error) => tracing::warn!(%error, "the multi-pack-index is not used"),
            }
        }
        for file in packs {
            let stem = file.name.strip_suffix(".pack").unwrap_or(&file.name);
            if covered.contains(stem) {
                continue;
            }
            let known = self.known(number, &file.name, faults, &files);
            match known.map_or_else(|| self.open_single(store, file).map(Arc::new), Ok) {
                Ok(unit) => {
                    let files = files.of_unit(&file.name, &unit);
                    units.push((file.name.clone(), OpenUnit { files, unit }));
                }
                Err(Error::Storage(storage::Error::NotFound { .. })) => {} // removed since it was listed
                Err(error @ Error::Format { .. }) => {
                    tracing::error!(%error, "a pack is left out");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(units)
    }

    /// The open unit of this name, while its files are those it was opened from and none of
    /// what is mapped was lost.
    fn known(&self, number: usize, name: &str, faults: u64, files: &Files) -> Option<Arc<Unit>> {
        let open = self.open.lock().expect("no holder of the lock panics");
        if open.faults != faults {
            return None;
        }
        let known = open.units.get(&(number, name.to_owned()))?;
        (files.of_unit(name, &known.unit) == known.files).then(|| known.unit.clone())
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
        Ok(Arc::new(PackHandle::open(store, stem, file.size, serial, self.hash, &self.blocks)?))
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

    /// What the unit of this name is read from: a pack and the files beside it, or the
    /// multi-pack-index and its packs.
    fn of_unit(&self, name: &str, unit: &Unit) -> Vec<Option<FileState>> {
        let endings = match unit.is_one_pack() {
            true => ["idx", "rev", "bitmap", "pack"].as_slice(),
            false => ["pack"].as_slice(),
        };
        let of_pack = unit.packs().iter().flat_map(|pack| {
            endings.iter().map(|ending| self.state(&format!("{}.{ending}", pack.stem)))
        });
        std::iter::once(self.state(name)).chain(of_pack).collect()
    }
}
