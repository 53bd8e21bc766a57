//! Who wants to know that refs moved, and how he is told.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use object::RefName;

use crate::RefEdit;

/// What a store knows of a change when it tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved<'a> {
    /// At most these refs are others than they were.
    Names(&'a [RefName]),
    /// Any ref may be.
    Somehow,
}

/// Called when refs moved. It may be called by the thread that changes them, before it goes on, so it
/// notes what it is told and leaves the work to another thread.
pub type Wake = Arc<dyn Fn(Moved<'_>) + Send + Sync>;

/// A [`Wake`] is called for as long as this lives. A call that has begun may end later.
#[must_use = "who is watched by nobody is told nothing"]
pub struct Watching {
    _until_dropped: Box<dyn Any + Send + Sync>,
}

impl Watching {
    /// Keeps whatever has to be dropped for the calls to end.
    pub fn new(until_dropped: impl Any + Send + Sync) -> Self {
        Watching { _until_dropped: Box::new(until_dropped) }
    }
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watching")
    }
}

/// Who watches which repository, for stores that keep several.
pub struct Bells<K>(Arc<Mutex<Rings<K>>>);

/// Those who are to be called, by repository; each with a number of its own.
struct Rings<K> {
    wakes: BTreeMap<K, Vec<(u64, Wake)>>,
    next: u64,
}

impl<K> Default for Bells<K> {
    fn default() -> Self {
        Bells(Arc::new(Mutex::new(Rings { wakes: BTreeMap::new(), next: 0 })))
    }
}

impl<K> Clone for Bells<K> {
    fn clone(&self) -> Self {
        Bells(self.0.clone())
    }
}

/// A panic elsewhere cannot leave half a list behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Ord + Clone> Bells<K> {
    /// From now on `wake` is called when this one is rung.
    pub fn watch(&self, key: K, wake: Wake) -> Watched<K> {
        let mut rings = lock(&self.0);
        let number = rings.next;
        rings.next += 1;
        rings.wakes.entry(key.clone()).or_default().push((number, wake));
        Watched { bells: self.clone(), key, number }
    }

    /// Calls all who watch this one.
    pub fn ring(&self, key: &K, moved: Moved<'_>) {
        let wakes = lock(&self.0).wakes.get(key).cloned().unwrap_or_default();
        wakes.iter().for_each(|(_, wake)| wake(moved));
    }

    /// Calls all who watch this one about a transaction that happened.
    pub fn ring_edits(&self, key: &K, edits: &[RefEdit]) {
        if !edits.is_empty() && lock(&self.0).wakes.contains_key(key) {
            let names: Vec<RefName> = edits.iter().map(|edit| edit.name.clone()).collect();
            self.ring(key, Moved::Names(&names));
        }
    }

    /// Calls everybody: nobody knows what happened.
    pub fn ring_all(&self) {
        self.keys().iter().for_each(|key| self.ring(key, Moved::Somehow));
    }

    /// Which ones are watched.
    pub fn keys(&self) -> Vec<K> {
        lock(&self.0).wakes.keys().cloned().collect()
    }

    /// Whether this one is watched.
    pub fn is_watched(&self, key: &K) -> bool {
        lock(&self.0).wakes.contains_key(key)
    }
}

/// One who watches; until dropped.
pub struct Watched<K: Ord + Clone> {
    bells: Bells<K>,
    key: K,
    number: u64,
}

impl<K: Ord + Clone> Drop for Watched<K> {
    fn drop(&mut self) {
        let mut rings = lock(&self.bells.0);
        if let Some(wakes) = rings.wakes.get_mut(&self.key) {
            wakes.retain(|(number, _)| *number != self.number);
            if wakes.is_empty() {
                rings.wakes.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn each_is_called_for_its_own_until_it_goes() {
        let bells = Bells::<u8>::default();
        let counts = [0; 3].map(|_: i32| Arc::new(AtomicUsize::new(0)));
        let [first, second, other] = counts.clone().map(|count| -> Wake {
            Arc::new(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
            })
        });
        let seen = || counts.each_ref().map(|count| count.load(Ordering::SeqCst));
        let first = bells.watch(1, first);
        let second = bells.watch(1, second);
        let other = bells.watch(2, other);
        bells.ring(&1, Moved::Somehow);
        assert_eq!(seen(), [1, 1, 0]);
        drop(first);
        bells.ring(&1, Moved::Somehow);
        bells.ring_all();
        assert_eq!(seen(), [1, 3, 1]);
        assert_eq!(bells.keys(), [1, 2]);
        drop((second, other));
        assert_eq!(bells.keys(), []);
        bells.ring(&1, Moved::Somehow);
        assert_eq!(seen(), [1, 3, 1]);
    }
}
