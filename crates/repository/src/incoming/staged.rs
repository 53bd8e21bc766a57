//! The received pack's bytes, once they are all there: entries by number.

use std::sync::Arc;

use bytes::Bytes;
use object::HashKind;
use pack::EntryHeader;
use storage::BlobStore;

use super::scan::{bad_object, refused};
use super::table::Table;
use crate::error::Result;

/// A staged pack; mapped where the store maps, read piece by piece otherwise.
pub(super) struct StagedPack {
    store: Arc<dyn BlobStore>,
    name: String,
    map: Option<Bytes>,
    hash: HashKind,
}

impl StagedPack {
    pub fn open(store: Arc<dyn BlobStore>, name: &str, hash: HashKind) -> Result<Self> {
        let map = store.map(name)?;
        Ok(StagedPack { store, name: name.to_owned(), map, hash })
    }

    /// Bytes of the pack; without a copy where it is mapped.
    pub fn bytes(&self, range: std::ops::Range<u64>) -> Result<Bytes> {
        match &self.map {
            Some(map) => {
                let len = map.len() as u64;
                Ok(map.slice(range.start.min(len) as usize..range.end.min(len) as usize))
            }
            None => Ok(self.store.read(&self.name, range)?),
        }
    }

    /// Replaces `out` by an entry's inflated data: an object, or a delta.
    pub fn inflate(&self, table: &Table, entry: u32, out: &mut Vec<u8>) -> Result<()> {
        let offset = table.offset(entry);
        let raw = self.bytes(offset..table.end(entry))?;
        let header = EntryHeader::parse(&raw, self.hash).map_err(refused)?;
        // It was inflated to exactly this size when it arrived.
        pack::inflate::inflate_exact(&raw[header.header_len..], header.size as usize, out)
            .map_err(|error| bad_object(offset, &error.to_string()))
    }
}
