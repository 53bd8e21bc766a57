//! What a repack may cost and how hard it tries, each a named setting of git's where it has one.

use std::thread::available_parallelism;

use gitconfig::Config;

use crate::error::{Error, Result};

/// Settings of one repack.
#[derive(Debug, Clone)]
pub struct RepackOptions {
    /// How many objects each one is tried with (`pack.window`); 0 searches for no deltas.
    pub window: usize,
    /// Deltas on the way to an object stored whole (`pack.depth`); at most 4095, as in git.
    pub depth: u16,
    /// Bytes of objects and indices in the window of one thread (`pack.windowMemory`); 0 is no
    /// limit. One object and its neighbour are held whatever they weigh.
    pub window_memory_bytes: usize,
    /// Threads that search and compress (`pack.threads`); at least 1.
    pub threads: usize,
    /// Bytes of compressed deltas held until they are written (`pack.deltaCacheSize`), at most
    /// 4 GiB; those beyond are made a second time.
    pub delta_cache_bytes: usize,
    /// Bytes of rebuilt objects each thread keeps to rebuild others from.
    pub read_cache_bytes: usize,
    /// Bytes of objects that are compressed at a time while the pack is written. A single
    /// larger object is compressed nevertheless, alone.
    pub write_batch_bytes: u64,
    /// Level of what is compressed anew (`pack.compression`; -1 is the default).
    pub compression_level: i32,
    /// Keeps deltas as they lie where base and delta are both packed (git: no `-f`).
    pub reuse_deltas: bool,
    /// Larger objects are never made deltas (`core.bigFileThreshold`).
    pub big_file_threshold_bytes: u64,
}

/// git allows no deeper chains of deltas.
const DEPTH_MAX: u16 = 4095;

impl Default for RepackOptions {
    fn default() -> Self {
        RepackOptions {
            window: 10,
            depth: 50,
            window_memory_bytes: 64 << 20,
            threads: available_parallelism().map_or(1, |count| count.get()),
            delta_cache_bytes: 256 << 20,
            read_cache_bytes: 16 << 20,
            write_batch_bytes: 8 << 20,
            compression_level: -1,
            reuse_deltas: true,
            big_file_threshold_bytes: 512 << 20,
        }
    }
}

impl RepackOptions {
    /// The defaults, changed by what a repository's configuration says: `pack.window`,
    /// `pack.depth`, `pack.windowMemory`, `pack.threads`, `pack.deltaCacheSize`,
    /// `pack.compression` (or `core.compression`), `core.bigFileThreshold`.
    ///
    /// # Errors
    /// [`Error::Refused`] when one of them is no number.
    pub fn from_config(config: &Config) -> Result<Self> {
        let number = |key: &str| -> Result<Option<i64>> {
            config.int(key).map_err(|error| Error::Refused(error.to_string()))
        };
        let size = |key: &str, default: usize| -> Result<usize> {
            Ok(number(key)?.and_then(|value| usize::try_from(value).ok()).unwrap_or(default))
        };
        let mut options = Self::default();
        options.window = size("pack.window", options.window)?;
        let depth = size("pack.depth", usize::from(options.depth))?;
        options.depth = u16::try_from(depth).unwrap_or(DEPTH_MAX).min(DEPTH_MAX);
        options.window_memory_bytes = size("pack.windowMemory", options.window_memory_bytes)?;
        options.threads = match size("pack.threads", 0)? {
            0 => options.threads,
            threads => threads,
        };
        options.delta_cache_bytes = match size("pack.deltaCacheSize", options.delta_cache_bytes)? {
            0 => usize::MAX,
            bytes => bytes,
        };
        let level = number("pack.compression")?.or(number("core.compression")?);
        options.compression_level = level.map_or(-1, |level| level as i32);
        let threshold = number("core.bigFileThreshold")?;
        if let Some(bytes) = threshold.and_then(|bytes| u64::try_from(bytes).ok()) {
            options.big_file_threshold_bytes = bytes;
        }
        Ok(options)
    }
}
