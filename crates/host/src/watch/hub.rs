//! The repositories somebody subscribes to, and the threads that look at their refs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use object::RefName;
use storage::{Error, Moved, RefStore, Watching};

use super::feed::Feed;
use super::feed::Subscription;
use super::known::KnownRefs;
use super::{Cursor, WatchSettings};
use crate::{Location, Refusal};

/// Names that are looked at one by one; of more, all refs are looked at.
const NAMES_MAX: usize = 1000;

/// All that is watched.
pub(crate) struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    settings: WatchSettings,
    watched: Mutex<BTreeMap<Location, Arc<Watched>>>,
    subscribers: AtomicUsize,
    /// Refs that are known.
    refs: AtomicUsize,
    work: Mutex<Work>,
    /// There is work.
    more: Condvar,
}

#[derive(Default)]
struct Work {
    due: VecDeque<Arc<Watched>>,
    /// To be looked at when their store has had its rest.
    later: Vec<(Instant, Arc<Watched>)>,
    threads: usize,
    ended: bool,
}

/// A repository somebody subscribes to, or did a moment ago.
struct Watched {
    what: String,
    refs: Arc<dyn RefStore>,
    feed: Arc<Feed>,
    /// Only one thread looks at a time.
    known: Mutex<KnownRefs>,
    pending: Mutex<Pending>,
    subscribers: AtomicUsize,
    left: Mutex<Instant>,
    watching: Mutex<Option<Watching>>,
}

/// What is to be looked at.
#[derive(Default)]
struct Pending {
    names: BTreeSet<RefName>,
    all: bool,
    /// Somebody will.
    queued: bool,
}

/// Counts a subscriber until he goes.
struct Seat {
    shared: Arc<Shared>,
    watched: Arc<Watched>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    pub fn new(settings: WatchSettings) -> Self {
        let shared = Shared {
            settings,
            watched: Mutex::default(),
            subscribers: AtomicUsize::default(),
            refs: AtomicUsize::default(),
            work: Mutex::default(),
            more: Condvar::new(),
        };
        Hub { shared: Arc::new(shared) }
    }

    /// Subscribes to the refs at a location; who knows them as they were is told what happened since.
    ///
    /// # Errors
    /// [`Refusal::Crowded`] for more subscribers, or refs, than are allowed; [`Refusal::Unavailable`].
    pub fn subscribe(
        &self,
        (location, name): (&Location, &str),
        refs: &Arc<dyn RefStore>,
        since: Option<Cursor>,
    ) -> Result<Subscription, Refusal> {
        let shared = &self.shared;
        let most = shared.settings.subscribers_max;
        if shared.subscribers.fetch_add(1, Ordering::Relaxed) >= most {
            shared.subscribers.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::Crowded { most, setting: "subscribers_max" });
        }
        let watched = shared.enter(location, name, refs).inspect_err(|_| {
            shared.subscribers.fetch_sub(1, Ordering::Relaxed);
        })?;
        let seat = Seat { shared: shared.clone(), watched: watched.clone() };
        Ok(watched.feed.subscribe(since, Box::new(seat)))
    }

    /// Tells all subscribers that it is over, and watches nothing any more.
    pub fn end(&self) {
        lock(&self.shared.work).ended = true;
        self.shared.more.notify_all();
        let watched = std::mem::take(&mut *lock(&self.shared.watched));
        for watched in watched.into_values() {
            watched.end();
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.end();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.subscribers.fetch_sub(1, Ordering::Relaxed);
        if self.watched.subscribers.fetch_sub(1, Ordering::Relaxed) == 1 {
            *lock(&self.watched.left) = Instant::now();
            // Somebody has to see to it when it is time.
            self.shared.more.notify_one();
        }
    }
}

impl Watched {
    fn end(&self) {
        // First, so that nobody is called about what is over.
        drop(lock(&self.watching).take());
        self.feed.end();
    }
}

impl Shared {
    /// The repository at a location, with one more subscriber.
    fn enter(
        self: &Arc<Self>,
        location: &Location,
        name: &str,
        refs: &Arc<dyn RefStore>,
    ) -> Result<Arc<Watched>, Refusal> {
        let known = |watched: &mut BTreeMap<Location, Arc<Watched>>| {
            let known = watched.get(location).filter(|known| !known.feed.has_ended())?.clone();
            known.subscribers.fetch_add(1, Ordering::Relaxed);
            Some(known)
        };
        if let Some(known) = known(&mut lock(&self.watched)) {
            return Ok(known);
        }
        let fresh = self.begin(name, refs)?;
        let mut watched = lock(&self.watched);
        if let Some(faster) = known(&mut watched) {
            drop(watched);
            self.forget(&fresh);
            return Ok(faster);
        }
        fresh.subscribers.fetch_add(1, Ordering::Relaxed);
        let before = watched.insert(location.clone(), fresh.clone());
        drop(watched);
        if let Some(ended) = before {
            self.forget(&ended);
        }
        if lock(&self.work).ended {
            // The others were told before this one was among them.
            fresh.end();
        }
        Ok(fresh)
    }

    /// Watches a repository.
    fn begin(
        self: &Arc<Self>,
        name: &str,
        refs: &Arc<dyn RefStore>,
    ) -> Result<Arc<Watched>, Refusal> {
        let unavailable = |error: Error| Refusal::Unavailable {
            name: name.to_owned(),
            reason: error.to_string(),
        };
        self.start_threads().map_err(unavailable)?;
        if lock(&self.work).ended {
            let (name, reason) = (name.to_owned(), "the server is about to end".to_owned());
            return Err(Refusal::Unavailable { name, reason });
        }
        let watched = Arc::new(Watched {
            what: name.to_owned(),
            refs: refs.clone(),
            feed: Arc::new(Feed::new(self.settings.remembered_max)),
            known: Mutex::default(),
            pending: Mutex::default(),
            subscribers: AtomicUsize::default(),
            left: Mutex::new(Instant::now()),
            watching: Mutex::default(),
        });
        let (shared, ours) = (Arc::downgrade(self), Arc::downgrade(&watched));
        let watching = refs.watch(Arc::new(move |moved| {
            if let (Some(shared), Some(watched)) = (shared.upgrade(), ours.upgrade()) {
                shared.note(&watched, moved);
            }
        }));
        *lock(&watched.watching) = Some(watching.map_err(unavailable)?);
        let mut known = lock(&watched.known);
        let before = known.len();
        let looked = refs.snapshot().and_then(|snapshot| known.look(&*snapshot));
        watched.feed.begin(known.cursor());
        let (most, all) = (self.settings.refs_max, self.count(before, known.len()));
        drop(known);
        let refusal = match looked {
            Err(error) => unavailable(error),
            Ok(_) if all > most => Refusal::Crowded { most, setting: "refs_max" },
            Ok(_) => return Ok(watched),
        };
        // A thread may have been told to look, too.
        self.forget(&watched);
        Err(refusal)
    }

    /// Counts the refs of a repository that were so many and are so many now; how many there are of all.
    fn count(&self, before: usize, now: usize) -> usize {
        self.refs.fetch_sub(before, Ordering::Relaxed);
        self.refs.fetch_add(now, Ordering::Relaxed) + now
    }

    fn forget(&self, watched: &Watched) {
        watched.end();
        let mut known = lock(&watched.known);
        self.count(known.len(), 0);
        *known = KnownRefs::default();
    }

    /// A store says that something moved.
    fn note(&self, watched: &Arc<Watched>, moved: Moved<'_>) {
        let mut pending = lock(&watched.pending);
        match moved {
            Moved::Names(names)
                if !pending.all && pending.names.len() + names.len() <= NAMES_MAX =>
            {
                pending.names.extend(names.iter().cloned());
            }
            _ => (pending.all, pending.names) = (true, BTreeSet::new()),
        }
        if !std::mem::replace(&mut pending.queued, true) {
            drop(pending);
            lock(&self.work).due.push_back(watched.clone());
            self.more.notify_one();
        }
    }

    fn start_threads(self: &Arc<Self>) -> storage::Result<()> {
        let mut work = lock(&self.work);
        while work.threads < self.settings.threads.max(1) && !work.ended {
            let shared = self.clone();
            let thread = std::thread::Builder::new().name("watch".to_owned());
            let started = thread.spawn(move || shared.run());
            started.map_err(|source| Error::io("starting a thread", source))?;
            work.threads += 1;
        }
        Ok(())
    }

    /// Looks at whatever is due, until it is over.
    fn run(&self) {
        loop {
            let expiry = self.expire();
            let mut work = lock(&self.work);
            let now = Instant::now();
            while let Some(at) = work.later.iter().position(|(when, _)| *when <= now) {
                let (_, watched) = work.later.swap_remove(at);
                work.due.push_back(watched);
            }
            if work.ended {
                *work = Work { ended: true, ..Work::default() };
                return;
            }
            if let Some(watched) = work.due.pop_front() {
                drop(work);
                self.look(&watched);
                continue;
            }
            let next = work.later.iter().map(|(when, _)| *when).chain(expiry).min();
            match next {
                Some(next) => {
                    drop(self.more.wait_timeout(work, next.saturating_duration_since(now)))
                }
                None => drop(self.more.wait(work)),
            }
        }
    }

    fn look(&self, watched: &Arc<Watched>) {
        let mut known = lock(&watched.known);
        let Pending { names, all, .. } = std::mem::take(&mut *lock(&watched.pending));
        if watched.feed.has_ended() {
            return;
        }
        let before = known.len();
        let looked = watched.refs.snapshot().and_then(|snapshot| match all {
            true => known.look(&*snapshot),
            false => known.look_at(&*snapshot, &names),
        });
        self.count(before, known.len());
        match looked {
            Ok(None) => {}
            Ok(Some(event)) => watched.feed.push(event),
            Err(Error::NotFound { .. }) => {
                drop(known);
                tracing::info!(repository = watched.what, "is gone, and so are its subscribers");
                lock(&self.watched).retain(|_, other| !Arc::ptr_eq(other, watched));
                self.forget(watched);
            }
            Err(error) => {
                tracing::warn!(repository = watched.what, %error, "watching goes on later");
                *lock(&watched.pending) =
                    Pending { names: BTreeSet::new(), all: true, queued: true };
                let when = Instant::now() + self.settings.retry;
                lock(&self.work).later.push((when, watched.clone()));
            }
        }
    }

    /// Watches no longer what nobody came back to in time; when there will be more of it.
    fn expire(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        let mut expired = Vec::new();
        lock(&self.watched).retain(|_, watched| {
            if watched.subscribers.load(Ordering::Relaxed) > 0 {
                return true;
            }
            let until = *lock(&watched.left) + self.settings.linger;
            match until > now {
                true => next = Some(next.map_or(until, |next| next.min(until))),
                false => expired.push(watched.clone()),
            }
            until > now
        });
        expired.iter().for_each(|watched| self.forget(watched));
        next
    }
}
