//! What the index remembers of a file to tell cheaply whether it changed.

use std::io;

/// The fields of `stat(2)` in an index entry, cut to 32 bits as the format has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stat {
    pub ctime: Time,
    pub mtime: Time,
    pub dev: u32,
    pub ino: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u32,
}

/// Seconds since 1970 and nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time {
    pub seconds: u32,
    pub nanoseconds: u32,
}

impl Stat {
    /// The fields of a file as it is; what does not fit 32 bits is cut off.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::unnecessary_cast)]
    pub fn of(found: &rustix::fs::Stat) -> Self {
        let time = |seconds, nanoseconds| Time { seconds, nanoseconds };
        Stat {
            ctime: time(found.st_ctime as u32, found.st_ctime_nsec as u32),
            mtime: time(found.st_mtime as u32, found.st_mtime_nsec as u32),
            dev: found.st_dev as u32,
            ino: found.st_ino as u32,
            uid: found.st_uid,
            gid: found.st_gid,
            size: found.st_size as u32,
        }
    }

    /// Whether a file that looks like this is certainly the one that was recorded.
    ///
    /// A file changed in the second the index was written may look unchanged ("racy git");
    /// an index that was written after such a file records size 0.
    pub fn proves_unchanged(&self, now: &Stat, index_mtime: Option<Time>) -> bool {
        let racy = index_mtime.is_none_or(|index| index.seconds <= self.mtime.seconds);
        self == now && !racy && self.size != 0
    }
}

/// The time a file was last written.
pub(super) fn mtime_of(file: &std::fs::File) -> io::Result<Time> {
    Ok(Stat::of(&rustix::fs::fstat(file)?).mtime)
}
