//! Verifying the checksum that ends every file beside a pack, and the pack itself.
//!
//! Linear in the file, so nothing here runs when a file is opened.

use std::io::{self, Write};

use object::{Checksum, HashKind, ObjectId};

use crate::Error;

/// The trailing checksum as it is written in the file.
///
/// # Errors
/// [`Error::Truncated`] when the bytes cannot even hold one.
pub fn trailer(bytes: &[u8], hash: HashKind) -> Result<ObjectId, Error> {
    let at = bytes.len().checked_sub(hash.len()).ok_or(Error::truncated("checksum"))?;
    Ok(ObjectId::from_prefix(&bytes[at..], hash))
}

/// Recomputes the checksum over all but the trailer and compares the two.
///
/// # Errors
/// [`Error::Corrupt`] when they differ, [`Error::Truncated`] when there is no trailer.
pub fn verify_trailer(bytes: &[u8], hash: HashKind) -> Result<ObjectId, Error> {
    let written = trailer(bytes, hash)?;
    let mut checksum = Checksum::new(hash);
    checksum.update(&bytes[..bytes.len() - hash.len()]);
    if checksum.finish() != written {
        return Err(Error::corrupt("checksum does not match the contents"));
    }
    Ok(written)
}

/// Bytes gathered before they are hashed and written.
const BUFFER_BYTES: usize = 32 << 10;

/// Writes a file that ends in the checksum of all before it.
pub(crate) struct ChecksumWriter<W: Write> {
    out: W,
    checksum: Checksum,
    buffer: Vec<u8>,
}

impl<W: Write> ChecksumWriter<W> {
    pub(crate) fn new(hash: HashKind, out: W) -> Self {
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        ChecksumWriter { out, checksum: Checksum::new(hash), buffer }
    }

    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.empty()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Like [`ChecksumWriter::write`], for more than fits the buffer.
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.empty()?;
        self.checksum.update(bytes);
        self.out.write_all(bytes)
    }

    /// Writes the checksum and flushes.
    pub(crate) fn finish(mut self) -> io::Result<ObjectId> {
        self.empty()?;
        let checksum = self.checksum.finish();
        self.out.write_all(checksum.as_bytes())?;
        self.out.flush()?;
        Ok(checksum)
    }

    fn empty(&mut self) -> io::Result<()> {
        self.checksum.update(&self.buffer);
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}
