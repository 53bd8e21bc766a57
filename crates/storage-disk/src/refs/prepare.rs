//! The first half of a transaction: lock every ref, verify it, and write what it will be.
//!
//! Refs are locked in byte order, `packed-refs` after them, as git does; two transactions
//! over the same refs cannot wait for each other. Everything that can fail for want of room
//! or rights is done here, so that the second half only renames.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice as _};
use object::{HashKind, ObjectId, RefName};
use storage::{
    Change, CommitError, Error, Expected, Peeled, Prepared, RefEdit, RefTransaction, Result,
    Target, check_edits, check_ids, prefixes_of,
};

use super::Inner;
use super::capture::LooseRefs;
use super::loose::{self, Loose};
use super::packed_update::PackedUpdate;
use super::shallow::ShallowUpdate;
use super::snapshot::broken;
use crate::disk::Directories;
use crate::lock::{LockFile, lock_path};
use crate::packed_refs::PackedRefs;
use crate::worktree::lasting_directory;

/// A transaction that holds all its locks.
pub(super) struct PreparedFiles<'a> {
    pub inner: &'a Inner,
    pub edits: Vec<LockedEdit<'a>>,
    pub packed: Option<PackedUpdate<'a>>,
    pub shallow: Option<ShallowUpdate>,
    pub changed: Directories,
}

/// One ref of it.
pub(super) struct LockedEdit<'a> {
    pub inner: &'a Inner,
    pub edit: RefEdit,
    pub lock: LockFile,
    pub path: PathBuf,
    pub old: Option<Target>,
    pub loose: Loose,
    pub route: Route,
}

/// How an edit becomes visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// It changes nothing.
    Nothing,
    /// The lock file is renamed to the ref's file.
    Loose,
    /// The new `packed-refs` carries it.
    Packed,
    /// The ref leaves `packed-refs`, then its file is removed.
    Delete,
}

pub(super) fn prepare<'a>(
    inner: &'a Inner,
    mut tx: RefTransaction,
) -> Result<Box<dyn Prepared + 'a>, CommitError> {
    check_edits(&tx.edits)?;
    check_changes(&tx.edits, inner.hash)?;
    tx.edits.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let (shallow_add, shallow_remove) = (tx.shallow_add, tx.shallow_remove);
    let mut changed = Directories::new();
    let mut edits = Vec::with_capacity(tx.edits.len());
    for edit in tx.edits {
        edits.push(LockedEdit::lock(inner, edit, &mut changed)?);
    }
    let packable = edits.iter().filter(|edit| edit.may_be_packed()).count();
    let many = packable >= inner.settings.packed_refs_min;
    let touches_packed =
        |edit: &LockedEdit<'_>| edit.is_shared() && edit.edit.change == Change::Delete;
    let mut packed = None;
    if let Some(first) = edits.iter().find(|edit| many || touches_packed(edit)) {
        packed = Some(PackedUpdate::lock(inner, &first.edit.name, &mut changed)?);
    }
    let refs = match &packed {
        Some(update) => Arc::clone(update.packed()),
        None => inner.packed.load()?,
    };
    for edit in &mut edits {
        edit.verify(&refs)?;
        edit.choose_route(many);
        edit.write(packed.as_mut())?;
    }
    if let Some(update) = &mut packed {
        update.write()?;
    }
    let shallow = match shallow_add.is_empty() && shallow_remove.is_empty() {
        true => None,
        false => Some({
            let settings = (&inner.disk, inner.settings.lock_wait);
            let root = &inner.dirs.common_dir;
            ShallowUpdate::write(settings, root, inner.hash, (&shallow_add, &shallow_remove))?
        }),
    };
    Ok(Box::new(PreparedFiles { inner, edits, packed, shallow, changed }))
}

/// Refuses what no ref may become, in whatever form refs are kept.
fn check_changes(edits: &[RefEdit], hash: HashKind) -> Result<()> {
    if let Some(edit) = edits.iter().find(|edit| edit.name.is_special_file()) {
        let why = format!("refusing to update pseudoref '{}'", edit.name);
        return Err(Error::corrupt(&edit.name, why));
    }
    check_ids(edits, hash)
}

impl<'a> LockedEdit<'a> {
    fn lock(
        inner: &'a Inner,
        edit: RefEdit,
        changed: &mut Directories,
    ) -> Result<Self, CommitError> {
        let path = inner.dirs.file_of(&edit.name);
        let root = inner.dirs.root_of(&edit.name);
        let wait = inner.settings.lock_wait;
        let lock = LockFile::acquire(&inner.disk, root, path.clone(), wait, changed);
        let lock = lock.map_err(|error| lock_error(inner, &edit, &path, error))?;
        let loose = loose::read(&path, inner.hash)?;
        Ok(LockedEdit { inner, edit, lock, path, old: None, loose, route: Route::Nothing })
    }

    /// Whether the ref may be in `packed-refs` at all.
    fn is_shared(&self) -> bool {
        !self.edit.name.is_per_worktree()
    }

    /// Whether the new value could go straight into `packed-refs`: no loose file would hide
    /// it there, and its peeled value, which is noted with it, is known.
    fn may_be_packed(&self) -> bool {
        self.is_shared()
            && matches!(self.edit.change, Change::Update(Target::Id(_)))
            && self.peeled().is_some()
            && matches!(self.loose, Loose::Missing | Loose::Directory)
    }

    /// The peeled value of the new target; outer `None` when nobody knows.
    fn peeled(&self) -> Option<Option<ObjectId>> {
        match self.edit.peeled {
            Peeled::To(id) => Some(Some(id)),
            Peeled::NotATag => Some(None),
            // Branches are commits.
            Peeled::Unknown => self.edit.name.starts_with(b"refs/heads/").then_some(None),
        }
    }

    /// Compares what is there with what the caller believes, and makes sure of the name.
    fn verify(&mut self, packed: &PackedRefs) -> Result<(), CommitError> {
        let name = &self.edit.name;
        self.old = match &self.loose {
            Loose::Found(target) => Some(target.clone()),
            Loose::Broken(why) => return Err(broken(name, why).into()),
            Loose::Missing | Loose::Directory if !self.is_shared() => None,
            Loose::Missing | Loose::Directory => {
                packed.find(name)?.map(|found| Target::Id(found.id))
            }
        };
        let expected = self.edit.expected.target();
        if self.old.as_ref() != expected {
            return Err(CommitError::Lost {
                name: name.clone(),
                expected: expected.cloned(),
                found: self.old.clone(),
            });
        }
        if self.edit.change == Change::Delete {
            return Ok(());
        }
        if self.loose == Loose::Directory {
            self.clear_directory()?;
        }
        match self.old {
            None => self.verify_available(packed),
            Some(_) => Ok(()),
        }
    }

    /// Removes the empty directories that deleted refs left in this ref's place.
    fn clear_directory(&self) -> Result<(), CommitError> {
        match self.inner.disk.remove_empty_tree(&self.path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                Err(self.directory_in_the_way())
            }
            Err(error) => Err(Error::io(self.path.display(), error).into()),
        }
    }

    /// The ref, or else the lock file of one being made, below this one's name.
    fn directory_in_the_way(&self) -> CommitError {
        let name = &self.edit.name;
        let below = [name.as_bytes(), b"/"].concat();
        match LooseRefs::read(&self.inner.dirs, below.as_bstr(), self.inner.hash) {
            Ok(refs) => match refs.iter_from(below.as_bstr()).next() {
                Some(found) => conflict(name, found.name),
                None => {
                    let lock = self.path.display().to_string();
                    CommitError::Locked { name: name.clone(), lock }
                }
            },
            Err(error) => error.into(),
        }
    }

    /// No packed ref may stand above or below a new one. Loose ones cannot: the lock file is
    /// where only a directory could be above, and there is no directory in its place.
    fn verify_available(&self, packed: &PackedRefs) -> Result<(), CommitError> {
        let name = &self.edit.name;
        for prefix in prefixes_of(name) {
            if packed.find(prefix)?.is_some() {
                return Err(conflict(name, prefix));
            }
        }
        match packed.first_below(name)? {
            Some(below) => Err(conflict(name, below.as_ref())),
            None => Ok(()),
        }
    }

    /// The place above is free on disk, too: nobody made a directory there meanwhile.
    pub fn verify_still_available(&self) -> Result<(), CommitError> {
        match loose::read(&self.path, self.inner.hash)? {
            Loose::Directory => self.clear_directory(),
            _ => Ok(()),
        }
    }

    fn choose_route(&mut self, many: bool) {
        self.route = match &self.edit.change {
            Change::Delete if self.old.is_none() => Route::Nothing,
            Change::Delete => Route::Delete,
            Change::Update(new) if self.old.as_ref() == Some(new) => Route::Nothing,
            Change::Update(_) if many && self.may_be_packed() => Route::Packed,
            Change::Update(_) => Route::Loose,
        };
    }

    fn write(&mut self, packed: Option<&mut PackedUpdate<'_>>) -> Result<()> {
        let name = &self.edit.name;
        match (&self.edit.change, self.route, packed) {
            (Change::Update(Target::Id(id)), Route::Packed, Some(packed)) => {
                packed.insert(name, *id, self.peeled().flatten());
            }
            (Change::Delete, Route::Delete, Some(packed)) if self.is_shared() => {
                packed.remove(name)?;
            }
            (Change::Update(target), Route::Loose, _) => {
                let written = self.lock.write(format!("{target}\n").as_bytes());
                written.map_err(|source| Error::io(self.path.display(), source))?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Directories that were made only for the lock, or that a deleted ref leaves, go again.
impl Drop for LockedEdit<'_> {
    fn drop(&mut self) {
        self.lock.release();
        let name = &self.edit.name;
        if !self.path.is_file() {
            let lasting = lasting_directory(self.inner.dirs.root_of(name), name);
            self.inner.disk.remove_empty_parents(&lasting, &self.path);
        }
    }
}

fn conflict(name: &RefName, with: &BStr) -> CommitError {
    CommitError::NameConflict { name: name.clone(), with: BString::from(with.as_bytes()) }
}

fn lock_error(inner: &Inner, edit: &RefEdit, path: &Path, error: io::Error) -> CommitError {
    match error.kind() {
        io::ErrorKind::AlreadyExists => CommitError::Locked {
            name: edit.name.clone(),
            lock: lock_path(path).display().to_string(),
        },
        io::ErrorKind::NotADirectory => file_in_the_way(inner, edit, path, error),
        _ => Error::io(lock_path(path).display(), error).into(),
    }
}

/// A file stands where a directory must be: a ref, most likely.
fn file_in_the_way(inner: &Inner, edit: &RefEdit, path: &Path, error: io::Error) -> CommitError {
    if let Expected::MustExistAndMatch(expected) = &edit.expected {
        // A ref below a file does not exist.
        let (name, expected) = (edit.name.clone(), Some(expected.clone()));
        return CommitError::Lost { name, expected, found: None };
    }
    let taken = prefixes_of(&edit.name)
        .find(|prefix| matches!(inner.get_in(&inner.dirs, prefix), Ok(Some(_)) | Err(_)));
    match taken {
        Some(with) => conflict(&edit.name, with),
        None => Error::io(path.display(), error).into(),
    }
}
