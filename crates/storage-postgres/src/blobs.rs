//! Blobs of one repository.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use postgres::Row;
use postgres::types::Type;
use storage::{
    BlobMeta, BlobStore, ChunkStage, Error, OpenBlob, Result, Stage, check_blob_name,
    check_list_prefix,
};

use crate::errors::failed;
use crate::schema::CHUNK_BYTES;
use crate::stage::PgChunks;
use crate::store::{RepositoryNumber, Shared};

/// The objects directory of one repository in a database.
#[derive(Clone)]
pub(crate) struct PgBlobs {
    pub shared: Arc<Shared>,
    pub repository: RepositoryNumber,
}

impl PgBlobs {
    pub fn new(shared: Arc<Shared>, repository: RepositoryNumber) -> Self {
        PgBlobs { shared, repository }
    }
}

impl BlobStore for PgBlobs {
    fn stat(&self, name: &str) -> Result<Option<BlobMeta>> {
        check_blob_name(name)?;
        let row = self.shared.connections.with(|client| {
            client.query_typed_opt(
                "SELECT name, size, modified FROM packhorse.blob
                     WHERE repository = $1 AND name = $2",
                &[(&self.repository.0, Type::INT8), (&name, Type::TEXT)],
            )
        })?;
        Ok(row.as_ref().map(meta))
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        check_blob_name(name)?;
        let cut = Cut::of(&range);
        // One statement: the blob may be replaced meanwhile.
        let rows = self.shared.connections.with(|client| {
            let blob =
                "SELECT chunks, size FROM packhorse.blob WHERE repository = $4 AND name = $5";
            let statement = statement(blob);
            let [start, end, chunk] = cut.parameters();
            let own = [(&self.repository.0 as _, Type::INT8), (&name as _, Type::TEXT)];
            client.query_typed(&statement, &[&[start, end, chunk][..], &own].concat())
        })?;
        let size = rows.first().ok_or_else(|| Error::not_found(name))?.get::<_, i64>(0);
        joined(&rows, size.unsigned_abs(), name, range)
    }

    fn open(&self, name: &str) -> Result<Option<Arc<dyn OpenBlob>>> {
        check_blob_name(name)?;
        let row = self.shared.connections.with(|client| {
            client.query_typed_opt(
                "SELECT chunks, size FROM packhorse.blob WHERE repository = $1 AND name = $2",
                &[(&self.repository.0, Type::INT8), (&name, Type::TEXT)],
            )
        })?;
        let Some(row) = row else { return Ok(None) };
        let (chunks, size) = (row.get(0), row.get::<_, i64>(1).unsigned_abs());
        self.shared.node.opened().open(chunks);
        let (shared, name) = (self.shared.clone(), name.to_owned());
        Ok(Some(Arc::new(PgBlob { shared, name, chunks, size })))
    }

    fn list(&self, prefix: &str) -> Result<Vec<BlobMeta>> {
        check_list_prefix(prefix)?;
        // `0` is the byte after `/`.
        let end = prefix.strip_suffix('/').map(|directory| format!("{directory}0"));
        let rows = self.shared.connections.with(|client| {
            client.query_typed(
                "SELECT name, size, modified FROM packhorse.blob
                     WHERE repository = $1 AND name >= $2 AND ($3::text IS NULL OR name < $3)
                         AND strpos(substr(name, length($2) + 1), '/') = 0
                     ORDER BY name",
                &[(&self.repository.0, Type::INT8), (&prefix, Type::TEXT), (&end, Type::TEXT)],
            )
        })?;
        Ok(rows.iter().map(meta).collect())
    }

    fn delete(&self, name: &str) -> Result<()> {
        check_blob_name(name)?;
        let connections = &self.shared.connections;
        let mut connection = connections.begin(self.shared.lock_wait)?;
        connection
            .query_typed(
                "WITH gone AS (
                     DELETE FROM packhorse.blob WHERE repository = $1 AND name = $2
                         RETURNING chunks
                 )
                 INSERT INTO packhorse.retired SELECT chunks, clock_timestamp() FROM gone",
                &[(&self.repository.0, Type::INT8), (&name, Type::TEXT)],
            )
            .map_err(failed(&connections.what))?;
        connection.commit()
    }

    fn stage(&self) -> Result<Box<dyn Stage>> {
        Ok(Box::new(ChunkStage::new(PgChunks::new(self.clone())?)))
    }
}

/// An open blob.
struct PgBlob {
    shared: Arc<Shared>,
    name: String,
    chunks: i64,
    size: u64,
}

impl OpenBlob for PgBlob {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        read_chunks(&self.shared, (self.chunks, self.size), &self.name, range)
    }
}

impl Drop for PgBlob {
    fn drop(&mut self) {
        self.shared.node.opened().close(self.chunks);
    }
}

fn meta(row: &Row) -> BlobMeta {
    BlobMeta {
        name: row.get(0),
        size: row.get::<_, i64>(1).unsigned_abs(),
        modified: row.get::<_, SystemTime>(2),
    }
}

/// A range of bytes, as statements take it.
struct Cut {
    start: i64,
    end: i64,
    chunk: i64,
}

impl Cut {
    fn of(range: &Range<u64>) -> Self {
        // Chunks are counted in 32 bits: no blob goes beyond.
        let most = (CHUNK_BYTES << 31) - 1;
        let at = |byte: u64| byte.min(most).cast_signed();
        Cut { start: at(range.start), end: at(range.end), chunk: CHUNK_BYTES.cast_signed() }
    }

    fn parameters(&self) -> [(&(dyn postgres::types::ToSql + Sync), Type); 3] {
        [(&self.start, Type::INT8), (&self.end, Type::INT8), (&self.chunk, Type::INT8)]
    }
}

/// Gives for each chunk with bytes between `$1` and `$2` the blob's size and these bytes; of a blob that
/// has none there one row. `$3` are the bytes of a chunk.
fn statement(blob: &str) -> String {
    format!(
        "SELECT blob.size, part.bytes
             FROM ({blob}) AS blob LEFT JOIN LATERAL (
                 SELECT number, substr(
                         bytes,
                         greatest($1 - number * $3, 0)::integer + 1,
                         (least($2 - number * $3, $3) - greatest($1 - number * $3, 0))::integer
                     ) AS bytes
                 FROM packhorse.chunk
                 WHERE chunk.chunks = blob.chunks AND $1 < $2
                     AND number BETWEEN ($1 / $3)::integer AND (($2 - 1) / $3)::integer
             ) AS part ON true
             ORDER BY part.number"
    )
}

/// The bytes of such rows.
fn joined(rows: &[Row], size: u64, name: &str, range: Range<u64>) -> Result<Bytes> {
    let (start, end) = (range.start.min(size), range.end.min(size));
    if start >= end {
        return Ok(Bytes::new());
    }
    let mut bytes = BytesMut::with_capacity((end - start) as usize);
    for row in rows {
        bytes.extend_from_slice(row.get::<_, Option<&[u8]>>(1).unwrap_or_default());
    }
    match bytes.len() as u64 == end - start {
        true => Ok(bytes.freeze()),
        false => Err(Error::corrupt(name, "a part of it is missing from the database")),
    }
}

/// The bytes in `range` of these chunks, whatever blob they belong to.
pub(crate) fn read_chunks(
    shared: &Shared,
    (chunks, size): (i64, u64),
    name: &str,
    range: Range<u64>,
) -> Result<Bytes> {
    let statement = statement("SELECT $4::bigint AS chunks, $5::bigint AS size");
    let (cut, own_size) = (Cut::of(&range), size.cast_signed());
    let [start, end, chunk] = cut.parameters();
    let own = [(&chunks as _, Type::INT8), (&own_size as _, Type::INT8)];
    let parameters = [&[start, end, chunk][..], &own].concat();
    let rows = shared.connections.with(|client| client.query_typed(&statement, &parameters))?;
    joined(&rows, size, name, range)
}
