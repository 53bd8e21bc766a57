//! The first and the last bytes of a table.

use object::HashKind;

use crate::{Error, Result};

const MAGIC: &[u8; 4] = b"REFT";
/// Hash ids of version 2.
const SHA1: &[u8; 4] = b"sha1";
const SHA256: &[u8; 4] = b"s256";
/// Positions and the checksum behind the copy of the header.
const FOOTER_ADDS: usize = 5 * 8 + 4;

/// What a table says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Alignment of blocks, bytes; 0 when they are not aligned.
    pub block_size: u32,
    pub min_update_index: u64,
    pub max_update_index: u64,
    pub hash: HashKind,
}

/// Where the sections are; 0 for those that are not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Positions {
    pub ref_index: u64,
    pub objects: u64,
    pub object_index: u64,
    pub logs: u64,
    pub log_index: u64,
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes were cut out"))
}

impl Header {
    /// Reads a header, and how many bytes it has.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize)> {
        let head = bytes.first_chunk::<24>().ok_or(Error::Corrupt("it has no header"))?;
        if !head.starts_with(MAGIC) {
            return Err(Error::Corrupt("it is no reftable"));
        }
        let (hash, size) = match head[4] {
            1 => (HashKind::Sha1, 24),
            2 => match bytes.get(24..28) {
                Some(id) if id == SHA1 => (HashKind::Sha1, 28),
                Some(id) if id == SHA256 => (HashKind::Sha256, 28),
                Some(_) => return Err(Error::Unsupported("its hash is not known")),
                None => return Err(Error::Corrupt("it has no header")),
            },
            _ => return Err(Error::Unsupported("its version is not known")),
        };
        let header = Header {
            block_size: u32::from_be_bytes([0, head[5], head[6], head[7]]),
            min_update_index: number(head, 8),
            max_update_index: number(head, 16),
            hash,
        };
        Ok((header, size))
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC);
        out.push(if self.hash == HashKind::Sha1 { 1 } else { 2 });
        out.extend_from_slice(&self.block_size.to_be_bytes()[1..]);
        out.extend_from_slice(&self.min_update_index.to_be_bytes());
        out.extend_from_slice(&self.max_update_index.to_be_bytes());
        if self.hash != HashKind::Sha1 {
            out.extend_from_slice(SHA256);
        }
    }
}

impl Positions {
    /// Reads the footer of a table whose header takes `header_size` bytes; where it begins.
    pub fn parse(table: &[u8], header_size: usize) -> Result<(Self, usize)> {
        let at = table.len().checked_sub(header_size + FOOTER_ADDS);
        let at = at.filter(|at| *at >= header_size).ok_or(Error::Corrupt("it has no footer"))?;
        let footer = &table[at..];
        let (summed, sum) = footer.split_at(footer.len() - 4);
        if crc32fast::hash(summed).to_be_bytes() != sum {
            return Err(Error::Corrupt("the checksum of its footer is wrong"));
        }
        if footer[..header_size] != table[..header_size] {
            return Err(Error::Corrupt("header and footer differ"));
        }
        let position = |index: usize| number(footer, header_size + index * 8);
        let positions = Positions {
            ref_index: position(0),
            objects: position(1) >> 5,
            object_index: position(2),
            logs: position(3),
            log_index: position(4),
        };
        Ok((positions, at))
    }

    pub fn encode(&self, header: &Header, out: &mut Vec<u8>) {
        let start = out.len();
        header.encode(out);
        for position in [self.ref_index, 0, 0, self.logs, self.log_index] {
            out.extend_from_slice(&position.to_be_bytes());
        }
        let sum = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&sum.to_be_bytes());
    }
}
