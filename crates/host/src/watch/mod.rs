//! Who subscribes to the refs of a repository is told what became of each.
//!
//! Stores say that something moved, and nothing more can be relied on. So the refs of every
//! repository that somebody subscribes to are known here as they were last ([`known`]); whenever a
//! store calls, a thread looks again ([`hub`]) and finds what became another. A subscriber gets
//! these in order ([`feed`]), and each time a [`Cursor`]: a number made of nothing but the refs as
//! they were then, the same on every server. Whoever comes back with one is told what happened
//! since, or nothing when nothing did, or that he has to list the refs again.

mod feed;
mod hub;
mod known;
mod shown;
mod stream;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use object::RefName;
use storage::Target;

pub(crate) use hub::Hub;
pub use shown::{ShownMove, Told, WatchedRefs};
pub(crate) use shown::{StillMay, View};
pub use stream::{EventForm, EventStream};

/// Bounds of what watching may cost.
#[derive(Debug, Clone)]
pub struct WatchSettings {
    /// Subscriptions at the same time.
    pub subscribers_max: usize,
    /// Refs, of all repositories together, that are known while somebody subscribes.
    pub refs_max: usize,
    /// Changed refs of one repository that are remembered for subscribers who are late.
    pub remembered_max: usize,
    /// How long a repository is watched on when nobody subscribes to it any more, for those who
    /// come back.
    pub linger: Duration,
    /// Threads that look at refs.
    pub threads: usize,
    /// How long a store that failed is left alone.
    pub retry: Duration,
    /// How often refs on a disk are looked at although nothing was heard of a change: disks of the
    /// network tell nothing of what other machines do.
    pub disk_poll: Duration,
}

impl Default for WatchSettings {
    fn default() -> Self {
        WatchSettings {
            subscribers_max: 16 << 10,
            refs_max: 2_000_000,
            remembered_max: 10_000,
            linger: Duration::from_secs(5 * 60),
            threads: 2,
            retry: Duration::from_secs(1),
            disk_poll: Duration::from_secs(60),
        }
    }
}

/// The refs of a repository, as a number: the sum, modulo 2¹²⁸, of the first 16 bytes of the SHA-256
/// of each ref (`NAME`, a zero byte, and its id or `ref: NAME`), most significant first. `HEAD` is one
/// of them. Whoever has the same refs has the same number, on whatever server and in whatever store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor(pub(crate) u128);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What was to be a [`Cursor`] is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cursor has 32 hexadecimal digits")]
pub struct NoCursor;

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let digits = Some(text).filter(|text| text.len() == 32 && !text.starts_with('+'));
        let number = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
        number.map(Cursor).ok_or(NoCursor)
    }
}

/// What became of one ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefMove {
    /// The ref, by its stored name.
    pub name: RefName,
    /// What it was; `None` when it was not there.
    pub old: Option<Target>,
    /// What it is; `None` when it is gone.
    pub new: Option<Target>,
}

/// Refs that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// The refs before.
    pub before: Cursor,
    /// The refs after it.
    pub cursor: Cursor,
    /// In the order of their names.
    pub moves: Vec<RefMove>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_they_are_written() {
        let cursor = Cursor(7);
        assert_eq!(cursor.to_string(), "00000000000000000000000000000007");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "7", "+0000000000000000000000000000007", &"g".repeat(32), &"0".repeat(33)]
        {
            assert_eq!(text.parse::<Cursor>(), Err(NoCursor), "{text}");
        }
    }
}
