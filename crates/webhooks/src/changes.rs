//! Changes behind the server's back: repositories are watched, and what becomes of their refs is noted for those who
//! hear of it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::Backoff;
use host::{Cursor, Host, Refusal, RepositoryName, ShownMove, Told, WatchedRefs};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::Hears;
use crate::desk::{Desk, News};
use crate::event::{Change, EventKind};

/// How long a repository that cannot be watched is left alone, at most.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// A task that ends with whoever holds it.
struct Watcher(JoinHandle<()>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Watches all that somebody wants to hear of, for ever.
pub(crate) async fn run(desk: Arc<Desk>, host: Arc<Host>) {
    let mut watchers: BTreeMap<String, Watcher> = BTreeMap::new();
    let mut is_first = true;
    loop {
        let (this, found) = (desk.clone(), host.clone());
        let names = spawn_blocking(move || names(&this, &found)).await.unwrap_or_default();
        watchers.retain(|name, watcher| !watcher.0.is_finished() && names.contains(name));
        for name in names {
            let (desk, host) = (desk.clone(), host.clone());
            watchers.entry(name).or_insert_with_key(|name| {
                let one = One { desk, host, name: name.clone(), is_new: !is_first };
                Watcher(tokio::spawn(one.run()))
            });
        }
        is_first = false;
        tokio::time::sleep(desk.settings().search).await;
    }
}

/// The repositories to watch, by their names in rules.
fn names(desk: &Desk, host: &Host) -> Vec<String> {
    let (patterns, most) = (desk.watched(), desk.settings().watched_max);
    let mut names = Vec::new();
    // Names are asked for as they are; only patterns need a search.
    let (plain, patterns): (Vec<_>, Vec<_>) =
        patterns.into_iter().partition(|pattern| pattern.is_plain());
    names.extend(plain.iter().map(|pattern| pattern.text().to_owned()));
    if !patterns.is_empty() {
        let (listed, more) = host.catalogue().list(LISTED_MAX);
        if more {
            tracing::warn!(most = LISTED_MAX, "webhooks look at so many repositories and no more");
        }
        let known = listed.into_iter().map(|one| host.known_as(&one.name));
        let fits =
            |name: &String| patterns.iter().any(|pattern| pattern.matches(name.as_bytes(), None));
        names.extend(known.filter(fits));
    }
    names.sort();
    names.dedup();
    if names.len() > most {
        let (found, first) = (names.len(), names[most].as_str());
        tracing::error!(
            found,
            most,
            first,
            "webhooks.watched_max: this repository and those behind it are not watched"
        );
        names.truncate(most);
    }
    names
}

/// Repositories that are looked through for those whose names fit.
const LISTED_MAX: usize = 100_000;

/// One repository.
struct One {
    desk: Arc<Desk>,
    host: Arc<Host>,
    name: String,
    /// It was not there when watching began.
    is_new: bool,
}

impl One {
    async fn run(mut self) {
        let seed =
            self.name.bytes().fold(1, |sum: u64, byte| sum.wrapping_mul(31) + u64::from(byte));
        let mut backoff = Backoff::new(RETRY_MAX, seed);
        loop {
            let began = Instant::now();
            match self.watch().await {
                Ok(()) if began.elapsed() > RETRY_MAX => backoff.reset(),
                Ok(()) => {}
                // The next search finds it when it is there again.
                Err(Refusal::NotFound { .. }) if !self.is_named() => return,
                Err(Refusal::NotFound { .. }) => self.is_new = true,
                Err(error) => {
                    tracing::warn!(repository = self.name, %error, "webhooks cannot watch it now");
                }
            }
            tokio::time::sleep(backoff.wait()).await;
        }
    }

    /// Whether somebody asks for it by its own name.
    fn is_named(&self) -> bool {
        self.desk.watched().iter().any(|pattern| pattern.is_plain() && pattern.text() == self.name)
    }

    /// Hears what becomes of its refs until the subscription ends.
    async fn watch(&mut self) -> Result<(), Refusal> {
        let (host, name) = (self.host.clone(), self.name.clone());
        let since = self.desk.notebook().get(&name);
        let watched = spawn_blocking(move || {
            let name = RepositoryName::new(name.as_bytes())
                .map_err(|_| Refusal::NotFound { name: name.clone() })?;
            host.watch(&name, since)
        });
        let Ok(watched) = watched.await else { return Ok(()) };
        let mut watched: WatchedRefs = watched?;
        loop {
            let told = poll_fn(|context| watched.poll_next(context)).await;
            let (kind, cursor, moves) = match told {
                Told::End => return Ok(()),
                Told::At(cursor) if since.is_none() && self.is_new => {
                    (EventKind::Relist, cursor, Vec::new())
                }
                Told::At(cursor) => {
                    self.note(cursor).await;
                    continue;
                }
                Told::Relist(cursor) => (EventKind::Relist, cursor, Vec::new()),
                Told::Moved(cursor, moves) => (EventKind::Refs, cursor, moves),
            };
            self.tell(kind, cursor, moves).await;
            self.note(cursor).await;
        }
    }

    async fn tell(&self, kind: EventKind, cursor: Cursor, moves: Vec<ShownMove>) {
        let (desk, repository) = (self.desk.clone(), self.name.clone());
        let changes: Vec<Change> = moves.into_iter().map(change).collect();
        let told = spawn_blocking(move || {
            desk.tell(
                Hears::Changes,
                &News {
                    kind,
                    repository: &repository,
                    pusher: None,
                    road: None,
                    changes: &changes,
                    cursor: Some(cursor.to_string()),
                },
            )
        });
        // The log has what was not told.
        let _ = told.await;
    }

    async fn note(&self, cursor: Cursor) {
        let (desk, name) = (self.desk.clone(), self.name.clone());
        let noted = spawn_blocking(move || desk.notebook().set(&name, cursor)).await;
        if let Ok(Err(error)) = noted {
            tracing::warn!(repository = self.name, %error, "cannot note how its refs are");
        }
    }
}

fn change(one: ShownMove) -> Change {
    let ShownMove { name, old, new } = one;
    let (old, new) = (old.map(|target| target.to_string()), new.map(|target| target.to_string()));
    Change { name: name.to_string(), old, new }
}
