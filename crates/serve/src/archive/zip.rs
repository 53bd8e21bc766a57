//! zip archives with git's choices in them (APPNOTE.TXT of PKWARE, 6.3): names in UTF-8 where they
//! are, permissions of Unix for what has any, the time once more in seconds.

use std::io::{self, Write};

use bstr::ByteSlice as _;
use flate2::Crc;
use flate2::write::DeflateEncoder;
use object::ObjectId;
use repository::MemoryShare;

use super::channel::Words;
use super::dates::Civil;
use super::entry::{Archiver, Content, Entry};
use super::gzip::level;
use super::tar::Ending;
use crate::Error;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// Sizes and checksum come behind the content.
const SIZES_FOLLOW: u16 = 1 << 3;
/// The name is UTF-8.
const UTF8: u16 = 1 << 11;

/// Made on Unix, by something that knows version 2.3.
const UNIX: u16 = 0x0317;
/// Version 4.5 is needed for large sizes, 1.0 for everything else.
const VERSION_LARGE: u16 = 45;
const VERSION: u16 = 10;

/// What a field of four bytes says when the number is elsewhere.
const ELSEWHERE: u32 = u32::MAX;
/// As of a field of two bytes.
const ELSEWHERE_SHORT: u16 = u16::MAX;

/// Content up to so many bytes is compressed in memory, which tells whether that was worth it.
const WHOLE_BYTES_MAX: u64 = 1 << 20;
/// So many bytes are looked at for a zero byte, which text has none of (git's `buffer_is_binary`).
const LOOKED_AT_BYTES: usize = 8000;

/// Writes a zip archive.
pub(super) struct Zip<'a, W: Ending> {
    output: Counted<W>,
    words: &'a dyn Words,
    comment: Option<String>,
    time: i64,
    dos_date: u16,
    dos_time: u16,
    level: Option<u32>,
    /// The directory at the end, as far as it is known.
    directory: Vec<u8>,
    entries: u64,
    creator_max: u16,
    memory: MemoryShare,
}

struct Counted<W> {
    inner: W,
    count: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<'a, W: Ending> Zip<'a, W> {
    /// Begins an archive, of a commit if there is one; `memory` is what the directory is kept in.
    pub fn begin(
        output: W,
        words: &'a dyn Words,
        commit: Option<&ObjectId>,
        time: i64,
        level: Option<u32>,
        memory: MemoryShare,
    ) -> Self {
        let civil = Civil::of(time);
        // As git computes it, also for years in which there was no DOS.
        let dos_date = civil.day + civil.month * 32 + (civil.year - 1980) * 512;
        let dos_time = civil.second / 2 + civil.minute * 32 + civil.hour * 2048;
        Zip {
            output: Counted { inner: output, count: 0 },
            words,
            comment: commit.map(ObjectId::to_hex),
            time,
            dos_date: dos_date as u16,
            dos_time: dos_time as u16,
            level,
            directory: Vec::new(),
            entries: 0,
            creator_max: 0,
            memory,
        }
    }

    /// Writes the entry's header, and content that is in memory; what is to go into the directory.
    fn whole(&mut self, mut facts: Facts<'_>, bytes: &[u8]) -> Result<Written, Error> {
        let mut crc = Crc::new();
        crc.update(bytes);
        let mut compressed = Vec::new();
        if facts.method == DEFLATED {
            let mut encoder = DeflateEncoder::new(compressed, level(self.level));
            encoder.write_all(bytes)?;
            compressed = encoder.finish()?;
        }
        let stored = if facts.method == DEFLATED && compressed.len() < bytes.len() {
            compressed.as_slice()
        } else {
            facts.method = STORED;
            bytes
        };
        let written = Written {
            crc: crc.sum(),
            size: bytes.len() as u64,
            compressed: stored.len() as u64,
            offset: self.output.count,
            large: false,
            text: facts.is_text.unwrap_or_else(|| looks_like_text(bytes)),
        };
        self.local_header(&facts, &written)?;
        self.output.write_all(stored)?;
        self.note(&facts, &written)?;
        Ok(written)
    }

    /// As [`Zip::whole`], of content that passes by; its sizes follow it.
    fn passing(&mut self, mut facts: Facts<'_>, content: Content) -> Result<Written, Error> {
        let size = content.size();
        facts.flags |= SIZES_FOLLOW;
        let mut written = Written {
            crc: 0,
            size,
            compressed: if facts.method == STORED { size } else { 0 },
            offset: self.output.count,
            // It may become larger than it was.
            large: size > u64::from(u32::MAX >> 1),
            text: facts.is_text.unwrap_or(true),
        };
        self.local_header(&facts, &written)?;
        let start = self.output.count;
        let mut crc = Crc::new();
        let mut unseen = if facts.is_text.is_some() { 0 } else { LOOKED_AT_BYTES };
        let mut look = |piece: &[u8]| {
            crc.update(piece);
            let seen = &piece[..piece.len().min(unseen)];
            written.text &= seen.is_empty() || looks_like_text(seen);
            unseen -= seen.len();
        };
        if facts.method == DEFLATED {
            let mut encoder = DeflateEncoder::new(&mut self.output, level(self.level));
            content.each(&mut |piece| {
                look(piece);
                Ok(encoder.write_all(piece)?)
            })?;
            encoder.finish()?;
        } else {
            let output = &mut self.output;
            content.each(&mut |piece| {
                look(piece);
                Ok(output.write_all(piece)?)
            })?;
        }
        written.crc = crc.sum();
        written.compressed = self.output.count - start;
        let mut behind = Fields::new(0x0807_4b50);
        behind.u32(written.crc);
        if size >= u64::from(ELSEWHERE) || written.compressed >= u64::from(ELSEWHERE) {
            behind.u64(written.compressed).u64(size);
        } else {
            behind.u32(written.compressed as u32).u32(size as u32);
        }
        self.output.write_all(&behind.0)?;
        self.note(&facts, &written)?;
        Ok(written)
    }

    fn local_header(&mut self, facts: &Facts<'_>, written: &Written) -> Result<(), Error> {
        let mut header = Fields::new(0x0403_4b50);
        header.u16(written.version()).u16(facts.flags).u16(facts.method);
        header.u16(self.dos_time).u16(self.dos_date).u32(written.crc);
        match written.large {
            true => header.u32(ELSEWHERE).u32(ELSEWHERE),
            false => header.u32(written.compressed as u32).u32(written.size as u32),
        };
        let large = if written.large { 20 } else { 0 };
        header.u16(facts.path.len() as u16).u16(TIME_BYTES + large);
        header.0.extend_from_slice(facts.path);
        self.time_field(&mut header);
        if written.large {
            header.u16(1).u16(16).u64(written.size).u64(written.compressed);
        }
        Ok(self.output.write_all(&header.0)?)
    }

    /// The time of change in seconds since 1970 (Info-ZIP's field "UT").
    fn time_field(&self, fields: &mut Fields) {
        fields.u16(0x5455).u16(TIME_BYTES - 4);
        fields.0.push(1);
        fields.u32(self.time as u32);
    }

    /// Puts an entry into the directory.
    fn note(&mut self, facts: &Facts<'_>, written: &Written) -> Result<(), Error> {
        let mut large = Fields(Vec::new());
        for number in [written.size, written.compressed, written.offset] {
            if number >= u64::from(ELSEWHERE) {
                large.u64(number);
            }
        }
        let clamp = |number: u64| u32::try_from(number).unwrap_or(ELSEWHERE);
        let extra = TIME_BYTES + if large.0.is_empty() { 0 } else { 4 + large.0.len() as u16 };
        let mut entry = Fields::new(0x0201_4b50);
        entry.u16(facts.creator).u16(written.version()).u16(facts.flags).u16(facts.method);
        entry.u16(self.dos_time).u16(self.dos_date).u32(written.crc);
        entry.u32(clamp(written.compressed)).u32(clamp(written.size));
        entry.u16(facts.path.len() as u16).u16(extra);
        // No comment, the first disk.
        entry.u16(0).u16(0);
        entry.u16(written.text.into()).u32(facts.attributes).u32(clamp(written.offset));
        entry.0.extend_from_slice(facts.path);
        self.time_field(&mut entry);
        if !large.0.is_empty() {
            entry.u16(1).u16(large.0.len() as u16);
            entry.0.extend_from_slice(&large.0);
        }
        self.entries += 1;
        self.creator_max = self.creator_max.max(facts.creator);
        self.keep(&entry.0)
    }

    fn keep(&mut self, entry: &[u8]) -> Result<(), Error> {
        let needed = self.directory.len() + entry.len();
        if needed > self.directory.capacity() {
            let more = self.directory.capacity().max(64 << 10).max(entry.len());
            if !self.memory.grow(more) {
                return Err(Error::Refused(
                    "the server has no memory left for so many files in a zip archive \
                     (limits.memory); ask for tar"
                        .to_owned(),
                ));
            }
            self.directory.reserve_exact(more);
        }
        self.directory.extend_from_slice(entry);
        Ok(())
    }
}

/// Bytes of the field with the time in seconds.
const TIME_BYTES: u16 = 9;

/// What is known of an entry before its content.
struct Facts<'p> {
    path: &'p [u8],
    method: u16,
    flags: u16,
    creator: u16,
    attributes: u32,
    is_text: Option<bool>,
}

/// What is known of an entry behind its content.
struct Written {
    crc: u32,
    size: u64,
    compressed: u64,
    offset: u64,
    large: bool,
    text: bool,
}

impl Written {
    fn version(&self) -> u16 {
        if self.large { VERSION_LARGE } else { VERSION }
    }
}

impl<W: Ending> Archiver for Zip<'_, W> {
    fn add(&mut self, entry: &Entry<'_>, content: Content) -> Result<(), Error> {
        let path = entry.path;
        if path.len() > usize::from(u16::MAX) {
            let length = path.len();
            return Err(Error::Refused(format!("path too long for zip ({length} bytes): {path}")));
        }
        let mut flags = 0;
        if !path.is_ascii() {
            match path.to_str() {
                Ok(_) => flags |= UTF8,
                Err(_) => {
                    let line = [b"warning: path is not valid UTF-8: ", path.as_bytes()].concat();
                    self.words.say(&line)?;
                }
            }
        }
        let mode = entry.mode.0;
        let mut facts = Facts {
            path,
            method: STORED,
            flags,
            creator: 0,
            attributes: 0,
            is_text: entry.binary.map(|binary| !binary),
        };
        if entry.is_directory() {
            // git leaves directories undecided, which comes out as binary.
            (facts.attributes, facts.is_text) = (DIRECTORY, Some(false));
        } else if entry.mode.is_symlink() {
            (facts.attributes, facts.creator) = ((mode | 0o777) << 16, UNIX);
        } else {
            if mode & 0o111 != 0 {
                (facts.attributes, facts.creator) = (mode << 16, UNIX);
            }
            if self.level != Some(0) && content.size() > 0 {
                facts.method = DEFLATED;
            }
        }
        match content {
            Content::Nothing => self.whole(facts, b"")?,
            Content::Whole(bytes) if bytes.len() as u64 <= WHOLE_BYTES_MAX => {
                self.whole(facts, &bytes)?
            }
            content => self.passing(facts, content)?,
        };
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        let (offset, size) = (self.output.count, self.directory.len() as u64);
        let directory = std::mem::take(&mut self.directory);
        self.output.write_all(&directory)?;
        let short = u16::try_from(self.entries).unwrap_or(ELSEWHERE_SHORT);
        if self.entries > u64::from(ELSEWHERE_SHORT) || offset > u64::from(ELSEWHERE) {
            let mut trailer = Fields::new(0x0606_4b50);
            // The bytes behind this field.
            trailer.u64(44).u16(self.creator_max).u16(VERSION_LARGE).u32(0).u32(0);
            trailer.u64(self.entries).u64(self.entries).u64(size).u64(offset);
            trailer.u32(0x0706_4b50).u32(0).u64(offset + size).u32(1);
            self.output.write_all(&trailer.0)?;
        }
        let comment = self.comment.take().unwrap_or_default();
        let mut trailer = Fields::new(0x0605_4b50);
        trailer.u16(0).u16(0).u16(short).u16(short).u32(size as u32);
        trailer.u32(u32::try_from(offset).unwrap_or(ELSEWHERE)).u16(comment.len() as u16);
        trailer.0.extend_from_slice(comment.as_bytes());
        self.output.write_all(&trailer.0)?;
        Ok(self.output.inner.end()?)
    }
}

/// The attribute of directories in DOS.
const DIRECTORY: u32 = 16;

fn looks_like_text(bytes: &[u8]) -> bool {
    !bytes[..bytes.len().min(LOOKED_AT_BYTES)].contains(&0)
}

/// Numbers one after the other, the smallest digit first.
struct Fields(Vec<u8>);

impl Fields {
    fn new(signature: u32) -> Self {
        Fields(signature.to_le_bytes().to_vec())
    }

    fn u16(&mut self, number: u16) -> &mut Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    fn u32(&mut self, number: u32) -> &mut Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    fn u64(&mut self, number: u64) -> &mut Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object::{EntryMode, HashKind};
    use repository::MemoryPool;

    use super::*;

    struct Silent;

    impl Words for Silent {
        fn say(&self, _line: &[u8]) -> io::Result<()> {
            Ok(())
        }
    }

    fn share(bytes: usize) -> MemoryShare {
        Arc::new(MemoryPool::new(bytes)).take(0).expect("nothing is there")
    }

    fn archive(entries: usize, memory: usize) -> Result<Vec<u8>, Error> {
        let id = object::object_id(HashKind::Sha1, object::Kind::Blob, b"").expect("an id");
        let mut zip = Zip::begin(Vec::new(), &Silent, Some(&id), 0, None, share(memory));
        for number in 0..entries {
            let path = format!("{number}");
            let entry =
                Entry { path: path.as_str().into(), mode: EntryMode::FILE, id: &id, binary: None };
            zip.add(&entry, Content::Nothing)?;
        }
        zip.finish()?;
        Ok(zip.output.inner)
    }

    #[test]
    fn more_than_65535_entries_are_counted_elsewhere() {
        let small = archive(65_535, usize::MAX).expect("fits");
        let large = archive(65_536, usize::MAX).expect("fits");
        let has = |bytes: &[u8], signature: &[u8]| bytes.contains_str(signature);
        assert!(!has(&small, b"PK\x06\x06") && has(&large, b"PK\x06\x06"));
        assert!(has(&large, b"PK\x06\x07"));
        // The comment is the commit.
        assert!(large.ends_with(b"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"));
    }

    #[test]
    fn a_directory_without_memory_is_refused_in_words() {
        let words = archive(10_000, 100_000).expect_err("too many").to_string();
        assert!(words.contains("limits.memory"), "{words}");
    }
}
