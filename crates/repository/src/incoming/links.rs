//! Whether a pack names nothing that is not in it.
//!
//! Every object passes by once, when it is named. What it names is noted then, and in the end each
//! object that was named must have passed by itself, as the kind it was named as: then all that any
//! of them reaches has been received, and nothing need be walked (`git index-pack
//! --check-self-contained-and-connected` asks the same). A pack of which that cannot be said is no worse for it:
//! it is walked.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use object::{CommitRef, HashKind, Kind, ObjectId, TagRef, TreeIter};

use crate::walk::RecentIds;

/// Bytes of notes a thread gathers before they go where all threads' notes are.
const GATHERED_BYTES: usize = 64 << 10;

/// The notes of all threads.
pub(super) struct Links {
    hash: HashKind,
    /// With more ids than this, of objects that passed or were named, the question is given up.
    objects_max: usize,
    idle: Mutex<Vec<Gatherer>>,
    seen: Mutex<Seen>,
    given_up: AtomicBool,
}

/// By id: which kinds of object passed by under it (the low bits), and as which it was named (the
/// high ones).
enum Seen {
    Sha1(HashMap<[u8; 20], u8, IdKeys>),
    Sha256(HashMap<[u8; 32], u8, IdKeys>),
}

/// Ids come from strangers, who could choose them so that they fall together: keys nobody knows
/// keep them apart.
#[derive(Clone, Copy)]
struct IdKeys([u64; 2]);

impl Default for IdKeys {
    fn default() -> Self {
        let random = RandomState::new();
        // Odd, so that no bit is lost.
        IdKeys([random.hash_one(0), random.hash_one(1) | 1])
    }
}

impl BuildHasher for IdKeys {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher { state: self.0[0], factor: self.0[1] }
    }
}

/// Multiplies eight bytes at a time and folds the product: several times quicker than the
/// standard hasher, whose strength against many questions nobody needs here.
struct IdHasher {
    state: u64,
    factor: u64,
}

impl Hasher for IdHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let product =
                u128::from(self.state ^ u64::from_le_bytes(word)) * u128::from(self.factor);
            self.state = product as u64 ^ (product >> 64) as u64;
        }
    }

    /// All ids of a table have one length.
    #[inline]
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.state
    }
}

/// One thread's notes: ids, each with its bits behind it.
struct Gatherer {
    notes: Vec<u8>,
    /// Entries met lately. Apart, so that nothing named as one kind is taken for the other.
    recent_trees: RecentIds,
    recent_blobs: RecentIds,
}

fn passed_bit(kind: Kind) -> u8 {
    match kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 4,
        Kind::Tag => 8,
    }
}

fn named_bit(kind: Kind) -> u8 {
    passed_bit(kind) << 4
}

impl Gatherer {
    fn note(&mut self, id: &[u8], bits: u8) {
        self.notes.extend_from_slice(id);
        self.notes.push(bits);
    }

    /// Notes what an object names; `None` when its text makes no sense.
    fn gather(&mut self, kind: Kind, content: &[u8], links: &Links) -> Option<()> {
        let hash = links.hash;
        match kind {
            Kind::Blob => {}
            Kind::Commit => {
                let commit = CommitRef::parse(content, hash).ok()?;
                self.note(commit.tree.as_bytes(), named_bit(Kind::Tree));
                for parent in commit.parents() {
                    self.note(parent.as_bytes(), named_bit(Kind::Commit));
                    links.collect_much(self)?;
                }
            }
            Kind::Tag => {
                let tag = TagRef::parse(content, hash).ok()?;
                self.note(tag.target.as_bytes(), named_bit(tag.target_kind));
            }
            Kind::Tree => {
                for entry in TreeIter::new(content, hash) {
                    let entry = entry.ok()?;
                    if entry.mode.is_submodule() {
                        continue;
                    }
                    let (recent, kind) = match entry.mode.is_tree() {
                        true => (&mut self.recent_trees, Kind::Tree),
                        false => (&mut self.recent_blobs, Kind::Blob),
                    };
                    if !recent.has_met(entry.id) {
                        self.note(entry.id, named_bit(kind));
                        // Of one object alone there may be more than is ever kept.
                        links.collect_much(self)?;
                    }
                }
            }
        }
        Some(())
    }
}

impl Links {
    /// No notes yet, and none when there are more than `objects_max` ids.
    pub fn new(hash: HashKind, objects_max: usize) -> Self {
        let seen = match hash {
            HashKind::Sha1 => Seen::Sha1(HashMap::default()),
            HashKind::Sha256 => Seen::Sha256(HashMap::default()),
        };
        Links {
            hash,
            objects_max,
            idle: Mutex::default(),
            seen: Mutex::new(seen),
            given_up: AtomicBool::new(false),
        }
    }

    /// An object passes by.
    pub fn pass(&self, kind: Kind, id: &ObjectId, content: &[u8]) {
        self.gather(id, kind, |gatherer| gatherer.gather(kind, content, self));
    }

    /// An object passes by whose content is not at hand.
    pub fn pass_unseen(&self, kind: Kind, id: &ObjectId) {
        // Of any kind but a blob, what it names would be missed.
        self.gather(id, kind, |_| (kind == Kind::Blob).then_some(()));
    }

    fn gather(&self, id: &ObjectId, kind: Kind, act: impl FnOnce(&mut Gatherer) -> Option<()>) {
        if self.given_up.load(Ordering::Relaxed) {
            return;
        }
        let idle = lock(&self.idle).pop();
        let id_bytes = self.hash.len();
        let mut gatherer = idle.unwrap_or_else(|| Gatherer {
            notes: Vec::new(),
            recent_trees: RecentIds::new(id_bytes),
            recent_blobs: RecentIds::new(id_bytes),
        });
        gatherer.note(id.as_bytes(), passed_bit(kind));
        if act(&mut gatherer).and_then(|()| self.collect_much(&mut gatherer)).is_none() {
            return self.give_up();
        }
        lock(&self.idle).push(gatherer);
    }

    /// Forgets everything: the answer will be no.
    fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
        lock(&self.idle).clear();
        match &mut *lock(&self.seen) {
            Seen::Sha1(seen) => *seen = HashMap::default(),
            Seen::Sha256(seen) => *seen = HashMap::default(),
        }
    }

    /// Brings notes to those of all threads when there are many; `None` when the question is given up.
    fn collect_much(&self, gatherer: &mut Gatherer) -> Option<()> {
        if gatherer.notes.len() >= GATHERED_BYTES {
            self.collect(gatherer);
        }
        (!self.given_up.load(Ordering::Relaxed)).then_some(())
    }

    fn collect(&self, gatherer: &mut Gatherer) {
        let count = match &mut *lock(&self.seen) {
            Seen::Sha1(seen) => join(seen, &gatherer.notes),
            Seen::Sha256(seen) => join(seen, &gatherer.notes),
        };
        gatherer.notes.clear();
        if count > self.objects_max {
            self.give_up();
        }
    }

    /// Whether everything that was named passed by; to be asked when all objects have.
    pub fn are_closed(&self) -> bool {
        let gatherers = std::mem::take(&mut *lock(&self.idle));
        for mut gatherer in gatherers {
            self.collect(&mut gatherer);
        }
        if self.given_up.load(Ordering::Relaxed) {
            return false;
        }
        let is_closed = |bits: &u8| bits >> 4 & !bits == 0;
        match &*lock(&self.seen) {
            Seen::Sha1(seen) => seen.values().all(is_closed),
            Seen::Sha256(seen) => seen.values().all(is_closed),
        }
    }
}

/// Adds notes; how many ids there are then.
fn join<const N: usize>(seen: &mut HashMap<[u8; N], u8, IdKeys>, notes: &[u8]) -> usize {
    for note in notes.chunks_exact(N + 1) {
        let (id, bits) = note.split_first_chunk::<N>().expect("an id and its bits");
        *seen.entry(*id).or_default() |= bits[0];
    }
    seen.len()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of the lock panics")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> ObjectId {
        ObjectId::from_prefix(&[byte; 20], HashKind::Sha1)
    }

    fn tree(entries: &[(&str, u8)]) -> Vec<u8> {
        let mut text = Vec::new();
        for (head, byte) in entries {
            text.extend_from_slice(head.as_bytes());
            text.push(0);
            text.extend_from_slice(&[*byte; 20]);
        }
        text
    }

    fn commit(tree: u8, parent: Option<u8>) -> Vec<u8> {
        let parent = parent.map(|parent| format!("parent {}\n", id(parent))).unwrap_or_default();
        let who = "A <a@example.com> 1 +0000";
        format!("tree {}\n{parent}author {who}\ncommitter {who}\n\nx\n", id(tree)).into_bytes()
    }

    /// A commit 1 with tree 2, in which blob 3, tree 4 (empty) and a submodule 9.
    fn pass_all(links: &Links) {
        links.pass(Kind::Tree, &id(2), &tree(&[("100644 a", 3), ("40000 b", 4), ("160000 m", 9)]));
        links.pass(Kind::Commit, &id(1), &commit(2, None));
        links.pass_unseen(Kind::Blob, &id(3));
        links.pass(Kind::Tree, &id(4), b"");
    }

    fn links() -> Links {
        Links::new(HashKind::Sha1, 100)
    }

    #[test]
    fn what_names_only_what_is_there_is_closed() {
        let all = links();
        pass_all(&all);
        let tag = format!("object {}\ntype commit\ntag t\n\nx\n", id(1));
        all.pass(Kind::Tag, &id(5), tag.as_bytes());
        all.pass(Kind::Commit, &id(6), &commit(4, Some(1)));
        assert!(all.are_closed());
        assert!(all.are_closed(), "asked twice");
        assert!(links().are_closed(), "nothing names nothing");
    }

    #[test]
    fn a_name_of_what_is_not_there_is_found() {
        let cases: [(Kind, Vec<u8>); 7] = [
            (Kind::Commit, commit(2, Some(8))),
            (Kind::Commit, commit(8, None)),
            // Of another kind than it is named as.
            (Kind::Commit, commit(3, None)),
            (Kind::Tree, tree(&[("100644 x", 4)])),
            (Kind::Tree, tree(&[("40000 x", 3)])),
            (Kind::Tree, tree(&[("100644 x", 0)])),
            (Kind::Tag, format!("object {}\ntype tree\ntag t\n\nx\n", id(1)).into_bytes()),
        ];
        for (kind, content) in cases {
            let links = links();
            pass_all(&links);
            links.pass(kind, &id(7), &content);
            assert!(!links.are_closed(), "{}", String::from_utf8_lossy(&content));
        }
    }

    #[test]
    fn one_object_takes_no_more_memory_than_many() {
        let links = Links::new(HashKind::Sha1, 10_000);
        // A tree of a million entries that are all different, and one of two ids that take turns where
        // those met lately are kept.
        let entry =
            |number: u32, id: [u8; 20]| [format!("100644 {number}\0").as_bytes(), &id].concat();
        let different = |number: u32| {
            let mut id = [1; 20];
            id[..4].copy_from_slice(&number.to_le_bytes());
            entry(number, id)
        };
        let turns = |number: u32| {
            let mut id = [1; 20];
            id[19] = (number % 2) as u8;
            entry(number, id)
        };
        let tree: Vec<u8> = (0..200_000).flat_map(turns).collect();
        links.pass(Kind::Tree, &id(1), &tree);
        assert!(!links.given_up.load(Ordering::Relaxed));
        let bytes: usize = lock(&links.idle).iter().map(|one| one.notes.capacity()).sum();
        assert!(bytes <= 4 * GATHERED_BYTES, "{bytes}");
        let tree: Vec<u8> = (0..200_000).flat_map(different).collect();
        links.pass(Kind::Tree, &id(2), &tree);
        assert!(links.given_up.load(Ordering::Relaxed));
        assert!(lock(&links.idle).is_empty() && !links.are_closed());
    }

    #[test]
    fn what_is_not_understood_is_given_up() {
        let broken = links();
        pass_all(&broken);
        broken.pass(Kind::Tree, &id(7), b"100644 x");
        pass_all(&broken);
        assert!(!broken.are_closed());
        let unseen = links();
        pass_all(&unseen);
        unseen.pass_unseen(Kind::Tree, &id(7));
        assert!(!unseen.are_closed());
        let few = Links::new(HashKind::Sha1, 3);
        pass_all(&few);
        assert!(!few.are_closed());
    }
}
