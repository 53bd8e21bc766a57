//! Moving loose refs into `packed-refs`, as `git pack-refs --all` does.
//!
//! First all of them are written to `packed-refs`, with the value each has as a file; then each
//! file is removed under its ref's lock, if it and the record still say the same. Whoever reads
//! meanwhile finds the file or, looking second into `packed-refs`, the record.

use std::time::Duration;

use bstr::{BStr, ByteSlice as _};
use object::{ObjectId, RefName};
use storage::{CommitError, Error, Peel, Result, Target, TargetView};

use super::Inner;
use super::capture::LooseRefs;
use super::loose::{self, Loose};
use super::packed_update::PackedUpdate;
use crate::disk::Directories;
use crate::lock::LockFile;
use crate::worktree::lasting_directory;

/// Packs every loose ref that is an id and belongs to all work trees; how many there were.
pub(super) fn tidy(inner: &Inner, peel: &mut Peel<'_>) -> Result<usize> {
    let loose = LooseRefs::read(&inner.dirs, b"refs/".as_bstr(), inner.hash)?;
    let mut moved = packable(&loose);
    let Some((first, _)) = moved.first() else { return Ok(0) };
    let mut changed = Directories::new();
    let mut update = PackedUpdate::lock(inner, first, &mut changed).map_err(locked)?;
    // Only now, with nobody else writing records: the values that will be in the file.
    moved = packable(&LooseRefs::read(&inner.dirs, b"refs/".as_bstr(), inner.hash)?);
    for (name, id) in &moved {
        // Branches are commits; git says so too when it packs them.
        let peeled = match name.starts_with(b"refs/heads/") {
            true => None,
            false => peel(id)?,
        };
        update.insert(name, *id, peeled);
    }
    update.write()?;
    update.publish(&mut changed)?;
    update.release();
    drop(update);
    let sync = |changed: &Directories| {
        let synced = inner.disk.sync_directories(changed);
        synced.map_err(|source| Error::io("syncing packed-refs", source))
    };
    sync(&changed)?;
    let mut removed = Directories::new();
    for (name, id) in &moved {
        remove_loose(inner, name, *id, &mut removed)?;
    }
    sync(&removed)?;
    Ok(moved.len())
}

fn packable(loose: &LooseRefs) -> Vec<(RefName, ObjectId)> {
    let to_pack = |name: &BStr, target: Option<TargetView<'_>>| {
        let Some(TargetView::Id(id)) = target else { return None };
        let name = RefName::new(name).ok().filter(|name| !name.is_per_worktree())?;
        Some((name, id.to_id()))
    };
    let views = loose.iter_from(b"refs/".as_bstr());
    views.filter_map(|view| to_pack(view.name, view.target)).collect()
}

/// Removes a ref's file if the record has taken its place. One that is locked is left for the
/// next time: somebody is about to change it.
fn remove_loose(
    inner: &Inner,
    name: &RefName,
    id: ObjectId,
    changed: &mut Directories,
) -> Result<()> {
    let path = inner.dirs.file_of(name);
    let root = inner.dirs.root_of(name);
    let Ok(mut lock) = LockFile::acquire(&inner.disk, root, path.clone(), Duration::ZERO, changed)
    else {
        return Ok(());
    };
    let same = Loose::Found(Target::Id(id)) == loose::read(&path, inner.hash)?
        && inner.packed.load()?.find(name)?.is_some_and(|packed| packed.id == id);
    if same {
        lock.remove_target().map_err(|source| Error::io(path.display(), source))?;
        changed.extend(path.parent().map(|parent| parent.to_owned()));
    }
    lock.release();
    inner.disk.remove_empty_parents(&lasting_directory(root, name), &path);
    Ok(())
}

fn locked(error: CommitError) -> Error {
    match error {
        CommitError::Locked { lock, .. } => Error::Locked { what: "packed-refs".into(), lock },
        CommitError::Storage(error) => error,
        other => Error::corrupt("packed-refs", other),
    }
}
