//! What an archive is made of.

use std::sync::Arc;

use bstr::BStr;
use object::{EntryMode, ObjectId};
use repository::ContentStream;

use crate::Error;

/// One file, link or directory.
pub(super) struct Entry<'a> {
    /// Its name in the archive; that of a directory ends with a slash.
    pub path: &'a BStr,
    /// One of the five modes there are.
    pub mode: EntryMode,
    /// The object in the repository.
    pub id: &'a ObjectId,
    /// What attributes say about whether the content is binary; `None` leaves it to a look.
    pub binary: Option<bool>,
}

impl Entry<'_> {
    /// Whether it is a directory to an archive: submodules are empty ones.
    pub fn is_directory(&self) -> bool {
        self.mode.is_tree() || self.mode.is_submodule()
    }
}

/// The content of a file, or where a link points.
pub(super) enum Content {
    /// That of directories.
    Nothing,
    /// Little, or converted.
    Whole(Arc<Vec<u8>>),
    /// Much, as it is stored.
    Stream(ContentStream),
}

impl Content {
    /// Bytes of it.
    pub fn size(&self) -> u64 {
        match self {
            Content::Nothing => 0,
            Content::Whole(bytes) => bytes.len() as u64,
            Content::Stream(stream) => stream.size(),
        }
    }

    /// Hands it over piece by piece.
    pub fn each(self, take: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        match self {
            Content::Nothing => Ok(()),
            Content::Whole(bytes) => take(&bytes),
            Content::Stream(mut stream) => {
                let mut piece = vec![0; PIECE_BYTES];
                loop {
                    match stream.read(&mut piece)? {
                        0 => return Ok(()),
                        count => take(&piece[..count])?,
                    }
                }
            }
        }
    }
}

/// Bytes of content handed over at a time.
const PIECE_BYTES: usize = 64 << 10;

/// Writes archives of one format.
pub(super) trait Archiver {
    /// Adds something.
    fn add(&mut self, entry: &Entry<'_>, content: Content) -> Result<(), Error>;

    /// Writes what comes at the end.
    fn finish(&mut self) -> Result<(), Error>;
}

/// The modes git knows, as it reads those of a tree.
pub(super) fn canonical(mode: EntryMode) -> EntryMode {
    if mode.is_tree() {
        EntryMode::TREE
    } else if mode.is_symlink() {
        EntryMode::SYMLINK
    } else if mode.is_submodule() {
        EntryMode::SUBMODULE
    } else if mode.0 & 0o100 != 0 {
        EntryMode::EXECUTABLE
    } else {
        EntryMode::FILE
    }
}
