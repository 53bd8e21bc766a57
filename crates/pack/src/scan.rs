//! Reading a pack as it arrives: entries in sequence, each inflated once, raw bytes passed on.
//!
//! A [`Scanner`] pulls from a `BufRead` and leaves every decision to its caller: what to do with
//! an entry's inflated bytes, where the raw bytes are stored, how large an object may be. It
//! resolves no deltas and hashes no objects. Raw bytes are checksummed and passed on in the
//! pieces the reader's buffer gives, not per entry, and copied by nobody on the way; a reader
//! with 64 KiB or more serves best.

use std::io::{BufRead, ErrorKind, Write};

use object::{Checksum, HashKind, ObjectId};

use crate::entry::{HEADER_BYTES_MAX, PACK_HEADER_BYTES};
use crate::inflate::{Inflater, Step};
use crate::pack_file::PackHeader;
use crate::{EntryHeader, Error};

/// Room beyond the declared size, without which the decoder would take its slow path for the
/// last bytes of every object.
const SLACK_BYTES: usize = 320;

/// Memory taken for an object before any of it has arrived, and the size of streamed chunks.
const CHUNK_BYTES: usize = 64 << 10;

/// Where an entry starts and what its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Bytes from the start of the pack.
    pub offset: u64,
    /// What follows.
    pub header: EntryHeader,
}

/// What is known of an entry once its data has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryEnd {
    /// Bytes from the start of the pack to just past the entry.
    pub end: u64,
    /// CRC-32 of the raw entry, as an index wants it.
    pub crc32: u32,
}

/// What is known of a pack once its trailer has been verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackEnd {
    /// The pack's checksum.
    pub checksum: ObjectId,
    /// Bytes of the whole pack, trailer included.
    pub len: u64,
}

/// Reads one pack from `input` and writes its raw bytes to `tee`.
pub struct Scanner<R, W> {
    input: R,
    tee: W,
    hash: HashKind,
    header: PackHeader,
    checksum: Checksum,
    /// Bytes of the reader's current buffer that were parsed but not yet passed on.
    parsed: usize,
    /// Bytes of the pack parsed so far.
    position: u64,
    entries_left: u32,
    open_entry: Option<OpenEntry>,
    inflater: Inflater,
    chunk: Vec<u8>,
}

/// An entry whose header was given out and whose data is still to be read.
struct OpenEntry {
    entry: Entry,
    crc: crc32fast::Hasher,
}

impl<R: BufRead, W: Write> Scanner<R, W> {
    /// Reads the pack's header.
    ///
    /// # Errors
    /// As [`PackHeader::parse`], and as [`Scanner::next_entry`].
    pub fn open(mut input: R, tee: W, hash: HashKind) -> Result<Self, Error> {
        let mut bytes = [0; PACK_HEADER_BYTES];
        read_exact(&mut input, &mut bytes)?;
        let header = PackHeader::parse(&bytes)?;
        let mut scanner = Scanner {
            input,
            tee,
            hash,
            header,
            checksum: Checksum::new(hash),
            parsed: 0,
            position: PACK_HEADER_BYTES as u64,
            entries_left: header.object_count,
            open_entry: None,
            inflater: Inflater::new(),
            chunk: Vec::new(),
        };
        scanner.checksum.update(&bytes);
        scanner.tee.write_all(&bytes).map_err(Error::Store)?;
        Ok(scanner)
    }

    /// The entries the header announces. As a peer may announce anything, allocate nothing by it.
    pub fn object_count(&self) -> u32 {
        self.header.object_count
    }

    /// Bytes of the pack read so far; `tee` may not have got the last of them yet.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next entry's header; `None` after the last. Skips the data of the entry before when
    /// that was not read.
    ///
    /// # Errors
    /// [`Error::Truncated`] when the input ends, [`Error::BadEntry`] for damage, [`Error::Io`]
    /// when the input cannot be read and [`Error::Store`] when `tee` cannot be written.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        if self.open_entry.is_some() {
            self.skip_data()?;
        }
        if self.entries_left == 0 {
            return Ok(None);
        }
        self.entries_left -= 1;
        let offset = self.position;
        let mut crc = crc32fast::Hasher::new();
        let header = self.read_header(&mut crc).map_err(|error| error.at_entry(offset))?;
        header.base_offset(offset)?;
        let entry = Entry { offset, header };
        self.inflater.reset();
        self.open_entry = Some(OpenEntry { entry, crc });
        Ok(Some(entry))
    }

    /// Replaces `out` by the current entry's inflated data.
    ///
    /// Memory grows with the data that really arrives. The caller has looked at the declared
    /// size in the header and found it small enough to be held.
    ///
    /// # Errors
    /// As [`Scanner::next_entry`]; also when the data is not of the declared size, which is
    /// noticed at the first surplus byte.
    ///
    /// # Panics
    /// Without a current entry whose data is still unread.
    pub fn read_data(&mut self, out: &mut Vec<u8>) -> Result<EntryEnd, Error> {
        let mut open = self.take_open();
        let Entry { offset, header } = open.entry;
        let size = usize::try_from(header.size)
            .map_err(|_| Error::TooLarge { size: header.size, max: usize::MAX as u64 })?;
        let room_max = size.saturating_add(SLACK_BYTES);
        out.truncate(room_max);
        let mut filled = 0;
        loop {
            if out.len() - filled < SLACK_BYTES {
                grow(out, room_max.min(CHUNK_BYTES.max(filled.saturating_mul(2))));
            }
            let step = self
                .step(&mut out[filled..], &mut open.crc)
                .map_err(|error| error.at_entry(offset))?;
            filled += step.produced;
            check_size(offset, header.size, filled as u64, step.ended)?;
            if step.ended {
                out.truncate(filled);
                return Ok(EntryEnd { end: self.position, crc32: open.crc.finalize() });
            }
        }
    }

    /// Gives the current entry's inflated data to `sink` in chunks, holding only one at a time.
    ///
    /// # Errors
    /// As [`Scanner::read_data`], and those of `sink`.
    ///
    /// # Panics
    /// Without a current entry whose data is still unread.
    pub fn stream_data<E: From<Error>>(
        &mut self,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<EntryEnd, E> {
        let mut open = self.take_open();
        let Entry { offset, header } = open.entry;
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.resize(CHUNK_BYTES, 0);
        let mut total = 0;
        loop {
            let step =
                self.step(&mut chunk, &mut open.crc).map_err(|error| error.at_entry(offset))?;
            total += step.produced as u64;
            check_size(offset, header.size, total, step.ended)?;
            if step.produced > 0 {
                sink(&chunk[..step.produced])?;
            }
            if step.ended {
                self.chunk = chunk;
                return Ok(EntryEnd { end: self.position, crc32: open.crc.finalize() });
            }
        }
    }

    /// Reads over the current entry's data, checking it all the same.
    ///
    /// # Errors
    /// As [`Scanner::read_data`].
    ///
    /// # Panics
    /// Without a current entry whose data is still unread.
    pub fn skip_data(&mut self) -> Result<EntryEnd, Error> {
        self.stream_data(|_| Ok(()))
    }

    /// Reads and verifies the trailer; to be called after the last entry. `tee` has got the whole
    /// pack then, and the input stands right behind it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the checksum differs or entries are left, and as
    /// [`Scanner::next_entry`].
    pub fn finish(mut self) -> Result<PackEnd, Error> {
        self.read_trailer()
    }

    /// Like [`Scanner::finish`], for an input that must end with the pack. On a connection that
    /// stays open this would wait for the peer: use [`Scanner::finish`] there.
    ///
    /// # Errors
    /// Also [`Error::Corrupt`] when more follows.
    pub fn finish_at_end(mut self) -> Result<PackEnd, Error> {
        let end = self.read_trailer()?;
        if !fill(&mut self.input)?.is_empty() {
            return Err(Error::corrupt("pack has junk at the end"));
        }
        Ok(end)
    }

    fn read_trailer(&mut self) -> Result<PackEnd, Error> {
        if self.open_entry.is_some() {
            self.skip_data()?;
        }
        if self.entries_left != 0 {
            return Err(Error::corrupt("pack has more entries than were read"));
        }
        self.pass_on()?;
        let mut trailer = [0; object::ID_BYTES_MAX];
        let trailer = &mut trailer[..self.hash.len()];
        read_exact(&mut self.input, trailer)?;
        let checksum = self.checksum.clone().finish();
        if checksum.as_bytes() != trailer {
            return Err(Error::corrupt("pack is corrupted (checksum mismatch)"));
        }
        self.tee.write_all(trailer).map_err(Error::Store)?;
        self.tee.flush().map_err(Error::Store)?;
        self.position += trailer.len() as u64;
        Ok(PackEnd { checksum, len: self.position })
    }

    fn take_open(&mut self) -> OpenEntry {
        self.open_entry.take().expect("data is read once, after next_entry")
    }

    /// Parses a header where it lies, or byte by byte when it crosses the buffer's end.
    fn read_header(&mut self, crc: &mut crc32fast::Hasher) -> Result<EntryHeader, Error> {
        let mut gathered = [0; HEADER_BYTES_MAX];
        let mut len = 0;
        let hash = self.hash;
        let unread = self.unread()?;
        match EntryHeader::parse(unread, hash) {
            Ok(header) => {
                crc.update(&unread[..header.header_len]);
                self.advance(header.header_len);
                return Ok(header);
            }
            Err(Error::Truncated { .. }) => {}
            Err(error) => return Err(error),
        }
        loop {
            gathered[len] = self.unread()?[0];
            len += 1;
            self.advance(1);
            match EntryHeader::parse(&gathered[..len], hash) {
                Err(Error::Truncated { .. }) => {}
                result => {
                    crc.update(&gathered[..len]);
                    return result;
                }
            }
        }
    }

    /// Inflates from the reader's buffer into `out`, which must not be empty.
    fn step(&mut self, out: &mut [u8], crc: &mut crc32fast::Hasher) -> Result<Step, Error> {
        self.unread()?;
        let unread = &fill(&mut self.input)?[self.parsed..];
        let step = self.inflater.step(unread, out)?;
        if step.consumed == 0 && step.produced == 0 && !step.ended {
            return Err(Error::corrupt("zlib data is damaged"));
        }
        crc.update(&unread[..step.consumed]);
        self.advance(step.consumed);
        Ok(step)
    }

    fn advance(&mut self, len: usize) {
        self.parsed += len;
        self.position += len as u64;
    }

    /// What the reader has beyond the parsed bytes; at least one byte.
    fn unread(&mut self) -> Result<&[u8], Error> {
        if fill(&mut self.input)?.len() == self.parsed {
            self.pass_on()?;
            if fill(&mut self.input)?.is_empty() {
                return Err(Error::truncated("pack"));
            }
        }
        Ok(&fill(&mut self.input)?[self.parsed..])
    }

    /// Checksums and stores the parsed part of the reader's buffer and lets the reader go on.
    fn pass_on(&mut self) -> Result<(), Error> {
        if self.parsed > 0 {
            let parsed = &fill(&mut self.input)?[..self.parsed];
            self.checksum.update(parsed);
            self.tee.write_all(parsed).map_err(Error::Store)?;
            self.input.consume(self.parsed);
            self.parsed = 0;
        }
        Ok(())
    }
}

/// The reader's buffer; as `BufRead` promises, the same bytes until some are consumed.
fn fill(input: &mut impl BufRead) -> Result<&[u8], Error> {
    loop {
        match input.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(Error::truncated("pack"));
            }
            Err(error) => return Err(Error::Io(error)),
        }
    }
    // Asked again, because a borrow returned out of the loop would last for all of it.
    Ok(input.fill_buf()?)
}

fn read_exact(input: &mut impl BufRead, out: &mut [u8]) -> Result<(), Error> {
    input.read_exact(out).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => Error::truncated("pack"),
        _ => Error::Io(error),
    })
}

fn grow(out: &mut Vec<u8>, len: usize) {
    if len > out.len() {
        out.reserve_exact(len - out.len());
        out.resize(len, 0);
    }
}

fn check_size(offset: u64, declared: u64, produced: u64, ended: bool) -> Result<(), Error> {
    if produced > declared {
        return Err(Error::BadEntry { offset, what: "inflated data is longer than declared" });
    }
    if ended && produced < declared {
        return Err(Error::BadEntry { offset, what: "inflated data is shorter than declared" });
    }
    Ok(())
}
