//! Blobs cut into rows.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use redb::{ReadTransaction, WriteTransaction};
use storage::{Error, Result};

use crate::errors::failed;
use crate::store::Shared;
use crate::tables::{CHUNKS, STAGED, pair};

/// Bytes of a chunk: just under a power of two, so that a row with its key fills its pages.
pub(crate) const CHUNK_BYTES: u64 = 65_000;

/// The bytes in `range` of a blob of `size` bytes that has these chunks, cut at its end.
pub(crate) fn read(
    shared: &Shared,
    transaction: &ReadTransaction,
    (chunks, size): (u64, u64),
    what: &str,
    range: Range<u64>,
) -> Result<Bytes> {
    let (start, end) = (range.start.min(size), range.end.min(size));
    if start >= end {
        return Ok(Bytes::new());
    }
    let table = transaction.open_table(CHUNKS).map_err(failed(&shared.what))?;
    let (first, last) = (start / CHUNK_BYTES, (end - 1) / CHUNK_BYTES);
    let mut bytes = BytesMut::with_capacity((end - start) as usize);
    let (from, to) = (pair(chunks, first), pair(chunks, last));
    let rows = table.range::<&[u8]>(&from[..]..=&to[..]).map_err(failed(&shared.what))?;
    for (number, row) in (first..).zip(rows) {
        let (key, value) = row.map_err(failed(&shared.what))?;
        let value = value.value();
        let begins = number * CHUNK_BYTES;
        let full = (size - begins).min(CHUNK_BYTES);
        if key.value() != pair(chunks, number) || value.len() as u64 != full {
            return Err(damaged(what));
        }
        let from = start.saturating_sub(begins).min(full) as usize;
        let to = (end - begins).min(full) as usize;
        bytes.extend_from_slice(&value[from..to]);
    }
    match bytes.len() as u64 == end - start {
        true => Ok(bytes.freeze()),
        false => Err(damaged(what)),
    }
}

fn damaged(what: &str) -> Error {
    Error::corrupt(what, "a part of it is missing from the key-value file, or of another size")
}

/// Adds chunks from the `first` one on to a blob that is not published yet.
pub(crate) fn append(
    rows: &WriteTransaction,
    chunks: u64,
    first: u64,
    bytes: &[u8],
) -> Result<(), redb::Error> {
    let mut table = rows.open_table(CHUNKS)?;
    if first == 0 {
        disown(rows, chunks)?;
    }
    for (number, chunk) in (first..).zip(bytes.chunks(CHUNK_BYTES as usize)) {
        table.insert(&pair(chunks, number)[..], chunk)?;
    }
    if first == 0 && bytes.is_empty() {
        // Without a row, the number would be given again.
        table.insert(&pair(chunks, 0)[..], &b""[..])?;
    }
    Ok(())
}

/// Notes that these chunks belong to no blob: they go when the file is opened, if not before.
pub(crate) fn disown(rows: &WriteTransaction, chunks: u64) -> Result<(), redb::Error> {
    rows.open_table(STAGED)?.insert(&chunks.to_be_bytes()[..], &b""[..])?;
    Ok(())
}

/// Removes all chunks of a blob.
pub(crate) fn remove(rows: &WriteTransaction, chunks: u64) -> Result<(), redb::Error> {
    let mut table = rows.open_table(CHUNKS)?;
    let (first, last) = (pair(chunks, 0), pair(chunks, u64::MAX));
    table.retain_in::<&[u8], _>(&first[..]..=&last[..], |_, _| false)?;
    rows.open_table(STAGED)?.remove(&chunks.to_be_bytes()[..])?;
    Ok(())
}
