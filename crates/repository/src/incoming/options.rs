//! What a received pack may cost and how it is kept, each a named setting.

use std::thread::available_parallelism;

use gitconfig::Config;
use object::fsck::FsckOptions;

use crate::error::{Error, Result};

/// Settings of one [`super::Incoming`].
#[derive(Debug, Clone)]
pub struct IncomingOptions {
    /// Threads that work on one pack (`pack.threads`); at least 1. Default: one per processor.
    pub threads: usize,
    /// Bytes of buffers and rebuilt objects all threads together hold, beside the table of
    /// entries (32 to 44 bytes per object). A single object larger than a thread's share is
    /// still rebuilt, one at a time.
    pub memory_budget_bytes: usize,
    /// Blobs stored whole above this size are hashed while they stream and never held
    /// (`core.bigFileThreshold`).
    pub big_file_threshold_bytes: u64,
    /// Largest object that may be held whole: results of deltas, and commits, trees and tags
    /// that are checked. Default: git's default for `core.bigFileThreshold`, above which git
    /// writes no deltas.
    pub held_object_bytes_max: u64,
    /// Bytes a pack may have (`receive.maxInputSize`).
    pub max_input_size_bytes: Option<u64>,
    /// Inflated bytes one object may declare.
    pub object_bytes_max: Option<u64>,
    /// Objects a pack may declare.
    pub objects_max: u32,
    /// Deltas on the way from an object to the one stored whole.
    pub delta_depth_max: u32,
    /// Whether deltas may lean on objects the repository has (a thin pack).
    pub fix_thin: bool,
    /// Checks made on every object (`receive.fsckObjects`); `None` makes none.
    pub fsck: Option<FsckOptions>,
    /// Objects that are noted, as received or as named, to spare the walk through a first push's
    /// history; with more of them it is walked. Memory: 25 to 50 bytes each (37 to 75 with SHA-256), and
    /// half of that once more while the table grows.
    pub closed_objects_max: usize,
    /// What those checks find is noted and refuses nothing.
    pub fsck_only_reports: bool,
    /// Packs of fewer objects are kept as loose objects (`receive.unpackLimit`); `None` never.
    pub unpack_limit: Option<u32>,
    /// Level of what has to be compressed here (`core.compression`; -1 is the default).
    pub compression_level: i32,
}

impl Default for IncomingOptions {
    fn default() -> Self {
        IncomingOptions {
            threads: available_parallelism().map_or(1, |count| count.get()),
            memory_budget_bytes: 24 << 20,
            big_file_threshold_bytes: 512 << 20,
            held_object_bytes_max: 512 << 20,
            max_input_size_bytes: None,
            object_bytes_max: None,
            objects_max: 1 << 30,
            delta_depth_max: 10_000,
            fix_thin: true,
            fsck: None,
            closed_objects_max: 900_000,
            fsck_only_reports: false,
            unpack_limit: None,
            compression_level: -1,
        }
    }
}

impl IncomingOptions {
    /// The defaults, changed by what a repository's configuration says of received packs:
    /// `pack.threads`, `core.bigFileThreshold`, `receive.maxInputSize`,
    /// `receive.unpackLimit` (or `transfer.unpackLimit`), `core.compression`.
    ///
    /// # Errors
    /// [`Error::Refused`] when one of them is no number.
    pub fn from_config(config: &Config) -> Result<Self> {
        let number = |key: &str| -> Result<Option<u64>> {
            let value = config.int(key).map_err(|error| Error::Refused(error.to_string()))?;
            Ok(value.and_then(|value| u64::try_from(value).ok()))
        };
        let mut options = Self::default();
        if let Some(threads) = number("pack.threads")?.filter(|threads| *threads > 0) {
            options.threads = threads as usize;
        }
        if let Some(bytes) = number("core.bigFileThreshold")? {
            options.big_file_threshold_bytes = bytes;
        }
        options.max_input_size_bytes = number("receive.maxInputSize")?.filter(|bytes| *bytes > 0);
        let limit = number("receive.unpackLimit")?.or(number("transfer.unpackLimit")?);
        options.unpack_limit = limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX));
        if let Some(level) = number("core.compression")? {
            options.compression_level = level as i32;
        }
        Ok(options)
    }
}
