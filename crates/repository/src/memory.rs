//! Memory that all requests of a server share.
//!
//! What a request cannot do without is taken from the pool before it begins; caches take more
//! as they fill, as long as there is some, and make do with what they have when there is none.
//! So many small requests run side by side, one big one gets all it can use, and the sum
//! stays what was set.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that is shared out.
#[derive(Debug)]
pub struct MemoryPool {
    bytes_max: usize,
    used: AtomicUsize,
}

/// A part of a [`MemoryPool`]; dropped, it goes back.
#[derive(Debug)]
pub struct MemoryShare {
    pool: Arc<MemoryPool>,
    bytes: usize,
}

impl MemoryPool {
    /// A pool of so many bytes.
    pub fn new(bytes_max: usize) -> Self {
        MemoryPool { bytes_max, used: AtomicUsize::new(0) }
    }

    /// A pool that never ends: for a program with one request.
    pub fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// What is shared out in all, bytes.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// What is taken, bytes.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// A share as big as can be had: `most` bytes, or half of that, and so on. `least` are
    /// always given, should nobody else give anything back before.
    pub fn take_some(self: &Arc<Self>, least: usize, most: usize) -> MemoryShare {
        let mut bytes = most;
        while bytes > least {
            if let Some(share) = self.take(bytes) {
                return share;
            }
            bytes /= 2;
        }
        self.used.fetch_add(least, Ordering::Relaxed);
        MemoryShare { pool: self.clone(), bytes: least }
    }

    /// A share of so many bytes; `None` when they are not there.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Option<MemoryShare> {
        let mut share = MemoryShare { pool: self.clone(), bytes: 0 };
        share.grow(bytes).then_some(share)
    }
}

impl MemoryShare {
    /// What it has, bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes so many bytes more; whether they were there.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let MemoryPool { bytes_max, used } = &*self.pool;
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| sum <= bytes_max);
        // What was given beyond the end counts until it comes back.
        let grown = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if grown {
            self.bytes += bytes;
        }
        grown
    }

    /// Gives back what goes past so many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.pool.used.fetch_sub(surplus, Ordering::Relaxed);
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.pool.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_sum_up_to_more_than_the_pool() {
        let pool = Arc::new(MemoryPool::new(100));
        let mut first = pool.take(60).expect("free");
        assert!(pool.take(41).is_none());
        assert!(!first.grow(41) && first.grow(30));
        assert_eq!((first.bytes(), pool.used()), (90, 90));
        first.shrink_to(95);
        first.shrink_to(20);
        assert_eq!((first.bytes(), pool.used()), (20, 20));
        drop(first);
        assert_eq!(pool.used(), 0);
        assert!(pool.take(usize::MAX).is_none());
        let some = [pool.take_some(3, 80), pool.take_some(3, 80), pool.take_some(3, 80)];
        assert_eq!(some.each_ref().map(MemoryShare::bytes), [80, 20, 3]);
        drop(some);
        assert_eq!(pool.used(), 0);
        assert!(Arc::new(MemoryPool::unlimited()).take(usize::MAX).is_some());
    }

    #[test]
    fn threads_that_take_and_give_back_leave_nothing_behind() {
        let pool = Arc::new(MemoryPool::new(1000));
        std::thread::scope(|scope| {
            for thread in 1..5 {
                let pool = &pool;
                scope.spawn(move || {
                    for round in 0..10_000 {
                        let share = pool.take(thread * 100 + round % 7);
                        assert!(pool.used() <= 1000);
                        drop(share);
                    }
                });
            }
        });
        assert_eq!(pool.used(), 0);
    }
}
