//! Bringing a repository from one store to another, whatever both are made of, while the first
//! is in use.
//!
//! A round takes the refs as they are, then copies the files that the other store lacks, looks
//! whether all that the refs reach has arrived, and moves the refs. What was pushed meanwhile is
//! the next round's. Files never change under their names, so whoever was interrupted begins
//! again and copies what is left.
//!
//! Reflogs and hooks stay behind. So do the overviews of packs (multi-pack-index, commit-graph):
//! maintenance makes them anew.

mod files;
mod refs;

use object::ObjectId;
use storage::Parts;

use crate::connectivity::check_connected;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::repository::Repository;

pub(crate) use self::files::copy_files;
pub(crate) use self::refs::RefList;

/// Rounds before a source that never rests is given up.
const ROUNDS_MAX: u32 = 20;

/// What a copy came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Files that were copied.
    pub files: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Files that were there already.
    pub kept: u64,
    /// Refs of the copy, `HEAD` not counted.
    pub refs: usize,
    /// Refs that were made, moved or removed.
    pub moved: usize,
    /// How often the source was looked at.
    pub rounds: u32,
}

/// Makes `to` a copy of `from`: objects, those it borrows too, refs, `HEAD` and the commits at
/// which history ends. Refs that `from` does not have are removed from `to`.
///
/// `to` is a repository by itself at any moment: its refs move when all they reach has arrived
/// and was seen to be there.
///
/// # Errors
/// [`Error::Missing`] and [`Error::BadObject`] when the source itself is not whole;
/// [`Error::Storage`] of kind `Corrupt` when a file's checksum is not that of its content; [`Error::Limit`] when the
/// source changed in every round; those of both stores.
pub fn copy(from: &Repository, to: &Repository, progress: &mut dyn Progress) -> Result<Transfer> {
    let (from, to) = (from.parts(), to);
    let mut transfer = Transfer::default();
    // What a round found to be there with everything below it.
    let mut whole: Vec<ObjectId> = Vec::new();
    let mut wanted = RefList::read(&*from.refs)?;
    loop {
        transfer.rounds += 1;
        copy_files(from, to.parts(), &mut transfer, progress)?;
        let now = match arrived(to, &wanted, &whole, progress) {
            // A file may have been taken from under the listing, its objects in another one.
            Err(Error::Missing { .. }) if transfer.rounds < 3 => RefList::read(&*from.refs)?,
            Err(error) => return Err(error),
            Ok(()) => {
                let peeled = wanted.clone().peeled(&to.objects()?)?;
                transfer.moved += move_refs(from, to.parts(), &peeled)?;
                whole = wanted.ids();
                let now = RefList::read(&*from.refs)?;
                if now == wanted {
                    transfer.refs = wanted.len();
                    return Ok(transfer);
                }
                now
            }
        };
        if transfer.rounds == ROUNDS_MAX {
            let what = "the source changed in every round; copy once more when it is quieter";
            let limit = ROUNDS_MAX.into();
            return Err(Error::Limit { setting: "rounds", limit, what: what.to_owned() });
        }
        wanted = now;
    }
}

/// Whether all that the refs reach is there, below what is known to be whole.
fn arrived(
    to: &Repository,
    wanted: &RefList,
    whole: &[ObjectId],
    progress: &mut dyn Progress,
) -> Result<()> {
    check_connected(&to.objects()?, &wanted.ids(), whole, wanted.shallow(), progress)
}

fn move_refs(from: &Parts, to: &Parts, wanted: &RefList) -> Result<usize> {
    let present = RefList::read(&*to.refs)?;
    // A ref that cannot be read is passed over by a list. It is not gone.
    let source = from.refs.snapshot()?;
    for name in present.names_missing_from(wanted) {
        source.get(name.as_bstr())?;
    }
    present.become_of(wanted, &*to.refs)
}
