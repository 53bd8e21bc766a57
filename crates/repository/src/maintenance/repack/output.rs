//! The pack on its way to the stage: gathered, summed up and stored.

use std::io::{self, Write};

use object::{Checksum, HashKind, ObjectId};
use storage::BlobWriter;

use crate::error::{Error, Result};

/// The pack before its name is known.
pub(super) const UNNAMED: &str = "pack/repacked.pack";
/// Output gathered before it is hashed and stored.
const BUFFER_BYTES: usize = 64 << 10;

/// The pack on its way to the stage.
pub(super) struct Output {
    writer: Box<dyn BlobWriter>,
    buffer: Vec<u8>,
    checksum: Checksum,
    written: u64,
    crc: crc32fast::Hasher,
}

impl Output {
    pub fn new(hash: HashKind, writer: Box<dyn BlobWriter>) -> Self {
        Output {
            writer,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            checksum: Checksum::new(hash),
            written: 0,
            crc: crc32fast::Hasher::new(),
        }
    }

    /// Where the entry begins.
    pub fn begin_entry(&mut self) -> u64 {
        self.crc.reset();
        self.written
    }

    /// The checksum of the entry's bytes.
    pub fn end_entry(&mut self) -> u32 {
        std::mem::take(&mut self.crc).finalize()
    }

    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes).map_err(failed)
    }

    fn empty(&mut self) -> io::Result<()> {
        self.checksum.update(&self.buffer);
        self.writer.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Ends the pack: its name, and its bytes.
    pub fn finish(mut self) -> Result<(ObjectId, u64)> {
        self.empty().map_err(failed)?;
        let name = self.checksum.finish();
        self.writer.write_all(name.as_bytes()).map_err(failed)?;
        self.writer.finish()?;
        Ok((name, self.written + name.as_bytes().len() as u64))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.empty()?;
        }
        self.crc.update(bytes);
        self.written += bytes.len() as u64;
        if bytes.len() < BUFFER_BYTES {
            self.buffer.extend_from_slice(bytes);
        } else {
            self.checksum.update(bytes);
            self.writer.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An error of the stage.
pub(super) fn failed(error: io::Error) -> Error {
    Error::Storage(storage::Error::io(UNNAMED, error))
}
