//! One stored pack: its bytes, its index, and its entries in pack order.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use object::{HashKind, ObjectId};
use pack::{Index, PackOrder};
use storage::{BlobStore, OpenBlob};

use super::blocks::BlockCache;
use crate::error::{Error, Result};

/// Bytes read at once to see an entry's header in a store that has no map.
const HEADER_READ_BYTES: u64 = 64;

/// A file of a pack: open with the others, so that they can be read on when they are removed.
enum Opened {
    Mapped(Bytes),
    /// In a store that does not map.
    Blob(Arc<dyn OpenBlob>),
}

impl Opened {
    fn of(store: &dyn BlobStore, name: &str) -> Result<Option<Self>> {
        if let Some(map) = store.map(name)? {
            return Ok(Some(Opened::Mapped(map)));
        }
        Ok(store.open(name)?.map(Opened::Blob))
    }

    fn size(&self) -> u64 {
        match self {
            Opened::Mapped(map) => map.len() as u64,
            Opened::Blob(blob) => blob.size(),
        }
    }

    fn whole(&self) -> Result<Bytes> {
        match self {
            Opened::Mapped(map) => Ok(map.clone()),
            Opened::Blob(blob) => Ok(blob.read(0..blob.size())?),
        }
    }
}

pub(crate) struct PackHandle {
    /// The pack's name without its ending: `pack/pack-<checksum>`.
    pub stem: String,
    /// Tells packs of one [`super::PackSet`] apart; never used twice.
    pub serial: u32,
    /// Bytes of the pack file.
    pub size: u64,
    pub hash: HashKind,
    store: Arc<dyn BlobStore>,
    file: Opened,
    /// What was read lately, where there is no map.
    blocks: Arc<BlockCache>,
    idx: Option<Opened>,
    rev: Option<Opened>,
    index: OnceLock<Index>,
    order: OnceLock<PackOrder>,
}

impl PackHandle {
    /// Opens the pack and what lies beside it; the index is read when it is first needed.
    pub fn open(
        store: &Arc<dyn BlobStore>,
        stem: &str,
        serial: u32,
        hash: HashKind,
        blocks: &Arc<BlockCache>,
    ) -> Result<Self> {
        let name = format!("{stem}.pack");
        let file = Opened::of(&**store, &name)?.ok_or_else(|| storage::Error::not_found(&name))?;
        let size = file.size();
        if size < 12 + hash.len() as u64 {
            return Err(Error::Format {
                what: name,
                source: pack::Error::Corrupt { what: "too short for a pack" },
            });
        }
        let pack = PackHandle {
            file,
            idx: Opened::of(&**store, &format!("{stem}.idx"))?,
            rev: Opened::of(&**store, &format!("{stem}.rev"))?,
            stem: stem.to_owned(),
            serial,
            size,
            hash,
            store: store.clone(),
            blocks: blocks.clone(),
            index: OnceLock::new(),
            order: OnceLock::new(),
        };
        pack.check_ending()?;
        Ok(pack)
    }

    /// As git: the checksum at the end of the pack is the one its index was made for. A pack
    /// that was cut has other bytes there. Without a map that is left to whoever reads it.
    fn check_ending(&self) -> Result<()> {
        let (Some(map), Some(_)) = (self.map(), &self.idx) else { return Ok(()) };
        let ending = &map[self.entries_end() as usize..];
        match self.index()?.pack_checksum().as_bytes() == ending {
            true => Ok(()),
            false => Err(self.corrupt("the pack does not match its index")),
        }
    }

    /// The file's mapped bytes, where the store maps.
    pub fn map(&self) -> Option<&Bytes> {
        match &self.file {
            Opened::Mapped(map) => Some(map),
            Opened::Blob(_) => None,
        }
    }

    /// Whether the store, which did not map the file, does so now: it came from far away, and all
    /// of it is here.
    pub fn could_be_mapped(&self) -> bool {
        let name = || format!("{}.pack", self.stem);
        self.map().is_none() && matches!(self.store.map(&name()), Ok(Some(_)))
    }

    /// Bytes of the pack; a slice of the map where there is one.
    pub fn bytes(&self, range: Range<u64>) -> Result<Bytes> {
        if range.end > self.size || range.start > range.end {
            return Err(self.corrupt("an offset points outside the pack"));
        }
        match self.map() {
            Some(map) => Ok(map.slice(range.start as usize..range.end as usize)),
            None => {
                let read = |range| self.read_directly(range);
                self.blocks.bytes((self.serial, self.size), range, read)
            }
        }
    }

    /// Bytes of the pack in one read of the store, past map and cache.
    pub fn read_directly(&self, range: Range<u64>) -> Result<Bytes> {
        let length = range.end - range.start;
        let bytes = match &self.file {
            Opened::Mapped(map) => map.slice(range.start as usize..range.end as usize),
            Opened::Blob(blob) => blob.read(range)?,
        };
        match bytes.len() as u64 == length {
            true => Ok(bytes),
            false => Err(self.corrupt("the pack ends before its time")),
        }
    }

    /// Where entries end and the checksum begins.
    pub fn entries_end(&self) -> u64 {
        self.size - self.hash.len() as u64
    }

    /// The bytes at an entry's beginning, enough for its header.
    pub fn header_bytes(&self, offset: u64) -> Result<Bytes> {
        let end = (offset + HEADER_READ_BYTES).min(self.entries_end());
        if offset < 12 || offset >= end {
            return Err(self.corrupt("an entry's offset points outside the pack"));
        }
        self.bytes(offset..end)
    }

    /// The pack's own index.
    pub fn index(&self) -> Result<&Index> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let name = format!("{}.idx", self.stem);
        let idx = self.idx.as_ref().ok_or_else(|| storage::Error::not_found(&name))?;
        let bytes = idx.whole()?;
        let index = Index::open(bytes, self.hash).map_err(Error::format(name))?;
        Ok(self.index.get_or_init(|| index))
    }

    /// Entries in the order of their offsets, as positions in the index.
    pub fn order(&self) -> Result<&PackOrder> {
        if let Some(order) = self.order.get() {
            return Ok(order);
        }
        let index = self.index()?;
        let name = format!("{}.rev", self.stem);
        let rev = self.rev.as_ref().map(Opened::whole).transpose()?;
        let order = PackOrder::of(index, rev).map_err(Error::format(name))?;
        Ok(self.order.get_or_init(|| order))
    }

    /// Where the entry that begins at `offset` ends.
    pub fn entry_end(&self, offset: u64) -> Result<u64> {
        let at = self.order_position(offset)?;
        self.offset_in_order(at + 1)
    }

    /// The id of the object whose entry begins at `offset`.
    pub fn id_at_offset(&self, offset: u64) -> Result<ObjectId> {
        Ok(self.index()?.id_at(self.own_position(self.order_position(offset)?)?))
    }

    /// The index position of the `at`-th entry in pack order.
    pub fn own_position(&self, at: u32) -> Result<u32> {
        self.order()?.index_position(at).map_err(self.named())
    }

    /// The offset the index has for its `position`-th object.
    pub fn offset_of(&self, position: u32) -> Result<u64> {
        self.index()?.offset_at(position).map_err(self.named())
    }

    /// The offset of the `at`-th entry in pack order; the end of entries past the last.
    pub fn offset_in_order(&self, at: u32) -> Result<u64> {
        let end = self.entries_end();
        let offset = self.order()?.offset(self.index()?, at, end).map_err(self.named())?;
        if offset < 12 || offset > end {
            return Err(self.corrupt("the index points outside the pack"));
        }
        Ok(offset)
    }

    /// The place in pack order of the entry that begins at `offset`.
    pub fn order_position(&self, offset: u64) -> Result<u32> {
        self.order()?
            .position_of_offset(self.index()?, offset)
            .map_err(self.named())?
            .ok_or_else(|| self.corrupt("no entry begins where a delta's base should"))
    }

    /// Says which pack a format error is about.
    pub fn named(&self) -> impl FnOnce(pack::Error) -> Error {
        // Put into words only once there is an error: this is called for every entry.
        move |source| Error::Format { what: format!("{}.pack", self.stem), source }
    }

    /// The store the pack lies in.
    pub fn store(&self) -> &Arc<dyn BlobStore> {
        &self.store
    }

    pub fn corrupt(&self, what: &'static str) -> Error {
        Error::Format { what: format!("{}.pack", self.stem), source: pack::Error::Corrupt { what } }
    }
}

/// A whole blob: mapped where the store maps, read otherwise.
pub(crate) fn read_whole(store: &dyn BlobStore, name: &str) -> Result<Bytes> {
    read_if_there(store, name)?.ok_or_else(|| storage::Error::not_found(name).into())
}

/// As [`read_whole`]; `None` when there is no such blob.
pub(crate) fn read_if_there(store: &dyn BlobStore, name: &str) -> Result<Option<Bytes>> {
    Opened::of(store, name)?.map(|opened| opened.whole()).transpose()
}
