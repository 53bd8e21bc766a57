//! Blobs of one repository.

use std::ops::{Bound, Range};
use std::sync::Arc;

use bytes::Bytes;
use redb::ReadTransaction;
use storage::{
    BlobMeta, BlobStore, ChunkStage, Error, OpenBlob, Result, Stage, check_blob_name,
    check_list_prefix,
};

use crate::chunks;
use crate::errors::failed;
use crate::opened::{KvBlob, Retired};
use crate::stage::KvChunks;
use crate::store::Shared;
use crate::tables::{BLOBS, BlobRow, RepositoryNumber};

/// The objects directory of one repository in a key-value file.
#[derive(Clone)]
pub struct KvBlobs {
    pub(crate) shared: Arc<Shared>,
    pub(crate) repository: RepositoryNumber,
}

impl KvBlobs {
    pub(crate) fn new(shared: Arc<Shared>, repository: RepositoryNumber) -> Self {
        KvBlobs { shared, repository }
    }

    fn row(&self, transaction: &ReadTransaction, name: &str) -> Result<Option<BlobRow>> {
        check_blob_name(name)?;
        let table = transaction.open_table(BLOBS).map_err(failed(&self.shared.what))?;
        let key = self.repository.key(name.as_bytes());
        let row = table.get(&*key).map_err(failed(&self.shared.what))?;
        row.map(|row| BlobRow::decode(name, row.value())).transpose()
    }
}

impl BlobStore for KvBlobs {
    fn stat(&self, name: &str) -> Result<Option<BlobMeta>> {
        Ok(self.row(&self.shared.begin_read()?, name)?.map(|row| row.meta(name)))
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        // One moment for both: the blob may be replaced meanwhile.
        let transaction = self.shared.begin_read()?;
        let row = self.row(&transaction, name)?.ok_or_else(|| Error::not_found(name))?;
        chunks::read(&self.shared, &transaction, (row.chunks, row.size), name, range)
    }

    fn open(&self, name: &str) -> Result<Option<Arc<dyn OpenBlob>>> {
        // Before the moment that is read: what is removed later is seen to be open.
        let mut opened = self.shared.opened();
        let Some(row) = self.row(&self.shared.begin_read()?, name)? else { return Ok(None) };
        opened.open(row.chunks);
        let (shared, name) = (self.shared.clone(), name.to_owned());
        Ok(Some(Arc::new(KvBlob { shared, name, chunks: row.chunks, size: row.size })))
    }

    fn list(&self, prefix: &str) -> Result<Vec<BlobMeta>> {
        check_list_prefix(prefix)?;
        let what = &self.shared.what;
        let transaction = self.shared.begin_read()?;
        let table = transaction.open_table(BLOBS).map_err(failed(what))?;
        let mut found = Vec::new();
        let mut start = self.repository.key(prefix.as_bytes());
        'directories: loop {
            let range = (Bound::Included(&*start), Bound::Unbounded);
            for row in table.range::<&[u8]>(range).map_err(failed(what))? {
                let (key, value) = row.map_err(failed(what))?;
                let name = self.repository.name_in(key.value());
                let name = name.and_then(|name| std::str::from_utf8(name).ok());
                let Some((name, rest)) = name.and_then(|n| Some((n, n.strip_prefix(prefix)?)))
                else {
                    break 'directories;
                };
                if let Some(slash) = rest.find('/') {
                    // The byte after a slash: past everything in that directory.
                    let past = [prefix.as_bytes(), &rest.as_bytes()[..slash], b"0"].concat();
                    start = self.repository.key(&past);
                    continue 'directories;
                }
                found.push(BlobRow::decode(name, value.value())?.meta(name));
            }
            break;
        }
        Ok(found)
    }

    fn delete(&self, name: &str) -> Result<()> {
        check_blob_name(name)?;
        let key = self.repository.key(name.as_bytes());
        let name = name.to_owned();
        let retired = Retired::default();
        let told = retired.clone();
        // A crash may bring it back, with everything that was deleted after it.
        self.shared.group.run_soon(Box::new(move |rows| {
            let row = rows.open_table(BLOBS)?.remove(&*key)?.map(|row| row.value().to_vec());
            match row.map(|row| BlobRow::decode(&name, &row)) {
                Some(Ok(row)) => retired.retire(rows, row.chunks),
                Some(Err(error)) => Err(redb::Error::Corrupted(error.to_string())),
                None => Ok(()),
            }
        }))?;
        told.drop_unread(&self.shared);
        Ok(())
    }

    fn stage(&self) -> Result<Box<dyn Stage>> {
        Ok(Box::new(ChunkStage::new(KvChunks(self.clone()))))
    }
}
