//! Writing a table, record by record.

use std::io::Write;

use bstr::ByteSlice as _;
use flate2::{Compress, Compression, FlushCompress, Status};
use object::HashKind;

use crate::block::{HEAD_BYTES, INDEX, LOGS, REFS};
use crate::header::{Header, Positions};
use crate::record::{LogRecord, RefRecord, log_key};
use crate::varint::put;
use crate::{Error, Result};

/// The largest length a block can have.
const BLOCK_BYTES_MAX: usize = (1 << 24) - 1;
/// Blocks of refs that need no index.
const UNINDEXED_REFS: usize = 3;
/// The format does not let more blocks of logs go without.
const UNINDEXED_LOGS: usize = 1;

/// How a table is written.
#[derive(Debug, Clone, Copy)]
pub struct WriteOptions {
    /// The hash that names objects.
    pub hash: HashKind,
    /// Bytes of a block (git's `reftable.blockSize`).
    pub block_size: u32,
    /// Every so many records a key is written whole (`reftable.restartInterval`).
    pub restart_interval: u16,
    /// The first transaction that is in the table.
    pub min_update_index: u64,
    /// The last one.
    pub max_update_index: u64,
}

impl WriteOptions {
    /// git's defaults.
    pub fn new(hash: HashKind, min_update_index: u64, max_update_index: u64) -> Self {
        let (block_size, restart_interval) = (4096, 16);
        WriteOptions { hash, block_size, restart_interval, min_update_index, max_update_index }
    }
}

/// Writes a table: all refs in the order of their names, then log lines by name, of one ref the
/// latest first.
pub struct TableWriter<W> {
    out: W,
    options: WriteOptions,
    header: Header,
    /// Bytes that were written, and those that will be in front of what comes next.
    written: u64,
    filling: usize,
    block: Building,
    section: u8,
    /// Of the present section: the last key of each block, and where it begins.
    index: Vec<(Vec<u8>, u64)>,
    positions: Positions,
    last: Vec<u8>,
}

/// A block in the making.
struct Building {
    kind: u8,
    /// Bytes in front of the head: the table's header, in the first block.
    skip: usize,
    bytes: Vec<u8>,
    restarts: Vec<usize>,
    entries: usize,
    key: Vec<u8>,
}

impl Building {
    fn new(kind: u8, front: Vec<u8>) -> Self {
        let skip = front.len();
        let mut bytes = front;
        bytes.extend_from_slice(&[kind, 0, 0, 0]);
        Building { kind, skip, bytes, restarts: Vec::new(), entries: 0, key: Vec::new() }
    }

    /// Adds a record unless the block would grow beyond `most` bytes; whether it was added.
    fn add(&mut self, (key, bits): (&[u8], u8), value: &[u8], every: u16, most: usize) -> bool {
        let is_restart = self.entries.is_multiple_of(usize::from(every.max(1)))
            && self.restarts.len() < usize::from(u16::MAX);
        let shared = match is_restart {
            true => 0,
            false => key.iter().zip(&self.key).take_while(|(one, other)| one == other).count(),
        };
        let mut record = Vec::with_capacity(key.len() + value.len() + 10);
        put(shared as u64, &mut record);
        put(((key.len() - shared) as u64) << 3 | u64::from(bits), &mut record);
        record.extend_from_slice(&key[shared..]);
        record.extend_from_slice(value);
        let restarts = self.restarts.len() + usize::from(is_restart);
        if self.bytes.len() + record.len() + 3 * restarts + 2 > most {
            return false;
        }
        if is_restart {
            self.restarts.push(self.bytes.len());
        }
        self.bytes.extend_from_slice(&record);
        self.entries += 1;
        self.key = key.to_vec();
        true
    }

    /// The block as it is written; logs are deflated.
    fn finish(mut self) -> Result<Vec<u8>> {
        for restart in &self.restarts {
            self.bytes.extend_from_slice(&(*restart as u32).to_be_bytes()[1..]);
        }
        self.bytes.extend_from_slice(&(self.restarts.len() as u16).to_be_bytes());
        let length = (self.bytes.len() as u32).to_be_bytes();
        self.bytes[self.skip + 1..self.skip + HEAD_BYTES].copy_from_slice(&length[1..]);
        if self.kind != LOGS {
            return Ok(self.bytes);
        }
        let content = self.bytes.split_off(self.skip + HEAD_BYTES);
        let mut deflate = Compress::new(Compression::new(9), true);
        self.bytes.reserve(content.len() + content.len() / 8 + 64);
        loop {
            let taken = deflate.total_in() as usize;
            let status =
                deflate.compress_vec(&content[taken..], &mut self.bytes, FlushCompress::Finish);
            match status.map_err(|error| Error::Io(error.into()))? {
                Status::StreamEnd => return Ok(self.bytes),
                _ => self.bytes.reserve(content.len() / 8 + 64),
            }
        }
    }
}

impl<W: Write> TableWriter<W> {
    /// Begins a table.
    ///
    /// # Errors
    /// [`Error::Record`] for a block size that the format does not have.
    pub fn new(out: W, options: WriteOptions) -> Result<Self> {
        if options.block_size < 256 || options.block_size as usize > BLOCK_BYTES_MAX {
            return Err(Error::Record("blocks have 256 to 16777215 bytes"));
        }
        let header = Header {
            block_size: options.block_size,
            min_update_index: options.min_update_index,
            max_update_index: options.max_update_index,
            hash: options.hash,
        };
        let mut front = Vec::new();
        header.encode(&mut front);
        Ok(TableWriter {
            out,
            options,
            header,
            written: 0,
            filling: 0,
            block: Building::new(REFS, front),
            section: REFS,
            index: Vec::new(),
            positions: Positions::default(),
            last: Vec::new(),
        })
    }

    /// Adds a ref; its name comes behind those of all before.
    ///
    /// # Errors
    /// [`Error::Record`], and what `out` says.
    pub fn add_ref(&mut self, record: &RefRecord) -> Result<()> {
        if self.section != REFS {
            return Err(Error::Record("a ref behind a log line"));
        }
        let delta = record.update_index.checked_sub(self.options.min_update_index);
        let delta = delta.ok_or(Error::Record("a ref older than its table"))?;
        let mut value = Vec::new();
        put(delta, &mut value);
        record.value.encode(&mut value);
        self.add(&record.name, record.value.kind(), &value)
    }

    /// Adds a log line; its key comes behind those of all before.
    ///
    /// # Errors
    /// [`Error::Record`], and what `out` says.
    pub fn add_log(&mut self, record: &LogRecord) -> Result<()> {
        if self.section == REFS {
            self.end_section()?;
            self.begin_logs();
        }
        let mut value = Vec::new();
        if let Some(entry) = &record.entry {
            entry.encode(&mut value);
        }
        let key = log_key(record.name.as_bstr(), record.update_index);
        self.add(&key, u8::from(record.entry.is_some()), &value)
    }

    /// Ends the table; gives back what it was written to.
    ///
    /// # Errors
    /// What `out` says.
    pub fn finish(mut self) -> Result<W> {
        self.end_section()?;
        if self.written == 0 {
            let mut header = Vec::new();
            self.header.encode(&mut header);
            self.put(&header)?;
        }
        let mut footer = Vec::new();
        self.positions.encode(&self.header, &mut footer);
        self.put(&footer)?;
        Ok(self.out)
    }

    fn add(&mut self, key: &[u8], bits: u8, value: &[u8]) -> Result<()> {
        if !self.last.is_empty() && *key <= *self.last {
            return Err(Error::Record("keys come in order, each once"));
        }
        if key.is_empty() {
            return Err(Error::Record("a key is empty"));
        }
        let (every, size) = (self.options.restart_interval, self.options.block_size as usize);
        if !self.block.add((key, bits), value, every, size) {
            self.end_block()?;
            // A log line alone may make its block longer: blocks of logs are not aligned.
            let most = if self.section == LOGS { BLOCK_BYTES_MAX } else { size };
            if !self.block.add((key, bits), value, every, most) {
                return Err(Error::Record("it is longer than a block"));
            }
        }
        self.last = key.to_vec();
        Ok(())
    }

    fn begin_logs(&mut self) {
        self.section = LOGS;
        self.last = Vec::new();
        // Nothing is aligned from here on.
        self.filling = 0;
        let mut front = Vec::new();
        match self.written {
            0 => self.header.encode(&mut front),
            at => self.positions.logs = at,
        }
        self.block = Building::new(LOGS, front);
    }

    /// Writes the present block, unless it is empty, and begins another one.
    fn end_block(&mut self) -> Result<()> {
        let kind = self.block.kind;
        let next = match self.block.entries {
            // Still the first one of the table.
            0 => return Ok(()),
            _ => Building::new(kind, Vec::new()),
        };
        let block = std::mem::replace(&mut self.block, next);
        let key = block.key.clone();
        let bytes = block.finish()?;
        let filling = vec![0; std::mem::take(&mut self.filling)];
        self.put(&filling)?;
        self.index.push((key, self.written));
        self.put(&bytes)?;
        if self.section == REFS {
            self.filling = (self.options.block_size as usize).saturating_sub(bytes.len());
        }
        Ok(())
    }

    /// Writes what is left of a section, and its index.
    fn end_section(&mut self) -> Result<()> {
        self.end_block()?;
        let unindexed = if self.section == REFS { UNINDEXED_REFS } else { UNINDEXED_LOGS };
        let mut index_at = 0;
        let mut below_count = usize::MAX;
        // Names so long that a block holds but one would never become fewer; the topmost level may
        // be of several blocks.
        while self.index.len() > unindexed && self.index.len() < below_count {
            below_count = self.index.len();
            let below = std::mem::take(&mut self.index);
            let (every, size) = (self.options.restart_interval, self.options.block_size as usize);
            self.block = Building::new(INDEX, Vec::new());
            index_at = self.written + self.filling as u64;
            for (key, at) in below {
                let mut value = Vec::new();
                put(at, &mut value);
                if !self.block.add((&key, 0), &value, every, size) {
                    self.end_block()?;
                    if !self.block.add((&key, 0), &value, every, BLOCK_BYTES_MAX) {
                        return Err(Error::Record("it is longer than a block"));
                    }
                }
            }
            self.end_block()?;
        }
        match self.section {
            REFS => self.positions.ref_index = index_at,
            _ => self.positions.log_index = index_at,
        }
        self.index.clear();
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

/// A table of some records, in memory.
///
/// # Errors
/// As [`TableWriter`].
pub fn table_of(options: WriteOptions, refs: &[RefRecord], logs: &[LogRecord]) -> Result<Vec<u8>> {
    let mut writer = TableWriter::new(Vec::new(), options)?;
    refs.iter().try_for_each(|record| writer.add_ref(record))?;
    logs.iter().try_for_each(|record| writer.add_log(record))?;
    writer.finish()
}
