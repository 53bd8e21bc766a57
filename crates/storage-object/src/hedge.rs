//! Reads that take much longer than others are asked for a second time, and the answer that comes first
//! counts (Dean and Barroso, "The Tail at Scale", 2013). How long is long is what the last reads took;
//! and only so many in a hundred are asked for twice, so that a slow service does not get more to do.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use object_store::path::Path;
use object_store::{Error as StoreError, GetOptions, GetResult, ObjectStore};

/// Reads whose times are remembered.
const REMEMBERED: usize = 64;

/// Reads that were timed before anything is asked for twice.
const TIMED_MIN: usize = 16;

/// Longer than so many in a hundred of the last reads, twice over.
const SLOW_PERCENTILE: usize = 95;

/// No read is slow before this.
const SLOW_MIN: Duration = Duration::from_millis(10);

/// What one asking costs: every read earns its hundredths.
const COST: u32 = 100;

/// So many may be asked for twice one after the other.
const SAVED_MAX: u32 = 10 * COST;

/// When reads are asked for a second time.
pub(crate) struct Hedge {
    /// Of a hundred, at most.
    percent: u32,
    state: Mutex<State>,
    /// Reads that were asked for twice.
    pub count: AtomicU64,
}

#[derive(Default)]
struct State {
    /// How long the last reads took until the first byte.
    times: Vec<Duration>,
    next: usize,
    saved: u32,
}

impl Hedge {
    pub fn new(percent: u32) -> Self {
        Hedge { percent: percent.min(100), state: Mutex::default(), count: AtomicU64::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a read may take before it is slow; `None` when none is asked for twice.
    fn patience(&self) -> Option<Duration> {
        let mut state = self.state();
        state.saved = (state.saved + self.percent).min(SAVED_MAX);
        if self.percent == 0 || state.times.len() < TIMED_MIN {
            return None;
        }
        let mut times = state.times.clone();
        let at = times.len() * SLOW_PERCENTILE / 100;
        let (_, slow, _) = times.select_nth_unstable(at);
        Some((*slow * 2).max(SLOW_MIN))
    }

    fn may(&self) -> bool {
        let mut state = self.state();
        let may = state.saved >= COST;
        if may {
            state.saved -= COST;
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    fn note(&self, time: Duration) {
        let mut state = self.state();
        if state.times.len() < REMEMBERED {
            state.times.push(time);
        } else {
            let at = state.next;
            state.times[at] = time;
            state.next = (at + 1) % REMEMBERED;
        }
    }

    /// Asks a store for (a part of) an object.
    ///
    /// # Errors
    /// Those of the store; of two askings, the last one.
    pub async fn get(
        &self,
        store: &Arc<dyn ObjectStore>,
        path: &Path,
        options: GetOptions,
    ) -> Result<GetResult, StoreError> {
        let begun = Instant::now();
        let got = self.get_first(store, path, options).await;
        // "As it was" is an answer, too.
        if !got.as_ref().is_err_and(may_pass) {
            self.note(begun.elapsed());
        }
        got
    }

    async fn get_first(
        &self,
        store: &Arc<dyn ObjectStore>,
        path: &Path,
        options: GetOptions,
    ) -> Result<GetResult, StoreError> {
        let mut first = pin!(store.get_opts(path, options.clone()));
        let Some(patience) = self.patience() else { return first.await };
        if let Ok(got) = tokio::time::timeout(patience, &mut first).await {
            return got;
        }
        if !self.may() {
            return first.await;
        }
        let second = pin!(store.get_opts(path, options));
        match select(first, second).await {
            Either::Left((Err(error), second)) if may_pass(&error) => second.await,
            Either::Right((Err(error), first)) if may_pass(&error) => first.await,
            Either::Left((got, _)) | Either::Right((got, _)) => got,
        }
    }
}

/// Whether the other answer may be a better one.
fn may_pass(error: &StoreError) -> bool {
    matches!(error, StoreError::Generic { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_slow_is_learned_and_few_are_asked_twice() {
        let hedge = Hedge::new(5);
        for number in 0..TIMED_MIN {
            assert_eq!(hedge.patience(), None, "{number}");
            hedge.note(Duration::from_millis(20));
        }
        assert_eq!(hedge.patience(), Some(Duration::from_millis(40)));
        // One slow read in fifty is no reason to wait longer; many are.
        hedge.note(Duration::from_secs(1));
        for _ in 0..50 {
            hedge.note(Duration::from_millis(1));
        }
        assert_eq!(hedge.patience(), Some(Duration::from_millis(40)));
        for _ in 0..REMEMBERED {
            hedge.note(Duration::from_millis(1));
        }
        assert_eq!(hedge.patience(), Some(SLOW_MIN));
        for _ in 0..8 {
            hedge.note(Duration::from_secs(1));
        }
        assert_eq!(hedge.patience(), Some(Duration::from_secs(2)));
        let hedge = Hedge::new(5);
        assert!(!hedge.may());
        let asked = (0..200).filter(|_| {
            hedge.patience();
            hedge.may()
        });
        assert_eq!(asked.count(), 10);
        let never = Hedge::new(0);
        (0..REMEMBERED).for_each(|_| never.note(Duration::ZERO));
        assert_eq!(never.patience(), None);
    }
}
