//! Checksums of packs that were sent before. Many clients ask for the same (a new clone without
//! blobs, the newest commit alone); the bytes they get are the same, so the sum at their end is.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use object::ObjectId;

/// How many sums are kept, some 80 bytes each.
const KEPT: usize = 256;

/// A sum is used so many times before it is computed again: one made of bytes that were bad for
/// a moment does not stay.
const USES: u32 = 16;

/// The sums of one repository's packs, by a hash of all that decides the bytes.
#[derive(Default)]
pub(crate) struct PackSums {
    /// Those asked for last at the end.
    recent: Mutex<VecDeque<Remembered>>,
}

struct Remembered {
    key: ObjectId,
    sum: ObjectId,
    uses: u32,
}

impl PackSums {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Remembered>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self, key: &ObjectId) -> Option<ObjectId> {
        let mut recent = self.lock();
        let at = recent.iter().position(|known| known.key == *key)?;
        let mut found = recent.remove(at)?;
        found.uses += 1;
        let sum = (found.uses <= USES).then_some(found.sum);
        recent.push_back(found);
        sum
    }

    pub fn put(&self, key: ObjectId, sum: ObjectId) {
        let mut recent = self.lock();
        recent.retain(|known| known.key != key);
        if recent.len() == KEPT {
            recent.pop_front();
        }
        recent.push_back(Remembered { key, sum, uses: 0 });
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

    #[test]
    fn now_and_then_a_sum_is_computed_again() {
        let sums = PackSums::default();
        sums.put(id(1), id(2));
        assert_eq!((0..USES).filter(|_| sums.get(&id(1)) == Some(id(2))).count(), USES as usize);
        assert_eq!(sums.get(&id(1)), None);
        sums.put(id(1), id(3));
        assert_eq!(sums.get(&id(1)), Some(id(3)));
    }
}
