//! The commits of a .bitmap file: where each bitmap lies and which other it is relative to.

use bytes::Bytes;

use crate::Error;
use crate::big_endian::{u32_at, u64_at};
use crate::ewah::Ewah;

use super::LOOKUP_ROW_BYTES;

/// Commit position, XOR offset and flags before each compressed bitmap.
const ENTRY_HEADER_BYTES: usize = 6;
/// The furthest an entry may be from the one it is relative to, counted in entries.
const XOR_OFFSET_MAX: u8 = 160;
const NO_ROW: u32 = u32::MAX;

/// Rows in ascending order of commit positions.
#[derive(Debug, Clone)]
pub(super) struct Entries {
    /// The file up to where its extensions start.
    bytes: Bytes,
    table: Table,
}

#[derive(Debug, Clone)]
enum Table {
    /// The lookup table extension.
    Stored(Bytes),
    /// Listed when the file was opened.
    Listed(Vec<Row>),
}

#[derive(Debug, Clone, Copy)]
struct Row {
    commit_position: u32,
    /// The row of the bitmap this one is relative to, or [`NO_ROW`].
    xor_row: u32,
    /// Bytes from the start of the file to the entry.
    offset: u64,
}

impl Entries {
    /// `start` is where the entries begin in `bytes`.
    pub(super) fn new(
        bytes: Bytes,
        start: usize,
        count: u32,
        table: Option<Bytes>,
    ) -> Result<Self, Error> {
        let table = match table {
            Some(table) => Table::Stored(table),
            None => Table::Listed(list(&bytes, start, count)?),
        };
        Ok(Entries { bytes, table })
    }

    pub(super) fn count(&self) -> u32 {
        match &self.table {
            Table::Stored(table) => (table.len() / LOOKUP_ROW_BYTES) as u32,
            Table::Listed(rows) => rows.len() as u32,
        }
    }

    pub(super) fn commit_position(&self, row: u32) -> Option<u32> {
        self.row(row).map(|row| row.commit_position)
    }

    /// The row of a commit.
    pub(super) fn find(&self, commit_position: u32) -> Option<u32> {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            let found = self.commit_position(middle)?;
            match found.cmp(&commit_position) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The bitmap of a row, when it is not relative to another.
    pub(super) fn stored_whole(&self, row: u32) -> Result<Option<Ewah<'_>>, Error> {
        let row = self.row(row).ok_or(BAD_ROW)?;
        if row.xor_row != NO_ROW {
            return Ok(None);
        }
        self.bitmap(row).map(Some)
    }

    /// Visits the bitmaps whose exclusive-or is the bitmap of a row.
    pub(super) fn each_of_chain<'a>(
        &'a self,
        row: u32,
        mut visit: impl FnMut(Ewah<'a>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut next = row;
        for _ in 0..self.count() {
            let row = self.row(next).ok_or(BAD_ROW)?;
            visit(self.bitmap(row)?)?;
            next = row.xor_row;
            if next == NO_ROW {
                return Ok(());
            }
        }
        Err(Error::corrupt("bitmaps are relative to each other in a circle"))
    }

    fn bitmap(&self, row: Row) -> Result<Ewah<'_>, Error> {
        let at = usize::try_from(row.offset)
            .ok()
            .and_then(|at| at.checked_add(ENTRY_HEADER_BYTES))
            .filter(|at| *at <= self.bytes.len())
            .ok_or(Error::corrupt("bitmap lookup table points beyond the bitmaps"))?;
        Ok(Ewah::parse(&self.bytes[at..])?.0)
    }

    fn row(&self, row: u32) -> Option<Row> {
        match &self.table {
            Table::Listed(rows) => rows.get(row as usize).copied(),
            Table::Stored(table) => {
                let at = (row as usize).checked_mul(LOOKUP_ROW_BYTES)?;
                Some(Row {
                    commit_position: u32_at(table, at)?,
                    offset: u64_at(table, at + 4)?,
                    xor_row: u32_at(table, at + 12)?,
                })
            }
        }
    }
}

const BAD_ROW: Error = Error::corrupt("bitmap lookup table names a row it does not have");

/// Steps over all entries and sorts them as the lookup table would be.
fn list(bytes: &[u8], start: usize, count: u32) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    let mut at = start;
    for number in 0..count {
        let position = u32_at(bytes, at).ok_or(Error::truncated("bitmap index"))?;
        let xor_offset = *bytes.get(at + 4).ok_or(Error::truncated("bitmap index"))?;
        if xor_offset > XOR_OFFSET_MAX || u32::from(xor_offset) > number {
            return Err(Error::corrupt("bitmap is relative to one that is not there"));
        }
        let frame = bytes.get(at + ENTRY_HEADER_BYTES..).ok_or(Error::truncated("bitmap index"))?;
        let xor_row = if xor_offset == 0 { NO_ROW } else { number - u32::from(xor_offset) };
        rows.push(Row { commit_position: position, xor_row, offset: at as u64 });
        at += ENTRY_HEADER_BYTES + Ewah::parse(frame)?.1;
    }
    sort(rows)
}

/// Sorts by commit and turns references by number into references by row.
fn sort(rows: Vec<Row>) -> Result<Vec<Row>, Error> {
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    order.sort_unstable_by_key(|number| rows[*number as usize].commit_position);
    let mut row_of = vec![0; rows.len()];
    for (row, number) in order.iter().enumerate() {
        row_of[*number as usize] = row as u32;
    }
    let mut sorted: Vec<Row> = order.iter().map(|number| rows[*number as usize]).collect();
    for row in &mut sorted {
        if row.xor_row != NO_ROW {
            row.xor_row = row_of[row.xor_row as usize];
        }
    }
    let twice = |pair: &[Row]| pair[0].commit_position == pair[1].commit_position;
    if sorted.windows(2).any(twice) {
        return Err(Error::corrupt("commit has two bitmaps"));
    }
    Ok(sorted)
}
