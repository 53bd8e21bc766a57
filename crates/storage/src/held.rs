//! Refs that prepared transactions hold until they are committed or dropped.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bstr::ByteSlice as _;
use object::RefName;

use crate::{CommitError, prefixes_of};

/// Who waits for whom, for stores in which a transaction has no lock of its own. A held name also
/// keeps out names that would be its directory, or inside it.
#[derive(Default)]
pub struct HeldRefs {
    keys: Mutex<BTreeSet<Vec<u8>>>,
    released: Condvar,
}

/// Names that are held; given back when dropped.
pub struct Hold<'a> {
    held: &'a HeldRefs,
    keys: Vec<Vec<u8>>,
}

impl HeldRefs {
    /// Takes all the names at once, or none. `scope` tells repositories apart: none is the beginning
    /// of another.
    ///
    /// # Errors
    /// [`CommitError::Locked`] when that takes longer than `wait`.
    pub fn take(
        &self,
        scope: &[u8],
        names: &[&RefName],
        wait: Duration,
    ) -> Result<Hold<'_>, CommitError> {
        let until = Instant::now().checked_add(wait);
        let mut keys = self.lock();
        while let Some(name) = names.iter().find(|name| is_held(&keys, scope, name)) {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                let lock = "another transaction".to_owned();
                return Err(CommitError::Locked { name: (**name).clone(), lock });
            }
            let left = left.unwrap_or(wait);
            keys = self.released.wait_timeout(keys, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let taken: Vec<_> = names.iter().map(|name| key_of(scope, name.as_bytes())).collect();
        keys.extend(taken.iter().cloned());
        Ok(Hold { held: self, keys: taken })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Vec<u8>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of(scope: &[u8], name: &[u8]) -> Vec<u8> {
    [scope, name].concat()
}

fn is_held(keys: &BTreeSet<Vec<u8>>, scope: &[u8], name: &RefName) -> bool {
    let key = key_of(scope, name.as_bytes());
    let inside = [&key[..], b"/"].concat();
    keys.contains(&key)
        || keys.range(inside.clone()..).next().is_some_and(|first| first.starts_with(&inside))
        || prefixes_of(name.as_bstr())
            .any(|prefix| keys.contains(&key_of(scope, prefix.as_bytes())))
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut keys = self.held.lock();
        for key in &self.keys {
            keys.remove(key);
        }
        self.held.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_out_themselves_and_what_cannot_be_beside_them() {
        let held = HeldRefs::default();
        let name = |name: &str| RefName::new(name).expect("valid");
        let (one, two) = (b"1", b"2");
        let take = |scope: &[u8], of: &str| {
            held.take(scope, &[&name(of)], Duration::ZERO).map(drop).is_ok()
        };
        let middle = name("refs/heads/a/b");
        let hold = held.take(one, &[&middle], Duration::ZERO).expect("free");
        assert!(!take(one, "refs/heads/a/b"));
        assert!(!take(one, "refs/heads/a/b/c") && !take(one, "refs/heads/a"));
        assert!(take(one, "refs/heads/a/bc") && take(one, "refs/heads/a/b-c"));
        assert!(take(two, "refs/heads/a/b"));
        drop(hold);
        assert!(take(one, "refs/heads/a"));
    }
}
