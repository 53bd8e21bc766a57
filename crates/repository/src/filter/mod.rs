//! Object filters of partial clones (`--filter`), and the sieve a walk asks.

mod sparse;

use object::{EntryMode, Kind};
use rustc_hash::FxHashMap;

use crate::objects::Slot;

pub use sparse::SparsePatterns;

/// What a partial clone leaves out (rev-list's `--filter`).
#[derive(Debug, Clone)]
pub enum Filter {
    /// `blob:none`
    BlobNone,
    /// `blob:limit=N`: no blobs of N bytes or more.
    BlobLimit(u64),
    /// `tree:N`: nothing N or more levels below a commit's tree, which is level 0.
    TreeDepth(u64),
    /// `object:type=T`
    ObjectType(Kind),
    /// `sparse:oid=B`, its blob read.
    Sparse(SparsePatterns),
    /// Only what every part lets pass.
    Combine(Vec<Filter>),
}

/// A filter taken apart into the questions a walk asks, with what it has to remember.
#[derive(Default)]
pub(crate) struct Sieve {
    no_blobs: bool,
    blob_limit: Option<u64>,
    depth_limit: Option<u64>,
    only: Option<Kind>,
    /// Two different types were asked for: nothing passes.
    nothing: bool,
    sparse: Vec<SparsePatterns>,
    /// The least depth each tree was met at, while the depth counts.
    least_depth: FxHashMap<Slot, u64>,
    deeper_look: Option<Slot>,
    /// Trees done with: walked without being sent, or walked with nothing left out.
    complete: FxHashMap<Slot, ()>,
}

impl Sieve {
    pub fn new(filter: Option<&Filter>) -> Self {
        let mut sieve = Sieve::default();
        if let Some(filter) = filter {
            sieve.add(filter);
        }
        sieve
    }

    fn add(&mut self, filter: &Filter) {
        let least = |a: Option<u64>, b: u64| Some(a.map_or(b, |a| a.min(b)));
        match filter {
            Filter::BlobNone => self.no_blobs = true,
            Filter::BlobLimit(limit) => self.blob_limit = least(self.blob_limit, *limit),
            Filter::TreeDepth(depth) => self.depth_limit = least(self.depth_limit, *depth),
            Filter::ObjectType(kind) => {
                self.nothing |= self.only.is_some_and(|only| only != *kind);
                self.only = Some(*kind);
            }
            Filter::Sparse(patterns) => self.sparse.push(patterns.clone()),
            Filter::Combine(parts) => parts.iter().for_each(|part| self.add(part)),
        }
    }

    fn passes(&self, kind: Kind) -> bool {
        !self.nothing && self.only.is_none_or(|only| only == kind)
    }

    pub fn lets_commits_pass(&self) -> bool {
        self.passes(Kind::Commit)
    }

    pub fn lets_trees_pass(&self) -> bool {
        self.passes(Kind::Tree)
    }

    fn lets_blobs_pass(&self) -> bool {
        self.passes(Kind::Blob) && !self.no_blobs
    }

    /// Whether no tree has to be read at all.
    pub fn stops_at_commits(&self) -> bool {
        self.depth_limit == Some(0) || (!self.lets_trees_pass() && !self.lets_blobs_pass())
    }

    /// Whether entries of this mode matter.
    #[inline]
    pub fn cares_for(&self, mode: EntryMode) -> bool {
        mode.is_tree() || self.lets_blobs_pass()
    }

    /// Whether blobs that lie at this depth may pass.
    #[inline]
    pub fn wants_blobs_at(&self, depth: u64) -> bool {
        self.lets_blobs_pass() && self.depth_limit.is_none_or(|limit| depth < limit)
    }

    /// Blobs of so many bytes or more are left out.
    pub fn blob_limit(&self) -> Option<u64> {
        self.blob_limit
    }

    pub fn depends_on_depth(&self) -> bool {
        self.depth_limit.is_some()
    }

    pub fn needs_path(&self) -> bool {
        !self.sparse.is_empty()
    }

    pub fn path_matches(&self, path: &[u8]) -> bool {
        self.sparse.iter().all(|patterns| patterns.includes(path))
    }

    /// Whether a tree met at this depth is to be read: within the limit, and nearer to
    /// the top than whenever it was met before.
    pub fn enters_tree(&mut self, slot: Slot, depth: u64) -> bool {
        let Some(limit) = self.depth_limit else { return true };
        if depth >= limit {
            return false;
        }
        self.deeper_look = None;
        match self.least_depth.get_mut(&slot) {
            Some(least) if *least <= depth => false,
            Some(least) => {
                *least = depth;
                self.deeper_look = Some(slot);
                true
            }
            None => {
                self.least_depth.insert(slot, depth);
                true
            }
        }
    }

    /// Whether a tree already sent is entered again, because it lies nearer to the top here.
    pub fn is_deeper_look(&self, slot: Slot) -> bool {
        self.deeper_look == Some(slot)
    }

    /// Whether a tree that is not sent itself is met for the first time.
    pub fn first_visit(&mut self, slot: Slot) -> bool {
        self.complete.insert(slot, ()).is_none() || self.is_deeper_look(slot)
    }

    pub fn is_complete(&self, slot: Slot) -> bool {
        self.complete.contains_key(&slot)
    }

    pub fn set_complete(&mut self, slot: Slot) {
        self.complete.insert(slot, ());
    }

    /// What bitmaps can answer by object types and entry sizes alone.
    pub fn by_type(&self) -> Option<TypeSieve> {
        let depth_answers = self.depth_limit.is_none_or(|limit| limit == 0);
        (self.sparse.is_empty() && depth_answers).then(|| TypeSieve {
            trees: self.lets_trees_pass() && self.depth_limit.is_none(),
            blobs: self.lets_blobs_pass() && self.depth_limit.is_none(),
            commits: self.lets_commits_pass(),
            tags: self.passes(Kind::Tag),
            blob_limit: self.blob_limit,
        })
    }
}

/// A filter that looks at nothing but an object's type and size.
pub(crate) struct TypeSieve {
    pub commits: bool,
    pub tags: bool,
    pub trees: bool,
    pub blobs: bool,
    pub blob_limit: Option<u64>,
}
