//! Objects a partial clone may lack: those an object of a promisor pack names.

use object::{CommitRef, Kind, ObjectId, TagRef, TreeIter};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::error::{Error, Result};
use crate::objects::{Objects, Reader, Slot};

/// Checks that every missing object is promised. Reads the promisor packs until the last one is
/// ticked off: slow, and only ever done in a repository that lacks something.
pub(super) fn check(objects: &Objects, missing: FxHashSet<(ObjectId, Option<Kind>)>) -> Result<()> {
    let mut open: FxHashMap<ObjectId, Option<Kind>> = missing.into_iter().collect();
    let settings = objects.settings();
    let mut reader = Reader::of_request(settings);
    for placed in objects.units().iter() {
        let mut promisors = Vec::new();
        for pack in placed.unit.packs() {
            if pack.store().stat(&format!("{}.promisor", pack.stem))?.is_some() {
                promisors.push(pack.serial);
            }
        }
        for position in 0..placed.count {
            if open.is_empty() {
                return Ok(());
            }
            if promisors.is_empty() {
                break;
            }
            if promisors.contains(&placed.unit.place(position)?.0.serial) {
                tick_off(objects, Slot(placed.first_slot + position), &mut reader, &mut open)?;
            }
        }
    }
    match open.into_iter().min_by_key(|(id, _)| *id) {
        Some((id, kind)) => Err(Error::Missing { id, kind }),
        None => Ok(()),
    }
}

/// Takes what an object names out of the missing ones.
fn tick_off(
    objects: &Objects,
    slot: Slot,
    reader: &mut Reader,
    open: &mut FxHashMap<ObjectId, Option<Kind>>,
) -> Result<()> {
    if objects.header_of(slot)?.0 == Kind::Blob {
        return Ok(());
    }
    let hash = objects.hash();
    let object = objects.read_slot(slot, reader)?;
    match object.kind {
        Kind::Blob => {}
        Kind::Commit => {
            if let Ok(commit) = CommitRef::parse(&object.data, hash) {
                open.remove(&commit.tree);
                for parent in commit.parents() {
                    open.remove(&parent);
                }
            }
        }
        Kind::Tag => {
            if let Ok(tag) = TagRef::parse(&object.data, hash) {
                open.remove(&tag.target);
            }
        }
        Kind::Tree => {
            for entry in TreeIter::new(&object.data, hash).filter_map(Result::ok) {
                if !entry.mode.is_submodule() {
                    open.remove(&entry.oid(hash));
                }
            }
        }
    }
    Ok(())
}
