//! Finding the entries of a tree that have not been looked at, without reading the rest.
//!
//! A tree in a pack is mostly a delta: pieces copied from another version of the same
//! folder, and a few bytes of its own. Where that other version is walked too, every entry
//! that was copied whole is looked at there; only entries with bytes of their own are new.
//! The base's entry boundaries are kept, so that a copied piece is recognised as whole
//! entries and nothing is taken for an entry that was none in the base.

use std::sync::Arc;

use object::{HashKind, Kind, TreeIter};
use pack::delta::{Instruction, Instructions};

use crate::error::{Error, Result};
use crate::objects::{
    BESIDE_PART, Cached, DeltaCache, Objects, PackHandle, Placed, Reader, Slot, entry_header,
    inflate,
};
use crate::repository::Settings;

/// A tree and its entries' boundaries.
pub(super) struct ScannedTree {
    slot: Slot,
    data: Arc<Vec<u8>>,
    /// Where each entry begins; then the end.
    starts: Vec<u32>,
}

impl ScannedTree {
    fn bytes(&self) -> usize {
        self.data.len() + self.starts.len() * size_of::<u32>()
    }
}

/// A tree and those of its entries that have to be looked at.
pub(crate) struct Scan {
    tree: Arc<ScannedTree>,
    fresh: Fresh,
}

enum Fresh {
    All,
    /// Where they begin.
    These(Vec<u32>),
}

impl Scan {
    /// The entries to look at, each from its beginning (more entries may follow behind it).
    pub fn fresh(&self) -> impl Iterator<Item = &[u8]> {
        let (all, these) = match &self.fresh {
            Fresh::All => (&self.tree.starts[..self.tree.starts.len() - 1], &[][..]),
            Fresh::These(starts) => (&[][..], starts.as_slice()),
        };
        all.iter().chain(these).map(|start| &self.tree.data[*start as usize..])
    }
}

/// Scans trees, remembering those it scanned lately.
pub(crate) struct TreeScanner {
    scanned: DeltaCache<Arc<ScannedTree>>,
    delta: Vec<u8>,
}

impl TreeScanner {
    /// A scanner that remembers as much as a request may, beside its readers.
    pub fn of_request(settings: &Settings) -> Self {
        let bytes = settings.delta_cache_bytes;
        let scanned = DeltaCache::sharing(bytes - 2 * (bytes / BESIDE_PART), &settings.memory);
        TreeScanner { scanned, delta: Vec::new() }
    }

    /// A scanner with a cache of its own.
    pub fn new(cache_bytes: usize) -> Self {
        TreeScanner { scanned: DeltaCache::new(cache_bytes), delta: Vec::new() }
    }

    /// Reads a tree and tells its entries that may be new. `is_walked` tells of another tree
    /// whether all of its entries were looked at in this walk or will be before it ends.
    pub fn scan(
        &mut self,
        objects: &Objects,
        reader: &mut Reader,
        slot: Slot,
        is_walked: impl Fn(Slot) -> bool,
    ) -> Result<Scan> {
        let Some((placed, pack, offset)) = objects.place(slot)? else {
            let tree = Arc::new(whole(objects, objects.read_slot(slot, reader)?, slot)?);
            return Ok(Scan { tree, fresh: Fresh::All });
        };
        let header = entry_header(&pack, offset)?;
        let base = header.base_offset(offset).map_err(pack.named())?;
        let base = match base {
            Some(base) => self.base(objects, reader, &placed, &pack, base)?,
            None => None,
        };
        let Some(base) = base else {
            let tree = Arc::new(whole(objects, reader.read(objects, &pack, offset)?, slot)?);
            self.scanned.insert((pack.serial, offset), tree.clone(), tree.bytes());
            return Ok(Scan { tree, fresh: Fresh::All });
        };
        inflate(&pack, offset, &header, &mut self.delta)?;
        let mut data = Vec::new();
        pack::delta::apply(&base.data, &self.delta, &mut data, reader.object_bytes_max())
            .map_err(pack.named())?;
        let (starts, fresh) = entries_of_delta(&base, &self.delta, &data, objects.hash())
            .map_err(|reason| bad(objects, slot, reason))?;
        let tree = Arc::new(ScannedTree { slot, data: Arc::new(data), starts });
        self.scanned.insert((pack.serial, offset), tree.clone(), tree.bytes());
        let fresh = if is_walked(base.slot) { Fresh::These(fresh) } else { Fresh::All };
        Ok(Scan { tree, fresh })
    }

    /// The tree at `offset` that another one is a delta on; `None` when the walk knows that
    /// object from elsewhere.
    fn base(
        &mut self,
        objects: &Objects,
        reader: &mut Reader,
        placed: &Placed,
        pack: &Arc<PackHandle>,
        offset: u64,
    ) -> Result<Option<Arc<ScannedTree>>> {
        if let Some(known) = self.scanned.get((pack.serial, offset)) {
            return Ok(Some(known));
        }
        let Some(slot) = placed.slot_at(pack, offset)? else { return Ok(None) };
        let tree = Arc::new(whole(objects, reader.read(objects, pack, offset)?, slot)?);
        self.scanned.insert((pack.serial, offset), tree.clone(), tree.bytes());
        Ok(Some(tree))
    }
}

/// A tree whose every entry is found by reading all of them.
fn whole(objects: &Objects, object: Cached, slot: Slot) -> Result<ScannedTree> {
    if object.kind != Kind::Tree {
        let id = objects.id(slot)?;
        return Err(Error::WrongKind { id, expected: Kind::Tree, found: object.kind });
    }
    let data = object.data;
    let mut starts = Vec::with_capacity(data.len() / 32 + 1);
    let mut next = 0;
    while next < data.len() {
        starts.push(next as u32);
        next = entry_end(&data, next, objects.hash()).map_err(|e| bad(objects, slot, e))?;
    }
    starts.push(next as u32);
    Ok(ScannedTree { slot, data, starts })
}

/// Where the entries of a delta's result begin (and the end), and which of them were not
/// copied whole. `data` is the result.
fn entries_of_delta(
    base: &ScannedTree,
    delta: &[u8],
    data: &[u8],
    hash: HashKind,
) -> std::result::Result<(Vec<u32>, Vec<u32>), String> {
    let mut starts: Vec<u32> = Vec::with_capacity(base.starts.len() + 4);
    let mut fresh = Vec::new();
    // Where the next entry begins, and where the present instruction's bytes do.
    let (mut next, mut at) = (0, 0);
    for instruction in Instructions::new(delta).map_err(|error| error.to_string())? {
        let (copied_from, len) = match instruction.map_err(|error| error.to_string())? {
            Instruction::Copy { offset, len } => (Some(offset), len),
            Instruction::Insert(bytes) => (None, bytes.len()),
        };
        while next < at + len {
            let whole =
                copied_from.and_then(|from| whole_entries(base, from + (next - at), from + len));
            if let Some(whole) = whole {
                let shift = (next as u32).wrapping_sub(base.starts[whole.start]);
                let copied = &base.starts[whole.start..whole.end];
                starts.extend(copied.iter().map(|start| start.wrapping_add(shift)));
                next = base.starts[whole.end].wrapping_add(shift) as usize;
            } else {
                starts.push(next as u32);
                fresh.push(next as u32);
                next = entry_end(data, next, hash)?;
            }
        }
        at += len;
    }
    starts.push(next as u32);
    Ok((starts, fresh))
}

/// The base's entries that lie whole in `from..to`, the first of them beginning at `from`.
fn whole_entries(base: &ScannedTree, from: usize, to: usize) -> Option<std::ops::Range<usize>> {
    let first = base.starts.binary_search(&u32::try_from(from).ok()?).ok()?;
    let past = first + base.starts[first..].partition_point(|start| *start as usize <= to) - 1;
    (past > first).then_some(first..past)
}

fn entry_end(data: &[u8], start: usize, hash: HashKind) -> std::result::Result<usize, String> {
    let mut entries = TreeIter::new(&data[start..], hash);
    match entries.next() {
        Some(Ok(_)) => Ok(data.len() - entries.remaining().len()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("it ends too early".into()),
    }
}

fn bad(objects: &Objects, slot: Slot, reason: String) -> Error {
    match objects.id(slot) {
        Ok(id) => Error::BadObject { id, reason },
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(entries: &[(&str, u8)]) -> Vec<u8> {
        let entry = |(name, id): &(&str, u8)| {
            [b"100644 ".as_slice(), name.as_bytes(), b"\0", &[*id; 20]].concat()
        };
        entries.iter().flat_map(entry).collect()
    }

    fn scanned(data: Vec<u8>) -> ScannedTree {
        let mut starts = vec![0];
        while let Some(&last) = starts.last()
            && (last as usize) < data.len()
        {
            starts.push(entry_end(&data, last as usize, HashKind::Sha1).expect("a tree") as u32);
        }
        ScannedTree { slot: Slot(0), data: Arc::new(data), starts }
    }

    /// A delta of (offset, len) copies and inserted bytes.
    fn delta(base: &[u8], pieces: &[Result<(usize, usize), &[u8]>]) -> (Vec<u8>, Vec<u8>) {
        let mut result = Vec::new();
        let mut body = Vec::new();
        for piece in pieces {
            match piece {
                Ok((offset, len)) => {
                    result.extend_from_slice(&base[*offset..offset + len]);
                    body.extend([0x80 | 1 | 2 | 16 | 32]);
                    body.extend([*offset as u8, (offset >> 8) as u8, *len as u8, (len >> 8) as u8]);
                }
                Err(bytes) => {
                    result.extend_from_slice(bytes);
                    body.push(bytes.len() as u8);
                    body.extend_from_slice(bytes);
                }
            }
        }
        let mut delta = Vec::new();
        for mut size in [base.len(), result.len()] {
            while size >= 128 {
                delta.push(size as u8 | 128);
                size >>= 7;
            }
            delta.push(size as u8);
        }
        delta.extend(body);
        (delta, result)
    }

    fn check(pieces: &[Result<(usize, usize), &[u8]>], fresh_names: &[&str]) {
        let base = scanned(tree(&[("a", 1), ("b", 2), ("c", 3), ("d", 4)]));
        let (delta, result) = delta(&base.data, pieces);
        let (starts, fresh) =
            entries_of_delta(&base, &delta, &result, HashKind::Sha1).expect("a tree");
        assert_eq!(starts, scanned(result.clone()).starts);
        let names: Vec<String> = fresh
            .iter()
            .map(|start| {
                let entry = TreeIter::new(&result[*start as usize..], HashKind::Sha1).next();
                entry.expect("an entry").expect("a good one").name.to_string()
            })
            .collect();
        assert_eq!(names, fresh_names);
    }

    #[test]
    fn only_entries_with_bytes_of_their_own_are_fresh() {
        // Every entry has 29 bytes.
        check(&[Ok((0, 116))], &[]);
        check(&[Ok((0, 38)), Err(&[9; 20]), Ok((58, 58))], &["b"]);
        check(&[Ok((29, 87))], &[]);
        check(&[Err(&tree(&[("0", 7)])), Ok((0, 116))], &["0"]);
        check(&[Ok((0, 29)), Ok((0, 29))], &[]);
        check(&[Ok((0, 30)), Ok((30, 86))], &["b"]);
    }

    #[test]
    fn copies_out_of_step_with_the_bases_entries_are_read_anew() {
        // The id of `a` and the beginning of `b` make no entry of the base.
        let odd = tree(&[("z", 5)]);
        check(&[Err(&odd[..9]), Ok((9, 20)), Ok((58, 58))], &["z"]);
    }
}
