//! Writing a .bitmap file, version 1, with or without its two extensions.
//!
//! Bitmaps of commits that are near each other differ in few places: each is stored as the
//! difference to one of those before it, where that is smaller.

use std::io::Write;

use object::{Kind, ObjectId};

use super::{FULL_DAG, HASH_CACHE, HEADER_BYTES, LOOKUP_TABLE, SIGNATURE};
use crate::Error;
use crate::bitset::BitSet;
use crate::checksum::ChecksumWriter;
use crate::ewah::Ewah;
use crate::ewah::write::{Encoder, encode};

/// How many earlier bitmaps each is compared with, as in git.
const CANDIDATES: usize = 10;
/// The longest chain of differences a reader has to put together. Git has no limit; one
/// bitmap stored whole in so many costs little and saves reading the whole file for a tip.
const CHAIN_MAX: u8 = 24;
const NO_ROW: u32 = u32::MAX;

/// Which objects are of which kind, by bit.
#[derive(Debug, Clone)]
pub struct Kinds {
    commits: BitSet,
    trees: BitSet,
    blobs: BitSet,
    tags: BitSet,
}

impl Kinds {
    /// Nothing known of any of `bit_count` objects.
    pub fn new(bit_count: u32) -> Self {
        let empty = BitSet::new(bit_count);
        Kinds { commits: empty.clone(), trees: empty.clone(), blobs: empty.clone(), tags: empty }
    }

    /// The objects of a kind.
    pub fn of(&self, kind: Kind) -> &BitSet {
        match kind {
            Kind::Commit => &self.commits,
            Kind::Tree => &self.trees,
            Kind::Blob => &self.blobs,
            Kind::Tag => &self.tags,
        }
    }

    /// Says of which kind an object is; whether that was not known before.
    ///
    /// # Panics
    /// When `bit` is not below the number of objects.
    pub fn set(&mut self, bit: u32, kind: Kind) -> bool {
        match kind {
            Kind::Commit => self.commits.set(bit),
            Kind::Tree => self.trees.set(bit),
            Kind::Blob => self.blobs.set(bit),
            Kind::Tag => self.tags.set(bit),
        }
    }

    /// The objects whose kind is known.
    pub fn known(&self) -> BitSet {
        let mut known = self.commits.clone();
        [&self.trees, &self.blobs, &self.tags].into_iter().for_each(|set| known.or(set));
        known
    }
}

/// The bitmaps of commits on their way into a file, compressed.
#[derive(Debug)]
pub struct Bitmaps {
    bit_count: u32,
    rows: Vec<Row>,
    /// The entries as the file has them.
    entries: Vec<u8>,
    /// Each bitmap by itself, for those that are built upon it.
    whole: Vec<Vec<u8>>,
    scratch: BitSet,
    trial: Encoder,
    best: Encoder,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    commit_position: u32,
    /// How many entries before this one the bitmap it is relative to lies; 0 for none.
    xor_offset: u8,
    /// How many other bitmaps have to be read for this one.
    chain: u8,
    /// Where in the entries this one begins.
    at: usize,
}

impl Bitmaps {
    /// No bitmap yet; each will have a bit for each of `bit_count` objects.
    pub fn new(bit_count: u32) -> Self {
        Bitmaps {
            bit_count,
            rows: Vec::new(),
            entries: Vec::new(),
            whole: Vec::new(),
            scratch: BitSet::new(bit_count),
            trial: Encoder::default(),
            best: Encoder::default(),
        }
    }

    /// Adds the bitmap of the commit at an index position, which has none yet. Best compressed
    /// when commits come in the order of history. Gives its number, counted from 0.
    ///
    /// # Panics
    /// When `set` is not of the length all bitmaps have.
    pub fn push(&mut self, commit_position: u32, set: &BitSet) -> usize {
        let number = self.rows.len();
        self.best.clear();
        self.best.push_set(set);
        let mut whole = Vec::new();
        self.best.append_to(&mut whole);
        let (mut xor_offset, mut chain) = (0, 0);
        for offset in 1..=CANDIDATES.min(number) {
            let base = number - offset;
            if self.rows[base].chain >= CHAIN_MAX {
                continue;
            }
            self.scratch.clone_from(set);
            xor(&self.whole[base], &mut self.scratch);
            self.trial.clear();
            self.trial.push_set(&self.scratch);
            if self.trial.byte_len() < self.best.byte_len() {
                std::mem::swap(&mut self.trial, &mut self.best);
                (xor_offset, chain) = (offset as u8, self.rows[base].chain + 1);
            }
        }
        self.rows.push(Row { commit_position, xor_offset, chain, at: self.entries.len() });
        self.entries.extend_from_slice(&commit_position.to_be_bytes());
        self.entries.extend_from_slice(&[xor_offset, 0]);
        self.best.append_to(&mut self.entries);
        self.whole.push(whole);
        number
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of all of them as they will be in the file.
    pub fn byte_len(&self) -> usize {
        self.entries.len()
    }

    /// Adds the objects of a bitmap to `set`, which has the length all bitmaps have.
    ///
    /// # Panics
    /// When there is no bitmap of that number, or `set` is of another length.
    pub fn or_into(&self, number: usize, set: &mut BitSet) {
        assert_eq!(set.len(), self.bit_count, "sets of the same length");
        let (bitmap, _) = Ewah::parse(&self.whole[number]).expect("was encoded here");
        bitmap.or_into(set).expect("was encoded from a set of the same length");
    }

    /// The numbers of all bitmaps in ascending order of their commits' positions.
    fn sorted(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = (0..self.rows.len() as u32).collect();
        numbers.sort_unstable_by_key(|number| self.rows[*number as usize].commit_position);
        numbers
    }
}

fn xor(bitmap: &[u8], set: &mut BitSet) {
    let (bitmap, _) = Ewah::parse(bitmap).expect("was encoded here");
    bitmap.xor_into(set).expect("was encoded from a set of the same length");
}

/// What a .bitmap file tells.
#[derive(Debug)]
pub struct Contents<'a> {
    /// The checksum of the pack or of the multi-pack-index it belongs to.
    pub owner: ObjectId,
    /// The kinds of all objects.
    pub kinds: &'a Kinds,
    /// The bitmaps of commits.
    pub bitmaps: &'a Bitmaps,
    /// For each object, by index position, the hash of its path (see [`super::name_hash`]).
    pub name_hashes: Option<&'a [u32]>,
    /// Whether to add the table that lets a reader find a commit without reading all entries.
    pub lookup_table: bool,
}

/// Writes a .bitmap file; gives its trailing checksum.
///
/// # Errors
/// [`Error::Corrupt`] when a commit has two bitmaps or the parts are not of one length,
/// [`Error::Io`] of `out`.
pub fn write(contents: &Contents<'_>, out: impl Write) -> Result<ObjectId, Error> {
    let Contents { owner, kinds, bitmaps, name_hashes, lookup_table } = contents;
    let order = bitmaps.sorted();
    check(contents, &order)?;
    let mut flags = FULL_DAG;
    flags |= if name_hashes.is_some() { HASH_CACHE } else { 0 };
    flags |= if *lookup_table { LOOKUP_TABLE } else { 0 };
    let mut out = ChecksumWriter::new(owner.kind(), out);
    out.write(SIGNATURE)?;
    out.write(&1u16.to_be_bytes())?;
    out.write(&flags.to_be_bytes())?;
    out.write(&(bitmaps.rows.len() as u32).to_be_bytes())?;
    out.write(owner.as_bytes())?;
    let mut entries_at = HEADER_BYTES + owner.as_bytes().len();
    for kind in super::TYPES {
        let bitmap = encode(kinds.of(kind));
        out.write_all(&bitmap)?;
        entries_at += bitmap.len();
    }
    out.write_all(&bitmaps.entries)?;
    if *lookup_table {
        write_lookup_table(bitmaps, &order, entries_at, &mut out)?;
    }
    for hash in name_hashes.unwrap_or_default() {
        out.write(&hash.to_be_bytes())?;
    }
    Ok(out.finish()?)
}

fn check(contents: &Contents<'_>, order: &[u32]) -> Result<(), Error> {
    let bit_count = contents.bitmaps.bit_count;
    let hashes_fit = contents.name_hashes.is_none_or(|all| all.len() == bit_count as usize);
    if contents.kinds.commits.len() != bit_count || !hashes_fit {
        return Err(Error::corrupt("parts of a bitmap index are of different lengths"));
    }
    let position = |number: &u32| contents.bitmaps.rows[*number as usize].commit_position;
    if order.windows(2).any(|pair| position(&pair[0]) == position(&pair[1])) {
        return Err(Error::corrupt("commit has two bitmaps"));
    }
    Ok(())
}

fn write_lookup_table(
    bitmaps: &Bitmaps,
    order: &[u32],
    entries_at: usize,
    out: &mut ChecksumWriter<impl Write>,
) -> Result<(), Error> {
    let mut table_row_of = vec![0u32; order.len()];
    for (table_row, number) in order.iter().enumerate() {
        table_row_of[*number as usize] = table_row as u32;
    }
    for number in order {
        let row = bitmaps.rows[*number as usize];
        let xor_row = match row.xor_offset {
            0 => NO_ROW,
            offset => table_row_of[(number - u32::from(offset)) as usize],
        };
        out.write(&row.commit_position.to_be_bytes())?;
        out.write(&((entries_at + row.at) as u64).to_be_bytes())?;
        out.write(&xor_row.to_be_bytes())?;
    }
    Ok(())
}
