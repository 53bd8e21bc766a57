//! Checksums of packs that were sent before. Many clients ask for the same (a new clone without
//! blobs, the newest commit alone); the bytes they get are the same, so the sum at their end is.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use object::ObjectId;

/// How many sums are kept, some 80 bytes each.
const KEPT: usize = 256;

/// The sums of one repository's packs, by a hash of all that decides the bytes.
#[derive(Default)]
pub(crate) struct PackSums {
    /// Those asked for last at the end.
    recent: Mutex<VecDeque<(ObjectId, ObjectId)>>,
}

impl PackSums {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(ObjectId, ObjectId)>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self, key: &ObjectId) -> Option<ObjectId> {
        let mut recent = self.lock();
        let at = recent.iter().position(|(known, _)| known == key)?;
        let found = recent.remove(at)?;
        recent.push_back(found);
        Some(found.1)
    }

    pub fn put(&self, key: ObjectId, sum: ObjectId) {
        let mut recent = self.lock();
        if recent.iter().any(|(known, _)| *known == key) {
            return;
        }
        if recent.len() == KEPT {
            recent.pop_front();
        }
        recent.push_back((key, sum));
    }
}

#[cfg(test)]
mod tests {
    use object::HashKind;

    use super::*;

    fn id(number: usize) -> ObjectId {
        ObjectId::from_prefix(&[&number.to_be_bytes()[..], &[0; 24]].concat(), HashKind::Sha1)
    }

    #[test]
    fn what_is_asked_for_stays() {
        let sums = PackSums::default();
        for number in 0..KEPT {
            sums.put(id(number), id(number + 1000));
        }
        assert_eq!(sums.get(&id(0)), Some(id(1000)));
        sums.put(id(KEPT), id(7));
        assert_eq!(sums.get(&id(0)), Some(id(1000)));
        assert_eq!(sums.get(&id(1)), None);
        assert_eq!(sums.get(&id(KEPT)), Some(id(7)));
    }
}
