//! Writing a commit-graph, or one more layer of a chain, byte for byte as git does.
//!
//! What is kept for each commit is what the file says of it, in about the same number of bytes.

use std::io::Write;

use object::{HashKind, ObjectId};

use super::bloom::NewFilters;
use super::layer::{EDGE_FLAG, HEADER_BYTES, NO_PARENT, OVERFLOW_FLAG, SIGNATURE};
use super::{CommitGraph, LAYERS_MAX};
use crate::Error;
use crate::checksum::ChecksumWriter;

/// Topological levels have 30 bits.
const LEVEL_MAX: u32 = (1 << 30) - 1;

/// Dates have 34 bits.
const TIME_MASK: u64 = (1 << 34) - 1;

/// Offsets of corrected dates up to this one need no place in the overflow table.
const DATE_OFFSET_MAX: u64 = (1 << 31) - 1;

/// A row of the table of contents.
const CHUNK_ROW_BYTES: usize = 12;

/// The commits of a graph in the making.
pub struct NewGraph<'b> {
    hash: HashKind,
    base: Option<&'b CommitGraph>,
    base_count: u32,
    ids: Vec<u8>,
    trees: Vec<u8>,
    rows: Vec<Row>,
    /// Second and later parents of octopus merges; the last of each has [`EDGE_FLAG`].
    edges: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Row {
    /// As they are stored.
    parents: [u32; 2],
    /// Zero until it is computed.
    level: u32,
    time: u64,
    /// The corrected commit date.
    corrected: u64,
}

impl<'b> NewGraph<'b> {
    /// A graph of its own, or the layer above `base`.
    pub fn new(hash: HashKind, base: Option<&'b CommitGraph>) -> Self {
        let base_count = base.map_or(0, CommitGraph::count);
        let (ids, trees, rows, edges) = Default::default();
        NewGraph { hash, base, base_count, ids, trees, rows, edges }
    }

    /// Adds a commit; commits come in ascending order of their ids. Parents are positions: those
    /// of the base, and above them places in the order of this layer.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the order is wrong or there are more commits than can be counted.
    pub fn push(
        &mut self,
        id: &ObjectId,
        tree: &ObjectId,
        time: i64,
        parents: &[u32],
    ) -> Result<(), Error> {
        if self.last_id().is_some_and(|last| last >= id.as_bytes())
            || (id.kind(), tree.kind()) != (self.hash, self.hash)
        {
            return Err(Error::corrupt("commits of a commit-graph are not in order"));
        }
        if self.base_count + self.count() >= NO_PARENT {
            return Err(Error::corrupt("too many commits to write a commit-graph"));
        }
        let second = match parents {
            [] | [_] => NO_PARENT,
            [_, second] => *second,
            [_, more @ ..] => {
                let at = self.edges.len() as u32;
                self.edges.extend_from_slice(more);
                *self.edges.last_mut().expect("two at least") |= EDGE_FLAG;
                EDGE_FLAG | at
            }
        };
        let first = parents.first().copied().unwrap_or(NO_PARENT);
        let time = time.cast_unsigned() & TIME_MASK;
        self.ids.extend_from_slice(id.as_bytes());
        self.trees.extend_from_slice(tree.as_bytes());
        self.rows.push(Row { parents: [first, second], level: 0, time, corrected: 0 });
        Ok(())
    }

    /// Commits added so far.
    pub fn count(&self) -> u32 {
        self.rows.len() as u32
    }

    fn last_id(&self) -> Option<&[u8]> {
        let start = self.ids.len().checked_sub(self.hash.len())?;
        Some(&self.ids[start..])
    }

    /// Writes the file; gives the checksum that ends it and names a layer.
    ///
    /// Corrected commit dates are written when `corrected_dates` says so, which must not be when
    /// the base lacks them. `filters` are those of all added commits, in their order.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a parent or a filter is not there; [`Error::Io`] of `out`.
    pub fn write(
        mut self,
        corrected_dates: bool,
        filters: Option<&NewFilters>,
        out: impl Write,
    ) -> Result<ObjectId, Error> {
        if corrected_dates && self.base.is_some_and(|base| !base.has_corrected_dates()) {
            return Err(Error::corrupt("the base of a layer lacks corrected commit dates"));
        }
        if filters.is_some_and(|filters| filters.iter().len() != self.rows.len()) {
            return Err(Error::corrupt("a changed-path filter for each commit is needed"));
        }
        let base_ids: Vec<u8> = self.base.map_or_else(Vec::new, |base| {
            base.layers().flat_map(|layer| layer.id.as_bytes().to_vec()).collect()
        });
        let base_layers = base_ids.len() / self.hash.len();
        if base_layers >= LAYERS_MAX {
            return Err(Error::corrupt("chain has too many layers"));
        }
        self.number(corrected_dates)?;
        let overflows = match corrected_dates {
            true => self.rows.iter().filter(|row| row.offset() > DATE_OFFSET_MAX).count() as u64,
            false => 0,
        };

        let count = u64::from(self.count());
        let id_bytes = self.hash.len() as u64;
        let mut chunks = vec![
            (*b"OIDF", 256 * 4),
            (*b"OIDL", count * id_bytes),
            (*b"CDAT", count * (id_bytes + 16)),
        ];
        let mut add = |name: &[u8; 4], bytes: u64, is_there: bool| {
            if is_there {
                chunks.push((*name, bytes));
            }
        };
        add(b"GDA2", count * 4, corrected_dates);
        add(b"GDO2", overflows * 8, overflows > 0);
        add(b"EDGE", self.edges.len() as u64 * 4, !self.edges.is_empty());
        add(b"BIDX", count * 4, filters.is_some());
        add(b"BDAT", filters.map_or(0, NewFilters::data_bytes), filters.is_some());
        add(b"BASE", base_ids.len() as u64, !base_ids.is_empty());

        let mut out = ChecksumWriter::new(self.hash, out);
        let version = self.hash.format_version();
        out.write(SIGNATURE)?;
        out.write(&[1, version, chunks.len() as u8, base_layers as u8])?;
        write_contents(&chunks, &mut out)?;
        self.write_commits(&mut out)?;
        if corrected_dates {
            self.write_dates(&mut out)?;
        }
        for edge in &self.edges {
            out.write(&edge.to_be_bytes())?;
        }
        if let Some(filters) = filters {
            let mut end = 0u32;
            for filter in filters.iter() {
                end += filter.len() as u32;
                out.write(&end.to_be_bytes())?;
            }
            for number in filters.header() {
                out.write(&number.to_be_bytes())?;
            }
            for filter in filters.iter() {
                out.write(filter)?;
            }
        }
        for id in base_ids.chunks(self.hash.len()) {
            out.write(id)?;
        }
        Ok(out.finish()?)
    }

    fn write_commits(&self, out: &mut ChecksumWriter<impl Write>) -> Result<(), Error> {
        let id_bytes = self.hash.len();
        let mut ids = self.ids.chunks(id_bytes).peekable();
        let mut passed = 0u32;
        for first in 0..=255 {
            while ids.next_if(|id| id[0] == first).is_some() {
                passed += 1;
            }
            out.write(&passed.to_be_bytes())?;
        }
        for id in self.ids.chunks(id_bytes) {
            out.write(id)?;
        }
        for (row, tree) in self.rows.iter().zip(self.trees.chunks(id_bytes)) {
            out.write(tree)?;
            out.write(&row.parents[0].to_be_bytes())?;
            out.write(&row.parents[1].to_be_bytes())?;
            out.write(&(u64::from(row.level) << 34 | row.time).to_be_bytes())?;
        }
        Ok(())
    }

    fn write_dates(&self, out: &mut ChecksumWriter<impl Write>) -> Result<(), Error> {
        let mut overflows = 0;
        for row in &self.rows {
            let field = match row.offset() {
                offset if offset > DATE_OFFSET_MAX => {
                    overflows += 1;
                    OVERFLOW_FLAG | (overflows - 1)
                }
                offset => offset as u32,
            };
            out.write(&field.to_be_bytes())?;
        }
        for offset in self.rows.iter().map(Row::offset) {
            if offset > DATE_OFFSET_MAX {
                out.write(&offset.to_be_bytes())?;
            }
        }
        Ok(())
    }

    /// Computes levels and corrected dates, parents first.
    fn number(&mut self, corrected_dates: bool) -> Result<(), Error> {
        let mut stack = Vec::new();
        for at in 0..self.rows.len() {
            if self.rows[at].level == 0 {
                stack.push(at);
            }
            while let Some(&at) = stack.last() {
                match self.above_parents(at, corrected_dates)? {
                    Parents::Open(_) if stack.len() > self.rows.len() => {
                        return Err(Error::corrupt("a commit is its own ancestor"));
                    }
                    Parents::Open(parent) => stack.push(parent),
                    Parents::Numbered { level, corrected } => {
                        let row = &mut self.rows[at];
                        row.level = (level + 1).min(LEVEL_MAX);
                        row.corrected = row.time.max(corrected.saturating_add(1));
                        stack.pop();
                    }
                }
            }
        }
        Ok(())
    }

    /// The highest numbers of a commit's parents.
    fn above_parents(&self, at: usize, corrected_dates: bool) -> Result<Parents, Error> {
        const ABSENT: Error = Error::corrupt("a parent is not in the commit-graph");
        let (mut level, mut corrected) = (0, 0);
        for parent in self.parents(self.rows[at]) {
            let (its_level, its_corrected) = match parent.checked_sub(self.base_count) {
                Some(own) => {
                    let row = self.rows.get(own as usize).ok_or(ABSENT)?;
                    if row.level == 0 {
                        return Ok(Parents::Open(own as usize));
                    }
                    (row.level, row.corrected)
                }
                None => {
                    let base = self.base.ok_or(ABSENT)?;
                    let level = base.commit_at(parent)?.level;
                    if level == 0 {
                        return Err(Error::Unsupported { what: "base layer without levels" });
                    }
                    let date = if corrected_dates { base.corrected_date_at(parent)? } else { 0 };
                    (level, date)
                }
            };
            level = level.max(its_level);
            corrected = corrected.max(its_corrected);
        }
        Ok(Parents::Numbered { level, corrected })
    }

    fn parents(&self, row: Row) -> impl Iterator<Item = u32> + '_ {
        let [first, second] = row.parents;
        let edges = match second {
            NO_PARENT => &[][..],
            second if second & EDGE_FLAG != 0 => &self.edges[(second & !EDGE_FLAG) as usize..],
            _ => &[],
        };
        let last = edges.iter().position(|edge| edge & EDGE_FLAG != 0);
        let edges = &edges[..last.map_or(0, |last| last + 1)];
        let single =
            |parent: u32| (parent != NO_PARENT && parent & EDGE_FLAG == 0).then_some(parent);
        single(first)
            .into_iter()
            .chain(single(second))
            .chain(edges.iter().map(|edge| edge & !EDGE_FLAG))
    }
}

enum Parents {
    /// One of them has no numbers yet.
    Open(usize),
    Numbered {
        level: u32,
        corrected: u64,
    },
}

impl Row {
    fn offset(&self) -> u64 {
        self.corrected - self.time
    }
}

/// The table of contents: where each chunk begins, and where the last one ends.
fn write_contents(
    chunks: &[([u8; 4], u64)],
    out: &mut ChecksumWriter<impl Write>,
) -> Result<(), Error> {
    let mut offset = (HEADER_BYTES + (chunks.len() + 1) * CHUNK_ROW_BYTES) as u64;
    for (name, bytes) in chunks {
        out.write(name)?;
        out.write(&offset.to_be_bytes())?;
        offset += bytes;
    }
    out.write(&[0; 4])?;
    out.write(&offset.to_be_bytes())?;
    Ok(())
}
