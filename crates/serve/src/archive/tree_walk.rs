//! Everything in a tree, one after the other, in the order git has it: a directory, then what is
//! in it. Holds the trees on the way to where it stands, counted, and no stack of calls.

use std::sync::Arc;

use bstr::BString;
use object::{EntryMode, Kind, ObjectId, TreeIter};
use repository::{Error as RepositoryError, MemoryShare, Objects};

use super::entry::canonical;
use crate::Error;

/// How deep directories may lie in each other (git's `core.maxTreeDepth`).
const DEPTH_MAX: usize = 2048;

/// A walk over a tree.
pub(super) struct TreeWalk<'a> {
    objects: &'a Objects,
    levels: Vec<Level>,
    /// What the trees are counted with.
    memory: MemoryShare,
    /// Where the walk stands, without a slash at its end.
    pub path: BString,
}

struct Level {
    id: ObjectId,
    tree: Arc<Vec<u8>>,
    /// Bytes of the tree that were passed.
    passed: usize,
    /// Bytes of the path that lead here, slash included.
    path_bytes: usize,
}

/// What the walk stands at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub mode: EntryMode,
    pub id: ObjectId,
}

impl Node {
    /// A directory.
    pub fn directory(id: ObjectId) -> Self {
        Node { mode: EntryMode::TREE, id }
    }
}

impl<'a> TreeWalk<'a> {
    /// A walk that stands before the first entry of a tree.
    pub fn new(objects: &'a Objects, root: &ObjectId, memory: MemoryShare) -> Result<Self, Error> {
        let mut walk = TreeWalk { objects, levels: Vec::new(), memory, path: BString::default() };
        walk.enter(root)?;
        Ok(walk)
    }

    /// How many directories the walk is in, the root among them.
    pub fn depth(&self) -> usize {
        self.levels.len()
    }

    /// The tree the walk is in.
    pub fn tree(&self) -> Option<&Arc<Vec<u8>>> {
        self.levels.last().map(|level| &level.tree)
    }

    /// Goes into the directory it stands at.
    pub fn enter(&mut self, id: &ObjectId) -> Result<(), Error> {
        if self.levels.len() == DEPTH_MAX {
            let words = format!("'{}' lies deeper than {DEPTH_MAX} directories", self.path);
            return Err(Error::Refused(words));
        }
        let tree = self.objects.read_expect(id, Kind::Tree)?.data;
        if !self.memory.grow(tree.len()) {
            let words =
                format!("the server has no memory left for '{}' (limits.memory)", self.path);
            return Err(Error::Refused(words));
        }
        if !self.levels.is_empty() {
            self.path.push(b'/');
        }
        let path_bytes = self.path.len();
        self.levels.push(Level { id: *id, tree, passed: 0, path_bytes });
        Ok(())
    }

    /// Goes on; `None` when everything was passed. Directories that are not entered are passed over.
    pub fn next(&mut self) -> Result<Option<Node>, Error> {
        let hash = self.objects.hash();
        while let Some(level) = self.levels.last_mut() {
            let mut entries = TreeIter::new(&level.tree[level.passed..], hash);
            let Some(entry) = entries.next() else {
                let left = self.memory.bytes().saturating_sub(level.tree.len());
                self.memory.shrink_to(left);
                self.levels.pop();
                continue;
            };
            let entry = entry.map_err(|error| {
                Error::from(RepositoryError::BadObject { id: level.id, reason: error.to_string() })
            })?;
            self.path.truncate(level.path_bytes);
            self.path.extend_from_slice(entry.name);
            let node = Node { mode: canonical(entry.mode), id: entry.oid(hash) };
            level.passed = level.tree.len() - entries.remaining().len();
            return Ok(Some(node));
        }
        Ok(None)
    }
}
