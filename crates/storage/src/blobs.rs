//! The blob seam: immutable bytes by name, staged unseen and published whole.
//!
//! A few names are those of overviews that a newer one takes the place of (`info/commit-graph`,
//! `pack/multi-pack-index`); they are replaced by whoever reserved them with [`Stage::replace`].
//!
//! Names are relative to an *objects directory* and spelled as git lays files out
//! there: `pack/pack-….pack`, `info/commit-graph`, `ab/cdef…` (a loose object, still
//! compressed).

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::{Error, Result};

/// The longest blob name, in bytes.
const NAME_BYTES_MAX: usize = 1024;

/// A blob's name, relative to the objects directory, with `/` between its parts.
pub type BlobName = String;

/// What a store knows about a blob without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobMeta {
    /// The name.
    pub name: BlobName,
    /// The size in bytes.
    pub size: u64,
    /// When it was last written or freshened.
    pub modified: SystemTime,
}

/// Immutable bytes by name.
pub trait BlobStore: Send + Sync {
    /// Size and age of one blob; `None` when there is none.
    fn stat(&self, name: &str) -> Result<Option<BlobMeta>>;

    /// The bytes in `range`, cut at the blob's end; [`Error::NotFound`] when there is no blob.
    ///
    /// A range that starts past the end gives no bytes.
    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        self.open(name)?.ok_or_else(|| Error::not_found(name))?.read(range)
    }

    /// Opens a blob, to be read on whatever becomes of its name; `None` when there is none.
    fn open(&self, name: &str) -> Result<Option<Arc<dyn OpenBlob>>>;

    /// The blobs in the directory `prefix` (`"pack/"`; `""` for the top), not in its
    /// subdirectories, in byte order of names. A directory that is not there is empty.
    fn list(&self, prefix: &str) -> Result<Vec<BlobMeta>>;

    /// Removes a blob; one that is not there is no error.
    fn delete(&self, name: &str) -> Result<()>;

    /// Opens a place to write blobs that nobody else can see.
    fn stage(&self) -> Result<Box<dyn Stage>>;

    /// The whole blob as mapped memory, where the store can do that and the file never
    /// changes; `None` otherwise, also when there is no such blob. Use [`BlobStore::read`] then.
    fn map(&self, name: &str) -> Result<Option<Bytes>> {
        check_blob_name(name)?;
        Ok(None)
    }

    /// An address by which anybody can get the whole blob with GET, without asking this store's owner, for so
    /// long; `None` where there is no such thing, also when there is no such blob.
    fn address(&self, name: &str, lifetime: Duration) -> Result<Option<String>> {
        let _ = lifetime;
        check_blob_name(name)?;
        Ok(None)
    }

    /// How often mapped memory turned out to be lost (the file was cut, or its disk cannot be
    /// read) since the store was opened, by whoever guards against that. From then on the
    /// lost bytes read as zeros: who sees the number grow must not trust what was read meanwhile,
    /// and maps anew.
    fn faults(&self) -> u64 {
        0
    }
}

/// A blob that is open. Its bytes stay as they are while it is, also when it is deleted or
/// replaced: maintenance takes packs away under running requests, on any server.
pub trait OpenBlob: Send + Sync {
    /// The size in bytes.
    fn size(&self) -> u64;

    /// The bytes in `range`, cut at the blob's end.
    fn read(&self, range: Range<u64>) -> Result<Bytes>;
}

/// Blobs in the making. Nobody sees them before [`Stage::publish`]; dropped, they are gone.
pub trait Stage: Send {
    /// Starts a new blob; it is an error when the stage has one of that name.
    fn create(&mut self, name: &str) -> Result<Box<dyn BlobWriter>>;

    /// Gives a finished blob its final name (a pack is named by its checksum).
    fn rename(&mut self, from: &str, to: &str) -> Result<()>;

    /// Reserves a name until the stage is published or dropped: a blob staged under it, before
    /// or after, takes the place of what the store has. Whoever makes the new from the old
    /// reserves first and then reads, so that nothing is lost in between; reserving without
    /// staging keeps others out and changes nothing.
    ///
    /// [`Error::Locked`] at once when somebody else has reserved the name; on a disk also when
    /// another program holds git's lock on the file.
    fn replace(&mut self, name: &str) -> Result<()>;

    /// As [`BlobStore::read`], over staged blobs; of one still being written, what was
    /// written so far.
    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes>;

    /// As [`BlobStore::map`], over staged blobs that are finished.
    fn map(&self, name: &str) -> Result<Option<Bytes>> {
        check_blob_name(name)?;
        Ok(None)
    }

    /// A read-only view of the finished staged blobs, alive until they are published or dropped.
    fn store(&self) -> Arc<dyn BlobStore>;

    /// The directory that holds them, laid out as an objects directory, where there is one
    /// (`GIT_QUARANTINE_PATH` for hooks).
    fn local_dir(&self) -> Option<&Path> {
        None
    }

    /// Makes every staged blob visible, durably, in an order that never shows a pack's index
    /// before the pack, and blobs that replace others last. A blob that exists already is kept as
    /// it is, unless its name was given to [`Stage::replace`].
    ///
    /// An unfinished blob is an error of the caller.
    fn publish(self: Box<Self>) -> Result<()>;
}

/// Writes one staged blob. Dropped before [`BlobWriter::finish`], the blob is gone.
pub trait BlobWriter: io::Write + Send {
    /// Ends the blob: all its bytes are handed to the storage.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Refuses names that could leave the objects directory or that no store can keep.
///
/// A name is one or more parts of `[A-Za-z0-9._-]`, none of them empty or starting with a dot.
pub fn check_blob_name(name: &str) -> Result<()> {
    let part_is_fine = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    if name.len() <= NAME_BYTES_MAX && name.split('/').all(part_is_fine) {
        Ok(())
    } else {
        Err(Error::InvalidName { what: name.chars().take(100).collect() })
    }
}

/// As [`check_blob_name`], for the directory names given to [`BlobStore::list`].
pub fn check_list_prefix(prefix: &str) -> Result<()> {
    match prefix.strip_suffix('/') {
        None if prefix.is_empty() => Ok(()),
        None => Err(Error::InvalidName { what: prefix.chars().take(100).collect() }),
        Some(directory) => check_blob_name(directory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_objects_directory() {
        for good in ["pack/pack-0123.pack", "info/commit-graph", "ab/cdef", "multi-pack-index"] {
            check_blob_name(good).expect(good);
        }
        for bad in ["", "/etc/passwd", "../HEAD", "pack/../../HEAD", "pack//x", "pack/", "a\0b"] {
            assert!(matches!(check_blob_name(bad), Err(Error::InvalidName { .. })), "{bad:?}");
        }
        assert!(check_list_prefix("pack").is_err());
        check_list_prefix("").expect("the top");
        check_list_prefix("pack/").expect("a directory");
    }
}
