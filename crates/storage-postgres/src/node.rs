//! This server among others: seen from time to time, so that what it left behind when it died is
//! told from what it is still at.
//!
//! Only the database's clock counts.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use postgres::types::Type;
use storage::Result;

use crate::connections::Connections;

/// A server is seen so many times during a lease.
const SEEN_PER_LEASE: u32 = 3;

/// A shorter lease is taken for this long.
const LEASE_MIN: Duration = Duration::from_secs(1);

/// Others' remains are looked for each time a server was seen so often, and when it starts.
const CLEANED_EVERY: u32 = 30;

/// A server's row, renewed as long as this value lives.
pub(crate) struct Node {
    pub number: i64,
    /// Tried again from time to time.
    owed: Arc<Mutex<Vec<Owed>>>,
    // Dropped first, which ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
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

fn lock(owed: &Mutex<Vec<Owed>>) -> MutexGuard<'_, Vec<Owed>> {
    owed.lock().unwrap_or_else(PoisonError::into_inner)
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
        let (stop, stopped) = channel();
        let shared = Arc::downgrade(connections);
        let owed: Arc<Mutex<Vec<Owed>>> = Arc::default();
        let theirs = owed.clone();
        let pauses = (lease / SEEN_PER_LEASE, keep);
        let work = move || stay_seen(&shared, (number, &theirs), pauses, &stopped);
        let thread = std::thread::Builder::new().name("postgres-lease".to_owned()).spawn(work);
        if let Err(error) = &thread {
            tracing::warn!("leases are not renewed: {error}");
        }
        Ok(Node { number, owed, stop: Some(stop), thread: thread.ok() })
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
    (number, owed): (i64, &Mutex<Vec<Owed>>),
    (pause, keep): (Duration, Duration),
    stopped: &Receiver<()>,
) {
    let mut count = 0_u32;
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        let Some(connections) = connections.upgrade() else { return };
        count = count.wrapping_add(1);
        let mut done = seen(&connections, number);
        if done.is_ok() {
            settle_all(&connections, owed);
        }
        if done.is_ok() && count.is_multiple_of(CLEANED_EVERY) {
            done = clean(&connections, keep).map(drop);
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
