//! A file on its way to a client that only knows GET.
//!
//! What is mapped or made on the spot is handed over whole; everything else is read piece by
//! piece, so that no file is ever held in memory because somebody downloads it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use storage::OpenBlob;

/// How long a client may keep a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It may change at any moment.
    Changes,
    /// It is named by its content.
    Forever,
}

/// Where the bytes of a file are.
pub(crate) enum Content {
    /// Here; of a mapped file, the map.
    Whole(Bytes),
    /// In a store that does not map it.
    Blob(Arc<dyn OpenBlob>),
    /// On this machine's disk, outside of the objects directory.
    File { file: File, len: u64 },
}

/// A file on its way to a client.
pub struct DumbFile {
    pub(crate) content: Content,
    /// Its media type.
    pub media_type: &'static str,
    /// How long it may be kept.
    pub freshness: Freshness,
    /// When it was changed last, of files of this machine.
    pub modified: Option<SystemTime>,
    /// Where whoever asks may get it without this server, for a while.
    pub elsewhere: Option<String>,
}

impl DumbFile {
    /// Bytes that [`DumbFile::read`] returns at most.
    pub const PIECE_BYTES_MAX: u64 = 128 << 10;

    pub(crate) fn text(body: Vec<u8>) -> Self {
        DumbFile {
            content: Content::Whole(body.into()),
            media_type: "text/plain; charset=utf-8",
            freshness: Freshness::Changes,
            modified: None,
            elsewhere: None,
        }
    }

    /// Its length, bytes.
    pub fn len(&self) -> u64 {
        match &self.content {
            Content::Whole(bytes) => bytes.len() as u64,
            Content::Blob(blob) => blob.size(),
            Content::File { len, .. } => *len,
        }
    }

    /// All of it, where that costs no memory.
    pub fn whole(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Whole(bytes) => Some(bytes),
            Content::Blob(_) | Content::File { .. } => None,
        }
    }

    /// The bytes from `start` on, at most up to `end` and [`DumbFile::PIECE_BYTES_MAX`] of
    /// them; at least one unless `start` is `end`.
    ///
    /// # Errors
    /// When the storage fails, or the file has become shorter than it was.
    pub fn read(&self, start: u64, end: u64) -> io::Result<Bytes> {
        let end = end.min(self.len()).min(start.saturating_add(Self::PIECE_BYTES_MAX));
        let count = end.saturating_sub(start) as usize;
        let bytes = match &self.content {
            Content::Whole(bytes) => bytes.slice(start as usize..start as usize + count),
            Content::Blob(blob) => blob.read(start..end).map_err(io::Error::other)?,
            Content::File { file, .. } => {
                let mut piece = vec![0; count];
                file.read_exact_at(&mut piece, start)?;
                piece.into()
            }
        };
        match bytes.len() == count {
            true => Ok(bytes),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
