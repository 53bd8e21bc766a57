//! This server among others: seen from time to time, so that what it left behind when it died is
//! told from what it is still at.
//!
//! Only the database's clock counts.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use postgres::types::Type;
use storage::Result;

use crate::connections::Connections;

/// A server is seen so many times during a lease.
const SEEN_PER_LEASE: u32 = 3;

/// Others' remains are looked for each time a server was seen so often, and when it starts.
const CLEANED_EVERY: u32 = 30;

/// A server's row, renewed as long as this value lives.
pub(crate) struct Node {
    pub number: i64,
    // Dropped first, which ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    pub fn start(
        connections: &Arc<Connections>,
        lease: Duration,
        staged_keep: Duration,
    ) -> Result<Self> {
        let row = connections.with(|client| {
            client.query_typed_one(
                "INSERT INTO packhorse.node (seen) VALUES (clock_timestamp()) RETURNING number",
                &[],
            )
        })?;
        let number = row.get(0);
        clean(connections, staged_keep.max(lease))?;
        let (stop, stopped) = channel();
        let shared = Arc::downgrade(connections);
        let keep = staged_keep.max(lease);
        let work = move || stay_seen(&shared, number, (lease / SEEN_PER_LEASE, keep), &stopped);
        let thread = std::thread::Builder::new().name("postgres-lease".to_owned()).spawn(work);
        if let Err(error) = &thread {
            tracing::warn!("leases are not renewed: {error}");
        }
        Ok(Node { number, stop: Some(stop), thread: thread.ok() })
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
    number: i64,
    (pause, keep): (Duration, Duration),
    stopped: &Receiver<()>,
) {
    let mut count = 0_u32;
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        let Some(connections) = connections.upgrade() else { return };
        count = count.wrapping_add(1);
        let mut done = seen(&connections, number);
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
                 SELECT chunks FROM packhorse.staged JOIN dead ON node = dead.number
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
