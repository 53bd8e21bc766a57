//! Changes of a work tree that can be taken back.

use std::io;

use bstr::{BStr, BString, ByteSlice as _};
use object::EntryMode;

use super::stage::Stage;
use super::work_root::{WorkRoot, above, is_directory};
use super::{Refused, Site};

/// Everything done so far. Dropping it undoes that, the last step first, unless
/// [`Journal::keep`] was called.
#[derive(Debug)]
pub(super) struct Journal {
    root: WorkRoot,
    stage: Stage,
    done: Vec<Step>,
    taken: usize,
}

/// One step that was done.
#[derive(Debug)]
enum Step {
    /// A file was moved from the work tree to the stage.
    Took { name: String, path: BString },
    /// A file was moved from the stage to the work tree.
    Put { name: String, path: BString },
    /// A file and a staged one changed places.
    Exchanged { name: String, path: BString },
    /// A directory was made.
    Made(BString),
    /// An empty directory was removed.
    Removed(BString),
}

impl Journal {
    /// Nothing has been done yet.
    pub fn new(root: WorkRoot, site: &Site<'_>) -> Result<Self, Refused> {
        let stage = Stage::new(&root, site.work_tree, site.git_dir);
        let stage = stage.map_err(Refused::io(site.git_dir))?;
        Ok(Journal { root, stage, done: Vec::new(), taken: 0 })
    }

    /// The work tree.
    pub fn root(&self) -> &WorkRoot {
        &self.root
    }

    /// Makes the file that will be installed under a number.
    pub fn stage(&self, number: usize, mode: EntryMode, content: &[u8]) -> io::Result<()> {
        self.stage.make(&staged(number), mode, content)
    }

    /// Takes a file out of the work tree.
    pub fn remove(&mut self, path: &BStr) -> io::Result<()> {
        let name = format!("old-{}", self.taken);
        self.taken += 1;
        self.stage.take(&name, &self.root, path)?;
        self.done.push(Step::Took { name, path: path.to_owned() });
        Ok(())
    }

    /// Puts the staged file in the place of one that is there.
    pub fn exchange(&mut self, number: usize, path: &BStr) -> io::Result<()> {
        let name = staged(number);
        self.stage.exchange(&name, &self.root, path)?;
        self.done.push(Step::Exchanged { name, path: path.to_owned() });
        Ok(())
    }

    /// Puts the staged file where nothing is but perhaps empty directories.
    pub fn install(&mut self, number: usize, path: &BStr) -> io::Result<()> {
        for directory in above(path) {
            self.make_directory(directory)?;
        }
        if self.root.look(path)?.is_some_and(|found| is_directory(&found)) {
            self.remove_empty_tree(path)?;
        }
        let name = staged(number);
        self.stage.put(&name, &self.root, path)?;
        self.done.push(Step::Put { name, path: path.to_owned() });
        Ok(())
    }

    /// Makes a directory, and those above it, unless it is there.
    pub fn make_directory(&mut self, path: &BStr) -> io::Result<()> {
        for directory in above(path).chain([path]) {
            if self.root.make_directory(directory)? {
                self.done.push(Step::Made(directory.to_owned()));
            }
        }
        Ok(())
    }

    /// Removes a directory if it is empty.
    pub fn remove_directory(&mut self, path: &BStr) -> io::Result<bool> {
        let removed = self.root.remove_empty_directory(path)?;
        if removed {
            self.done.push(Step::Removed(path.to_owned()));
        }
        Ok(removed)
    }

    /// Removes the directories above a path that are empty now.
    pub fn remove_empty_above(&mut self, path: &BStr) -> io::Result<()> {
        let directories: Vec<&BStr> = above(path).collect();
        for directory in directories.into_iter().rev() {
            if !self.remove_directory(directory)? {
                break;
            }
        }
        Ok(())
    }

    /// Removes a directory that holds nothing but directories.
    fn remove_empty_tree(&mut self, path: &BStr) -> io::Result<()> {
        let mut directories = vec![path.to_owned()];
        let mut at = 0;
        while let Some(directory) = directories.get(at).cloned() {
            for name in self.root.names(directory.as_ref())? {
                directories.push([&directory[..], b"/", &name].concat().into());
            }
            at += 1;
        }
        // What lies deeper was found later. A file among them makes this fail.
        for directory in directories.iter().rev() {
            if !self.remove_directory(directory.as_ref())? {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
        }
        Ok(())
    }

    /// Everything stays as it is now.
    pub fn keep(&mut self) {
        self.done.clear();
    }

    fn undo(&self, step: &Step) -> io::Result<()> {
        match step {
            Step::Took { name, path } => self.stage.put(name, &self.root, path.as_bstr()),
            Step::Put { name, path } => self.stage.take(name, &self.root, path.as_bstr()),
            Step::Exchanged { name, path } => self.stage.exchange(name, &self.root, path.as_bstr()),
            Step::Made(path) => self.root.remove_empty_directory(path.as_bstr()).map(|_| ()),
            Step::Removed(path) => self.root.make_directory(path.as_bstr()).map(|_| ()),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let mut whole = true;
        for step in std::mem::take(&mut self.done).iter().rev() {
            if let Err(error) = self.undo(step) {
                tracing::error!("cannot take back {step:?}: {error}");
                whole = false;
            }
        }
        match whole {
            true => self.stage.clear(),
            // The only copy of somebody's file may be in it.
            false => tracing::error!("files are left in {}", self.stage.path().display()),
        }
    }
}

fn staged(number: usize) -> String {
    format!("new-{number}")
}
