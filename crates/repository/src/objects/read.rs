//! Reading packed objects: headers without content, and content through delta chains.

use std::sync::Arc;

use object::Kind;
use pack::entry::{EntryHeader, EntryKind};

use super::Objects;
use super::delta_cache::{Cached, DeltaCache};
use super::pack_handle::PackHandle;
use crate::error::{Error, Result};
use crate::repository::Settings;

/// Deltas on the way from an object to its base; git writes at most 4095, by default 50.
const CHAIN_LENGTH_MAX: usize = 10_000;

/// One in so many bytes that a request may keep is for readers beside a larger cache.
pub(crate) const BESIDE_PART: usize = 4;

/// What one reader keeps between objects: rebuilt bases and buffers.
pub(crate) struct Reader {
    cache: DeltaCache,
    delta: Vec<u8>,
    object_bytes_max: u64,
}

/// Where a delta's base is.
enum BaseAt {
    Entry(Arc<PackHandle>, u64),
    Elsewhere(object::ObjectId),
}

impl Reader {
    /// A reader whose cache is as big as a request's may be.
    pub fn of_request(settings: &Settings) -> Self {
        Self::sharing(settings.delta_cache_bytes, settings)
    }

    /// A reader beside another cache that has most of what a request may keep.
    pub fn beside_another(settings: &Settings) -> Self {
        Self::sharing(settings.delta_cache_bytes / BESIDE_PART, settings)
    }

    fn sharing(bytes_max: usize, settings: &Settings) -> Self {
        let cache = DeltaCache::sharing(bytes_max, &settings.memory);
        Reader { cache, delta: Vec::new(), object_bytes_max: settings.object_bytes_max }
    }

    /// A reader with a cache of its own.
    pub fn new(cache_bytes: usize, object_bytes_max: u64) -> Self {
        Reader { cache: DeltaCache::new(cache_bytes), delta: Vec::new(), object_bytes_max }
    }

    /// The object whose entry begins at `offset` of `pack`.
    pub fn read(
        &mut self,
        objects: &Objects,
        pack: &Arc<PackHandle>,
        offset: u64,
    ) -> Result<Cached> {
        let mut chain: Vec<(Arc<PackHandle>, u64, EntryHeader)> = Vec::new();
        let (mut pack, mut offset) = (pack.clone(), offset);
        let mut base = loop {
            if let Some(hit) = self.cache.get((pack.serial, offset)) {
                break hit;
            }
            let header = entry_header(&pack, offset)?;
            self.check_size(&pack, offset, header.size)?;
            if let EntryKind::Base(kind) = header.kind {
                let mut data = Vec::new();
                inflate(&pack, offset, &header, &mut data)?;
                let object = Cached { kind, data: Arc::new(data) };
                // Walks pass all commits and tags, few of which are bases.
                if !chain.is_empty() || matches!(kind, Kind::Tree | Kind::Blob) {
                    self.keep(&pack, offset, &object);
                }
                break object;
            }
            if chain.len() == CHAIN_LENGTH_MAX {
                return Err(pack.corrupt("a delta chain does not end"));
            }
            chain.push((pack.clone(), offset, header));
            match base_of(&pack, offset, &header)? {
                BaseAt::Entry(base_pack, base_offset) => (pack, offset) = (base_pack, base_offset),
                BaseAt::Elsewhere(id) => break objects.read_delta_base(&id, self)?,
            }
        };
        while let Some((pack, offset, header)) = chain.pop() {
            inflate(&pack, offset, &header, &mut self.delta)?;
            let mut data = Vec::new();
            pack::delta::apply(&base.data, &self.delta, &mut data, self.object_bytes_max)
                .map_err(pack.named())?;
            base = Cached { kind: base.kind, data: Arc::new(data) };
            self.keep(&pack, offset, &base);
        }
        Ok(base)
    }

    /// Keeps a rebuilt object to rebuild others from.
    fn keep(&mut self, pack: &PackHandle, offset: u64, object: &Cached) {
        self.cache.insert((pack.serial, offset), object.clone(), object.data.len());
    }

    fn check_size(&self, pack: &PackHandle, offset: u64, size: u64) -> Result<()> {
        if size <= self.object_bytes_max {
            return Ok(());
        }
        Err(Error::Limit {
            setting: "object_bytes_max",
            limit: self.object_bytes_max,
            what: format!("{}.pack, offset {offset}: {size} bytes in one object", pack.stem),
        })
    }

    pub fn object_bytes_max(&self) -> u64 {
        self.object_bytes_max
    }
}

/// The header of the entry at `offset`.
pub(crate) fn entry_header(pack: &PackHandle, offset: u64) -> Result<EntryHeader> {
    EntryHeader::parse(&pack.header_bytes(offset)?, pack.hash).map_err(pack.named())
}

/// Inflates an entry's data, whole.
pub(crate) fn inflate(
    pack: &PackHandle,
    offset: u64,
    header: &EntryHeader,
    out: &mut Vec<u8>,
) -> Result<()> {
    let start = offset + header.header_len as u64;
    let named = pack.named();
    match pack.map() {
        Some(map) => {
            let compressed = &map[start as usize..pack.entries_end() as usize];
            pack::inflate::inflate_exact(compressed, header.size as usize, out).map_err(named)
        }
        None => {
            let compressed = pack.bytes(start..pack.entry_end(offset)?)?;
            pack::inflate::inflate_exact(&compressed, header.size as usize, out).map_err(named)
        }
    }
}

fn base_of(pack: &Arc<PackHandle>, offset: u64, header: &EntryHeader) -> Result<BaseAt> {
    match header.kind {
        EntryKind::RefDelta { base } => Ok(match pack.index()?.lookup(&base) {
            Some(position) => BaseAt::Entry(pack.clone(), pack.offset_of(position)?),
            None => BaseAt::Elsewhere(base),
        }),
        _ => {
            let base = header.base_offset(offset).map_err(pack.named())?;
            match base {
                Some(base) => Ok(BaseAt::Entry(pack.clone(), base)),
                None => Err(pack.corrupt("an entry is no delta")),
            }
        }
    }
}

/// Where the bases of the entry at `offset` lie that are in the same pack, the nearest first.
pub(crate) fn chain_of(pack: &Arc<PackHandle>, offset: u64) -> Result<Vec<u64>> {
    let mut chain = Vec::new();
    let mut offset = offset;
    while chain.len() < CHAIN_LENGTH_MAX {
        let header = entry_header(pack, offset)?;
        if !header.kind.is_delta() {
            return Ok(chain);
        }
        match base_of(pack, offset, &header)? {
            BaseAt::Entry(_, base) => offset = base,
            BaseAt::Elsewhere(_) => return Ok(chain),
        }
        chain.push(offset);
    }
    Err(pack.corrupt("a delta chain does not end"))
}

/// Kind and size of the object at `offset`, without rebuilding it.
pub(crate) fn object_header(
    objects: &Objects,
    pack: &Arc<PackHandle>,
    offset: u64,
) -> Result<(Kind, u64)> {
    let header = entry_header(pack, offset)?;
    let size = match header.kind {
        EntryKind::Base(kind) => return Ok((kind, header.size)),
        _ => delta_result_size(pack, offset, &header)?,
    };
    Ok((object_kind(objects, pack, offset, header)?, size))
}

/// The kind of the object at `offset`.
pub(crate) fn kind_at(objects: &Objects, pack: &Arc<PackHandle>, offset: u64) -> Result<Kind> {
    object_kind(objects, pack, offset, entry_header(pack, offset)?)
}

/// The kind at the end of a delta chain.
fn object_kind(
    objects: &Objects,
    pack: &Arc<PackHandle>,
    offset: u64,
    header: EntryHeader,
) -> Result<Kind> {
    let (mut pack, mut offset, mut header) = (pack.clone(), offset, header);
    for _ in 0..CHAIN_LENGTH_MAX {
        if let EntryKind::Base(kind) = header.kind {
            return Ok(kind);
        }
        match base_of(&pack, offset, &header)? {
            BaseAt::Entry(base_pack, base_offset) => (pack, offset) = (base_pack, base_offset),
            BaseAt::Elsewhere(id) => {
                let found = objects.header(&id)?;
                return found.map(|(kind, _)| kind).ok_or(Error::Missing { id, kind: None });
            }
        }
        header = entry_header(&pack, offset)?;
    }
    Err(pack.corrupt("a delta chain does not end"))
}

/// The size a delta declares for its result: two numbers at the delta's beginning.
pub(crate) fn delta_result_size(
    pack: &PackHandle,
    offset: u64,
    header: &EntryHeader,
) -> Result<u64> {
    /// The tables of a compressed block alone can take some hundred bytes.
    const PREFIX_BYTES: u64 = 4096;
    let start = offset + header.header_len as u64;
    let end = (start + PREFIX_BYTES).min(pack.entries_end());
    let compressed = pack.bytes(start..end)?;
    let mut numbers = [0; 20];
    let count = pack::inflate::inflate_prefix(&compressed, &mut numbers).map_err(pack.named())?;
    let (_, size, _) = pack::delta::sizes(&numbers[..count]).map_err(pack.named())?;
    Ok(size)
}
