//! Blobs in the making: chunks of no published blob, which belong to this server's row.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

use bytes::Bytes;
use postgres::Client;
use postgres::types::{ToSql, Type};
use storage::{ChunkStore, ChunkedBlob, Error, Result};

use crate::blobs::{PgBlobs, read_chunks};
use crate::connections::Connection;
use crate::errors::{Parent, failed, orphan_of, removed};
use crate::node::Owed;
use crate::schema::CHUNK_BYTES;

/// The chunks of one stage.
pub(crate) struct PgChunks {
    blobs: PgBlobs,
    /// Tells its reservations from those of other stages, here and elsewhere.
    stage: i64,
}

impl PgChunks {
    pub fn new(blobs: PgBlobs) -> Result<Self> {
        let row = blobs
            .shared
            .connections
            .with(|client| client.query_typed_one("SELECT nextval('packhorse.stages')", &[]))?;
        Ok(PgChunks { blobs, stage: row.get(0) })
    }

    fn failed(&self) -> impl FnOnce(postgres::Error) -> Error + '_ {
        let what = &self.blobs.shared.connections.what;
        move |error| match orphan_of(&error) {
            Some(Parent::Repository) => removed(),
            Some(Parent::Node) => self.taken_for_dead(),
            None => failed(what)(error),
        }
    }

    /// Every reservation that is used must still be held.
    fn check_reserved(&self, connection: &mut Connection<'_>, names: &[&str]) -> Result<()> {
        let held = connection
            .query_typed(
                "SELECT name FROM packhorse.reserved
                     WHERE repository = $1 AND stage = $2 AND name = ANY($3) FOR UPDATE",
                &[
                    (&self.blobs.repository.0, Type::INT8),
                    (&self.stage, Type::INT8),
                    (&names, Type::TEXT_ARRAY),
                ],
            )
            .map_err(self.failed())?;
        let held: BTreeSet<&str> = held.iter().map(|row| row.get(0)).collect();
        match names.iter().find(|name| !held.contains(*name)) {
            None => Ok(()),
            Some(lost) => {
                let lock = "a server that took over when this one was not seen".to_owned();
                Err(Error::Locked { what: (*lost).to_owned(), lock })
            }
        }
    }

    /// No chunk may have been dropped because this server was taken for dead.
    fn take_over(&self, connection: &mut Connection<'_>, chunks: &[i64]) -> Result<()> {
        if chunks.is_empty() {
            return Ok(());
        }
        let taken = connection
            .query_typed(
                "DELETE FROM packhorse.staged WHERE chunks = ANY($1) RETURNING chunks",
                &[(&chunks, Type::INT8_ARRAY)],
            )
            .map_err(self.failed())?;
        if taken.len() == chunks.len() {
            return Ok(());
        }
        Err(self.taken_for_dead())
    }

    fn taken_for_dead(&self) -> Error {
        let words = "what was staged is gone: this server was not seen for too long";
        let source = io::Error::new(io::ErrorKind::TimedOut, words);
        Error::Unavailable { what: self.blobs.shared.connections.what.clone(), source }
    }
}

const DELETE_CHUNKS: &str = "DELETE FROM packhorse.chunk WHERE chunks = $1";

const RETIRE_CHUNKS: &str = "INSERT INTO packhorse.retired VALUES ($1, clock_timestamp())";

/// Adds rows of chunks, from the `first` one on.
fn insert_chunks(
    client: &mut Client,
    chunks: i64,
    first: u64,
    bytes: &[u8],
) -> Result<(), postgres::Error> {
    let parts: Vec<&[u8]> = bytes.chunks(CHUNK_BYTES as usize).collect();
    let first = i32::try_from(first).unwrap_or(i32::MAX);
    client
        .query_typed(
            "INSERT INTO packhorse.chunk (chunks, number, bytes)
                 SELECT $1, $2 + at::integer - 1, part
                     FROM unnest($3::bytea[]) WITH ORDINALITY AS parts (part, at)",
            &[(&chunks, Type::INT8), (&first, Type::INT4), (&parts, Type::BYTEA_ARRAY)],
        )
        .map(drop)
}

impl ChunkStore for PgChunks {
    fn chunk_bytes(&self) -> u64 {
        CHUNK_BYTES
    }

    fn new_chunks(&self) -> Result<u64> {
        let row = self.blobs.shared.connections.with(|client| {
            client.query_typed_one(
                "INSERT INTO packhorse.staged (chunks, node)
                     VALUES (nextval('packhorse.chunks'), $1) RETURNING chunks",
                &[(&self.blobs.shared.node.number, Type::INT8)],
            )
        })?;
        Ok(row.get::<_, i64>(0).cast_unsigned())
    }

    fn append(&self, chunks: u64, first: u64, bytes: Vec<u8>) -> Result<()> {
        let shared = &self.blobs.shared;
        let mut connection = shared.connections.begin(shared.lock_wait)?;
        // It need not be on the disk before the transaction is that publishes it.
        connection.batch_execute("SET LOCAL synchronous_commit = off").map_err(self.failed())?;
        let chunks = chunks.cast_signed();
        let still_staged = connection
            .query_typed_opt(
                "SELECT chunks FROM packhorse.staged WHERE chunks = $1 FOR KEY SHARE",
                &[(&chunks, Type::INT8)],
            )
            .map_err(self.failed())?;
        if still_staged.is_none() {
            return Err(self.taken_for_dead());
        }
        insert_chunks(&mut connection, chunks, first, &bytes).map_err(self.failed())?;
        connection.commit()
    }

    fn read_appended(
        &self,
        (chunks, size): (u64, u64),
        name: &str,
        range: Range<u64>,
    ) -> Result<Bytes> {
        read_chunks(&self.blobs.shared, (chunks.cast_signed(), size), name, range)
    }

    fn forget(&self, chunks: u64) -> Result<()> {
        let shared = &self.blobs.shared;
        shared.node.settle(&shared.connections, Owed::Forget { chunks: chunks.cast_signed() });
        Ok(())
    }

    fn reserve(&self, name: &str) -> Result<()> {
        let shared = &self.blobs.shared;
        let lease = shared.lease.as_secs_f64();
        let mut connection = shared.connections.begin(shared.lock_wait)?;
        let reserved = connection
            .query_typed_opt(
                "INSERT INTO packhorse.reserved AS held (repository, name, node, stage)
                     VALUES ($1, $2, $3, $4)
                     ON CONFLICT (repository, name) DO UPDATE
                         SET node = excluded.node, stage = excluded.stage
                         WHERE (SELECT seen FROM packhorse.node WHERE number = held.node)
                             < clock_timestamp() - make_interval(secs => $5)
                     RETURNING stage",
                &[
                    (&self.blobs.repository.0, Type::INT8),
                    (&name, Type::TEXT),
                    (&shared.node.number, Type::INT8),
                    (&self.stage, Type::INT8),
                    (&lease, Type::FLOAT8),
                ],
            )
            .map_err(self.failed())?;
        connection.commit()?;
        match reserved {
            Some(_) => Ok(()),
            None => Err(Error::Locked { what: name.to_owned(), lock: "another stage".to_owned() }),
        }
    }

    fn release(&self, name: &str) {
        let shared = &self.blobs.shared;
        let (repository, stage, name) = (self.blobs.repository.0, self.stage, name.to_owned());
        shared.node.settle(&shared.connections, Owed::Release { repository, name, stage });
    }

    fn publish(
        &self,
        blobs: &BTreeMap<String, ChunkedBlob>,
        reserved: &BTreeSet<String>,
    ) -> Result<()> {
        let shared = &self.blobs.shared;
        let mut connection = shared.connections.begin(shared.lock_wait)?;
        // Held against the removal of the repository.
        let repository = connection
            .query_typed_opt(
                "SELECT number FROM packhorse.repository WHERE number = $1 FOR KEY SHARE",
                &[(&self.blobs.repository.0, Type::INT8)],
            )
            .map_err(self.failed())?;
        if repository.is_none() {
            return Err(removed());
        }
        let replaced: Vec<&str> =
            reserved.iter().filter(|name| blobs.contains_key(*name)).map(String::as_str).collect();
        if !replaced.is_empty() {
            self.check_reserved(&mut connection, &replaced)?;
        }
        let staged: Vec<i64> =
            blobs.values().filter_map(|blob| Some(blob.chunks?.cast_signed())).collect();
        self.take_over(&mut connection, &staged)?;
        for (name, blob) in blobs {
            self.publish_one(&mut connection, name, blob, reserved.contains(name))?;
        }
        connection.commit()
    }
}

impl PgChunks {
    fn publish_one(
        &self,
        connection: &mut Connection<'_>,
        name: &str,
        blob: &ChunkedBlob,
        replaces: bool,
    ) -> Result<()> {
        let own = [
            (&self.blobs.repository.0 as &(dyn ToSql + Sync), Type::INT8),
            (&name as &(dyn ToSql + Sync), Type::TEXT),
        ];
        let old = match replaces {
            false => None,
            true => connection
                .query_typed_opt(
                    "SELECT chunks FROM packhorse.blob
                         WHERE repository = $1 AND name = $2 FOR UPDATE",
                    &own,
                )
                .map_err(self.failed())?,
        };
        let old: Option<i64> = old.map(|row| row.get(0));
        let staged = blob.chunks.map(u64::cast_signed);
        let size = blob.size().cast_signed();
        let new = connection
            .query_typed_opt(
                "INSERT INTO packhorse.blob (repository, name, chunks, size, modified)
                     VALUES ($1, $2, coalesce($3, nextval('packhorse.chunks')), $4,
                         clock_timestamp())
                     ON CONFLICT (repository, name) DO UPDATE
                         SET chunks = excluded.chunks, size = excluded.size,
                             modified = excluded.modified
                         WHERE $5
                     RETURNING chunks",
                &[
                    own[0].clone(),
                    own[1].clone(),
                    (&staged, Type::INT8),
                    (&size, Type::INT8),
                    (&replaces, Type::BOOL),
                ],
            )
            .map_err(self.failed())?;
        let new: Option<i64> = new.map(|row| row.get(0));
        // Of a name that was there already, one of both loses its chunks: the old one's may be
        // read just now.
        let loser = match new {
            Some(_) => old.map(|old| (RETIRE_CHUNKS, old)),
            None => staged.map(|staged| (DELETE_CHUNKS, staged)),
        };
        if let Some((statement, loser)) = loser {
            let lost = connection.query_typed(statement, &[(&loser, Type::INT8)]);
            lost.map_err(self.failed())?;
        }
        match new {
            Some(chunks) if !blob.tail.is_empty() => {
                let first = blob.appended / CHUNK_BYTES;
                insert_chunks(connection, chunks, first, &blob.tail).map_err(self.failed())
            }
            _ => Ok(()),
        }
    }
}
