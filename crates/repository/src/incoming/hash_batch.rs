//! Naming many objects at once: the one place where received objects are hashed whole.
//!
//! Whoever has several objects at hand names them together, because the hasher works on several
//! messages side by side.

use object::{HashKind, Kind, ObjectId};

use crate::error::{Error, Result};

/// Objects worth waiting for before they are hashed together: enough that lanes of a vector
/// register are still busy when the last ones are begun.
pub(super) const BATCH_OBJECTS: usize = 128;

/// Names objects; `ids` is replaced by as many ids, in the same order.
///
/// # Errors
/// [`Error::Refused`] when the bytes of one carry a collision attack.
pub(super) fn name_objects<'a>(
    hash: HashKind,
    objects: impl Iterator<Item = (Kind, &'a [u8])>,
    ids: &mut Vec<ObjectId>,
) -> Result<()> {
    let objects: Vec<(Kind, &[u8])> = objects.collect();
    ids.clear();
    ids.resize(objects.len(), ObjectId::null(hash));
    object::object_ids(hash, &objects, &mut |at, id| ids[at] = id).map_err(|(at, collision)| {
        let kind = objects[at].0;
        Error::Refused(format!("{kind} refused: {collision}"))
    })
}
