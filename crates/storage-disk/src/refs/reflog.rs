//! Reflogs: who moved a ref, when, from where to where.
//!
//! A line: `<old id> SP <new id> SP <committer> [TAB <message>] LF`, in `logs/<ref name>`.

use std::io;
use std::path::Path;

use bstr::{BString, ByteSlice as _};
use object::{ObjectId, RefName};
use storage::{Error, ReflogLine, Result, Target, single_line};

use super::Inner;
use crate::disk::Directories;
use crate::worktree::lasting_directory;

/// How many symbolic refs are followed to find an id (git: 5).
const SYMBOLIC_DEPTH_MAX: usize = 5;

impl Inner {
    /// Adds a line to a ref's reflog, if it has one or is to get one.
    pub fn append_reflog(
        &self,
        name: &RefName,
        (old, new): (ObjectId, ObjectId),
        line: &ReflogLine,
        changed: &mut Directories,
    ) -> Result<()> {
        let path = self.dirs.log_of(name);
        let at = |source| Error::io(path.display(), source);
        let create = self.settings.reflogs.creates(name);
        if create {
            self.make_room_for_log(name, &path, changed).map_err(at)?;
        }
        let file = match self.disk.append(&path, create) {
            Ok(file) => file,
            Err(error)
                if !create
                    && matches!(
                        error.kind(),
                        io::ErrorKind::NotFound
                            | io::ErrorKind::IsADirectory
                            | io::ErrorKind::NotADirectory
                    ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(at(error)),
        };
        let mut text = BString::from(format!("{old} {new} "));
        text.extend_from_slice(&single_line(line.committer.as_bstr()));
        if !line.message.is_empty() {
            text.push(b'\t');
            text.extend_from_slice(&single_line(line.message.as_bstr()));
        }
        text.push(b'\n');
        self.disk.write_all(&file, &path, &text).map_err(at)?;
        self.disk.sync_file(&file, &path).map_err(at)
    }

    /// Makes the directories of a new reflog, and removes empty ones in its place.
    fn make_room_for_log(
        &self,
        name: &RefName,
        path: &Path,
        changed: &mut Directories,
    ) -> io::Result<()> {
        let logs = self.dirs.root_of(name).join("logs");
        if !logs.is_dir() {
            self.disk.create_dir(&logs)?;
            changed.extend(logs.parent().map(|parent| parent.to_owned()));
        }
        self.disk.create_parents(&logs, path, changed)?;
        if path.is_dir() {
            self.disk.remove_empty_tree(path)?;
        }
        if !path.exists() {
            changed.extend(path.parent().map(|parent| parent.to_owned()));
        }
        Ok(())
    }

    /// Removes a deleted ref's reflog.
    pub fn remove_reflog(&self, name: &RefName, changed: &mut Directories) -> Result<()> {
        let path = self.dirs.log_of(name);
        match self.disk.remove_file(&path) {
            Ok(()) => {
                changed.extend(path.parent().map(|parent| parent.to_owned()));
                let logs = self.dirs.root_of(name).join("logs");
                self.disk.remove_empty_parents(&lasting_directory(&logs, name), &path);
                Ok(())
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::NotADirectory
                        | io::ErrorKind::IsADirectory
                        | io::ErrorKind::PermissionDenied
                ) && !path.is_file() =>
            {
                Ok(())
            }
            Err(error) => Err(Error::io(path.display(), error)),
        }
    }

    /// The id a target leads to now; `None` when it leads nowhere.
    pub fn resolve(&self, target: &Target) -> Option<ObjectId> {
        let mut target = target.clone();
        for _ in 0..SYMBOLIC_DEPTH_MAX {
            match target {
                Target::Id(id) => return Some(id),
                Target::Symbolic(name) => {
                    target = self.get_in(&self.dirs, &name).ok().flatten()?.target;
                }
            }
        }
        None
    }
}
