//! The second half of a transaction: make it visible, in an order in which a crash between
//! any two steps leaves a repository git accepts.
//!
//! Shallow commits, reflogs, new values, deletions; of a deletion first the packed record,
//! then the loose file, so that no older value comes to light in between.

use std::io;

use object::{ObjectId, RefName};
use storage::{Change, CommitError, Error, Prepared, Result, Target};

use super::loose::Loose;
use super::prepare::{LockedEdit, PreparedFiles, Route};
use crate::disk::Directories;
use crate::events;

impl Prepared for PreparedFiles<'_> {
    fn commit(mut self: Box<Self>) -> Result<(), CommitError> {
        for edit in self.edits.iter().filter(|edit| edit.route == Route::Packed) {
            edit.verify_still_available()?;
        }
        let this = &mut *self;
        let changed = &mut this.changed;
        if let Some(shallow) = &mut this.shallow {
            shallow.publish(changed)?;
        }
        let head = this.head_branch()?;
        let changed = &mut this.changed;
        for edit in &this.edits {
            edit.log(head.as_ref(), changed)?;
        }
        for edit in this.edits.iter_mut().filter(|edit| edit.route == Route::Loose) {
            edit.publish(changed)?;
        }
        if let Some(packed) = &mut this.packed {
            packed.publish(changed)?;
        }
        for edit in this.edits.iter().filter(|edit| edit.route == Route::Delete) {
            edit.remove_loose(changed)?;
        }
        if let Some(packed) = &mut this.packed {
            packed.release();
        }
        // Gives up the locks of deleted refs and removes directories that are empty now.
        let git_dir = &this.inner.dirs.git_dir;
        let names = events::told_of(git_dir, this.edits.iter().map(|edit| &edit.edit));
        this.edits.clear();
        let synced = this.inner.disk.sync_directories(changed);
        synced.map_err(|source| Error::io("syncing the refs", source))?;
        events::ring(git_dir, &names);
        Ok(())
    }
}

impl PreparedFiles<'_> {
    /// The branch whose changes go into the reflog of `HEAD`, too; as in git, unless the
    /// transaction changes `HEAD` itself.
    fn head_branch(&self) -> Result<Option<RefName>> {
        if self.edits.iter().any(|edit| edit.edit.name == "HEAD") {
            return Ok(None);
        }
        let head = RefName::head();
        // A broken HEAD has no reflog worth a refusal.
        let found = self.inner.get_in(&self.inner.dirs, &head).unwrap_or_default();
        Ok(match found.map(|found| found.target) {
            Some(Target::Symbolic(branch)) => Some(branch),
            _ => None,
        })
    }
}

impl LockedEdit<'_> {
    /// Notes an update in the ref's reflog; removes the reflog of a deleted ref.
    fn log(&self, head: Option<&RefName>, changed: &mut Directories) -> Result<()> {
        let name = &self.edit.name;
        if self.route == Route::Delete {
            self.inner.remove_reflog(name, changed)?;
        }
        let Some(line) = &self.edit.reflog else { return Ok(()) };
        let null = ObjectId::null(self.inner.hash);
        let old = self.old.as_ref().and_then(|old| self.inner.resolve(old)).unwrap_or(null);
        let new = match &self.edit.change {
            Change::Delete if self.old.is_none() => return Ok(()),
            Change::Delete => null,
            Change::Update(target) => match self.inner.resolve(target) {
                Some(new) => new,
                // A symbolic ref to nowhere has no value to note.
                None => return Ok(()),
            },
        };
        if self.route != Route::Delete {
            self.inner.append_reflog(name, (old, new), line, changed)?;
        }
        if head == Some(name) {
            self.inner.append_reflog(&RefName::head(), (old, new), line, changed)?;
        }
        Ok(())
    }

    /// Puts the lock file in the ref's place.
    fn publish(&mut self, changed: &mut Directories) -> Result<(), CommitError> {
        let published = match self.lock.replace_target() {
            Err(error) if is_directory(&error) => {
                // Somebody wanted to make a ref below this one and left the directory.
                self.verify_still_available()?;
                self.lock.replace_target()
            }
            other => other,
        };
        published.map_err(|source| Error::io(self.path.display(), source))?;
        changed.extend(self.path.parent().map(|parent| parent.to_owned()));
        Ok(())
    }

    fn remove_loose(&self, changed: &mut Directories) -> Result<()> {
        if matches!(self.loose, Loose::Missing | Loose::Directory) {
            return Ok(());
        }
        let removed = self.inner.disk.remove_file(&self.path);
        removed.map_err(|source| Error::io(self.path.display(), source))?;
        changed.extend(self.path.parent().map(|parent| parent.to_owned()));
        Ok(())
    }
}

fn is_directory(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, IsADirectory};
    matches!(error.kind(), AlreadyExists | DirectoryNotEmpty | IsADirectory)
}
