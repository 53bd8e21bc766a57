//! Files mapped into memory, for stores whose files never change under their names.

mod guard;

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

pub use guard::{Losses, guard_maps};

/// Maps a file whole. The bytes can be read as long as they are held, also when the file has lost
/// its name; what is lost of them meanwhile is counted by `losses`.
///
/// Nobody may write into the file: it is one that is replaced by renaming, or that nobody else
/// knows.
///
/// # Errors
/// What the system says.
pub fn map(file: &File, losses: &Arc<Losses>) -> io::Result<Bytes> {
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the caller vouches that nobody writes into the file, so the mapped bytes stay as they
    // are while the mapping lives, also after the name is gone.
    #[allow(unsafe_code)]
    let mapped = unsafe { memmap2::Mmap::map(file) }?;
    Ok(Bytes::from_owner(guard::GuardedMap::new(mapped, losses)))
}
