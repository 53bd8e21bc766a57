//! Who wants to know that refs on a disk moved: told by this process when it moves them, by the
//! system when somebody else does, and asked to look from time to time, because a disk of the
//! network says nothing of what other machines do.
//!
//! There is one of this for the process: the system gives out few queues of events.

#[cfg_attr(target_os = "linux", path = "inotify.rs")]
#[cfg_attr(not(target_os = "linux"), path = "silence.rs")]
mod system;

/// So that what other systems use is compiled on this one, too.
#[cfg(all(test, target_os = "linux"))]
#[allow(dead_code)]
#[path = "silence.rs"]
mod silence;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use object::RefName;
use storage::{Bells, Moved, RefEdit, Wake, Watched, Watching};

use crate::worktree::RefDirs;
use system::{Queue, Told};

/// Where the system says nothing of files, they are looked at so often.
const UNTOLD_POLL: Duration = Duration::from_secs(2);

/// All that are watched, by their git directories.
static EVENTS: OnceLock<Arc<Events>> = OnceLock::new();

struct Events {
    bells: Bells<PathBuf>,
    state: Mutex<State>,
    changed: Condvar,
    queue: Option<Queue>,
}

#[derive(Default)]
struct State {
    repositories: BTreeMap<PathBuf, Repository>,
    has_thread: bool,
}

/// One that is watched.
struct Repository {
    dirs: RefDirs,
    watchers: usize,
    poll: Duration,
    due: Instant,
    /// Whether the system tells of it.
    is_told: bool,
}

/// One who watches a repository.
struct Place {
    git_dir: PathBuf,
    // Dropped before the place is given up.
    watched: Option<Watched<PathBuf>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `wake` when refs of these directories move; every `poll` at least, as if they had.
pub(crate) fn watch(dirs: &RefDirs, poll: Duration, wake: Wake) -> Watching {
    let events = EVENTS.get_or_init(Events::start);
    let git_dir = dirs.git_dir.clone();
    let watched = Some(events.bells.watch(git_dir.clone(), wake));
    events.enter(dirs, poll);
    Watching::new(Place { git_dir, watched })
}

/// The refs a transaction changes, to be told of when it happened; none when nobody wants to know.
/// Whoever begins to watch later sees what it did.
pub(crate) fn told_of<'a>(
    git_dir: &Path,
    edits: impl IntoIterator<Item = &'a RefEdit>,
) -> Vec<RefName> {
    match EVENTS.get().filter(|events| events.bells.is_watched(&git_dir.to_owned())) {
        Some(_) => edits.into_iter().map(|edit| edit.name.clone()).collect(),
        None => Vec::new(),
    }
}

/// Says that this process changed these refs.
pub(crate) fn ring(git_dir: &Path, names: &[RefName]) {
    if let Some(events) = EVENTS.get().filter(|_| !names.is_empty()) {
        events.bells.ring(&git_dir.to_owned(), Moved::Names(names));
    }
}

impl Events {
    fn start() -> Arc<Self> {
        let events = Events {
            bells: Bells::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
            queue: Queue::open(),
        };
        let events = Arc::new(events);
        if events.queue.is_some() {
            let theirs = events.clone();
            let work = move || theirs.pass_on();
            if let Err(error) = std::thread::Builder::new().name("ref-events".into()).spawn(work) {
                tracing::warn!("changes of files are not heard at once: {error}");
            }
        }
        events
    }

    /// Passes on what the system tells, as long as it does.
    fn pass_on(&self) {
        let Some(queue) = &self.queue else { return };
        let told = queue.read(&mut |told| match told {
            Told::Moved(git_dir, moved) => self.bells.ring(git_dir, moved),
            Told::Lost => {
                self.listen_again();
                self.bells.ring_all();
            }
        });
        if let Err(error) = told {
            tracing::warn!("changes of files are not heard at once any more: {error}");
            lock(&self.state).repositories.values_mut().for_each(|repository| {
                repository.poll = repository.poll.min(UNTOLD_POLL);
                repository.due = Instant::now();
            });
            self.changed.notify_all();
        }
    }

    fn listen(&self, dirs: &RefDirs) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.listen(dirs))
    }

    /// What was lost may have been about new directories.
    fn listen_again(&self) {
        let all: Vec<RefDirs> = lock(&self.state)
            .repositories
            .values()
            .map(|repository| repository.dirs.clone())
            .collect();
        for dirs in all {
            self.listen(&dirs);
        }
    }

    fn enter(self: &Arc<Self>, dirs: &RefDirs, poll: Duration) {
        let mut state = lock(&self.state);
        if let Some(repository) = state.repositories.get_mut(&dirs.git_dir) {
            repository.watchers += 1;
            return;
        }
        let is_told = self.listen(dirs);
        let poll = if is_told { poll } else { poll.min(UNTOLD_POLL) };
        let poll = poll.max(Duration::from_millis(10));
        let due = Instant::now() + poll;
        let repository = Repository { dirs: dirs.clone(), watchers: 1, poll, due, is_told };
        state.repositories.insert(dirs.git_dir.clone(), repository);
        if !state.has_thread {
            let theirs = self.clone();
            let work = move || theirs.remind();
            let thread = std::thread::Builder::new().name("ref-polls".into()).spawn(work);
            state.has_thread = thread.is_ok();
        }
        self.changed.notify_all();
    }

    /// Has everybody look whose time has come, until nobody is left.
    fn remind(&self) {
        let mut state = lock(&self.state);
        loop {
            let Some(first) = state.repositories.values().map(|one| one.due).min() else {
                state.has_thread = false;
                return;
            };
            let now = Instant::now();
            if first > now {
                let waited = self.changed.wait_timeout(state, first - now);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let mut due = Vec::new();
            for (git_dir, repository) in &mut state.repositories {
                if repository.due <= now {
                    repository.due = now + repository.poll;
                    due.push((
                        git_dir.clone(),
                        repository.is_told.then(|| repository.dirs.clone()),
                    ));
                }
            }
            drop(state);
            for (git_dir, told) in due {
                // Where it was may be another one by now, whose directories nobody listens to.
                if let Some(dirs) = told {
                    self.listen(&dirs);
                    let is_gone = !lock(&self.state).repositories.contains_key(&git_dir);
                    if let Some(queue) = self.queue.as_ref().filter(|_| is_gone) {
                        queue.ignore(&git_dir);
                    }
                }
                self.bells.ring(&git_dir, Moved::Somehow);
            }
            state = lock(&self.state);
        }
    }

    fn leave(&self, git_dir: &Path) {
        let mut state = lock(&self.state);
        let Some(repository) = state.repositories.get_mut(git_dir) else { return };
        repository.watchers -= 1;
        if repository.watchers == 0 {
            state.repositories.remove(git_dir);
            if let Some(queue) = &self.queue {
                queue.ignore(git_dir);
            }
            self.changed.notify_all();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.watched.take());
        if let Some(events) = EVENTS.get() {
            events.leave(&self.git_dir);
        }
    }
}
