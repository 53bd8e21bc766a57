//! Bringing a work tree from the commit it is at to another one, without a git program:
//! what `receive.denyCurrentBranch = updateInstead` promises.
//!
//! A work tree is touched only when nothing in it could be lost: its index must hold exactly
//! what HEAD holds, its files exactly what the index holds, and nothing untracked may be in
//! the way. Contents are written byte for byte; where configuration or attributes ask for
//! other contents (filters, line endings, encodings), the change is refused in words.
//!
//! Until [`Deployment::finish`] every step can be taken back, and is when the deployment is
//! dropped. Knows files, trees and the index; knows nothing of pushes.

mod attributes;
mod clean;
mod index;
mod index_lock;
mod journal;
mod listing;
mod obstacles;
mod plan;
mod stage;
mod stat;
mod work_root;

use std::io;
use std::path::{Path, PathBuf};

use gitconfig::Config;
use object::{Kind, ObjectId};
use repository::Objects;

use self::clean::Cleanliness;
use self::index::{Index, IndexError};
use self::index_lock::IndexLock;
use self::journal::Journal;
use self::listing::Listing;
use self::plan::Plan;
use self::work_root::WorkRoot;

/// The index or the files could not be compared.
const NOT_COMPARABLE: &str = "Up-to-date check failed";
const UNSTAGED_CHANGES: &str = "Working directory has unstaged changes";
const STAGED_CHANGES: &str = "Working directory has staged changes";
const NOT_UPDATED: &str = "Could not update working tree to new HEAD";

/// One work tree and what is needed to change it.
pub(crate) struct Site<'a> {
    /// Its files.
    pub work_tree: &'a Path,
    /// Its own git directory, which holds its index.
    pub git_dir: &'a Path,
    /// Files with attributes besides those of the work tree itself; they need not exist.
    pub attribute_files: Vec<PathBuf>,
    /// The settings it is under.
    pub config: &'a Config,
    /// The objects of both commits.
    pub objects: &'a Objects,
}

/// Why a work tree stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The reason in git's words, for the report.
    pub reason: &'static str,
    /// What exactly, for the pusher's terminal.
    pub words: String,
}

impl Refused {
    fn new(reason: &'static str, words: impl Into<String>) -> Self {
        Refused { reason, words: words.into() }
    }

    fn not_updated(words: impl ToString) -> Self {
        Refused::new(NOT_UPDATED, words.to_string())
    }

    fn io(what: &Path) -> impl Fn(io::Error) -> Refused + '_ {
        move |error| Refused::not_updated(format!("{}: {error}", what.display()))
    }
}

/// A work tree whose files are those of the new commit and whose index is still locked.
/// Dropping it puts everything back as it was.
#[derive(Debug)]
pub(crate) struct Deployment {
    journal: Journal,
    lock: IndexLock,
}

impl Deployment {
    /// Makes the new index visible: from here on the change stands.
    ///
    /// # Errors
    /// When the index cannot be replaced; the files are put back then.
    pub fn finish(mut self) -> io::Result<()> {
        self.lock.publish()?;
        self.journal.keep();
        Ok(())
    }
}

/// Brings the files of a work tree from commit `old` (`None` for an unborn branch) to `new`.
pub(crate) fn deploy(
    site: &Site<'_>,
    old: Option<&ObjectId>,
    new: &ObjectId,
) -> Result<Deployment, Refused> {
    attributes::check_config(site.config)?;
    let root = WorkRoot::open(site.work_tree).map_err(Refused::io(site.work_tree))?;
    let lock = IndexLock::acquire(site.git_dir)?;
    let mut index = Index::open(lock.index(), site.objects.hash()).map_err(unreadable)?;

    let cleanliness = Cleanliness { root: &root, config: site.config, index_mtime: index.mtime };
    for entry in &mut index.entries {
        if !entry.assume_valid && !cleanliness.refresh(entry)? {
            return Err(changed_file(entry));
        }
    }
    let old = match old {
        Some(commit) => Listing::of_commit(site.objects, commit)?,
        None => Listing::default(),
    };
    if let Some(path) = old.first_difference(&index) {
        return Err(Refused::new(STAGED_CHANGES, format!("'{path}' has staged changes")));
    }
    let new = Listing::of_commit(site.objects, new)?;
    attributes::check_files(site, &root, &[&old, &new])?;

    let plan = Plan::new(index.entries, new);
    for entry in plan.replaced().filter(|entry| entry.assume_valid) {
        if !cleanliness.refresh(&mut entry.clone())? {
            return Err(changed_file(entry));
        }
    }
    obstacles::check(&plan, &root)?;
    let mut journal = Journal::new(root, site)?;
    let entries = plan.carry_out(site.objects, &mut journal)?;
    lock.write(&entries, site.objects.hash()).map_err(Refused::io(lock.path()))?;
    Ok(Deployment { journal, lock })
}

fn changed_file(entry: &index::IndexEntry) -> Refused {
    Refused::new(UNSTAGED_CHANGES, format!("'{}' has unstaged changes", entry.path))
}

fn unreadable(error: IndexError) -> Refused {
    Refused::new(NOT_COMPARABLE, error.to_string())
}

/// The content of a blob.
fn blob(objects: &Objects, id: &ObjectId) -> Result<std::sync::Arc<Vec<u8>>, Refused> {
    let read = objects.read_expect(id, Kind::Blob);
    read.map(|object| object.data).map_err(Refused::not_updated)
}
