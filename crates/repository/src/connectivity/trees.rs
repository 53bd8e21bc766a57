//! The trees of new commits, and everything in them, on all processors when there is much of it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use bstr::BString;
use object::{Kind, ObjectId, TreeIter};
use rustc_hash::{FxHashMap, FxHashSet};

use super::Missing;
use super::visited::Visited;
use crate::error::{Error, Result};
use crate::objects::{Cached, Objects, Reader, Slot};
use crate::progress::{Progress, Stage};
use crate::walk::RecentIds;

/// Commits for which it is worth to start threads.
const PARALLEL_FROM: usize = 128;
/// Trees of commits a thread takes at once.
const CHUNK: usize = 32;
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// A commit's tree, and the trees of those of its parents that are known to be whole.
pub(super) struct TreeCheck {
    pub tree: ObjectId,
    pub parents: Vec<ObjectId>,
}

struct Shared<'a> {
    objects: &'a Objects,
    trees: &'a [TreeCheck],
    missing: &'a Missing,
    visited: Visited,
    next: AtomicUsize,
    walked: AtomicU64,
    failed: AtomicBool,
}

/// Checks that the trees and all they hold are there; gives the number of trees it read.
pub(super) fn check_trees(
    objects: &Objects,
    trees: &[TreeCheck],
    missing: &Missing,
    progress: &mut dyn Progress,
) -> Result<u64> {
    let shared = Shared {
        objects,
        trees,
        missing,
        visited: Visited::new(objects.packed_count()),
        next: AtomicUsize::new(0),
        walked: AtomicU64::new(0),
        failed: AtomicBool::new(false),
    };
    let threads = match trees.len() {
        0..PARALLEL_FROM => 1,
        _ => thread::available_parallelism().map_or(1, |count| count.get()),
    };
    if threads == 1 {
        shared.work()?;
    } else {
        shared.run(threads, progress)?;
    }
    Ok(shared.walked.into_inner())
}

impl Shared<'_> {
    fn run(&self, threads: usize, progress: &mut dyn Progress) -> Result<()> {
        thread::scope(|scope| {
            let (done, finished) = channel();
            for _ in 0..threads {
                let done = done.clone();
                scope.spawn(move || {
                    let result = self.work();
                    if result.is_err() {
                        self.failed.store(true, Ordering::Relaxed);
                    }
                    // The receiver outlives the threads.
                    let _ = done.send(result);
                });
            }
            drop(done);
            let mut outcome = Ok(());
            loop {
                match finished.recv_timeout(PROGRESS_INTERVAL) {
                    Ok(result) => outcome = outcome.and(result),
                    Err(RecvTimeoutError::Disconnected) => return outcome,
                    Err(RecvTimeoutError::Timeout) => {
                        let walked = self.walked.load(Ordering::Relaxed);
                        if let Err(error) = progress.update(Stage::Connectivity, walked, None) {
                            self.failed.store(true, Ordering::Relaxed);
                            outcome = outcome.and(Err(error.into()));
                        }
                    }
                }
            }
        })
    }

    fn work(&self) -> Result<()> {
        let mut walk = Walk::new(self);
        loop {
            let start = self.next.fetch_add(CHUNK, Ordering::Relaxed);
            let Some(rest) = self.trees.get(start..).filter(|rest| !rest.is_empty()) else {
                return Ok(());
            };
            for check in &rest[..rest.len().min(CHUNK)] {
                if self.failed.load(Ordering::Relaxed) {
                    return Ok(());
                }
                walk.check(check)?;
            }
        }
    }
}

/// A tree to be read, with whole trees that lie at the same path.
struct Pending {
    slot: Slot,
    whole: Vec<ObjectId>,
}

struct Walk<'a> {
    shared: &'a Shared<'a>,
    reader: Reader,
    /// Entries met lately. Apart, so that an object named as a blob is still walked as a tree.
    recent_trees: RecentIds,
    recent_blobs: RecentIds,
    stack: Vec<Pending>,
}

impl<'a> Walk<'a> {
    fn new(shared: &'a Shared<'a>) -> Self {
        let settings = shared.objects.settings();
        Walk {
            shared,
            reader: Reader::of_request(settings),
            recent_trees: RecentIds::new(shared.objects.hash().len()),
            recent_blobs: RecentIds::new(shared.objects.hash().len()),
            stack: Vec::new(),
        }
    }

    fn check(&mut self, check: &TreeCheck) -> Result<()> {
        self.meet_tree(&check.tree, check.parents.clone())?;
        while let Some(pending) = self.stack.pop() {
            self.shared.walked.fetch_add(1, Ordering::Relaxed);
            self.read_tree(pending)?;
        }
        Ok(())
    }

    /// Looks at a tree that something names; `whole` are known trees at the same path.
    fn meet_tree(&mut self, id: &ObjectId, whole: Vec<ObjectId>) -> Result<()> {
        let Some(slot) = self.shared.objects.slot(id)? else {
            return self.shared.missing.note(*id, Some(Kind::Tree));
        };
        if self.shared.visited.insert(slot) && !whole.contains(id) {
            self.stack.push(Pending { slot, whole });
        }
        Ok(())
    }

    fn read_tree(&mut self, pending: Pending) -> Result<()> {
        let objects = self.shared.objects;
        let hash = objects.hash();
        let beside = self.beside(&pending.whole)?;
        let tree = self.tree(pending.slot)?;
        for entry in TreeIter::new(&tree.data, hash) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let id = objects.id(pending.slot)?;
                    return Err(Error::BadObject { id, reason: error.to_string() });
                }
            };
            if entry.mode.is_submodule() {
                continue;
            }
            let is_tree = entry.mode.is_tree();
            let recent = if is_tree { &mut self.recent_trees } else { &mut self.recent_blobs };
            if recent.has_met(entry.id) {
                continue;
            }
            let id = entry.oid(hash);
            if beside.ids.contains(&(id, is_tree)) {
                continue;
            }
            if is_tree {
                let whole = beside.trees.get(entry.name).cloned().unwrap_or_default();
                self.meet_tree(&id, whole)?;
            } else {
                match objects.slot(&id)? {
                    None => self.shared.missing.note(id, Some(Kind::Blob))?,
                    Some(slot) => match objects.kind_of(slot)? {
                        Kind::Blob => {}
                        found => return Err(Error::WrongKind { id, expected: Kind::Blob, found }),
                    },
                }
            }
        }
        Ok(())
    }

    /// What whole trees at the same path hold.
    fn beside(&mut self, whole: &[ObjectId]) -> Result<Beside> {
        let hash = self.shared.objects.hash();
        let mut beside = Beside::default();
        for id in whole {
            // Even a whole tree may be missing: below a ref that was broken before.
            let Some(slot) = self.shared.objects.slot(id)? else { continue };
            let tree = self.tree(slot)?;
            for entry in TreeIter::new(&tree.data, hash).filter_map(Result::ok) {
                let id = entry.oid(hash);
                beside.ids.insert((id, entry.mode.is_tree()));
                if entry.mode.is_tree() {
                    beside.trees.entry(entry.name.to_owned()).or_default().push(id);
                }
            }
        }
        Ok(beside)
    }

    fn tree(&mut self, slot: Slot) -> Result<Cached> {
        let object = self.shared.objects.read_slot(slot, &mut self.reader)?;
        if object.kind != Kind::Tree {
            let id = self.shared.objects.id(slot)?;
            return Err(Error::WrongKind { id, expected: Kind::Tree, found: object.kind });
        }
        Ok(object)
    }
}

#[derive(Default)]
struct Beside {
    /// Ids, and whether they are trees.
    ids: FxHashSet<(ObjectId, bool)>,
    trees: FxHashMap<BString, Vec<ObjectId>>,
}
