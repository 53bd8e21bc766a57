//! Repositories in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    MemoryBlobs, MemoryRefs, NewRepository, Parts, RepositoryStore, Result, Stored,
    check_repository_name,
};

/// Repositories in memory, by name.
#[derive(Default)]
pub struct MemoryRepositories {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    numbers: BTreeMap<String, u64>,
    repositories: BTreeMap<u64, Kept>,
    last_number: u64,
}

struct Kept {
    stored: Stored,
    refs: Arc<MemoryRefs>,
    blobs: Arc<MemoryBlobs>,
}

impl MemoryRepositories {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RepositoryStore for MemoryRepositories {
    fn names(&self, after: &str, most: usize) -> Result<Vec<String>> {
        let behind = (Bound::Excluded(after), Bound::Unbounded);
        Ok(self.lock().numbers.range::<str, _>(behind).take(most).map(|(n, _)| n.clone()).collect())
    }

    fn find(&self, name: &str) -> Result<Option<Stored>> {
        let inner = self.lock();
        let kept = inner.numbers.get(name).and_then(|number| inner.repositories.get(number));
        Ok(kept.map(|kept| kept.stored.clone()))
    }

    fn own_parts(&self, name: &str, stored: &Stored) -> Result<Parts> {
        let (refs, blobs) = match self.lock().repositories.get(&stored.number) {
            Some(kept) => (kept.refs.clone(), kept.blobs.clone()),
            // Removed meanwhile. What is pushed to it goes with it.
            None => {
                let head = object::RefName::new("refs/heads/gone").expect("a valid name");
                (Arc::new(MemoryRefs::new(stored.hash, head)), Arc::new(MemoryBlobs::new()))
            }
        };
        stored.parts(name, refs, blobs)
    }

    fn create(&self, name: &str, new: &NewRepository<'_>) -> Result<bool> {
        check_repository_name(name)?;
        let mut inner = self.lock();
        if inner.numbers.contains_key(name) {
            return Ok(false);
        }
        inner.last_number += 1;
        let number = inner.last_number;
        let stored = Stored { number, hash: new.hash, config: new.config.to_vec() };
        let refs = Arc::new(MemoryRefs::new(new.hash, new.head.clone()));
        let kept = Kept { stored, refs, blobs: Arc::new(MemoryBlobs::new()) };
        inner.repositories.insert(number, kept);
        inner.numbers.insert(name.to_owned(), number);
        Ok(true)
    }

    fn configure(&self, name: &str, found: &Stored, config: &[u8]) -> Result<bool> {
        let mut inner = self.lock();
        let is_found = inner.numbers.get(name) == Some(&found.number);
        let kept = inner.repositories.get_mut(&found.number).filter(|_| is_found);
        let kept = kept.filter(|kept| kept.stored == *found);
        Ok(kept.map(|kept| kept.stored.config = config.to_vec()).is_some())
    }

    fn remove(&self, name: &str) -> Result<bool> {
        let mut inner = self.lock();
        let number = inner.numbers.remove(name);
        let kept = number.and_then(|number| inner.repositories.remove(&number));
        Ok(kept.is_some())
    }
}
