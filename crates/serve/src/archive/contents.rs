//! What an archive of a tree holds: which entries, under which names, with which content.

use std::sync::Arc;

use bstr::{BStr, ByteSlice as _};
use object::{Kind, ObjectId};
use repository::{Error as RepositoryError, MemoryPool, MemoryShare, Objects};

use super::attributes::{Attributes, Found};
use super::channel::Words;
use super::convert::{Conversion, LineEndings};
use super::entry::{Archiver, Content, Entry};
use super::pathspec::{Fit, Pathspec};
use super::settings::Settings;
use super::subst::Substitution;
use super::tree_walk::{Node, TreeWalk};
use crate::Error;

/// A tree on its way into an archive.
pub(super) struct Contents<'a> {
    pub objects: &'a Objects,
    pub settings: &'a Settings,
    pub tree: ObjectId,
    /// Without a tree's own attributes, if the client wants it so.
    pub tree_attributes: bool,
    pub pathspec: Pathspec,
    /// What stands before every path.
    pub prefix: &'a BStr,
    /// What is put into `export-subst` files; not without a commit.
    pub substitution: Option<Substitution<'a>>,
    pub line_endings: LineEndings,
    /// Each path is told.
    pub verbose: bool,
    /// What trees and files in memory are counted with.
    pub memory: Arc<MemoryPool>,
}

/// Files of up to so many bytes are read whole.
const SMALL_BYTES_MAX: u64 = 256 << 10;

/// A converted file takes so many times its size: as it was, as it becomes, as it is compressed.
const CONVERTED_COPIES: u64 = 3;

/// A directory the walk is in.
struct Directory {
    id: ObjectId,
    /// Bytes of its path in the tree, with no slash at its end.
    path_bytes: usize,
    /// It stands in the archive: there is something in it.
    written: bool,
    /// Everything in it is meant.
    all: bool,
}

impl Contents<'_> {
    /// Whether something in the tree is meant; trees are counted with `memory`.
    pub fn any_fits(
        objects: &Objects,
        tree: &ObjectId,
        pathspec: &Pathspec,
        memory: MemoryShare,
    ) -> Result<bool, Error> {
        let mut walk = TreeWalk::new(objects, tree, memory)?;
        while let Some(node) = walk.next()? {
            let (is_tree, is_submodule) = (node.mode.is_tree(), node.mode.is_submodule());
            match pathspec.fit(walk.path.as_ref(), is_tree, is_submodule) {
                Fit::No => {}
                Fit::Inside if is_tree => walk.enter(&node.id)?,
                Fit::Inside | Fit::Yes | Fit::All => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Writes everything.
    pub fn write(
        self,
        mut attributes: Attributes,
        words: &dyn Words,
        archiver: &mut dyn Archiver,
    ) -> Result<(), Error> {
        let (prefix, verbose) = (self.prefix, self.verbose);
        let mut writer = Writer { archiver, words, prefix, verbose };
        if let Some(above) = self.prefix.strip_suffix(b"/") {
            // However many slashes there are at its end.
            let slashes = above.iter().rev().take_while(|byte| **byte == b'/').count();
            let end = (self.prefix.len() - slashes).max(1);
            let path = self.prefix[..end].as_bstr();
            writer.whole_name(path, &Node::directory(self.tree), None, Content::Nothing)?;
        }
        let objects = self.objects;
        let mut walk = TreeWalk::new(objects, &self.tree, self.memory.take_some(0, 0))?;
        let everything = self.pathspec.is_everything();
        let mut directories =
            vec![Directory { id: self.tree, path_bytes: 0, written: true, all: everything }];
        self.enter(&mut attributes, &walk)?;
        while let Some(node) = walk.next()? {
            directories.truncate(walk.depth());
            attributes.leave_to(walk.depth());
            let all = directories.last().is_some_and(|directory| directory.all);
            let (is_tree, is_submodule) = (node.mode.is_tree(), node.mode.is_submodule());
            let fit = match all {
                true => Fit::All,
                false => self.pathspec.fit(walk.path.as_ref(), is_tree, is_submodule),
            };
            if fit == Fit::No {
                continue;
            }
            let mut path = walk.path.clone();
            if is_tree || is_submodule {
                path.push(b'/');
            }
            let found = attributes.of(path.as_ref());
            let ignored = found.is_set("export-ignore");
            if is_tree {
                if ignored {
                    continue;
                }
                directories.push(Directory {
                    id: node.id,
                    path_bytes: walk.path.len(),
                    written: false,
                    all: fit == Fit::All,
                });
                walk.enter(&node.id)?;
                self.enter(&mut attributes, &walk)?;
                continue;
            }
            for directory in directories.iter_mut().filter(|directory| !directory.written) {
                directory.written = true;
                let path = [&path[..directory.path_bytes], b"/"].concat();
                let node = Node::directory(directory.id);
                writer.add(path.as_bstr(), &node, None, Content::Nothing)?;
            }
            // As git: directories are made for a file before it is ignored.
            if ignored {
                continue;
            }
            let (content, _memory) = self.content(path.as_ref(), &node, &found, words)?;
            writer.add(path.as_ref(), &node, self.settings.is_binary(&found), content)?;
        }
        writer.archiver.finish()
    }

    fn enter(&self, attributes: &mut Attributes, walk: &TreeWalk<'_>) -> Result<(), Error> {
        let Some(tree) = walk.tree() else { return Ok(()) };
        let path = walk.path.strip_suffix(b"/").unwrap_or(&walk.path).as_bstr();
        match self.tree_attributes {
            true => attributes.enter(self.objects, path, tree),
            false => attributes.enter(self.objects, path, b""),
        }
    }

    /// What a file holds in the archive, and what it is counted with if it is large and changed.
    fn content(
        &self,
        path: &BStr,
        node: &Node,
        found: &Found<'_>,
        words: &dyn Words,
    ) -> Result<(Content, Option<MemoryShare>), Error> {
        if node.mode.is_submodule() {
            return Ok((Content::Nothing, None));
        }
        let id = node.id;
        let header = self.objects.header(&id)?;
        let (_, size) = header.ok_or(RepositoryError::Missing { id, kind: Some(Kind::Blob) })?;
        let is_link = node.mode.is_symlink();
        let substitution = self.substitution.as_ref().filter(|_| found.is_set("export-subst"));
        // As git: what is that large is not converted (`core.bigFileThreshold`).
        let conversion = match is_link || size > self.settings.big_file_bytes {
            true => None,
            false => Some(Conversion::of(found, self.line_endings).map_err(Error::Refused)?),
        };
        let conversion = conversion.filter(|conversion| !conversion.is_none());
        let substitution = substitution.filter(|_| !is_link);
        if conversion.is_none() && substitution.is_none() {
            if size > SMALL_BYTES_MAX && !is_link {
                let stream = self.objects.content(&id, Kind::Blob)?;
                return Ok((Content::Stream(stream), None));
            }
            if size > LINK_BYTES_MAX && is_link {
                return Err(Error::Refused(format!("the link '{path}' has {size} bytes")));
            }
            let object = self.objects.read_expect(&id, Kind::Blob)?;
            return Ok((Content::Whole(object.data), None));
        }
        let most = self.settings.converted_bytes_max;
        if size > most {
            return Err(Error::Refused(format!(
                "'{path}' has {size} bytes, too many to be converted or substituted \
                 (archive_converted_bytes_max)"
            )));
        }
        let needed = usize::try_from(size.saturating_mul(CONVERTED_COPIES)).unwrap_or(usize::MAX);
        let memory = match size > SMALL_BYTES_MAX {
            true => Some(self.memory.take(needed).ok_or_else(|| {
                let words = format!("the server has no memory left for '{path}' (limits.memory)");
                Error::Refused(words)
            })?),
            false => None,
        };
        let mut bytes = whole(self.objects, &id, size)?;
        if let Some(conversion) = conversion {
            let (converted, complaint) = conversion.apply(&id, bytes);
            bytes = converted;
            if let Some(complaint) = complaint {
                words.say(&[b"error: ", path.as_bytes(), b": ", complaint.as_bytes()].concat())?;
            }
        }
        if let Some(substitution) = substitution {
            bytes = substitution.apply(bytes, most)?;
        }
        Ok((Content::Whole(Arc::new(bytes)), memory))
    }
}

/// Where entries go.
struct Writer<'w> {
    archiver: &'w mut dyn Archiver,
    words: &'w dyn Words,
    prefix: &'w BStr,
    verbose: bool,
}

impl Writer<'_> {
    /// Adds what lies at a path of the tree; that of a directory ends with a slash.
    fn add(
        &mut self,
        path: &BStr,
        node: &Node,
        binary: Option<bool>,
        content: Content,
    ) -> Result<(), Error> {
        let path = [self.prefix.as_bytes(), path.as_bytes()].concat();
        self.whole_name(path.as_bstr(), node, binary, content)
    }

    fn whole_name(
        &mut self,
        path: &BStr,
        node: &Node,
        binary: Option<bool>,
        content: Content,
    ) -> Result<(), Error> {
        if self.verbose {
            self.words.say(path)?;
        }
        self.archiver.add(&Entry { path, mode: node.mode, id: &node.id, binary }, content)
    }
}

/// No system takes a link that points to a longer path.
const LINK_BYTES_MAX: u64 = 1 << 20;

/// A content that is going to change. What is large does not go through caches.
fn whole(objects: &Objects, id: &ObjectId, size: u64) -> Result<Vec<u8>, Error> {
    if size <= SMALL_BYTES_MAX {
        return Ok(Arc::unwrap_or_clone(objects.read_expect(id, Kind::Blob)?.data));
    }
    let mut bytes = Vec::new();
    Content::Stream(objects.content(id, Kind::Blob)?).each(&mut |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(bytes)
}
