//! The second pass: every delta is applied and its result named, on all allowed threads.
//!
//! The threads share a list of roots (objects stored whole that have deltas on them) and each
//! takes one tree of deltas at a time. A tree is walked depth first; the path from the root to
//! the current object is kept, and on it the contents that are still needed as bases. Over its
//! share of the memory budget a thread drops contents from the root's end, where they are needed
//! last, and rebuilds them when the walk comes back.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use object::{Kind, ObjectId};

use super::Context;
use super::family::Family;
use super::staged::StagedPack;
use super::table::{Stored, Table};
use super::thin::Completion;
use super::tree_walk::TreeWalk;
use crate::error::Result;
use crate::memory::MemoryShare;
use crate::progress::{Progress, Stage};

/// How often the caller's progress hears of the threads' work.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// What one thread always has, bytes.
const SHARE_BYTES_MIN: usize = 512 << 10;
/// How much more than its pack a set of objects is taken to be when it is rebuilt.
const INFLATION: usize = 16;

/// What the threads of one resolution share.
pub(super) struct Shared<'a> {
    pub context: &'a Context<'a>,
    pub pack: &'a StagedPack,
    pub table: &'a Table,
    pub family: &'a Family,
    /// Deltas whose object has its name.
    pub resolved: AtomicU64,
    /// Held by the thread that rebuilds objects larger than its share of the budget.
    pub large: Mutex<()>,
    /// What all threads together may hold.
    memory: MemoryShare,
    next_entry: AtomicU32,
    failed: AtomicBool,
}

/// The object at the root of a tree of deltas.
pub(super) struct Root {
    pub kind: Kind,
    pub content: Vec<u8>,
    pub children: Children,
}

/// The deltas on one object that are still to be done.
#[derive(Default)]
pub(super) struct Children {
    /// Those the family knows by the object's entry.
    pub linked: std::ops::Range<usize>,
    /// Those that waited for the object's name.
    pub named: Vec<u32>,
}

impl Children {
    pub fn is_empty(&self) -> bool {
        self.linked.is_empty() && self.named.is_empty()
    }

    pub fn next(&mut self, family: &Family) -> Option<u32> {
        match self.linked.next() {
            Some(at) => Some(family.delta(at)),
            None => self.named.pop(),
        }
    }
}

impl<'a> Shared<'a> {
    pub fn new(
        context: &'a Context<'a>,
        pack: &'a StagedPack,
        table: &'a Table,
        family: &'a Family,
    ) -> Self {
        let Context { options, existing, .. } = context;
        // A small pack needs little.
        let most = (table.entries_end() as usize).saturating_mul(INFLATION);
        let least = options.threads.max(1) * SHARE_BYTES_MIN;
        let most = most.saturating_add(least).min(options.memory_budget_bytes);
        let memory = existing.objects.settings().memory.take_some(least.min(most), most);
        Shared {
            memory,
            context,
            pack,
            table,
            family,
            resolved: AtomicU64::new(0),
            large: Mutex::new(()),
            next_entry: AtomicU32::new(0),
            failed: AtomicBool::new(false),
        }
    }

    /// What one thread may hold, bytes.
    pub fn share_bytes(&self) -> usize {
        self.memory.bytes() / self.context.options.threads.max(1)
    }

    /// Whether another thread has failed, so that this one may stop.
    pub fn is_cancelled(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// The next object of the pack that is stored whole and has deltas on it.
    fn next_stored(&self) -> Result<Option<Root>> {
        loop {
            let entry = self.next_entry.fetch_add(1, Ordering::Relaxed);
            if entry >= self.table.len() || self.is_cancelled() {
                return Ok(None);
            }
            let Stored::Whole(kind) = self.table.stored(entry) else { continue };
            let linked = self.family.on_entry(entry);
            if linked.is_empty() {
                continue;
            }
            let mut content = Vec::new();
            self.pack.inflate(self.table, entry, &mut content)?;
            return Ok(Some(Root { kind, content, children: Children { linked, named: vec![] } }));
        }
    }

    /// The deltas on an object that was just rebuilt and named.
    pub fn children_of(&self, entry: u32, id: Option<&ObjectId>) -> Children {
        let named =
            id.map_or_else(Vec::new, |id| self.family.waiting.claim(id.as_bytes()).collect());
        Children { linked: self.family.on_entry(entry), named }
    }

    fn work(&self, completion: Option<&Completion<'_>>) -> Result<()> {
        let mut walk = TreeWalk::new(self);
        loop {
            let root = match completion {
                None => self.next_stored()?,
                Some(completion) => completion.next_base(self)?,
            };
            match root {
                Some(root) => walk.resolve(root)?,
                None => return walk.finish(),
            }
        }
    }

    /// Resolves all trees below the objects stored whole or, with a `completion`, below objects
    /// only the repository has.
    pub fn run(
        &self,
        completion: Option<&Completion<'_>>,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let total = Some(u64::from(self.family.delta_count));
        thread::scope(|scope| {
            let (done, finished) = channel();
            for _ in 0..self.context.options.threads.max(1) {
                let done = done.clone();
                scope.spawn(move || {
                    let result = self.work(completion);
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
                        let resolved = self.resolved.load(Ordering::Relaxed);
                        if let Err(error) = progress.update(Stage::Resolving, resolved, total) {
                            self.failed.store(true, Ordering::Relaxed);
                            outcome = outcome.and(Err(error.into()));
                        }
                    }
                }
            }
        })
    }
}
