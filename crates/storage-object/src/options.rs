//! How an object store is used.

use std::path::PathBuf;
use std::time::Duration;

/// Settings, each with a default.
#[derive(Debug, Clone)]
pub struct ObjectOptions {
    /// Bytes of one request when more is read or written: a larger blob takes several at once.
    pub part_bytes: u64,
    /// Requests of one reader or writer at once.
    pub parallel_requests: usize,
    /// Where what was read stays when the server ends, for the next one: a directory for this server
    /// alone. Without one it is in files without a name, below `$TMPDIR`.
    pub cache_dir: Option<PathBuf>,
    /// Bytes of that; a blob that is larger is read anew each time.
    pub cache_bytes: u64,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How often a request is tried again after an answer that may pass (503, a lost connection).
    pub retries: usize,
    /// Of a hundred reads, so many at most are asked for a second time because they take much longer than
    /// others do; 0 for none.
    pub hedge_percent: u32,
    /// How long all tries of a request may take together.
    pub retry_timeout: Duration,
    /// How long a transaction waits for another of this server that holds one of its refs.
    pub lock_wait: Duration,
    /// How often a change of refs is tried when other servers change refs of the same repository.
    pub commit_attempts: usize,
    /// What a server reserves is free again when the server was silent for so long.
    pub lease: Duration,
    /// Make sure when the bucket is opened that its service keeps conditions; otherwise before the
    /// first write that needs one.
    pub probe_at_start: bool,
    /// How long what was removed or replaced can be read on by those who opened it. Longer than any
    /// fetch.
    pub gone_keep: Duration,
    /// How long after a change of refs that are watched they are looked at again. The longer nothing
    /// happens, the longer it takes.
    pub watch_poll: Duration,
    /// The longest that it takes.
    pub watch_poll_max: Duration,
}

impl Default for ObjectOptions {
    fn default() -> Self {
        ObjectOptions {
            part_bytes: 8 << 20,
            parallel_requests: 4,
            cache_dir: None,
            cache_bytes: 4 << 30,
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            retries: 8,
            hedge_percent: 5,
            retry_timeout: Duration::from_secs(60),
            lock_wait: Duration::from_secs(1),
            commit_attempts: 100,
            lease: Duration::from_secs(30),
            probe_at_start: true,
            gone_keep: Duration::from_secs(6 * 60 * 60),
            watch_poll: Duration::from_secs(1),
            watch_poll_max: Duration::from_secs(10),
        }
    }
}
