//! Where each object is found first, and in what order: the paths group objects that make good
//! deltas of each other, the order is what readers of history ask for.
//!
//! Commits come newest first, then tags, then trees and blobs as the commits' trees are walked.
//! Of a path only git's 32-bit hash is kept, and that is computed on the way down.

use std::ops::ControlFlow;

use bstr::ByteSlice as _;
use object::{Kind, ObjectId};
use storage::TargetView;

use super::RepackOptions;
use super::table::{Entry, NONE, place_of};
use crate::error::{Error, Result};
use crate::objects::{Commit, Objects, Reader, Slot, parse_commit};
use crate::progress::{self, Progress};
use crate::repository::Repository;
use crate::walk::{Marks, RecentIds, TreeScanner, first_entry, in_pack_order};

/// How many objects pass between two progress reports.
const REPORT_EVERY: u32 = 4096;

/// Gives every entry its rank and the hash of its name, and turns bases from places in the table
/// into ranks. The answer is the ranks of what tags name, and of the tags.
pub(super) fn find(
    repository: &Repository,
    objects: &Objects,
    marks: &Marks,
    table: &mut [Entry],
    options: &RepackOptions,
    progress: &mut dyn Progress,
) -> Result<Vec<u32>> {
    let mut namer = Namer {
        objects,
        table: &mut *table,
        next_rank: 0,
        reader: Reader::new(options.read_cache_bytes, objects.settings().object_bytes_max),
        scanner: TreeScanner::new(options.read_cache_bytes),
        recent: RecentIds::new(objects.hash().len()),
        progress,
    };
    let commits = namer.commits(marks)?;
    let tagged = namer.tags(repository)?;
    for commit in commits {
        if commit.tree != NONE {
            namer.tree(commit.tree as usize)?;
        }
    }
    namer.rank_the_rest()?;
    for at in 0..table.len() {
        if table[at].base != NONE {
            table[at].base = table[table[at].base as usize].rank;
        }
    }
    Ok(tagged.into_iter().map(|at| table[at as usize].rank).collect())
}

/// A commit on its way to be ranked.
struct Dated {
    time: i64,
    at: u32,
    /// Where its tree is in the table, if it is.
    tree: u32,
}

/// A tree whose entries are to be named: its slot, and the hash of its path with a slash.
struct Pending {
    slot: Slot,
    prefix: u32,
}

struct Namer<'a> {
    objects: &'a Objects,
    table: &'a mut [Entry],
    next_rank: u32,
    reader: Reader,
    scanner: TreeScanner,
    recent: RecentIds,
    progress: &'a mut dyn Progress,
}

impl Namer<'_> {
    fn rank(&mut self, at: usize) -> Result<()> {
        self.table[at].rank = self.next_rank;
        self.next_rank += 1;
        if self.next_rank.is_multiple_of(REPORT_EVERY) {
            self.progress.update(
                progress::Stage::Enumerating,
                self.next_rank.into(),
                Some(self.table.len() as u64),
            )?;
        }
        Ok(())
    }

    /// Ranks the commits, the newest first.
    fn commits(&mut self, marks: &Marks) -> Result<Vec<Dated>> {
        let mut commits = Vec::new();
        for slot in in_pack_order(&self.objects.units(), marks)? {
            let slot = slot?;
            let at = place_of(self.table, slot).expect("every selected object is in the table");
            if self.table[at].kind == Kind::Commit {
                let Commit { time, tree, .. } = self.commit(slot)?;
                let tree = self.place_of_id(&tree)?.map_or(NONE, |tree| tree as u32);
                commits.push(Dated { time, at: at as u32, tree });
            }
        }
        // Of equal times the order of the packs holds, which git writes newest first.
        commits.sort_by_key(|commit| std::cmp::Reverse(commit.time));
        for commit in &commits {
            self.rank(commit.at as usize)?;
        }
        Ok(commits)
    }

    fn commit(&mut self, slot: Slot) -> Result<Commit> {
        let id = self.objects.id(slot)?;
        if self.objects.graph().is_some() {
            return self.objects.commit(&id);
        }
        let object = self.objects.read_slot(slot, &mut self.reader)?;
        parse_commit(&id, &object.data, self.objects.hash())
    }

    fn place_of_id(&self, id: &ObjectId) -> Result<Option<usize>> {
        Ok(self.objects.slot(id)?.and_then(|slot| place_of(self.table, slot)))
    }

    /// Ranks tags and names them by their refs; where the tags, and what they name, are.
    fn tags(&mut self, repository: &Repository) -> Result<Vec<u32>> {
        let mut refs = Vec::new();
        repository.refs().snapshot()?.scan("refs/tags/".into(), &mut |tag| {
            if let TargetView::Id(id) = tag.target {
                refs.push((id.to_id(), name_hash(0, tag.name)));
            }
            ControlFlow::Continue(())
        })?;
        let mut tagged = Vec::new();
        for (mut id, name_hash) in refs {
            // A tag may be one of a tag.
            while let Some(at) = self.place_of_id(&id)? {
                tagged.push(at as u32);
                if self.table[at].kind != Kind::Tag {
                    break;
                }
                if self.table[at].rank == NONE {
                    self.table[at].name_hash = name_hash;
                    self.rank(at)?;
                }
                id = self.objects.tag_target(&id)?.0;
            }
        }
        Ok(tagged)
    }

    /// Ranks and names what a commit's tree holds, as far as it is selected and new.
    fn tree(&mut self, root: usize) -> Result<()> {
        if self.table[root].rank != NONE {
            return Ok(());
        }
        self.rank(root)?;
        let mut pending = vec![Pending { slot: self.table[root].slot, prefix: 0 }];
        while let Some(tree) = pending.pop() {
            let first = pending.len();
            self.entries(&tree, &mut pending)?;
            // The first folder is walked first.
            pending[first..].reverse();
        }
        Ok(())
    }

    fn entries(&mut self, tree: &Pending, pending: &mut Vec<Pending>) -> Result<()> {
        let hash = self.objects.hash();
        let table = &*self.table;
        let is_walked = |slot| place_of(table, slot).is_some_and(|at| table[at].rank != NONE);
        let scan = self.scanner.scan(self.objects, &mut self.reader, tree.slot, is_walked)?;
        for entry in scan.fresh() {
            let entry =
                first_entry(entry, hash).map_err(|reason| self.bad_tree(tree.slot, reason))?;
            if entry.mode.is_submodule() || self.recent.check_and_note(entry.id) {
                continue;
            }
            // What is not selected holds nothing that is: it was packed with all it reaches.
            let Some(at) = self.place_of_id(&entry.oid(hash))? else { continue };
            if self.table[at].rank != NONE {
                continue;
            }
            let path = name_hash(tree.prefix, entry.name.as_bytes());
            self.table[at].name_hash = path;
            self.rank(at)?;
            if self.table[at].kind == Kind::Tree {
                let slot = self.table[at].slot;
                pending.push(Pending { slot, prefix: name_hash(path, b"/") });
            }
        }
        Ok(())
    }

    /// Objects no selected commit leads to, and tags no ref names.
    fn rank_the_rest(&mut self) -> Result<()> {
        for at in 0..self.table.len() {
            if self.table[at].rank == NONE {
                self.rank(at)?;
            }
        }
        self.progress.finish(progress::Stage::Enumerating, self.next_rank.into())?;
        Ok(())
    }

    fn bad_tree(&self, slot: Slot, reason: String) -> Error {
        match self.objects.id(slot) {
            Ok(id) => Error::BadObject { id, reason },
            Err(error) => error,
        }
    }
}

/// Git's hash of a path, continued: the last sixteen characters count, the last the most, so
/// that equal endings come next to each other. White space does not count.
fn name_hash(hash: u32, name: &[u8]) -> u32 {
    // As git counts it: fewer characters than C does.
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let counted = name.iter().filter(|byte| !is_space(byte));
    counted.fold(hash, |hash, byte| (hash >> 2).wrapping_add(u32::from(*byte) << 24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_hashed_on_the_way_down() {
        let whole = name_hash(0, b"Documentation/git pack.txt");
        let parts = name_hash(name_hash(name_hash(0, b"Documentation"), b"/"), b"gitpack.txt");
        assert_eq!(whole, parts);
        assert_eq!(name_hash(0, b"ab"), ('b' as u32) << 24 | ('a' as u32) << 22);
    }
}
