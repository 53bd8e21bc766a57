//! This server among others: seen from time to time, so that what it left behind when it died is
//! told from what it is still at.
//!
//! Only the database's clock counts.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use postgres::types::Type;
use storage::Result;

use crate::connections::Connections;
use crate::watch::MOVED_KEEP;

/// A server is seen so many times during a lease.
const SEEN_PER_LEASE: u32 = 3;

/// A shorter lease is taken for this long.
const LEASE_MIN: Duration = Duration::from_secs(1);

/// Others' remains are looked for each time a server was seen so often, and when it starts.
const CLEANED_EVERY: u32 = 30;

/// Blobs whose chunks go in one transaction.
const DROPPED_AT_ONCE: i64 = 64;

/// A server's row, renewed as long as this value lives.
pub(crate) struct Node {
    pub number: i64,
    /// Tried again from time to time.
    owed: Arc<Mutex<Vec<Owed>>>,
    opened: Arc<Mutex<Opened>>,
    // Dropped first, which ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Whose chunks this server reads, by how many readers.
#[derive(Default)]
pub(crate) struct Opened {
    readers: BTreeMap<i64, usize>,
    /// Whether the database may have been told of some of them.
    told: bool,
}

impl Opened {
    pub fn open(&mut self, chunks: i64) {
        *self.readers.entry(chunks).or_default() += 1;
    }

    pub fn close(&mut self, chunks: i64) {
        if let Some(readers) = self.readers.get_mut(&chunks) {
            *readers -= 1;
            if *readers == 0 {
                self.readers.remove(&chunks);
            }
        }
    }
}

/// What is to be given back.
#[derive(Debug)]
pub(crate) enum Owed {
    /// A reservation.
    Release { repository: i64, name: String, stage: i64 },
    /// Chunks that are no longer wanted.
    Forget { chunks: i64 },
}

impl Owed {
    fn give_back(&self, connections: &Connections) -> Result<()> {
        let given = match self {
            Owed::Release { repository, name, stage } => connections.with(|client| {
                client.query_typed(
                    "DELETE FROM packhorse.reserved
                         WHERE repository = $1 AND name = $2 AND stage = $3",
                    &[(repository, Type::INT8), (name, Type::TEXT), (stage, Type::INT8)],
                )
            }),
            Owed::Forget { chunks } => connections.with(|client| {
                client.query_typed(
                    "WITH gone AS (
                         DELETE FROM packhorse.staged WHERE chunks = $1 RETURNING chunks
                     )
                     DELETE FROM packhorse.chunk USING gone WHERE chunk.chunks = gone.chunks",
                    &[(chunks, Type::INT8)],
                )
            }),
        };
        given.map(drop)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives back what could not be given back before; what cannot be now either is kept.
fn settle_all(connections: &Connections, owed: &Mutex<Vec<Owed>>) {
    let all = std::mem::take(&mut *lock(owed));
    let mut left: Vec<Owed> = Vec::new();
    for one in all {
        // The first failure stands for the others.
        if !left.is_empty() || one.give_back(connections).is_err() {
            left.push(one);
        }
    }
    lock(owed).extend(left);
}

impl Node {
    /// What is open here.
    pub fn opened(&self) -> MutexGuard<'_, Opened> {
        lock(&self.opened)
    }

    /// Gives something back, now or as soon as the database can be asked.
    pub fn settle(&self, connections: &Connections, owed: Owed) {
        if let Err(error) = owed.give_back(connections) {
            tracing::warn!(%error, "tried again later: {owed:?}");
            lock(&self.owed).push(owed);
        }
    }

    pub fn start(
        connections: &Arc<Connections>,
        lease: Duration,
        staged_keep: Duration,
    ) -> Result<Self> {
        let lease = lease.max(LEASE_MIN);
        let keep = staged_keep.max(2 * lease);
        let row = connections.with(|client| {
            client.query_typed_one(
                "INSERT INTO packhorse.node (seen) VALUES (clock_timestamp()) RETURNING number",
                &[],
            )
        })?;
        let number = row.get(0);
        clean(connections, keep)?;
        drop_retired(connections, lease)?;
        let (stop, stopped) = channel();
        let shared = Arc::downgrade(connections);
        let owed: Arc<Mutex<Vec<Owed>>> = Arc::default();
        let opened: Arc<Mutex<Opened>> = Arc::default();
        let (theirs, read) = (owed.clone(), opened.clone());
        let work = move || stay_seen(&shared, (number, &theirs, &read), (lease, keep), &stopped);
        let thread = std::thread::Builder::new().name("postgres-lease".to_owned()).spawn(work);
        if let Err(error) = &thread {
            tracing::warn!("leases are not renewed: {error}");
        }
        Ok(Node { number, owed, opened, stop: Some(stop), thread: thread.ok() })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Until stopped.
fn stay_seen(
    connections: &Weak<Connections>,
    (number, owed, opened): (i64, &Mutex<Vec<Owed>>, &Mutex<Opened>),
    (lease, keep): (Duration, Duration),
    stopped: &Receiver<()>,
) {
    let mut count = 0_u32;
    while stopped.recv_timeout(lease / SEEN_PER_LEASE) == Err(RecvTimeoutError::Timeout) {
        let Some(connections) = connections.upgrade() else { return };
        count = count.wrapping_add(1);
        let mut done =
            seen(&connections, number).and_then(|()| tell_readers(&connections, number, opened));
        if done.is_ok() {
            settle_all(&connections, owed);
        }
        if done.is_ok() && count.is_multiple_of(CLEANED_EVERY) {
            done = clean(&connections, keep)
                .and_then(|_| drop_retired(&connections, lease))
                .and_then(|()| forget_moved(&connections));
        }
        if let Err(error) = done {
            tracing::warn!(%error, "a lease could not be renewed");
        }
    }
    // Nothing of this server is staged any more: all stages have their store.
    if let Some(connections) = connections.upgrade() {
        let gone = connections.with(|client| {
            client.query_typed(
                "DELETE FROM packhorse.node WHERE number = $1
                     AND NOT EXISTS (SELECT FROM packhorse.staged WHERE node = $1)",
                &[(&number, Type::INT8)],
            )
        });
        if let Err(error) = gone {
            tracing::debug!(%error, "a server's row is left to be cleaned up");
        }
    }
}

fn seen(connections: &Connections, number: i64) -> Result<()> {
    connections
        .with(|client| {
            client.query_typed(
                "INSERT INTO packhorse.node (number, seen) VALUES ($1, clock_timestamp())
                     ON CONFLICT (number) DO UPDATE SET seen = excluded.seen",
                &[(&number, Type::INT8)],
            )
        })
        .map(drop)
}

/// Says which of the chunks that have no name any more are read here.
fn tell_readers(connections: &Connections, number: i64, opened: &Mutex<Opened>) -> Result<()> {
    let mut now = lock(opened);
    let chunks: Vec<i64> = now.readers.keys().copied().collect();
    if chunks.is_empty() && !now.told {
        return Ok(());
    }
    now.told = !chunks.is_empty();
    drop(now);
    let told = connections.with(|client| {
        client.query_typed(
            "WITH read AS (
                 INSERT INTO packhorse.reader (node, chunks)
                     SELECT $1, chunks FROM packhorse.retired WHERE chunks = ANY($2)
                     ON CONFLICT DO NOTHING
             )
             DELETE FROM packhorse.reader WHERE node = $1 AND chunks <> ALL($2)",
            &[(&number, Type::INT8), (&chunks, Type::INT8_ARRAY)],
        )
    });
    if told.is_err() {
        lock(opened).told = true;
    }
    told.map(drop)
}

/// Drops chunks that have had no name for long enough for everybody to say that he reads them,
/// and that nobody reads.
fn drop_retired(connections: &Connections, lease: Duration) -> Result<()> {
    let unread = (2 * lease).as_secs_f64();
    loop {
        let row = connections.with(|client| {
            client.query_typed_one(
                "WITH unread AS (
                     SELECT chunks FROM packhorse.retired
                         WHERE since < clock_timestamp() - make_interval(secs => $1)
                             AND NOT EXISTS (
                                 SELECT FROM packhorse.reader
                                     WHERE reader.chunks = retired.chunks
                             )
                         ORDER BY since LIMIT $2 FOR UPDATE SKIP LOCKED
                 ), gone AS (
                     DELETE FROM packhorse.retired USING unread
                         WHERE retired.chunks = unread.chunks
                 ), chunks_gone AS (
                     DELETE FROM packhorse.chunk USING unread
                         WHERE chunk.chunks = unread.chunks
                 )
                 SELECT count(*) FROM unread",
                &[(&unread, Type::FLOAT8), (&DROPPED_AT_ONCE, Type::INT8)],
            )
        })?;
        if row.get::<_, i64>(0) < DROPPED_AT_ONCE {
            return Ok(());
        }
    }
}

/// Drops what everybody who watches refs has had time to hear of.
fn forget_moved(connections: &Connections) -> Result<()> {
    let keep = MOVED_KEEP.as_secs_f64();
    connections
        .with(|client| {
            client.query_typed(
                "DELETE FROM packhorse.moved
                     WHERE happened < clock_timestamp() - make_interval(secs => $1)",
                &[(&keep, Type::FLOAT8)],
            )
        })
        .map(drop)
}

/// Drops what servers staged that were not seen for so long; how many blobs.
fn clean(connections: &Connections, keep: Duration) -> Result<u64> {
    let keep = keep.as_secs_f64();
    // Rows that somebody else cleans up just now are passed over.
    let row = connections.with(|client| {
        client.query_typed_one(
            "WITH dead AS (
                 SELECT number FROM packhorse.node
                     WHERE seen < clock_timestamp() - make_interval(secs => $1)
                     FOR UPDATE SKIP LOCKED
             ), left_over AS (
                 -- Whoever publishes them just now has the rows: then they are not ours.
                 DELETE FROM packhorse.staged USING dead WHERE node = dead.number
                     RETURNING chunks
             ), chunks_gone AS (
                 DELETE FROM packhorse.chunk USING left_over
                     WHERE chunk.chunks = left_over.chunks
             ), gone AS (
                 DELETE FROM packhorse.node USING dead WHERE node.number = dead.number
             )
             SELECT count(*) FROM left_over",
            &[(&keep, Type::FLOAT8)],
        )
    })?;
    let dropped = row.get::<_, i64>(0).unsigned_abs();
    if dropped > 0 {
        tracing::info!("dropped {dropped} blobs that servers left unfinished");
    }
    Ok(dropped)
}
