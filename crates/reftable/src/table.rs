//! A table, read where it lies.

use bstr::{BStr, ByteSlice as _};
use bytes::Bytes;
use object::HashKind;

use crate::block::{Block, BlockCursor, Frame, INDEX, LOGS, REFS};
use crate::header::{Header, Positions};
use crate::record::{LogView, RefView, log_key, split_log_key, take_entry, take_value};
use crate::varint::take;
use crate::{Error, Result};

/// Levels of an index; with blocks of a few records it could name any number of them.
const LEVELS_MAX: usize = 16;

/// One table.
#[derive(Clone)]
pub struct Table {
    bytes: Bytes,
    header: Header,
    positions: Positions,
    frame: Frame,
}

impl Table {
    /// Reads header and footer.
    ///
    /// # Errors
    /// [`Error::Corrupt`] and [`Error::Unsupported`].
    pub fn open(bytes: Bytes) -> Result<Self> {
        let (header, header_size) = Header::parse(&bytes)?;
        let (positions, end) = Positions::parse(&bytes, header_size)?;
        let block_size = header.block_size as usize;
        Ok(Table { bytes, header, positions, frame: Frame { header_size, block_size, end } })
    }

    /// The whole table.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The hash that names its objects.
    pub fn hash(&self) -> HashKind {
        self.header.hash
    }

    /// The first transaction that is in it.
    pub fn min_update_index(&self) -> u64 {
        self.header.min_update_index
    }

    /// The last transaction that is in it.
    pub fn max_update_index(&self) -> u64 {
        self.header.max_update_index
    }

    /// Bytes of a block; 0 when blocks are not aligned.
    pub fn block_size(&self) -> u32 {
        self.header.block_size
    }

    /// Its size, bytes.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// In front of the first ref whose name is not below `from`.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn refs(&self, from: &BStr) -> Result<RefCursor> {
        let hash = self.hash();
        let skip = move |kind: u8, bytes: &mut &[u8]| skip_ref(kind, hash, bytes);
        let first = self.first_block_is(REFS)?.then_some(0);
        let section = Section { kind: REFS, first, index: self.positions.ref_index };
        Ok(RefCursor(Cursor::new(self.clone(), section, from, skip)?))
    }

    /// In front of the first line of the log of a ref whose name is not below `from`; of one
    /// ref the latest line comes first.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn logs(&self, from: &BStr) -> Result<LogCursor> {
        let hash = self.hash();
        let skip = move |kind: u8, bytes: &mut &[u8]| take_entry(kind, hash, bytes).map(|_| ());
        let first = match self.positions.logs {
            0 => self.first_block_is(LOGS)?.then_some(0),
            at => Some(at),
        };
        let section = Section { kind: LOGS, first, index: self.positions.log_index };
        let key = match from.is_empty() {
            true => Vec::new(),
            false => log_key(from, u64::MAX),
        };
        Ok(LogCursor(Cursor::new(self.clone(), section, &key, skip)?))
    }

    fn first_block_is(&self, kind: u8) -> Result<bool> {
        Block::is_kind_at(&self.bytes, 0, self.frame, kind)
    }

    fn block(&self, at: u64) -> Result<Block> {
        const OUTSIDE: Error = Error::Corrupt("a block lies outside the table");
        let at = usize::try_from(at).ok().filter(|at| *at < self.frame.end).ok_or(OUTSIDE)?;
        Block::open(&self.bytes, at, self.frame)
    }
}

/// Blocks of one kind.
#[derive(Clone, Copy)]
struct Section {
    kind: u8,
    /// Where the first begins, if there is one.
    first: Option<u64>,
    /// Where the topmost block of the index begins; 0 when there is none.
    index: u64,
}

/// A place among the records of a section.
struct Cursor {
    table: Table,
    kind: u8,
    block: Option<BlockCursor>,
    /// Where the block behind the present one begins.
    next: u64,
    /// The three bits of the present record, and where its value begins.
    present: Option<(u8, usize)>,
}

impl Cursor {
    fn new(
        table: Table,
        section: Section,
        wanted: &[u8],
        skip: impl Fn(u8, &mut &[u8]) -> Result<()> + Copy,
    ) -> Result<Self> {
        let mut cursor = Cursor { table, kind: section.kind, block: None, next: 0, present: None };
        let Some(first) = section.first else { return Ok(cursor) };
        let at = match section.index {
            0 => Some(first),
            _ if wanted.is_empty() => Some(first),
            index => cursor.leaf_of(index, wanted)?,
        };
        let Some(at) = at else { return Ok(cursor) };
        cursor.turn_to(at)?;
        // Without an index, the block may end before what is wanted.
        while let Some(block) = &mut cursor.block {
            if wanted.is_empty() {
                break;
            }
            if block.seek(wanted, skip)? {
                break;
            }
            cursor.turn_to_next()?;
        }
        Ok(cursor)
    }

    /// The block that ends with the first key not below `wanted`.
    fn leaf_of(&self, index: u64, wanted: &[u8]) -> Result<Option<u64>> {
        let Table { bytes, frame, .. } = &self.table;
        let mut at = index;
        for _ in 0..LEVELS_MAX {
            let mut block = self.table.block(at)?;
            if block.kind != INDEX {
                return Ok(Some(at));
            }
            // The topmost level may be of several blocks, one behind the other.
            loop {
                at += block.stored as u64;
                let mut entries = BlockCursor::new(block);
                if entries.seek(wanted, |_, bytes| take(bytes).map(|_| ()))? {
                    entries.next()?;
                    at = take(&mut entries.value())?;
                    break;
                }
                if !Block::is_kind_at(bytes, at, *frame, INDEX)? {
                    return Ok(None);
                }
                block = self.table.block(at)?;
            }
        }
        Err(Error::Corrupt("an index has no end"))
    }

    fn turn_to(&mut self, at: u64) -> Result<()> {
        let block = self.table.block(at)?;
        if block.kind != self.kind {
            return Err(Error::Corrupt("an index leads to a block of another kind"));
        }
        self.next = at + block.stored as u64;
        self.block = Some(BlockCursor::new(block));
        Ok(())
    }

    /// Turns to the block behind the present one, if it is of the same kind.
    fn turn_to_next(&mut self) -> Result<()> {
        let Table { bytes, frame, .. } = &self.table;
        match Block::is_kind_at(bytes, self.next, *frame, self.kind)? {
            true => self.turn_to(self.next),
            false => {
                self.block = None;
                Ok(())
            }
        }
    }

    /// Goes on to the next record; whether there is one.
    fn advance(&mut self, skip: impl Fn(u8, &mut &[u8]) -> Result<()>) -> Result<bool> {
        self.present = None;
        while let Some(block) = &mut self.block {
            if let Some(kind) = block.next()? {
                let place = block.place();
                let mut rest = block.value();
                skip(kind, &mut rest)?;
                let left = rest.len();
                block.behind_value(left);
                self.present = Some((kind, place));
                return Ok(true);
            }
            self.turn_to_next()?;
        }
        Ok(false)
    }

    /// Key, bits and value of the present record.
    fn present(&self) -> Option<(&[u8], u8, &[u8])> {
        let ((kind, place), block) = (self.present?, self.block.as_ref()?);
        Some((block.key(), kind, block.value_from(place)))
    }
}

fn skip_ref(kind: u8, hash: HashKind, bytes: &mut &[u8]) -> Result<()> {
    take(bytes)?;
    take_value(kind, hash, bytes).map(|_| ())
}

/// The refs of a table, one after the other.
pub struct RefCursor(Cursor);

impl RefCursor {
    /// Goes on to the next ref; whether there is one.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn advance(&mut self) -> Result<bool> {
        let hash = self.0.table.hash();
        self.0.advance(|kind, bytes| skip_ref(kind, hash, bytes))
    }

    /// The ref it is at.
    pub fn present(&self) -> Option<RefView<'_>> {
        let (key, kind, mut value) = self.0.present()?;
        let Header { min_update_index, hash, .. } = self.0.table.header;
        let update_index = min_update_index.saturating_add(take(&mut value).ok()?);
        let value = take_value(kind, hash, &mut value).ok()?;
        Some(RefView { name: key.as_bstr(), update_index, value })
    }
}

/// Lines of the logs of a table, one after the other.
pub struct LogCursor(Cursor);

impl LogCursor {
    /// Goes on to the next line; whether there is one.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn advance(&mut self) -> Result<bool> {
        let hash = self.0.table.hash();
        self.0.advance(|kind, bytes| take_entry(kind, hash, bytes).map(|_| ()))?;
        match self.0.present() {
            Some((key, ..)) => split_log_key(key).map(|_| true),
            None => Ok(false),
        }
    }

    /// The line it is at.
    pub fn present(&self) -> Option<LogView<'_>> {
        let (key, kind, mut value) = self.0.present()?;
        let (name, update_index) = split_log_key(key).ok()?;
        let entry = take_entry(kind, self.0.table.hash(), &mut value).ok()?;
        Some(LogView { name, update_index, entry })
    }

    /// The key of the line it is at: later lines of a ref come first.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.0.present().map(|(key, ..)| key)
    }
}
