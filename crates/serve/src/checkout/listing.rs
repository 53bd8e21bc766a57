//! The files of a commit, as a work tree holds them: one flat list in index order.

use bstr::BString;
use object::{EntryMode, FsckOptions, Kind, ObjectId, SpecialFiles, TreeIter, fsck_object};
use repository::Objects;

use super::Refused;
use super::index::Index;

/// How deep directories may lie in each other (git's `core.maxTreeDepth`).
const TREE_DEPTH_MAX: usize = 2048;
/// The longest path, in bytes: what the system takes.
const PATH_BYTES_MAX: usize = 4096;

/// One file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TreeFile {
    pub path: BString,
    pub mode: EntryMode,
    pub id: ObjectId,
}

/// All files of a commit in byte order of their paths.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub files: Vec<TreeFile>,
}

impl Listing {
    /// The files of a commit. Trees with names that have no place in a work tree (`..`,
    /// `.git` in any disguise) are refused.
    pub fn of_commit(objects: &Objects, commit: &ObjectId) -> Result<Self, Refused> {
        let tree = objects.commit(commit).map_err(Refused::not_updated)?.tree;
        let mut listing = Listing::default();
        listing.add(objects, &tree, &mut BString::default(), 0)?;
        Ok(listing)
    }

    fn add(
        &mut self,
        objects: &Objects,
        id: &ObjectId,
        path: &mut BString,
        depth: usize,
    ) -> Result<(), Refused> {
        if depth > TREE_DEPTH_MAX {
            return Err(Refused::not_updated(format!("tree {id} lies too deep")));
        }
        let tree = objects.read_expect(id, Kind::Tree).map_err(Refused::not_updated)?;
        let hash = objects.hash();
        check_tree(id, &tree.data)?;
        let above = path.len();
        for entry in TreeIter::new(&tree.data, hash) {
            let entry =
                entry.map_err(|error| Refused::not_updated(format!("tree {id}: {error}")))?;
            path.extend_from_slice(entry.name);
            if path.len() > PATH_BYTES_MAX {
                return Err(Refused::not_updated(format!("'{path}' is too long")));
            }
            let id = entry.oid(hash);
            if entry.mode.is_tree() {
                path.push(b'/');
                self.add(objects, &id, path, depth + 1)?;
            } else {
                self.files.push(TreeFile { path: path.clone(), mode: plain(entry.mode), id });
            }
            path.truncate(above);
        }
        Ok(())
    }

    /// The first path that the index has otherwise; submodules do not count.
    pub fn first_difference<'a>(&'a self, index: &'a Index) -> Option<&'a BString> {
        let files = self.files.iter().filter(|file| !file.mode.is_submodule());
        let mut files = files.map(|file| (&file.path, file.mode, &file.id));
        let entries = index.entries.iter().filter(|entry| !entry.mode.is_submodule());
        let mut entries = entries.map(|entry| (&entry.path, entry.mode, &entry.id));
        loop {
            match (files.next(), entries.next()) {
                (None, None) => return None,
                (file, entry) if file == entry => {}
                (file, entry) => return file.into_iter().chain(entry).map(|(path, ..)| path).min(),
            }
        }
    }
}

/// The modes an index knows.
fn plain(mode: EntryMode) -> EntryMode {
    if mode.is_symlink() {
        EntryMode::SYMLINK
    } else if mode.is_submodule() {
        EntryMode::SUBMODULE
    } else if mode.0 & 0o100 != 0 {
        EntryMode::EXECUTABLE
    } else {
        EntryMode::FILE
    }
}

/// What `git fsck --strict` finds wrong with the names in a tree keeps it out of a work tree.
fn check_tree(id: &ObjectId, bytes: &[u8]) -> Result<(), Refused> {
    let mut wrong = None;
    let mut found = |finding: object::Finding| {
        let about_modes = matches!(finding.id.camel_name(), "zeroPaddedFilemode" | "badFilemode");
        if finding.severity.is_error() && !about_modes {
            wrong.get_or_insert(finding.message);
        }
    };
    let special = &mut SpecialFiles::default();
    fsck_object(Kind::Tree, id, bytes, id.kind(), &FsckOptions::strict(), &mut found, special);
    match wrong {
        Some(words) => Err(Refused::not_updated(format!("tree {id}: {words}"))),
        None => Ok(()),
    }
}
