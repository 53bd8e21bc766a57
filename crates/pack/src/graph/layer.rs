//! One commit-graph file, alone or as a layer of a chain.

use bytes::Bytes;
use object::{HashKind, ObjectId};

use super::bloom::{Filter, StoredFilters};
use super::{GraphCommit, OUT_OF_RANGE};
use crate::Error;
use crate::big_endian::{u32_at, u64_at};
use crate::chunks::Chunks;
use crate::sorted_ids::SortedIds;

pub(super) const SIGNATURE: &[u8; 4] = b"CGPH";
pub(super) const HEADER_BYTES: usize = 8;

/// Stored in place of a parent that is not there.
pub(super) const NO_PARENT: u32 = 0x7000_0000;
/// Marks a second parent as a place in the extra edges, and the last of those.
pub(super) const EDGE_FLAG: u32 = 1 << 31;
/// Marks a date offset as a place in the overflow table.
pub(super) const OVERFLOW_FLAG: u32 = 1 << 31;

/// Positions given to and by a layer count through the layers below it.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    bytes: Bytes,
    ids: SortedIds,
    base: u32,
    commits: Bytes,
    edges: Bytes,
    date_offsets: Option<Bytes>,
    date_overflows: Bytes,
    base_ids: Bytes,
    filters: Option<StoredFilters>,
}

impl Layer {
    pub(super) fn open(bytes: Bytes, hash: HashKind, base: u32) -> Result<Self, Error> {
        let (chunk_count, base_count) = read_header(&bytes, hash)?;
        let chunks = Chunks::read(&bytes, HEADER_BYTES, chunk_count, hash)?;
        let ids = SortedIds::new(
            chunks.required(b"OIDF")?,
            chunks.required(b"OIDL")?,
            hash.len(),
            0,
            hash,
        )?;
        let commits = chunks.required(b"CDAT")?;
        let date_offsets = chunks.optional(b"GDA2");
        let base_ids = chunks.optional(b"BASE").unwrap_or_default();
        let count = ids.count() as usize;
        let sizes_fit = commits.len() == count * (hash.len() + 16)
            && date_offsets.as_ref().is_none_or(|bytes| bytes.len() == count * 4)
            && base_ids.len() == usize::from(base_count) * hash.len();
        if !sizes_fit {
            return Err(Error::corrupt("chunk of the commit-graph has the wrong size"));
        }
        if base.checked_add(ids.count()).is_none_or(|end| end > NO_PARENT) {
            return Err(Error::corrupt("commit-graph has too many commits"));
        }
        let (ends, filters) = (chunks.optional(b"BIDX"), chunks.optional(b"BDAT"));
        Ok(Layer {
            filters: StoredFilters::open(ends, filters, ids.count()),
            ids,
            base,
            commits,
            edges: chunks.optional(b"EDGE").unwrap_or_default(),
            date_offsets,
            date_overflows: chunks.optional(b"GDO2").unwrap_or_default(),
            base_ids,
            bytes,
        })
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The ids of the layers this one was made for, base first, one after the other.
    pub(super) fn base_ids(&self) -> &[u8] {
        &self.base_ids
    }

    #[inline]
    pub(super) fn end(&self) -> u32 {
        self.base + self.ids.count()
    }

    #[inline]
    pub(super) fn lookup(&self, id: &ObjectId) -> Option<u32> {
        self.ids.lookup(id).map(|position| position + self.base)
    }

    #[inline]
    pub(super) fn id_bytes(&self, position: u32) -> &[u8] {
        self.ids.id_bytes(position - self.base)
    }

    #[inline]
    pub(super) fn commit(&self, position: u32) -> Result<GraphCommit, Error> {
        let hash = self.ids.hash();
        let row = self.row(position)?;
        let numbers = u64_at(row, hash.len() + 8).ok_or(OUT_OF_RANGE)?;
        Ok(GraphCommit {
            tree: ObjectId::from_prefix(row, hash),
            time: numbers & ((1 << 34) - 1),
            level: (numbers >> 34) as u32,
        })
    }

    #[inline]
    pub(super) fn parents(&self, position: u32) -> Result<Parents<'_>, Error> {
        let at = self.ids.hash().len();
        let row = self.row(position)?;
        let (Some(first), Some(second)) = (u32_at(row, at), u32_at(row, at + 4)) else {
            return Err(OUT_OF_RANGE);
        };
        let second = match second {
            NO_PARENT => Second::None,
            second if second & EDGE_FLAG != 0 => Second::Edges(second & !EDGE_FLAG),
            second => Second::Parent(second),
        };
        let first = (first != NO_PARENT).then_some(first);
        Ok(Parents { first, second, edges: &self.edges, end: self.end() })
    }

    pub(super) fn filters(&self) -> Option<&StoredFilters> {
        self.filters.as_ref()
    }

    pub(super) fn filter(&self, position: u32) -> Option<Filter<'_>> {
        self.filters.as_ref()?.get(position.checked_sub(self.base)?)
    }

    pub(super) fn count(&self) -> u32 {
        self.ids.count()
    }

    pub(super) fn has_corrected_dates(&self) -> bool {
        self.date_offsets.is_some()
    }

    pub(super) fn corrected_date(&self, position: u32) -> Result<u64, Error> {
        const BAD: Error = Error::corrupt("commit-graph stores no corrected date for a commit");
        let offsets = self.date_offsets.as_ref().ok_or(BAD)?;
        let own = position.checked_sub(self.base).ok_or(OUT_OF_RANGE)?;
        let offset = match u32_at(offsets, own as usize * 4).ok_or(BAD)? {
            offset if offset & OVERFLOW_FLAG != 0 => {
                let at = (offset & !OVERFLOW_FLAG) as usize * 8;
                u64_at(&self.date_overflows, at).ok_or(BAD)?
            }
            offset => u64::from(offset),
        };
        Ok(self.commit(position)?.time.saturating_add(offset))
    }

    #[inline]
    fn row(&self, position: u32) -> Result<&[u8], Error> {
        let row_bytes = self.ids.hash().len() + 16;
        let own = position.checked_sub(self.base).ok_or(OUT_OF_RANGE)? as usize;
        self.commits.get(own * row_bytes..(own + 1) * row_bytes).ok_or(OUT_OF_RANGE)
    }
}

/// The number of chunks and of base graphs.
fn read_header(bytes: &[u8], hash: HashKind) -> Result<(u8, u8), Error> {
    let Some(header) = bytes.get(..HEADER_BYTES) else {
        return Err(Error::truncated("commit-graph"));
    };
    if !header.starts_with(SIGNATURE) {
        return Err(Error::corrupt("commit-graph signature mismatch"));
    }
    if header[4] != 1 {
        return Err(Error::Unsupported { what: "commit-graph version" });
    }
    if header[5] != hash.format_version() {
        return Err(Error::corrupt("commit-graph is of another hash"));
    }
    Ok((header[6], header[7]))
}

/// The positions of a commit's parents, in order; ends after an error.
#[derive(Debug, Clone)]
pub struct Parents<'a> {
    first: Option<u32>,
    second: Second,
    edges: &'a [u8],
    /// Parents lie below, in this layer or one it builds on.
    end: u32,
}

#[derive(Debug, Clone, Copy)]
enum Second {
    None,
    Parent(u32),
    /// The rest of an octopus merge's parents, from this place in the extra edges on.
    Edges(u32),
}

impl Parents<'_> {
    #[inline]
    fn step(&mut self) -> Result<Option<u32>, Error> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        match self.second {
            Second::None => Ok(None),
            Second::Parent(parent) => {
                self.second = Second::None;
                Ok(Some(parent))
            }
            Second::Edges(at) => {
                let edge = u32_at(self.edges, at as usize * 4)
                    .ok_or(Error::corrupt("commit-graph points beyond its extra edges"))?;
                let last = edge & EDGE_FLAG != 0;
                self.second = if last { Second::None } else { Second::Edges(at + 1) };
                Ok(Some(edge & !EDGE_FLAG))
            }
        }
    }
}

impl Iterator for Parents<'_> {
    type Item = Result<u32, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let parent = match self.step() {
            Ok(Some(parent)) if parent < self.end => Ok(parent),
            Ok(Some(_)) => Err(Error::corrupt("commit-graph names a parent it does not have")),
            Ok(None) => return None,
            Err(error) => Err(error),
        };
        if parent.is_err() {
            (self.first, self.second) = (None, Second::None);
        }
        Some(parent)
    }
}
