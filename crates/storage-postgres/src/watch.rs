//! Who watches refs in a database, and how servers tell each other.
//!
//! A transaction of refs leaves a row in `moved`, and once it happened the server says `NOTIFY`, one time
//! for all that happened meanwhile. Who watches reads the rows that came: at once when he is notified,
//! and from time to time in any case, since a notification gets lost with a server or a connection, and
//! a pooler by transactions passes none on. A notification is not part of the transaction: all
//! transactions with one wait for each other until they are on disk.
//!
//! Rows come in no order, so none is missed by its number. The snapshot they are read by says which
//! transactions had ended: what these left was seen, and all others are looked for again.

use std::collections::BTreeSet;
use std::sync::mpsc::{RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bstr::ByteSlice as _;
use object::RefName;
use postgres::Client;
use postgres::fallible_iterator::FallibleIterator as _;
use postgres::types::Type;
use storage::{Bells, Moved, RefEdit, Result, Wake, Watching};

use crate::connections::Connections;
use crate::store::RepositoryNumber;

/// Names of refs that a row has room for; a transaction of more says that it moved some.
const NAMES_MAX: usize = 64;

/// Rows are kept for so long; who was away for longer takes everything to have moved.
pub(crate) const MOVED_KEEP: Duration = Duration::from_secs(10 * 60);

/// A lost connection is made again after this.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

/// How one watches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WatchOptions {
    /// How often rows are looked for without being notified.
    pub poll: Duration,
    /// Whether a connection waits for notifications.
    pub listen: bool,
}

/// All who watch through this store, and the threads that work for them.
pub(crate) struct Watchers {
    bells: Bells<i64>,
    options: WatchOptions,
    connections: Weak<Connections>,
    /// Ends with this value, and its thread with it.
    thread: Mutex<Option<Sender<()>>>,
    announcer: Mutex<Option<SyncSender<()>>>,
}

/// The names of refs a transaction changes, for its row; none for too many.
pub(crate) fn names_of(edits: &[RefEdit]) -> Option<Vec<u8>> {
    let names = edits.iter().map(|edit| edit.name.as_bytes());
    (edits.len() <= NAMES_MAX).then(|| bstr::join("\n", names))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watchers {
    pub fn new(connections: &Arc<Connections>, options: WatchOptions) -> Self {
        let connections = Arc::downgrade(connections);
        let (thread, announcer) = Default::default();
        Watchers { bells: Bells::default(), options, connections, thread, announcer }
    }

    pub fn watch(&self, repository: RepositoryNumber, wake: Wake) -> Result<Watching> {
        // In this order: what happens before is seen, what happens later is told.
        let watched = self.bells.watch(repository.0, wake);
        let mut thread = lock(&self.thread);
        if thread.is_none() {
            let (stop, stopped) = channel();
            let (bells, connections) = (self.bells.clone(), self.connections.clone());
            let options = self.options;
            let work = move || {
                let mut listener = Listener { connections, bells, options, place: None };
                listener.run(&mut |wait| match stopped.recv_timeout(wait) {
                    Err(RecvTimeoutError::Disconnected) => false,
                    Ok(()) | Err(RecvTimeoutError::Timeout) => true,
                });
            };
            let started = std::thread::Builder::new().name("postgres-watch".to_owned()).spawn(work);
            started.map_err(|source| storage::Error::io("starting a thread", source))?;
            *thread = Some(stop);
        }
        Ok(Watching::new(watched))
    }

    /// Tells everybody, here and elsewhere, about a transaction that happened.
    pub fn announce(&self, repository: i64, names: &[RefName]) {
        match names.is_empty() {
            true => self.bells.ring(&repository, Moved::Somehow),
            false => self.bells.ring(&repository, Moved::Names(names)),
        }
        let mut announcer = lock(&self.announcer);
        let announcer = announcer.get_or_insert_with(|| {
            let (tell, told) = sync_channel(1);
            let connections = self.connections.clone();
            let work = move || {
                while let (Ok(()), Some(connections)) = (told.recv(), connections.upgrade()) {
                    let said =
                        connections.with(|client| client.batch_execute("NOTIFY packhorse_moved"));
                    if let Err(error) = said {
                        tracing::debug!(%error, "who watches elsewhere will look later");
                    }
                }
            };
            let started =
                std::thread::Builder::new().name("postgres-notify".to_owned()).spawn(work);
            if let Err(error) = started {
                tracing::warn!("who watches elsewhere hears late: {error}");
            }
            tell
        });
        // When it is full, what follows it is said after this transaction.
        let _ = announcer.try_send(());
    }
}

/// Waits for a notification, and takes all that are there.
fn wait(client: &mut Client, most: Duration) -> Result<(), postgres::Error> {
    let mut told = client.notifications();
    told.timeout_iter(most).next()?;
    while told.iter().next()?.is_some() {}
    Ok(())
}

/// The thread that looks for rows.
struct Listener {
    connections: Weak<Connections>,
    bells: Bells<i64>,
    options: WatchOptions,
    place: Option<Place>,
}

/// How far the rows were read.
struct Place {
    /// Older transactions had ended.
    ended: String,
    /// Rows of others that were seen.
    seen: BTreeSet<i64>,
    at: Instant,
}

impl Listener {
    /// Until `pause`, which waits that long, says that it is over.
    fn run(&mut self, pause: &mut dyn FnMut(Duration) -> bool) {
        let mut client: Option<Client> = None;
        let mut tried: Option<Instant> = None;
        loop {
            let may_try = tried.is_none_or(|tried| tried.elapsed() >= LISTEN_AGAIN);
            if client.is_none() && self.options.listen && may_try {
                tried = Some(Instant::now());
                client = self.listen();
            }
            if !self.look() {
                return;
            }
            let goes_on = match &mut client {
                None => pause(self.options.poll),
                Some(listening) => {
                    let waited = wait(listening, self.options.poll);
                    if waited.is_err() || listening.is_closed() {
                        tracing::debug!("no notifications for a while: {waited:?}");
                        client = None;
                    }
                    pause(Duration::ZERO)
                }
            };
            if !goes_on {
                return;
            }
        }
    }

    fn listen(&self) -> Option<Client> {
        let connections = self.connections.upgrade()?;
        let listened = connections.alone().and_then(|mut client| {
            client.batch_execute("LISTEN packhorse_moved")?;
            Ok(client)
        });
        match listened {
            Ok(client) => Some(client),
            Err(error) => {
                tracing::debug!("no notifications for a while: {error}");
                None
            }
        }
    }

    /// Reads the rows that came, and tells of them; whether the store is still there.
    fn look(&mut self) -> bool {
        let Some(connections) = self.connections.upgrade() else { return false };
        if self.bells.keys().is_empty() {
            self.place = None;
            return true;
        }
        let known = self.place.take().filter(|place| place.at.elapsed() < MOVED_KEEP / 2);
        let at = Instant::now();
        let from = known.as_ref().map(|place| &place.ended);
        let rows = connections.with(|client| {
            client.query_typed(
                "SELECT pg_snapshot_xmin(pg_current_snapshot())::text, number, repository, names
                     FROM (SELECT) AS always
                     LEFT JOIN packhorse.moved ON xact >= $1::text::xid8",
                &[(&from, Type::TEXT)],
            )
        });
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => {
                // What was missed meanwhile is taken to be everything.
                tracing::debug!(%error, "watching goes on later");
                return true;
            }
        };
        let ended = rows.first().map(|row| row.get::<_, String>(0)).unwrap_or_default();
        let Some(known) = known else {
            self.place = Some(Place { ended, seen: BTreeSet::new(), at });
            self.bells.ring_all();
            return true;
        };
        let mut seen = BTreeSet::new();
        for row in &rows {
            let (Some(number), Some(repository)) = (row.get(1), row.get::<_, Option<i64>>(2))
            else {
                continue;
            };
            seen.insert(number);
            if !known.seen.contains(&number) {
                self.tell(repository, row.get(3));
            }
        }
        self.place = Some(Place { ended, seen, at });
        true
    }

    fn tell(&self, repository: i64, names: Option<&[u8]>) {
        let names = names.map(|names| {
            names.lines().map(RefName::new).collect::<std::result::Result<Vec<_>, _>>()
        });
        match names {
            Some(Ok(names)) => self.bells.ring(&repository, Moved::Names(&names)),
            _ => self.bells.ring(&repository, Moved::Somehow),
        }
    }
}
