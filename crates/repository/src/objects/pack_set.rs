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
use super::unit::{Unit, UnitIndex};
use crate::error::{Error, Result};
use crate::repository::Settings;

pub(crate) struct PackSet {
    pub stores: Vec<Arc<dyn BlobStore>>,
    pub hash: HashKind,
    open: Mutex<BTreeMap<Key, Arc<Unit>>>,
    next_serial: AtomicU32,
    blocks: Arc<BlockCache>,
}

/// A file as it was when it was opened: store number, name, size, time, and for a pack whether
/// it had a bitmap.
type Key = (usize, String, u64, SystemTime, bool);

const MIDX: &str = "pack/multi-pack-index";

impl PackSet {
    pub fn new(stores: Vec<Arc<dyn BlobStore>>, hash: HashKind, settings: &Settings) -> Self {
        let (open, next_serial) = Default::default();
        let blocks = Arc::new(BlockCache::new(settings.range_reads.cache_bytes));
        PackSet { stores, hash, open, next_serial, blocks }
    }

    /// Makes the serial numbers of packs opened from now on start at `first`.
    pub fn number_from(&self, first: u32) {
        self.next_serial.store(first, Ordering::Relaxed);
    }

    /// All units, those searched first in front: a multi-pack-index, then packs by size.
    pub fn units(&self) -> Result<Vec<Arc<Unit>>> {
        let mut seen = BTreeMap::new();
        let mut units = Vec::new();
        for (number, store) in self.stores.iter().enumerate() {
            for (key, unit) in self.units_of(number, store)? {
                seen.insert(key, unit.clone());
                units.push(unit);
            }
        }
        *self.open.lock().expect("no holder of the lock panics") = seen;
        Ok(units)
    }

    fn units_of(&self, number: usize, store: &Arc<dyn BlobStore>) -> Result<Vec<(Key, Arc<Unit>)>> {
        let mut files = store.list("pack/")?;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let has = |name: &str| files.binary_search_by(|file| file.name.as_str().cmp(name)).is_ok();
        let mut packs: Vec<&BlobMeta> = files
            .iter()
            .filter(|file| {
                file.name.strip_suffix(".pack").is_some_and(|s| has(&format!("{s}.idx")))
            })
            .collect();
        packs.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.name.cmp(&b.name)));

        let mut units = Vec::with_capacity(packs.len());
        let mut covered = std::collections::BTreeSet::new();
        if let Some(file) = files.iter().find(|file| file.name == MIDX) {
            let key = (number, file.name.clone(), file.size, file.modified, false);
            match self.reuse(&key, || self.open_multi(store, &packs)) {
                Ok(unit) => {
                    covered.extend(unit.packs().iter().map(|pack| pack.stem.clone()));
                    units.push((key, unit));
                }
                Err(error) => tracing::warn!(%error, "the multi-pack-index is not used"),
            }
        }
        for file in packs {
            let stem = file.name.strip_suffix(".pack").unwrap_or(&file.name);
            if covered.contains(stem) {
                continue;
            }
            let bitmap = has(&format!("{stem}.bitmap"));
            let key = (number, file.name.clone(), file.size, file.modified, bitmap);
            match self.reuse(&key, || self.open_single(store, file)) {
                Ok(unit) => units.push((key, unit)),
                Err(Error::Storage(storage::Error::NotFound { .. })) => {} // removed since it was listed
                Err(error @ Error::Format { .. }) => {
                    tracing::error!(%error, "a pack is left out");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(units)
    }

    fn reuse(&self, key: &Key, open: impl FnOnce() -> Result<Unit>) -> Result<Arc<Unit>> {
        let known = self.open.lock().expect("no holder of the lock panics").get(key).cloned();
        match known {
            Some(unit) => Ok(unit),
            None => Ok(Arc::new(open()?)),
        }
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
