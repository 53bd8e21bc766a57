//! Syncs of directories that many threads want at once.
//!
//! A sync makes all changes last that came before it, whoever made them. So of all who ask while one
//! is under way, one syncs next and the others wait for it: group commit, without a log.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

/// Syncs under way, by directory.
#[derive(Default)]
pub(crate) struct Syncs {
    directories: Mutex<HashMap<PathBuf, Rounds>>,
    ended: Condvar,
}

#[derive(Default)]
struct Rounds {
    begun: u64,
    ended: u64,
    is_running: bool,
    /// Who is here; the last one tidies up.
    users: usize,
    /// The last one that failed, and how.
    failed: Option<(u64, io::ErrorKind, String)>,
}

impl Syncs {
    /// Has a directory synced after now, by `sync` or by somebody else's.
    ///
    /// # Errors
    /// Those of the sync that this one waited for.
    pub fn after_now(
        &self,
        directory: &Path,
        mut sync: impl FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut all = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        let rounds = all.entry(directory.to_owned()).or_default();
        rounds.users += 1;
        // One that runs may have passed by what changed.
        let awaited = rounds.begun + 1;
        loop {
            let rounds = all.get_mut(directory).expect("kept while somebody is here");
            if rounds.ended >= awaited {
                let failed = rounds.failed.as_ref().filter(|(number, ..)| *number >= awaited);
                let failed = failed.map(|(_, kind, words)| io::Error::new(*kind, words.clone()));
                rounds.users -= 1;
                if rounds.users == 0 {
                    all.remove(directory);
                }
                return failed.map_or(Ok(()), Err);
            }
            if rounds.is_running {
                all = self.ended.wait(all).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            rounds.is_running = true;
            rounds.begun += 1;
            drop(all);
            let synced = sync();
            all = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
            let rounds = all.get_mut(directory).expect("kept while somebody is here");
            rounds.is_running = false;
            rounds.ended = rounds.begun;
            if let Err(error) = synced {
                rounds.failed = Some((rounds.ended, error.kind(), error.to_string()));
            }
            self.ended.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// How many wait, until there are so many.
    fn wait_for(syncs: &Syncs, users: usize) {
        let count = || {
            let all = syncs.directories.lock().expect("not poisoned");
            all.get(Path::new("d")).map_or(0, |rounds| rounds.users)
        };
        while count() != users {
            thread::yield_now();
        }
    }

    #[test]
    fn who_comes_during_a_sync_shares_the_next() {
        let (syncs, count) = (Syncs::default(), AtomicUsize::new(0));
        let (go, gate) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let (syncs, count) = (&syncs, &count);
            scope.spawn(move || {
                let slow = || {
                    count.fetch_add(1, Ordering::Relaxed);
                    gate.recv().map_err(io::Error::other)
                };
                syncs.after_now(Path::new("d"), slow).expect("fine");
            });
            while count.load(Ordering::Relaxed) == 0 {
                thread::yield_now();
            }
            for _ in 0..20 {
                let quick = || {
                    count.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                };
                scope.spawn(move || syncs.after_now(Path::new("d"), quick).expect("fine"));
            }
            wait_for(syncs, 21);
            go.send(()).expect("somebody waits");
        });
        assert_eq!(count.load(Ordering::Relaxed), 2);
        assert!(syncs.directories.lock().expect("not poisoned").is_empty());
    }

    #[test]
    fn a_failure_is_told_to_all_who_relied_on_it() {
        let syncs = Syncs::default();
        let (go, gate) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let syncs = &syncs;
            scope.spawn(move || {
                let slow = || {
                    begun.send(()).map_err(io::Error::other)?;
                    gate.recv().map_err(io::Error::other)
                };
                syncs.after_now(Path::new("d"), slow).expect("fine");
            });
            has_begun.recv().expect("it begins");
            for _ in 0..5 {
                let bad = || Err(io::Error::from(io::ErrorKind::StorageFull));
                scope.spawn(move || {
                    let error = syncs.after_now(Path::new("d"), bad).expect_err("full");
                    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
                });
            }
            wait_for(syncs, 6);
            go.send(()).expect("somebody waits");
        });
        syncs.after_now(Path::new("d"), || Ok(())).expect("nothing is left of it");
    }
}
