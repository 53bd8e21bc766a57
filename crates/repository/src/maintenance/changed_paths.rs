//! Which paths differ between two trees: the difference a changed-path filter is made of.
//!
//! Subtrees that are equal are not read. Knows no content: a path whose mode or id differs has
//! changed.

use std::cmp::Ordering;

use bstr::ByteSlice as _;
use object::{EntryMode, Kind, ObjectId, TreeEntry, TreeIter};
use rustc_hash::FxHashSet;

use crate::error::{Error, Result};
use crate::objects::{Cached, Objects, Reader};

/// Trees read for one commit before it counts as changing everything. A tree that holds one
/// subtree many times, and that again, would otherwise be walked for ever.
const TREES_MAX: usize = 1 << 20;

pub(super) struct ChangedPaths<'o> {
    objects: &'o Objects,
    reader: Reader,
    paths_max: usize,
    /// Of files and of the folders above them.
    paths: FxHashSet<Vec<u8>>,
    /// Folders to compare.
    open: Vec<Folder>,
}

/// A folder of one or both sides.
struct Folder {
    sides: [Option<ObjectId>; 2],
    /// Empty, or ends in `/`.
    prefix: Vec<u8>,
}

impl<'o> ChangedPaths<'o> {
    /// Finds up to `paths_max` paths for each pair of trees.
    pub fn new(objects: &'o Objects, paths_max: u32) -> Self {
        let settings = objects.settings();
        let reader = Reader::of_request(settings);
        let (paths, open) = Default::default();
        ChangedPaths { objects, reader, paths_max: paths_max as usize, paths, open }
    }

    /// The paths that differ between two trees; `None` for an old tree that has none of them.
    /// `None` when there are too many, or a tree is not at hand (in a partial clone).
    pub fn between(
        &mut self,
        old: Option<ObjectId>,
        new: ObjectId,
    ) -> Result<Option<&FxHashSet<Vec<u8>>>> {
        self.paths.clear();
        self.open.clear();
        self.open.push(Folder { sides: [old, Some(new)], prefix: Vec::new() });
        let mut trees = 0;
        while let Some(folder) = self.open.pop() {
            if folder.sides[0] == folder.sides[1] {
                continue;
            }
            match self.compare(&folder) {
                Err(Error::Missing { .. }) => return Ok(None),
                other => other?,
            }
            trees += 1;
            if self.paths.len() > self.paths_max || trees > TREES_MAX {
                return Ok(None);
            }
        }
        Ok(Some(&self.paths))
    }

    fn compare(&mut self, folder: &Folder) -> Result<()> {
        let [old, new] = folder.sides;
        let (old, new) = (self.read(old)?, self.read(new)?);
        let hash = self.objects.hash();
        let mut sides = [&old, &new].map(|side| {
            let data = side.as_ref().map_or(&[][..], |tree| &tree.data[..]);
            TreeIter::new(data, hash).peekable()
        });
        let bad = |error: object::ParseError| {
            let id = folder.sides.into_iter().flatten().next().expect("one side at least");
            Error::BadObject { id, reason: error.to_string() }
        };
        loop {
            let [old, new] = &mut sides;
            let order = match (old.peek(), new.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                // An error is taken below, whichever side it is on.
                (Some(Err(_)), _) => Ordering::Less,
                (_, Some(Err(_))) => Ordering::Greater,
                (Some(Ok(old)), Some(Ok(new))) => old.order(new),
            };
            let old = old.next_if(|_| order.is_le()).transpose().map_err(bad)?;
            let new = new.next_if(|_| order.is_ge()).transpose().map_err(bad)?;
            self.note(&folder.prefix, old, new);
            if self.paths.len() > self.paths_max {
                return Ok(());
            }
        }
    }

    fn read(&mut self, tree: Option<ObjectId>) -> Result<Option<Cached>> {
        let Some(id) = tree else { return Ok(None) };
        let expected = Kind::Tree;
        let missing = Error::Missing { id, kind: Some(expected) };
        let slot = self.objects.slot(&id)?.ok_or(missing)?;
        let object = self.objects.read_slot(slot, &mut self.reader)?;
        match object.kind {
            Kind::Tree => Ok(Some(object)),
            found => Err(Error::WrongKind { id, expected, found }),
        }
    }

    /// Notes what a pair of entries of one name, or one entry alone, says.
    fn note(&mut self, prefix: &[u8], old: Option<TreeEntry<'_>>, new: Option<TreeEntry<'_>>) {
        let Some(entry) = new.or(old) else { return };
        if let (Some(old), Some(new)) = (old, new)
            && old.id == new.id
            && comparable(old.mode) == comparable(new.mode)
        {
            return;
        }
        let mut path = prefix.to_vec();
        path.extend_from_slice(entry.name);
        if entry.mode.is_tree() {
            path.push(b'/');
            let hash = self.objects.hash();
            let sides = [old, new].map(|side| side.map(|entry| entry.oid(hash)));
            self.open.push(Folder { sides, prefix: path });
        } else {
            self.add(path);
        }
    }

    /// Adds a file's path and those of the folders it is in.
    fn add(&mut self, path: Vec<u8>) {
        let mut rest = &path[..];
        while let Some(slash) = rest.rfind_byte(b'/') {
            rest = &rest[..slash];
            if self.paths.contains(rest) {
                break;
            }
            self.paths.insert(rest.to_vec());
        }
        self.paths.insert(path);
    }
}

/// Of a file's mode git looks only at whether it is executable.
fn comparable(mode: EntryMode) -> EntryMode {
    match mode {
        mode if mode.is_tree() => EntryMode::TREE,
        mode if mode.is_symlink() => EntryMode::SYMLINK,
        mode if mode.is_submodule() => EntryMode::SUBMODULE,
        EntryMode(bits) if bits & 0o100 != 0 => EntryMode::EXECUTABLE,
        _ => EntryMode::FILE,
    }
}
