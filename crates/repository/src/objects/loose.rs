//! Loose objects: one zlib stream per object, its header inside.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use flate2::bufread::ZlibDecoder;
use object::{Kind, ObjectId};
use storage::{BlobStore, OpenBlob};

use super::delta_cache::Cached;
use crate::error::{Error, Result};

/// The longest header git writes: `commit <20 digits>\0`.
const HEADER_BYTES_MAX: usize = 32;

/// The tree of nothing, `tree 0` and a zero byte, as zlib's level 0 writes it.
const EMPTY_TREE: &[u8] = b"\x78\x01\x01\x07\x00\xf8\xfftree 0\x00\x0a\x2c\x02\x01";

/// Stored bytes read at a time: most objects in one read, large ones without being held.
const PIECE_BYTES: u64 = 1 << 20;

/// Where a loose object lies under the objects directory.
pub(crate) fn loose_name(id: &ObjectId) -> String {
    let hex = id.to_hex();
    format!("{}/{}", &hex[..2], &hex[2..])
}

/// A loose object whose header has been read and whose content has not.
pub(crate) struct Loose {
    id: ObjectId,
    pub kind: Kind,
    /// Bytes of content.
    pub size: u64,
    decoder: ZlibDecoder<Pieces>,
    /// Content bytes that came out with the header.
    ahead: Vec<u8>,
}

impl Loose {
    /// Opens the object in the first store that has it. The empty tree is everywhere.
    pub fn find(stores: &[Arc<dyn BlobStore>], id: &ObjectId) -> Result<Option<Loose>> {
        let name = loose_name(id);
        for store in stores {
            if let Some(blob) = store.open(&name)? {
                return Loose::open(id, Pieces::of(blob)).map(Some);
            }
        }
        match id.is_empty_tree() {
            true => Loose::open(id, Pieces::at_hand(Bytes::from_static(EMPTY_TREE))).map(Some),
            false => Ok(None),
        }
    }

    pub fn exists(stores: &[Arc<dyn BlobStore>], id: &ObjectId) -> Result<bool> {
        let name = loose_name(id);
        for store in stores {
            if store.stat(&name)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn open(id: &ObjectId, pieces: Pieces) -> Result<Loose> {
        let mut decoder = ZlibDecoder::new(pieces);
        let mut header = [0; HEADER_BYTES_MAX];
        let mut filled = 0;
        loop {
            let read = decoder.read(&mut header[filled..]);
            let count = read.map_err(|error| failed(id, &mut decoder, &error))?;
            filled += count;
            if let Some(end) = memchr::memchr(0, &header[..filled]) {
                let (kind, size) = parse_header(&header[..end])
                    .ok_or_else(|| bad(id, "its header cannot be read".into()))?;
                let ahead = header[end + 1..filled].to_vec();
                return Ok(Loose { id: *id, kind, size, decoder, ahead });
            }
            if count == 0 || filled == HEADER_BYTES_MAX {
                return Err(bad(id, "its header has no end".into()));
            }
        }
    }

    /// The content, whole.
    pub fn content(mut self, bytes_max: u64) -> Result<Cached> {
        if self.size > bytes_max {
            return Err(Error::Limit {
                setting: "object_bytes_max",
                limit: bytes_max,
                what: format!("object {} has {} bytes", self.id, self.size),
            });
        }
        let mut data = std::mem::take(&mut self.ahead);
        let rest = (self.size + 1).saturating_sub(data.len() as u64);
        (&mut self.decoder)
            .take(rest)
            .read_to_end(&mut data)
            .map_err(|error| failed(&self.id, &mut self.decoder, &error))?;
        if data.len() as u64 != self.size {
            return Err(self.wrong_size());
        }
        Ok(Cached { kind: self.kind, data: Arc::new(data) })
    }

    /// What is wrong with an object that has more or less content than its header says.
    pub fn wrong_size(&self) -> Error {
        bad(&self.id, "its size is not what its header says".into())
    }

    /// The next content bytes; 0 at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buffer.len());
            buffer[..count].copy_from_slice(&self.ahead[..count]);
            self.ahead.drain(..count);
            return Ok(count);
        }
        self.decoder.read(buffer).map_err(|error| failed(&self.id, &mut self.decoder, &error))
    }
}

/// The stored bytes of one object, read as they are needed.
struct Pieces {
    /// `None`: nothing follows the piece at hand.
    blob: Option<Arc<dyn OpenBlob>>,
    /// Where the next piece begins.
    next: u64,
    piece: Bytes,
    failed: Option<storage::Error>,
}

impl Pieces {
    fn of(blob: Arc<dyn OpenBlob>) -> Self {
        Pieces { blob: Some(blob), next: 0, piece: Bytes::new(), failed: None }
    }

    fn at_hand(piece: Bytes) -> Self {
        Pieces { blob: None, next: 0, piece, failed: None }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let more = self.blob.as_ref().filter(|blob| self.next < blob.size());
        if let Some(blob) = more.filter(|_| self.piece.is_empty()) {
            let end = self.next.saturating_add(PIECE_BYTES);
            match blob.read(self.next..end) {
                // Shorter than it said: whoever reads on finds the stream cut.
                Ok(piece) if piece.is_empty() => self.next = blob.size(),
                Ok(piece) => {
                    self.next += piece.len() as u64;
                    self.piece = piece;
                }
                Err(error) => {
                    let words = error.to_string();
                    self.failed = Some(error);
                    return Err(io::Error::other(words));
                }
            }
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, count: usize) {
        self.piece.advance(count);
    }
}

/// The storage failed, or what it has is damaged.
fn failed(id: &ObjectId, decoder: &mut ZlibDecoder<Pieces>, error: &io::Error) -> Error {
    match decoder.get_mut().failed.take() {
        Some(error) => error.into(),
        None => bad(id, error.to_string()),
    }
}

fn parse_header(header: &[u8]) -> Option<(Kind, u64)> {
    let space = memchr::memchr(b' ', header)?;
    let kind = Kind::from_name(&header[..space])?;
    let digits = &header[space + 1..];
    let canonical = !digits.is_empty() && (digits == b"0" || digits[0] != b'0');
    let size = std::str::from_utf8(digits).ok().filter(|_| canonical)?.parse().ok()?;
    Some((kind, size))
}

fn bad(id: &ObjectId, reason: String) -> Error {
    Error::BadObject { id: *id, reason: format!("loose object: {reason}") }
}
