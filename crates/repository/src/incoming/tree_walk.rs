//! One thread's walk through trees of deltas, within its share of the memory budget.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use object::{Kind, ObjectId};

use super::hash_batch::{BATCH_OBJECTS, name_objects};
use super::resolve::{Children, Root, Shared};
use super::scan::{bad_object, too_large_to_hold};
use crate::error::{Error, Result};

/// Results waiting for their names take at most this part of a thread's share.
const UNNAMED_PART: usize = 4;

/// Buffers kept for reuse take at most this part of a thread's share: what one batch of names
/// sets free. An allocator gives that much back to the system and faults it in again.
const SPARE_PART: usize = 4;

/// An object on the path from the root to where the walk is.
struct Node {
    /// Its entry; meaningless for the root, which is never rebuilt.
    entry: u32,
    /// `None` once dropped, or once no delta on it is left to do; never for the root.
    content: Option<Rc<Vec<u8>>>,
    children: Children,
}

pub(super) struct TreeWalk<'a> {
    shared: &'a Shared<'a>,
    path: Vec<Node>,
    kind: Kind,
    /// Rebuilt objects that have no name yet.
    unnamed: Vec<(u32, Rc<Vec<u8>>)>,
    unnamed_bytes: usize,
    ids: Vec<ObjectId>,
    delta: Vec<u8>,
    /// Bytes of all contents that are held.
    held_bytes: usize,
    /// Empty buffers of contents that are no longer held, oldest first.
    spare: VecDeque<Vec<u8>>,
    spare_bytes: usize,
    share_bytes: usize,
    /// No node before this one on the path can be dropped.
    droppable_from: usize,
    large: Option<MutexGuard<'a, ()>>,
}

impl<'a> TreeWalk<'a> {
    pub fn new(shared: &'a Shared<'a>) -> Self {
        TreeWalk {
            shared,
            path: Vec::new(),
            kind: Kind::Blob,
            unnamed: Vec::new(),
            unnamed_bytes: 0,
            ids: Vec::new(),
            delta: Vec::new(),
            held_bytes: 0,
            spare: VecDeque::new(),
            spare_bytes: 0,
            share_bytes: shared.share_bytes(),
            droppable_from: 1,
            large: None,
        }
    }

    /// Rebuilds and names everything that leans on the root.
    pub fn resolve(&mut self, root: Root) -> Result<()> {
        if root.kind != self.kind {
            // A batch is of one kind.
            self.name_unnamed()?;
            self.kind = root.kind;
        }
        self.droppable_from = 1;
        let content = self.hold(root.content);
        self.path.push(Node { entry: u32::MAX, content: Some(content), children: root.children });
        while let Some(top) = self.path.last_mut() {
            match top.children.next(self.shared.family) {
                Some(delta) if !self.shared.is_cancelled() => self.descend(delta)?,
                _ => self.leave(),
            }
        }
        self.large = None;
        Ok(())
    }

    /// Names what is left.
    pub fn finish(mut self) -> Result<()> {
        self.name_unnamed()
    }

    /// Rebuilds a delta on the top of the path; goes on there when there are deltas on it.
    fn descend(&mut self, entry: u32) -> Result<()> {
        let offset = self.shared.table.offset(entry);
        if self.path.len() > self.shared.context.options.delta_depth_max as usize {
            return Err(Error::Limit {
                setting: "delta_depth_max",
                limit: self.shared.context.options.delta_depth_max.into(),
                what: format!("the delta at offset {offset} of the pack is deeper"),
            });
        }
        let top = self.path.len() - 1;
        let base = self.content_at(top)?;
        let content = self.apply(entry, &base)?;
        self.unhold(base);
        // The root's content stays: whatever was dropped is rebuilt from it.
        if top > 0 && self.path[top].children.is_empty() {
            self.drop_content(top);
        }
        let id =
            if self.shared.family.waiting.is_empty() { None } else { Some(self.name(&content)?) };
        let children = self.shared.children_of(entry, id.as_ref());
        match id {
            Some(id) => self.record(&[(entry, id)]),
            None => self.name_later(entry, content.clone())?,
        }
        if !children.is_empty() {
            self.path.push(Node { entry, content: Some(content), children });
        } else {
            self.unhold(content);
        }
        Ok(())
    }

    fn leave(&mut self) {
        if let Some(node) = self.path.pop() {
            if let Some(content) = node.content {
                self.unhold(content);
            }
            self.droppable_from = self.droppable_from.min(self.path.len().max(1));
        }
    }

    /// The content of a node, rebuilt when it was dropped.
    fn content_at(&mut self, at: usize) -> Result<Rc<Vec<u8>>> {
        let mut held = self.path[..=at].iter().enumerate().rev();
        let (from, mut content) = held
            .find_map(|(at, node)| Some((at, node.content.clone()?)))
            .expect("the root's content is never dropped");
        for node in from + 1..=at {
            let rebuilt = self.apply(self.path[node].entry, &content)?;
            self.unhold(content);
            content = rebuilt;
        }
        if from < at {
            self.path[at].content = Some(content.clone());
            self.droppable_from = self.droppable_from.min(at);
        }
        Ok(content)
    }

    /// The result of a delta entry on its base.
    fn apply(&mut self, entry: u32, base: &[u8]) -> Result<Rc<Vec<u8>>> {
        let shared = self.shared;
        let offset = shared.table.offset(entry);
        let bad =
            |error: pack::Error| bad_object(offset, &format!("failed to apply delta: {error}"));
        let mut delta = std::mem::take(&mut self.delta);
        shared.pack.inflate(shared.table, entry, &mut delta)?;
        let (_, size, _) = pack::delta::sizes(&delta).map_err(bad)?;
        let size_max = shared.context.options.held_object_bytes_max;
        if size > size_max {
            return Err(too_large_to_hold(shared.context, offset, size));
        }
        self.make_room(size as usize)?;
        let mut content = self.buffer(size as usize);
        pack::delta::apply(base, &delta, &mut content, size_max).map_err(bad)?;
        delta.clear();
        delta.shrink_to(self.share_bytes / UNNAMED_PART);
        self.delta = delta;
        Ok(self.hold(content))
    }

    /// Drops contents until another one of `bytes` fits; for one that never fits, waits until no
    /// other thread holds such a one.
    fn make_room(&mut self, bytes: usize) -> Result<()> {
        if bytes > self.share_bytes / 2 && self.large.is_none() {
            let guard = self.shared.large.lock();
            self.large = Some(guard.expect("no holder of the lock panics"));
        }
        while self.held_bytes + self.spare_bytes + bytes > self.share_bytes
            && self.drop_oldest_spare()
        {}
        while self.held_bytes + bytes > self.share_bytes {
            if !self.unnamed.is_empty() {
                self.name_unnamed()?;
            } else if self.droppable_from + 1 < self.path.len() {
                self.drop_content(self.droppable_from);
                self.droppable_from += 1;
            } else {
                break;
            }
        }
        Ok(())
    }

    fn name_later(&mut self, entry: u32, content: Rc<Vec<u8>>) -> Result<()> {
        self.unnamed_bytes += content.len();
        self.unnamed.push((entry, content));
        let full = self.unnamed.len() >= BATCH_OBJECTS
            || self.unnamed_bytes >= self.share_bytes / UNNAMED_PART;
        if full { self.name_unnamed() } else { Ok(()) }
    }

    fn name_unnamed(&mut self) -> Result<()> {
        let mut ids = std::mem::take(&mut self.ids);
        let objects = self.unnamed.iter().map(|(_, content)| (self.kind, &content[..]));
        name_objects(self.shared.context.hash, objects, &mut ids)?;
        let inspector = self.shared.context.inspector;
        for ((_, content), id) in self.unnamed.iter().zip(&ids) {
            inspector.inspect(self.kind, id, content)?;
        }
        let mut table_ids = self.shared.table.ids();
        for ((entry, _), id) in self.unnamed.iter().zip(&ids) {
            table_ids.set(*entry, id);
        }
        drop(table_ids);
        self.shared.resolved.fetch_add(ids.len() as u64, Ordering::Relaxed);
        self.ids = ids;
        self.unnamed_bytes = 0;
        let mut named = std::mem::take(&mut self.unnamed);
        for (_, content) in named.drain(..) {
            self.unhold(content);
        }
        self.unnamed = named;
        Ok(())
    }

    /// Names one object at once, because deltas may wait for its name.
    fn name(&mut self, content: &[u8]) -> Result<ObjectId> {
        let context = self.shared.context;
        let objects = std::iter::once((self.kind, content));
        name_objects(context.hash, objects, &mut self.ids)?;
        context.inspector.inspect(self.kind, &self.ids[0], content)?;
        Ok(self.ids[0])
    }

    fn record(&mut self, named: &[(u32, ObjectId)]) {
        let mut ids = self.shared.table.ids();
        for (entry, id) in named {
            ids.set(*entry, id);
        }
        self.shared.resolved.fetch_add(named.len() as u64, Ordering::Relaxed);
    }

    fn hold(&mut self, content: Vec<u8>) -> Rc<Vec<u8>> {
        self.held_bytes += content.capacity();
        Rc::new(content)
    }

    fn unhold(&mut self, content: Rc<Vec<u8>>) {
        let Some(mut content) = Rc::into_inner(content) else { return };
        let bytes = content.capacity();
        self.held_bytes -= bytes;
        if self.spare_bytes + bytes <= self.share_bytes / SPARE_PART {
            content.clear();
            self.spare_bytes += bytes;
            self.spare.push_back(content);
        }
    }

    /// An empty buffer for so many bytes: one of the newest spare ones when it fits well, since
    /// objects that are deltas on each other are of like size.
    fn buffer(&mut self, bytes: usize) -> Vec<u8> {
        const LOOKED_AT: usize = 8;
        let fits = |buffer: &Vec<u8>| (bytes..=2 * bytes + 4096).contains(&buffer.capacity());
        let newest = (0..self.spare.len()).rev().take(LOOKED_AT);
        if let Some(buffer) = newest.into_iter().find(|&at| fits(&self.spare[at])) {
            let buffer = self.spare.swap_remove_back(buffer).expect("it was just looked at");
            self.spare_bytes -= buffer.capacity();
            return buffer;
        }
        // What is not asked for makes way for what is.
        self.drop_oldest_spare();
        Vec::with_capacity(bytes)
    }

    fn drop_oldest_spare(&mut self) -> bool {
        let dropped = self.spare.pop_front();
        self.spare_bytes -= dropped.as_ref().map_or(0, Vec::capacity);
        dropped.is_some()
    }

    fn drop_content(&mut self, at: usize) {
        if let Some(content) = self.path[at].content.take() {
            self.unhold(content);
        }
    }
}
