//! Naming many objects at once: the one place where received objects are hashed whole.
//!
//! Whoever has several objects at hand names them together, so that a hasher which works on
//! several messages side by side has something to work on.

use object::{HashKind, Kind, ObjectId};

use crate::error::{Error, Result};

/// Objects worth waiting for before they are hashed together.
pub(super) const BATCH_OBJECTS: usize = 32;

/// Names objects; `ids` is replaced by as many ids, in the same order.
///
/// # Errors
/// [`Error::Refused`] when the bytes of one carry a collision attack.
pub(super) fn name_objects<'a>(
    hash: HashKind,
    objects: impl Iterator<Item = (Kind, &'a [u8])>,
    ids: &mut Vec<ObjectId>,
) -> Result<()> {
    ids.clear();
    for (kind, content) in objects {
        let id = object::object_id(hash, kind, content)
            .map_err(|collision| Error::Refused(format!("{kind} refused: {collision}")))?;
        ids.push(id);
    }
    Ok(())
}
