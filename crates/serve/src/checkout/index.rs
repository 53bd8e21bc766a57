//! The index file, versions 2, 3 and 4 (gitformat-index). Written is version 2.
//!
//! What has no place in a work tree that holds exactly one commit (merge stages, sparse
//! checkouts, an index split in two files) is an error here.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use bstr::{BString, ByteSlice as _};
use object::{Checksum, EntryMode, HashKind, ObjectId};

use super::stat::{Stat, Time, mtime_of};

/// The largest index that is read, in bytes.
const INDEX_BYTES_MAX: u64 = 1 << 30;
/// The longest path in it, in bytes.
const PATH_BYTES_MAX: usize = 1 << 14;
/// Signature, version and number of entries.
const HEADER_BYTES: usize = 12;
/// The fields of an entry before its id.
const STAT_BYTES: usize = 40;

const ASSUME_VALID: u16 = 0x8000;
const EXTENDED: u16 = 0x4000;
const STAGE_MASK: u16 = 0x3000;
const NAME_MASK: u16 = 0x0fff;
const SKIP_WORKTREE: u16 = 0x4000;
const INTENT_TO_ADD: u16 = 0x2000;

/// An index that cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    #[error("cannot read the index: {0}")]
    Io(#[from] io::Error),
    #[error("the index is corrupt: {0}")]
    Corrupt(&'static str),
    #[error("index version {0} is not supported")]
    Version(u32),
    #[error("{0} is not supported; use a push-to-checkout hook")]
    Unsupported(&'static str),
    #[error("'{0}' needs merge")]
    Unmerged(BString),
}

/// The tracked files of a work tree.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// In byte order of their paths.
    pub entries: Vec<IndexEntry>,
    /// When the file was written; `None` when there is none.
    pub mtime: Option<Time>,
}

/// One tracked file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IndexEntry {
    pub path: BString,
    pub mode: EntryMode,
    pub id: ObjectId,
    pub stat: Stat,
    /// The user promised not to change the file (`git update-index --assume-unchanged`).
    pub assume_valid: bool,
    /// Only the path is recorded, no content yet (`git add -N`).
    pub intent_to_add: bool,
}

impl Index {
    /// Reads an index; one that is not there has no entries.
    pub fn open(path: &Path, hash: HashKind) -> Result<Index, IndexError> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Index::default()),
            other => other?,
        };
        let mtime = mtime_of(&file)?;
        let mut bytes = Vec::new();
        file.take(INDEX_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > INDEX_BYTES_MAX {
            return Err(IndexError::Unsupported("an index of more than 1 GiB"));
        }
        Ok(Index { entries: parse(&bytes, hash)?, mtime: Some(mtime) })
    }
}

fn parse(bytes: &[u8], hash: HashKind) -> Result<Vec<IndexEntry>, IndexError> {
    let body = verified_body(bytes, hash)?;
    let header = body.get(..HEADER_BYTES).ok_or(IndexError::Corrupt("it is too short"))?;
    if &header[..4] != b"DIRC" {
        return Err(IndexError::Corrupt("bad signature"));
    }
    let (version, count) = (be32(header, 4), be32(header, 8));
    if !(2..=4).contains(&version) {
        return Err(IndexError::Version(version));
    }
    let mut reader = Reader { body, at: HEADER_BYTES, version, hash };
    // An entry takes at least this much, whatever the header says.
    let plausible = body.len() / (STAT_BYTES + hash.len());
    let mut entries: Vec<IndexEntry> = Vec::with_capacity(plausible.min(count as usize));
    for _ in 0..count {
        let entry = reader.entry(entries.last().map(|entry| &entry.path))?;
        if entries.last().is_some_and(|before| before.path >= entry.path) {
            return Err(IndexError::Corrupt("entries are out of order"));
        }
        entries.push(entry);
    }
    reader.extensions()?;
    Ok(entries)
}

/// The bytes before the checksum, which is all zero where `index.skipHash` is set.
fn verified_body(bytes: &[u8], hash: HashKind) -> Result<&[u8], IndexError> {
    let body_bytes = bytes.len().checked_sub(hash.len());
    let (body, sum) = bytes.split_at(body_bytes.ok_or(IndexError::Corrupt("it is too short"))?);
    let mut checksum = Checksum::new(hash);
    checksum.update(body);
    if sum.iter().any(|byte| *byte != 0) && checksum.finish().as_bytes() != sum {
        return Err(IndexError::Corrupt("its checksum does not match"));
    }
    Ok(body)
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
    version: u32,
    hash: HashKind,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], IndexError> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.body.get(self.at..end));
        let taken = taken.ok_or(IndexError::Corrupt("it ends in the middle of an entry"))?;
        self.at += count;
        Ok(taken)
    }

    fn entry(&mut self, before: Option<&BString>) -> Result<IndexEntry, IndexError> {
        let start = self.at;
        let fields = self.take(STAT_BYTES)?;
        let id = ObjectId::from_prefix(self.take(self.hash.len())?, self.hash);
        let flags = be16(self.take(2)?);
        let mut extended = 0;
        if flags & EXTENDED != 0 {
            if self.version < 3 {
                return Err(IndexError::Corrupt("an extended entry in version 2"));
            }
            extended = be16(self.take(2)?);
        }
        let path = match self.version {
            4 => self.compressed_path(before)?,
            _ => self.padded_path(start, flags)?,
        };
        if path.is_empty() || path.len() > PATH_BYTES_MAX {
            return Err(IndexError::Corrupt("a path of impossible length"));
        }
        if flags & STAGE_MASK != 0 {
            return Err(IndexError::Unmerged(path));
        }
        if extended & SKIP_WORKTREE != 0 {
            return Err(IndexError::Unsupported("a sparse checkout"));
        }
        Ok(IndexEntry {
            path,
            mode: EntryMode(be32(fields, 24)),
            id,
            stat: stat(fields),
            assume_valid: flags & ASSUME_VALID != 0,
            intent_to_add: extended & INTENT_TO_ADD != 0,
        })
    }

    /// A path with NULs after it, up to a multiple of eight bytes.
    fn padded_path(&mut self, start: usize, flags: u16) -> Result<BString, IndexError> {
        let rest = &self.body[self.at..];
        let length = match usize::from(flags & NAME_MASK) {
            long if long == usize::from(NAME_MASK) => rest.find_byte(0).unwrap_or(rest.len()),
            length => length,
        };
        let path = self.take(length)?.into();
        let used = self.at - start;
        self.take(8 - used % 8)?;
        Ok(path)
    }

    /// How much of the path before is dropped, then what follows instead.
    fn compressed_path(&mut self, before: Option<&BString>) -> Result<BString, IndexError> {
        let before = before.map_or(&b""[..], |path| path.as_slice());
        let dropped = self.offset()?;
        let kept = before.len().checked_sub(dropped);
        let kept = kept.ok_or(IndexError::Corrupt("a path drops more than there is"))?;
        let rest = &self.body[self.at..];
        let end = rest.find_byte(0).ok_or(IndexError::Corrupt("a path without an end"))?;
        let tail = self.take(end)?;
        self.take(1)?;
        Ok([&before[..kept], tail].concat().into())
    }

    /// The variable-width number of pack offsets.
    fn offset(&mut self) -> Result<usize, IndexError> {
        let mut value = 0usize;
        loop {
            let byte = self.take(1)?[0];
            value |= usize::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            if value > PATH_BYTES_MAX {
                return Err(IndexError::Corrupt("a path of impossible length"));
            }
            value = (value + 1) << 7;
        }
    }

    /// Extensions whose names start with a capital letter can be left out.
    fn extensions(&mut self) -> Result<(), IndexError> {
        while self.at < self.body.len() {
            let header = self.take(8)?;
            match &header[..4] {
                b"link" => return Err(IndexError::Unsupported("a split index")),
                b"sdir" => return Err(IndexError::Unsupported("a sparse index")),
                [b'A'..=b'Z', ..] => {}
                _ => return Err(IndexError::Unsupported("an extension of the index")),
            }
            self.take(be32(header, 4) as usize)?;
        }
        Ok(())
    }
}

fn stat(fields: &[u8]) -> Stat {
    let time = |at| Time { seconds: be32(fields, at), nanoseconds: be32(fields, at + 4) };
    Stat {
        ctime: time(0),
        mtime: time(8),
        dev: be32(fields, 16),
        ino: be32(fields, 20),
        uid: be32(fields, 28),
        gid: be32(fields, 32),
        size: be32(fields, 36),
    }
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn be16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes(bytes.try_into().expect("two bytes"))
}

/// The bytes of an index of version 2, checksum included.
pub(super) fn encode(entries: &[IndexEntry], hash: HashKind) -> io::Result<Vec<u8>> {
    let count = u32::try_from(entries.len())
        .map_err(|_| io::Error::other("more files than an index can hold"))?;
    let mut bytes = Vec::new();
    bytes.extend_from_slice(b"DIRC");
    bytes.extend_from_slice(&2u32.to_be_bytes());
    bytes.extend_from_slice(&count.to_be_bytes());
    for entry in entries {
        encode_entry(entry, &mut bytes);
    }
    let mut checksum = Checksum::new(hash);
    checksum.update(&bytes);
    bytes.extend_from_slice(checksum.finish().as_bytes());
    Ok(bytes)
}

fn encode_entry(entry: &IndexEntry, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    let Stat { ctime, mtime, dev, ino, uid, gid, size } = entry.stat;
    let times = [ctime.seconds, ctime.nanoseconds, mtime.seconds, mtime.nanoseconds];
    for field in times.into_iter().chain([dev, ino, entry.mode.0, uid, gid, size]) {
        bytes.extend_from_slice(&field.to_be_bytes());
    }
    bytes.extend_from_slice(entry.id.as_bytes());
    let length = u16::try_from(entry.path.len()).unwrap_or(NAME_MASK).min(NAME_MASK);
    let flags = if entry.assume_valid { length | ASSUME_VALID } else { length };
    bytes.extend_from_slice(&flags.to_be_bytes());
    bytes.extend_from_slice(&entry.path);
    let padded = (bytes.len() - start) / 8 * 8 + 8;
    bytes.resize(start + padded, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str) -> IndexEntry {
        IndexEntry {
            path: path.into(),
            mode: EntryMode::FILE,
            id: ObjectId::from_prefix(&[7; 20], HashKind::Sha1),
            stat: Stat { size: 3, ino: 9, ..Stat::default() },
            assume_valid: path == "b",
            intent_to_add: false,
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let long = "d/".repeat(2500) + "file";
        let entries: Vec<_> = ["a", "ab/c", "b", &long].map(entry).into();
        let bytes = encode(&entries, HashKind::Sha1).expect("four entries");
        assert_eq!(parse(&bytes, HashKind::Sha1).expect("well formed"), entries);
    }

    #[test]
    fn damage_is_an_error_wherever_it_is() {
        let entries: Vec<_> = ["a", "ab/c"].map(entry).into();
        let bytes = encode(&entries, HashKind::Sha1).expect("two entries");
        for length in 0..bytes.len() {
            assert!(parse(&bytes[..length], HashKind::Sha1).is_err());
            // Also where nothing vouches for the content.
            let mut unsummed = bytes[..length].to_vec();
            unsummed.extend([0; 20]);
            let whole = length == bytes.len() - 20;
            assert_eq!(parse(&unsummed, HashKind::Sha1).is_ok(), whole, "cut at {length}");
        }
    }

    #[test]
    fn entries_must_be_in_order() {
        let bytes = encode(&["b", "a"].map(entry), HashKind::Sha1).expect("two entries");
        assert!(matches!(parse(&bytes, HashKind::Sha1), Err(IndexError::Corrupt(_))));
    }
}
