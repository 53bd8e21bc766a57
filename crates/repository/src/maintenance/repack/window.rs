//! Trying an object with those before it: which of them makes the smallest delta.
//!
//! The rules are those of git's `find_deltas` and `try_delta`, so that window and depth mean
//! what git's users know: a delta has to save half of the object, the less may be spent the
//! deeper it would lie, and what was a good base stays in the window longer.

use std::collections::VecDeque;
use std::sync::Arc;

use object::Kind;
use pack::delta::create::BaseIndex;

use super::RepackOptions;
use super::kept::Keeper;
use super::table::{Entry, Form};
use crate::error::{Error, Result};
use crate::objects::{Objects, Reader, Slot};

/// A base is not tried for a target smaller than it by this factor.
const SHRINKS_MAX: u64 = 32;

/// The objects that were tried last, and what is needed to try another.
pub(super) struct Window<'a> {
    objects: &'a Objects,
    options: &'a RepackOptions,
    keeper: Keeper<'a>,
    reader: Reader,
    /// Possible bases, the newest last.
    sources: VecDeque<Source>,
    /// The delta that is being made, and the best one so far.
    delta: Vec<u8>,
    best: Vec<u8>,
}

/// An object of the window.
struct Source {
    slot: Slot,
    rank: u32,
    kind: Kind,
    size: u64,
    depth: u16,
    /// The pack it lies in, where stored deltas are kept.
    pack: Option<u32>,
    data: Option<Arc<Vec<u8>>>,
    index: Option<BaseIndex>,
}

/// The best base so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    /// Its place in the window.
    at: usize,
    /// Bytes of the delta.
    size: usize,
    /// The depth at which the target lies with it.
    depth: u16,
}

impl Source {
    fn memory_bytes(&self) -> usize {
        self.data.as_ref().map_or(0, |data| data.len())
            + self.index.as_ref().map_or(0, BaseIndex::memory_bytes)
    }

    fn content(&mut self, objects: &Objects, reader: &mut Reader) -> Result<Arc<Vec<u8>>> {
        if let Some(data) = &self.data {
            return Ok(data.clone());
        }
        let data = objects.read_slot(self.slot, reader)?.data;
        if data.len() as u64 != self.size {
            let reason = "its size is not what its entry says".into();
            return Err(Error::BadObject { id: objects.id(self.slot)?, reason });
        }
        self.data = Some(data.clone());
        Ok(data)
    }
}

impl<'a> Window<'a> {
    pub fn new(objects: &'a Objects, options: &'a RepackOptions, keeper: Keeper<'a>) -> Self {
        let object_bytes_max = objects.settings().object_bytes_max;
        Window {
            objects,
            options,
            keeper,
            reader: Reader::new(options.read_cache_bytes, object_bytes_max),
            sources: VecDeque::with_capacity(options.window.min(4096) + 1),
            delta: Vec::new(),
            best: Vec::new(),
        }
    }

    /// Forgets the objects: the next ones have nothing to do with them.
    pub fn clear(&mut self) {
        self.sources.clear();
    }

    /// Makes the entry a delta on one of those before it, if that pays, and lets it take part.
    pub fn pass(&mut self, entry: &mut Entry) -> Result<()> {
        self.stay_within_memory();
        let mut target = self.source(entry)?;
        let depth_max = self.options.depth.saturating_sub(entry.height);
        let found = match depth_max {
            0 => None,
            _ => self.best_base(&mut target, entry.form, depth_max)?,
        };
        let Some(found) = found else {
            self.sources.push_back(target);
            self.stay_within_window();
            return Ok(());
        };
        self.make_delta(entry, found);
        target.depth = found.depth;
        // At the limit it can be nobody's base, and takes no place.
        if found.depth < depth_max {
            self.sources.push_back(target);
            if let Some(base) = self.sources.remove(found.at) {
                self.sources.push_back(base);
            }
            self.stay_within_window();
        }
        Ok(())
    }

    fn source(&self, entry: &Entry) -> Result<Source> {
        let pack = match self.options.reuse_deltas {
            true => self.objects.place(entry.slot)?.map(|(_, pack, _)| pack.serial),
            false => None,
        };
        let Entry { slot, rank, kind, size, depth, .. } = *entry;
        Ok(Source { slot, rank, kind, size, depth, pack, data: None, index: None })
    }

    fn best_base(
        &mut self,
        target: &mut Source,
        form: Form,
        depth_max: u16,
    ) -> Result<Option<Found>> {
        let mut best: Option<Found> = None;
        for at in (0..self.sources.len()).rev() {
            let source = &mut self.sources[at];
            if source.kind != target.kind {
                break;
            }
            // Whoever packed the two together did not make one a delta on the other.
            if form == Form::Copied && target.pack.is_some() && target.pack == source.pack {
                continue;
            }
            let hash_bytes = self.objects.hash().len() as u64;
            let Some(max) = bytes_max(target.size, source, best, depth_max, hash_bytes) else {
                continue;
            };
            let content = target.content(self.objects, &mut self.reader)?;
            let base = source.content(self.objects, &mut self.reader)?;
            let index = source.index.get_or_insert_with(|| BaseIndex::new(&base));
            if !index.create(&base, &content, max, &mut self.delta) {
                continue;
            }
            let new = Found { at, size: self.delta.len(), depth: source.depth + 1 };
            // Of equal size only the one that lies less deep is better.
            if best.is_some_and(|best| new.size == best.size && new.depth >= best.depth) {
                continue;
            }
            std::mem::swap(&mut self.delta, &mut self.best);
            best = Some(new);
        }
        Ok(best)
    }

    fn make_delta(&mut self, entry: &mut Entry, found: Found) {
        entry.form = Form::NewDelta;
        entry.base = self.sources[found.at].rank;
        entry.depth = found.depth;
        entry.delta_size = found.size as u32;
        if self.keeper.has_room() {
            self.delta.clear();
            pack::inflate::deflate(&self.best, self.options.compression_level, &mut self.delta);
            if let Some(address) = self.keeper.keep(&self.delta) {
                entry.kept_at = address;
            }
        }
    }

    fn stay_within_window(&mut self) {
        while self.sources.len() > self.options.window {
            self.sources.pop_front();
        }
    }

    fn stay_within_memory(&mut self) {
        let limit = match self.options.window_memory_bytes {
            0 => usize::MAX,
            limit => limit,
        };
        let mut used: usize = self.sources.iter().map(Source::memory_bytes).sum();
        while used > limit && self.sources.len() > 1 {
            used -= self.sources.pop_front().map_or(0, |source| source.memory_bytes());
        }
    }
}

/// How many bytes a delta on `source` may have to be worth it; `None` when it is not tried.
fn bytes_max(
    target_size: u64,
    source: &Source,
    best: Option<Found>,
    depth_max: u16,
    hash_bytes: u64,
) -> Option<usize> {
    let left = depth_max.checked_sub(source.depth).filter(|left| *left > 0)?;
    let (bytes, depth) = match best {
        Some(best) => (best.size as u64, best.depth),
        None => ((target_size / 2).saturating_sub(hash_bytes), 1),
    };
    let bytes = bytes * u64::from(left) / (u64::from(depth_max) + 1 - u64::from(depth));
    let must_insert = target_size.saturating_sub(source.size);
    let hopeless = must_insert >= bytes || target_size < source.size / SHRINKS_MAX;
    usize::try_from(bytes).ok().filter(|bytes| *bytes > 0 && !hopeless)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(size: u64, depth: u16) -> Source {
        let slot = Slot(0);
        let kind = Kind::Blob;
        Source { slot, rank: 0, kind, size, depth, pack: None, data: None, index: None }
    }

    #[test]
    fn what_a_delta_may_cost_shrinks_with_depth() {
        let max = |size, depth, best| bytes_max(1000, &source(size, depth), best, 50, 20);
        assert_eq!(max(1000, 0, None), Some(480));
        assert_eq!(max(1000, 25, None), Some(240));
        assert_eq!(max(1000, 50, None), None);
        assert_eq!(max(520, 0, None), None, "what is missing would have to be inserted");
        assert_eq!(max(33_000, 0, None), None, "too large a base");
        let best = Found { at: 0, size: 100, depth: 10 };
        assert_eq!(max(1000, 9, Some(best)), Some(100));
        assert_eq!(max(1000, 20, Some(best)), Some(73));
    }
}
