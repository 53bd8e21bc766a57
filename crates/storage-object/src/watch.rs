//! Who watches refs in a bucket. A bucket tells nothing by itself: the list of tables of a repository
//! that is watched is asked for from time to time, on the condition that it is another one; less often
//! the longer nothing happens.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bstr::ByteSlice as _;
use object::RefName;
use reftable::Table;
use storage::{Moved, Result, Wake, Watched, Watching};

use crate::refs::ObjectRefs;

/// Names of refs that are told one by one.
const NAMES_MAX: usize = 1000;

/// Requests at the same time.
const TOGETHER: usize = 8;

/// The longer nothing happens, the longer is waited.
const SLOWER: f64 = 1.5;

/// Those that are asked for.
#[derive(Default)]
pub(crate) struct Poller(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    polled: Vec<Polled>,
    has_thread: bool,
}

struct Polled {
    refs: Weak<ObjectRefs>,
    wait: Duration,
    due: Instant,
}

/// One who watches; the refs are in use as long as he does.
struct Place {
    _watched: Watched<()>,
    _refs: Arc<ObjectRefs>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `wake` when a reading finds that the refs moved, and sees to it that there are readings.
pub(crate) fn watch(refs: &Arc<ObjectRefs>, wake: Wake) -> Result<Watching> {
    let watched = refs.bells.watch((), wake);
    // What is told is what follows this state.
    refs.stack()?;
    refs.shared.poller.enter(refs)?;
    Ok(Watching::new(Place { _watched: watched, _refs: refs.clone() }))
}

/// The refs that can be others when the list of tables is another one; `None` when that is not known, or too many.
///
/// Tables that are listed no more are part of a new one, which has all their refs, unless it is the
/// first: that one leaves out what was deleted.
pub(crate) fn moved_between(
    old: &[String],
    new: &[String],
    table: impl Fn(&str) -> Option<Table>,
) -> Option<Vec<RefName>> {
    let same = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    if same == 0 && !old.is_empty() {
        return None;
    }
    let mut names = Vec::new();
    for name in &new[same..] {
        let mut refs = table(name)?.refs(b"".as_bstr()).ok()?;
        while refs.advance().ok()? {
            if names.len() == NAMES_MAX {
                return None;
            }
            names.push(RefName::new(refs.present()?.name.as_bytes()).ok()?);
        }
    }
    Some(names)
}

impl ObjectRefs {
    /// A reading found another list than the one before.
    pub fn ring(&self, old: Option<&[String]>, new: &[String]) {
        if !self.bells.is_watched(&()) {
            return;
        }
        let tables = crate::refs::lock(&self.cached).tables.clone();
        let names = old.and_then(|old| moved_between(old, new, |name| tables.get(name).cloned()));
        match names {
            Some(names) => self.bells.ring(&(), Moved::Names(&names)),
            None => self.bells.ring(&(), Moved::Somehow),
        }
    }
}

impl Poller {
    fn enter(&self, refs: &Arc<ObjectRefs>) -> Result<()> {
        let mut state = lock(&self.0.state);
        let (ours, poll) = (Arc::downgrade(refs), refs.shared.client.options.watch_poll);
        let due = Instant::now() + poll;
        match state.polled.iter_mut().find(|polled| polled.refs.ptr_eq(&ours)) {
            Some(polled) => (polled.wait, polled.due) = (poll, due),
            None => state.polled.push(Polled { refs: ours, wait: poll, due }),
        }
        if !state.has_thread {
            let shared = self.0.clone();
            let started = std::thread::Builder::new()
                .name("bucket-watch".to_owned())
                .spawn(move || shared.run());
            started.map_err(|source| storage::Error::io("starting a thread", source))?;
            state.has_thread = true;
        }
        self.0.changed.notify_all();
        Ok(())
    }
}

impl Shared {
    /// Until nobody watches.
    fn run(&self) {
        let mut state = lock(&self.state);
        loop {
            state.polled.retain(|polled| {
                polled.refs.upgrade().is_some_and(|refs| refs.bells.is_watched(&()))
            });
            let Some(first) = state.polled.iter().map(|polled| polled.due).min() else {
                state.has_thread = false;
                return;
            };
            let now = Instant::now();
            if first > now {
                let waited = self.changed.wait_timeout(state, first - now);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let due: Vec<_> = state.polled.iter().filter(|polled| polled.due <= now).collect();
            let due: Vec<_> = due.iter().filter_map(|polled| polled.refs.upgrade()).collect();
            drop(state);
            let per_thread = due.len().div_ceil(TOGETHER).max(1);
            let mut changed = Vec::new();
            std::thread::scope(|scope| {
                let threads: Vec<_> = due
                    .chunks(per_thread)
                    .map(|some| scope.spawn(|| some.iter().map(is_changed).collect::<Vec<_>>()))
                    .collect();
                changed =
                    threads.into_iter().flat_map(|one| one.join().unwrap_or_default()).collect();
            });
            state = lock(&self.state);
            let now = Instant::now();
            for (refs, changed) in due.iter().zip(changed) {
                let ours = Arc::downgrade(refs);
                let options = &refs.shared.client.options;
                if let Some(polled) = state.polled.iter_mut().find(|one| one.refs.ptr_eq(&ours)) {
                    polled.wait = match changed {
                        true => options.watch_poll,
                        false => polled.wait.mul_f64(SLOWER).min(options.watch_poll_max),
                    };
                    polled.due = now + polled.wait.max(Duration::from_millis(1));
                }
            }
        }
    }
}

/// Reads the list, which tells of it when it is another one.
fn is_changed(refs: &Arc<ObjectRefs>) -> bool {
    let before = refs.epoch.get();
    if let Err(error) = refs.stack() {
        tracing::debug!(%error, "watching '{}' goes on later", refs.directory);
        return false;
    }
    refs.epoch.get() != before
}
