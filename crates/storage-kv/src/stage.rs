//! Blobs in the making: their chunks are rows already, or in memory; their names are in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use redb::{ReadableTable as _, WriteTransaction};
use storage::{ChunkStore, ChunkedBlob, Error, Result};

use crate::blobs::KvBlobs;
use crate::chunks::{self, CHUNK_BYTES};
use crate::opened::Retired;
use crate::tables::{BLOBS, BlobRow, NUMBERS, RepositoryNumber, STAGED};

/// The chunks of one repository's stages.
pub(crate) struct KvChunks(pub KvBlobs);

impl ChunkStore for KvChunks {
    fn chunk_bytes(&self) -> u64 {
        CHUNK_BYTES
    }

    fn new_chunks(&self) -> Result<u64> {
        Ok(self.0.shared.next_chunks())
    }

    fn append(&self, chunks: u64, first: u64, bytes: Vec<u8>) -> Result<()> {
        let work = move |rows: &WriteTransaction| chunks::append(rows, chunks, first, &bytes);
        self.0.shared.group.run_soon(Box::new(work))
    }

    fn read_appended(&self, chunks: (u64, u64), name: &str, range: Range<u64>) -> Result<Bytes> {
        let shared = &self.0.shared;
        chunks::read(shared, &shared.begin_read()?, chunks, name, range)
    }

    fn forget(&self, chunks: u64) -> Result<()> {
        self.0.shared.group.run_soon(Box::new(move |rows| chunks::remove(rows, chunks)))
    }

    fn reserve(&self, name: &str) -> Result<()> {
        match self.0.shared.reserved().insert((self.0.repository, name.to_owned())) {
            true => Ok(()),
            false => Err(Error::Locked { what: name.to_owned(), lock: "another stage".to_owned() }),
        }
    }

    fn release(&self, name: &str) {
        self.0.shared.reserved().remove(&(self.0.repository, name.to_owned()));
    }

    fn publish(
        &self,
        blobs: &BTreeMap<String, ChunkedBlob>,
        reserved: &BTreeSet<String>,
    ) -> Result<()> {
        let shared = &self.0.shared;
        let (blobs, reserved) = (blobs.clone(), reserved.clone());
        let numbered = blobs.into_iter().map(|(name, blob)| {
            let chunks = blob.chunks.unwrap_or_else(|| shared.next_chunks());
            (name, blob, chunks)
        });
        let blobs: Vec<_> = numbered.collect();
        let repository = self.0.repository;
        let was_there = Arc::new(AtomicBool::new(true));
        let told = was_there.clone();
        let retired = Retired::default();
        let to_drop = retired.clone();
        shared.group.run(Box::new(move |rows| {
            let is_there = rows.open_table(NUMBERS)?.get(&repository.own_key()[..])?.is_some();
            was_there.store(is_there, Ordering::Release);
            for (name, blob, chunks) in &blobs {
                match is_there {
                    true => {
                        let replaces = reserved.contains(name);
                        let blob = (name.as_str(), blob, *chunks);
                        publish_one(rows, repository, blob, replaces, &retired)?;
                    }
                    // The repository was removed, and what would be in it.
                    false => chunks::remove(rows, *chunks)?,
                }
            }
            Ok(())
        }))?;
        to_drop.drop_unread(shared);
        match told.load(Ordering::Acquire) {
            true => Ok(()),
            false => Err(Error::not_found("the repository, which was removed")),
        }
    }
}

fn publish_one(
    rows: &WriteTransaction,
    repository: RepositoryNumber,
    (name, blob, chunks): (&str, &ChunkedBlob, u64),
    replaces: bool,
    retired: &Retired,
) -> Result<(), redb::Error> {
    let key = repository.key(name.as_bytes());
    let mut table = rows.open_table(BLOBS)?;
    let present = table.get(&*key)?.map(|row| row.value().to_vec());
    let present = present.map(|row| BlobRow::decode(name, &row)).transpose();
    let present = present.map_err(|error| redb::Error::Corrupted(error.to_string()))?;
    if present.is_some() && !replaces {
        drop(table);
        return chunks::remove(rows, chunks);
    }
    let row = BlobRow { chunks, size: blob.size(), modified: blob.modified };
    table.insert(&*key, &row.encode()[..])?;
    drop(table);
    if !blob.tail.is_empty() || blob.appended == 0 {
        chunks::append(rows, chunks, blob.appended / CHUNK_BYTES, &blob.tail)?;
    }
    rows.open_table(STAGED)?.remove(&chunks.to_be_bytes()[..])?;
    present.map_or(Ok(()), |old| retired.retire(rows, old.chunks))
}
