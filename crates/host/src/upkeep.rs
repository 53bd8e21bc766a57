//! Maintenance of the repositories that are served: on demand, and behind the traffic.
//!
//! One repository at a time, under git's own lock (`gc.pid`), so that `git gc` and we keep out
//! of each other's way.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use repository::maintenance::upkeep::{self, FullRepack, UpkeepOptions, UpkeepPlan, UpkeepReport};
use repository::{Progress, Stage};
use storage_disk::GcLock;

use crate::{Catalogue, Location};

/// What a caller asks of one round, besides what the repository's configuration says.
#[derive(Debug, Clone, Copy, Default)]
pub struct UpkeepRequest {
    /// Pack everything reachable anew, due or not.
    pub full: bool,
    /// Look for deltas anew instead of keeping those there are (git's `-f`).
    pub fresh_deltas: bool,
    /// Do now what could wait.
    pub eager: bool,
    /// Threads; `None`: as the configuration says.
    pub threads: Option<usize>,
}

impl UpkeepRequest {
    fn options(&self, config: &gitconfig::Config) -> Result<UpkeepOptions, repository::Error> {
        let mut options = UpkeepOptions::from_config(config)?;
        if self.full {
            options.full = FullRepack::Always;
        }
        options.repack.reuse_deltas = !self.fresh_deltas;
        if let Some(threads) = self.threads {
            options.repack.threads = threads;
        }
        Ok(options)
    }
}

impl Catalogue {
    /// What a round would do to the repository at `location`.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub fn plan_upkeep(
        &self,
        location: &Location,
        request: UpkeepRequest,
    ) -> Result<UpkeepPlan, repository::Error> {
        let repository = self.opened(location)?;
        upkeep::plan(&repository, &request.options(repository.config())?, request.eager)
    }

    /// One round of maintenance; `None` when nothing was due.
    ///
    /// # Errors
    /// [`storage::Error::Locked`] when somebody else is at it; as [`upkeep::upkeep`] besides.
    pub fn upkeep(
        &self,
        location: &Location,
        request: UpkeepRequest,
        progress: &mut dyn Progress,
    ) -> Result<Option<UpkeepReport>, repository::Error> {
        let repository = self.opened(location)?;
        if !request.eager && is_turned_off(repository.config()) {
            return Ok(None);
        }
        let options = request.options(repository.config())?;
        // A file of rows is open in one process, and that has one thread that does this.
        let common_dir = repository.local().map(|local| local.common_dir.as_path());
        let _lock = common_dir.or(location.directory()).map(GcLock::acquire).transpose()?;
        upkeep::upkeep(&repository, &options, request.eager, progress)
    }
}

/// Whether a repository is to be left alone as long as nobody asks: by the settings that keep
/// `git gc --auto` away after a push.
fn is_turned_off(config: &gitconfig::Config) -> bool {
    let off = |key: &str| matches!(config.bool(key), Ok(Some(false)));
    matches!(config.int("gc.auto"), Ok(Some(..=0)))
        || off("receive.autogc")
        || off("maintenance.auto")
}

/// How maintenance goes on behind the traffic.
#[derive(Debug, Clone)]
pub struct UpkeepSettings {
    /// Whether it does.
    pub enabled: bool,
    /// How long a repository is left alone after a push.
    pub rest: Duration,
    /// While requests are answered, the part of the time maintenance may work, in percent; the
    /// rest of the time it sleeps.
    pub share_under_load_percent: u32,
    /// Threads of one round.
    pub threads: usize,
}

impl Default for UpkeepSettings {
    fn default() -> Self {
        UpkeepSettings {
            enabled: true,
            rest: Duration::from_secs(30),
            share_under_load_percent: 25,
            threads: 1,
        }
    }
}

/// Repositories that were pushed to, and the thread that looks after them.
pub(crate) struct Keeper {
    due: Mutex<Due>,
    changed: Condvar,
    settings: UpkeepSettings,
}

#[derive(Default)]
struct Due {
    /// When each repository may be looked at.
    at: BTreeMap<Location, Instant>,
    stopped: bool,
}

impl Keeper {
    pub fn new(settings: UpkeepSettings) -> Self {
        Keeper { due: Mutex::default(), changed: Condvar::new(), settings }
    }

    /// A push came in.
    pub fn note(&self, location: &Location) {
        if self.settings.enabled {
            self.look_after(location, self.settings.rest);
        }
    }

    fn look_after(&self, location: &Location, rest: Duration) {
        self.lock().at.insert(location.clone(), Instant::now() + rest);
        self.changed.notify_all();
    }

    /// Ends the thread after the step it is at.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Starts the thread. `running` counts the requests that are being answered.
    pub fn start(self: &Arc<Self>, catalogue: Arc<Catalogue>, running: Arc<AtomicUsize>) {
        if !self.settings.enabled {
            return;
        }
        let keeper = self.clone();
        let work = move || keeper.run(&catalogue, &running);
        if let Err(error) = thread::Builder::new().name("maintenance".into()).spawn(work) {
            tracing::error!(%error, "no maintenance: its thread cannot be started");
        }
    }

    fn run(&self, catalogue: &Catalogue, running: &AtomicUsize) {
        // Of this thread alone, and of those it starts.
        if let Err(error) = rustix::process::setpriority_process(None, 19) {
            tracing::debug!(%error, "maintenance runs at the priority of requests");
        }
        while let Some(location) = self.next() {
            let request =
                UpkeepRequest { threads: Some(self.settings.threads), ..Default::default() };
            let mut progress = Yielding::new(self, running);
            let started = Instant::now();
            let repository = &location;
            match catalogue.upkeep(&location, request, &mut progress) {
                Ok(None) => tracing::debug!(%repository, "no maintenance is due"),
                Ok(Some(report)) => {
                    let milliseconds = started.elapsed().as_millis() as u64;
                    tracing::info!(%repository, milliseconds, "maintained: {report}");
                }
                Err(error) if is_locked(&error) => {
                    tracing::debug!(%repository, %error, "maintenance later");
                    self.look_after(&location, self.settings.rest.max(RETRY_MIN));
                }
                Err(repository::Error::Io(_)) if self.lock().stopped => return,
                Err(error) => tracing::warn!(%repository, %error, "maintenance failed"),
            }
        }
    }

    /// Waits for the next repository; `None` at the end.
    fn next(&self) -> Option<Location> {
        let mut due = self.lock();
        loop {
            if due.stopped {
                return None;
            }
            let first = due
                .at
                .iter()
                .min_by_key(|(_, at)| **at)
                .map(|(location, at)| (location.clone(), *at));
            let wait = match first {
                Some((location, at)) => match at.checked_duration_since(Instant::now()) {
                    None | Some(Duration::ZERO) => {
                        due.at.remove(&location);
                        return Some(location);
                    }
                    Some(wait) => wait,
                },
                None => Duration::MAX,
            };
            due = match wait {
                Duration::MAX => self.changed.wait(due).unwrap_or_else(PoisonError::into_inner),
                wait => {
                    let waited = self.changed.wait_timeout(due, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_locked(error: &repository::Error) -> bool {
    matches!(error, repository::Error::Storage(storage::Error::Locked { .. }))
}

/// Sleeps between steps while there are requests to answer, and ends the work when the server
/// stops.
struct Yielding<'a> {
    keeper: &'a Keeper,
    running: &'a AtomicUsize,
    last: Instant,
}

/// How long a repository that somebody else maintains is left to them, at least.
const RETRY_MIN: Duration = Duration::from_secs(1);

/// The longest sleep between two steps.
const SLEEP_MAX: Duration = Duration::from_secs(1);

impl<'a> Yielding<'a> {
    fn new(keeper: &'a Keeper, running: &'a AtomicUsize) -> Self {
        Yielding { keeper, running, last: Instant::now() }
    }
}

impl Progress for Yielding<'_> {
    fn update(&mut self, _: Stage, _: u64, _: Option<u64>) -> io::Result<()> {
        if self.running.load(Ordering::Relaxed) > 0 {
            let share = self.keeper.settings.share_under_load_percent.clamp(1, 100);
            let worked = self.last.elapsed();
            let sleep = (worked * (100 - share) / share).min(SLEEP_MAX);
            let due = self.keeper.lock();
            if !due.stopped && !sleep.is_zero() {
                // A stop ends it early; a push does not.
                let waited = self.keeper.changed.wait_timeout_while(due, sleep, |due| !due.stopped);
                drop(waited);
            }
        }
        self.last = Instant::now();
        match self.keeper.lock().stopped {
            true => Err(io::Error::new(io::ErrorKind::Interrupted, "the server stops")),
            false => Ok(()),
        }
    }
}
