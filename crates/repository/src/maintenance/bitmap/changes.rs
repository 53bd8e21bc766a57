//! What came with each commit: the trees and blobs its tree holds and its parents' trees do
//! not hold at the same path.
//!
//! What a commit reaches is what came with it and with all commits before it.

use std::cmp::Ordering;
use std::sync::Arc;

use object::{Kind, TreeEntry, TreeIter};
use pack::bitmap::name_hash;
use pack::bitmap::write::Kinds;

use super::covered::{Covered, Stop};
use super::history::History;
use crate::progress::{Progress, Stage};

/// How many commits pass between two progress reports.
const REPORT_EVERY: u32 = 256;

/// What a walk over all commits and their trees finds.
pub(super) struct Changes {
    pub lists: Lists,
    /// The kinds of what was met.
    pub kinds: Kinds,
    /// By position, the hash of the path at which each object was met first.
    pub name_hashes: Option<Vec<u32>>,
}

/// What came with each commit.
pub(super) struct Lists {
    /// Where each commit's part of `items` begins; then the end.
    starts: Vec<usize>,
    /// Bits; with [`WHOLE`], those of trees whose contents came with the commit as well and
    /// are not listed.
    items: Vec<u32>,
}

/// Bits are below 2^31, as positions are.
const WHOLE: u32 = 1 << 31;

/// Something that came with a commit.
pub(super) enum Item {
    /// An object.
    Object(u32),
    /// A tree that was known before, and all it holds.
    Whole(u32),
}

impl Lists {
    /// What came with a commit.
    pub fn of(&self, number: u32) -> impl Iterator<Item = Item> + '_ {
        let at = number as usize;
        self.items[self.starts[at]..self.starts[at + 1]].iter().map(|item| match item & WHOLE {
            0 => Item::Object(*item),
            _ => Item::Whole(item & !WHOLE),
        })
    }
}

impl Changes {
    pub fn find(
        covered: &mut Covered,
        history: &History,
        with_name_hashes: bool,
        progress: &mut dyn Progress,
    ) -> Result<Changes, Stop> {
        let mut finder = Finder {
            kinds: Kinds::new(covered.count()),
            name_hashes: with_name_hashes.then(|| vec![0; covered.count() as usize]),
            items: Vec::new(),
            pending: Vec::new(),
            covered,
        };
        let total = history.count() as u32;
        let mut starts = Vec::with_capacity(history.count() + 1);
        for number in 0..total {
            starts.push(finder.items.len());
            finder.commit(history, number)?;
            if number.is_multiple_of(REPORT_EVERY) {
                progress.update(Stage::Counting, number.into(), Some(total.into()))?;
            }
        }
        starts.push(finder.items.len());
        progress.finish(Stage::Counting, total.into())?;
        let Finder { kinds, name_hashes, items, .. } = finder;
        Ok(Changes { lists: Lists { starts, items }, kinds, name_hashes })
    }
}

struct Finder<'a> {
    covered: &'a mut Covered,
    kinds: Kinds,
    name_hashes: Option<Vec<u32>>,
    items: Vec<u32>,
    pending: Vec<Pending>,
}

/// A tree to be compared with those at the same path of the commit's parents, all different.
struct Pending {
    tree: u32,
    others: Vec<u32>,
    path_hash: u32,
}

impl Finder<'_> {
    fn commit(&mut self, history: &History, number: u32) -> Result<(), Stop> {
        let position = history.position(number);
        self.kinds.set(self.covered.bit(position), Kind::Commit);
        let tree = history.tree(number);
        let parents = history.parents(number).iter();
        let mut others: Vec<u32> = parents.map(|parent| history.tree(*parent)).collect();
        others.sort_unstable();
        others.dedup();
        if !others.contains(&tree) {
            self.new_tree(tree, others, 0);
        }
        while let Some(pending) = self.pending.pop() {
            self.compare(&pending)?;
        }
        Ok(())
    }

    /// Notes an object; whether it was met for the first time.
    fn met(&mut self, position: u32, kind: Kind, path_hash: u32) -> bool {
        let new = self.kinds.set(self.covered.bit(position), kind);
        if new && let Some(hashes) = &mut self.name_hashes {
            hashes[position as usize] = path_hash;
        }
        new
    }

    fn new_tree(&mut self, tree: u32, others: Vec<u32>, path_hash: u32) {
        let new = self.met(tree, Kind::Tree, path_hash);
        let bit = self.covered.bit(tree);
        if !new && others.is_empty() {
            // A folder that moved or came back: listing its contents each time could take
            // any amount of memory.
            self.items.push(bit | WHOLE);
            return;
        }
        self.items.push(bit);
        self.pending.push(Pending { tree, others, path_hash });
    }

    fn compare(&mut self, pending: &Pending) -> Result<(), Stop> {
        let hash = self.covered.hash();
        let data = self.covered.tree(pending.tree)?;
        let mut others = Vec::with_capacity(pending.others.len());
        for tree in &pending.others {
            others.push((*tree, self.covered.tree(*tree)?));
        }
        let mut others: Vec<Other<'_>> =
            others.iter().map(|(tree, data)| Other::new(*tree, data)).collect();
        let folder = match pending.path_hash {
            0 => 0,
            path_hash => name_hash::extend(path_hash, b"/"),
        };
        let mut entries = TreeIter::new(&data, hash);
        loop {
            let rest = entries.remaining();
            let Some(entry) = entries.next() else { return Ok(()) };
            let entry = entry.map_err(|error| self.covered.bad_tree(pending.tree, &error))?;
            let bytes = &rest[..rest.len() - entries.remaining().len()];
            let mut unchanged = false;
            let mut matched = Vec::new();
            for other in &mut others {
                match other.find(bytes, &entry, self.covered)? {
                    Some(id) if id == entry.id => unchanged = true,
                    Some(id) if entry.mode.is_tree() => matched.push(id),
                    _ => {}
                }
            }
            if unchanged || entry.mode.is_submodule() {
                continue;
            }
            let position = self.covered.find(&entry.oid(hash))?;
            let path_hash = name_hash::extend(folder, entry.name);
            if entry.mode.is_tree() {
                let mut same_path = Vec::with_capacity(matched.len());
                for id in matched {
                    same_path.push(self.covered.find(&object::ObjectId::from_prefix(id, hash))?);
                }
                same_path.sort_unstable();
                same_path.dedup();
                self.new_tree(position, same_path, path_hash);
            } else {
                self.met(position, Kind::Blob, path_hash);
                self.items.push(self.covered.bit(position));
            }
        }
    }
}

/// A tree that is passed in step with the one it is compared with.
struct Other<'a> {
    position: u32,
    rest: &'a [u8],
}

impl<'a> Other<'a> {
    fn new(position: u32, data: &'a Arc<Vec<u8>>) -> Self {
        Other { position, rest: data }
    }

    /// The id of the entry of the same name that is a folder or a file as `entry` is.
    /// `bytes` are those of `entry`.
    #[inline]
    fn find(
        &mut self,
        bytes: &[u8],
        entry: &TreeEntry<'_>,
        covered: &Covered,
    ) -> Result<Option<&'a [u8]>, Stop> {
        let hash_len = covered.hash().len();
        if let Some(rest) = self.rest.strip_prefix(bytes) {
            let id = &self.rest[bytes.len() - hash_len..bytes.len()];
            self.rest = rest;
            return Ok(Some(id));
        }
        loop {
            let mut entries = TreeIter::new(self.rest, covered.hash());
            let Some(own) = entries.next() else { return Ok(None) };
            let own = own.map_err(|error| covered.bad_tree(self.position, &error))?;
            match order(&own, entry) {
                Ordering::Greater => return Ok(None),
                Ordering::Equal => {
                    self.rest = entries.remaining();
                    return Ok(Some(own.id));
                }
                Ordering::Less => self.rest = entries.remaining(),
            }
        }
    }
}

/// The order entries have in a tree: that of their names, a folder's with a slash behind it.
fn order(a: &TreeEntry<'_>, b: &TreeEntry<'_>) -> Ordering {
    let common = a.name.len().min(b.name.len());
    let end = |entry: &TreeEntry<'_>| match entry.name.get(common) {
        Some(byte) => *byte,
        None if entry.mode.is_tree() => b'/',
        None => 0,
    };
    let by_end = || end(a).cmp(&end(b)).then(a.name.len().cmp(&b.name.len()));
    a.name[..common].cmp(&b.name[..common]).then_with(by_end)
}
