//! What has to happen to a clean work tree so that it holds another commit.

use bstr::{BStr, BString, ByteSlice as _};
use repository::Objects;

use super::index::IndexEntry;
use super::journal::Journal;
use super::listing::{Listing, TreeFile};
use super::stat::Stat;
use super::{Refused, blob};

/// The difference between an index and the files of a commit, in index order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Entries that stay as they are.
    pub kept: Vec<IndexEntry>,
    /// Files that go away.
    pub removed: Vec<IndexEntry>,
    /// Files that come or change.
    pub written: Vec<Written>,
}

/// A file to write.
#[derive(Debug)]
pub(super) struct Written {
    /// What will be there.
    pub file: TreeFile,
    /// What is there under the same path.
    pub replaces: Option<IndexEntry>,
}

impl Plan {
    /// Compares what there is with what is wanted.
    pub fn new(entries: Vec<IndexEntry>, wanted: Listing) -> Self {
        let mut plan = Plan::default();
        let mut entries = entries.into_iter().peekable();
        for file in wanted.files {
            while let Some(gone) = entries.next_if(|entry| entry.path < file.path) {
                plan.removed.push(gone);
            }
            match entries.next_if(|entry| entry.path == file.path) {
                Some(entry) if entry.mode == file.mode && entry.id == file.id => {
                    plan.kept.push(entry);
                }
                replaces => plan.written.push(Written { file, replaces }),
            }
        }
        plan.removed.extend(entries);
        plan
    }

    /// Every entry whose file goes away or changes.
    pub fn replaced(&self) -> impl Iterator<Item = &IndexEntry> {
        self.removed.iter().chain(self.written.iter().filter_map(|write| write.replaces.as_ref()))
    }

    /// Whether a path is of a file that goes away.
    pub fn removes(&self, path: &BStr) -> bool {
        self.removed.binary_search_by(|entry| entry.path.as_bstr().cmp(path)).is_ok()
    }

    /// Carries the plan out; the entries of the new index, in order.
    pub fn carry_out(
        self,
        objects: &Objects,
        journal: &mut Journal,
    ) -> Result<Vec<IndexEntry>, Refused> {
        // Everything that needs room or reads objects comes before the first visible change.
        for (number, write) in self.written.iter().enumerate() {
            let TreeFile { path, mode, id } = &write.file;
            if !mode.is_submodule() {
                let content = blob(objects, id)?;
                let failed = |error| Refused::not_updated(format!("'{path}': {error}"));
                journal.stage(number, *mode, &content).map_err(failed)?;
            }
        }
        for entry in &self.removed {
            let removed = match entry.mode.is_submodule() {
                true => journal.remove_directory(entry.path.as_ref()).map(|_| ()),
                false => journal.remove(entry.path.as_ref()),
            };
            removed.map_err(failed_at(&entry.path))?;
        }
        let mut entries = self.kept;
        for (number, write) in self.written.iter().enumerate() {
            let stat = install(journal, number, write).map_err(failed_at(&write.file.path))?;
            entries.push(entry_of(&write.file, stat));
        }
        for entry in &self.removed {
            journal.remove_empty_above(entry.path.as_ref()).map_err(failed_at(&entry.path))?;
        }
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }
}

fn failed_at(path: &BString) -> impl Fn(std::io::Error) -> Refused + '_ {
    move |error| Refused::not_updated(format!("'{path}': {error}"))
}

fn install(journal: &mut Journal, number: usize, write: &Written) -> std::io::Result<Stat> {
    let path = write.file.path.as_bstr();
    let was_file = write.replaces.as_ref().is_some_and(|entry| !entry.mode.is_submodule());
    if write.file.mode.is_submodule() {
        if was_file {
            journal.remove(path)?;
        }
        journal.make_directory(path)?;
        // Of submodules the index records no `stat`.
        return Ok(Stat::default());
    }
    match was_file {
        true => journal.exchange(number, path)?,
        false => journal.install(number, path)?,
    }
    let found = journal.root().look(path)?;
    found.map(|stat| Stat::of(&stat)).ok_or_else(|| std::io::ErrorKind::NotFound.into())
}

fn entry_of(file: &TreeFile, stat: Stat) -> IndexEntry {
    IndexEntry {
        path: file.path.clone(),
        mode: file.mode,
        id: file.id,
        stat,
        assume_valid: false,
        intent_to_add: false,
    }
}
