//! Changed-path Bloom filters: which paths a commit certainly did not change.
//!
//! Format: gitformat-commit-graph, chunks BIDX and BDAT. A filter is a set of the paths that
//! differ between a commit and its first parent, with every folder on the way to them; the hash is
//! MurmurHash3 (x86, 32 bits). Version 1 takes bytes for signed numbers, an accident of the
//! machine git first wrote it on; version 2 does not.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::Error;
use crate::big_endian::u32_at;

/// Bytes of BDAT before the first filter.
const HEADER_BYTES: usize = 12;

/// More hashes than any filter profits from; a damaged file could ask for billions.
const HASHES_MAX: u32 = 64;

const SEEDS: [u32; 2] = [0x293a_e76f, 0x7e64_6e2c];

/// Which hash a filter is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashVersion {
    /// Bytes above 127 count as negative numbers; what git writes unless told otherwise.
    V1,
    /// MurmurHash3 as it was published.
    V2,
}

/// How filters are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BloomSettings {
    /// The hash.
    pub version: HashVersion,
    /// Bits set for each path. Git: 7.
    pub hashes: u32,
    /// Bits of room for each path. Git: 10.
    pub entry_bits: u32,
    /// A commit that changed more paths than this gets a filter that holds everything. Git: 512.
    /// Files do not store it.
    pub changed_paths_max: u32,
}

impl Default for BloomSettings {
    fn default() -> Self {
        let (hashes, entry_bits, changed_paths_max) = (7, 10, 512);
        BloomSettings { version: HashVersion::V1, hashes, entry_bits, changed_paths_max }
    }
}

impl BloomSettings {
    /// Whether filters made with `other` can stand among filters made with these.
    pub fn fit(&self, other: &BloomSettings) -> bool {
        (self.version, self.hashes, self.entry_bits)
            == (other.version, other.hashes, other.entry_bits)
    }
}

/// A path to ask filters about, hashed once.
#[derive(Debug, Clone)]
pub struct PathKey {
    /// Of the path and of every folder above it, by version.
    hashes: Arc<[[PathHash; 2]]>,
    is_ascii: bool,
}

#[derive(Debug, Clone, Copy)]
struct PathHash {
    first: u32,
    step: u32,
}

impl PathKey {
    /// The key of a path with `/` between its parts; a `/` at its end is left out.
    pub fn new(path: &[u8]) -> Self {
        let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        let path = &path[..end];
        let folders = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let prefixes = folders.map(|(at, _)| &path[..at]).chain((end > 0).then_some(path));
        let both = |path: &[u8]| [HashVersion::V1, HashVersion::V2].map(|v| hash_path(path, v));
        PathKey { hashes: prefixes.map(both).collect(), is_ascii: path.is_ascii() }
    }
}

/// What is known of the paths one commit changed.
#[derive(Debug, Clone, Copy)]
pub struct Filter<'a> {
    bytes: &'a [u8],
    settings: BloomSettings,
}

impl<'a> Filter<'a> {
    /// Whether the commit may have changed the path, or something below it: "no" is certain.
    pub fn might_contain(&self, key: &PathKey) -> bool {
        // On machines whose bytes have no sign, git's first version hashed these otherwise.
        if self.settings.version == HashVersion::V1 && !key.is_ascii {
            return true;
        }
        let bits = self.bytes.len() as u64 * 8;
        if bits == 0 {
            return true;
        }
        let version = self.settings.version as usize;
        key.hashes.iter().all(|hashes| {
            places(hashes[version], self.settings.hashes, bits)
                .all(|(byte, mask)| self.bytes[byte] & mask != 0)
        })
    }

    /// How it was made.
    pub fn settings(&self) -> BloomSettings {
        self.settings
    }

    /// Its bits; none when it was never computed.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// Filters as one file stores them.
#[derive(Debug, Clone)]
pub(super) struct StoredFilters {
    ends: Bytes,
    data: Bytes,
    pub settings: BloomSettings,
}

impl StoredFilters {
    /// The filters of `count` commits; `None` when they cannot be used. They only spare work, so
    /// damage to them is no damage to the graph.
    pub fn open(ends: Option<Bytes>, data: Option<Bytes>, count: u32) -> Option<Self> {
        let (ends, data) = (ends?, data?);
        let version = match u32_at(&data, 0)? {
            1 => HashVersion::V1,
            2 => HashVersion::V2,
            _ => return None,
        };
        let (hashes, entry_bits) = (u32_at(&data, 4)?, u32_at(&data, 8)?);
        if ends.len() != count as usize * 4 || !(1..=HASHES_MAX).contains(&hashes) {
            return None;
        }
        let settings = BloomSettings { version, hashes, entry_bits, ..BloomSettings::default() };
        Some(StoredFilters { ends, data: data.slice(HEADER_BYTES..), settings })
    }

    /// The filter of the commit at a position of its own file, when it was computed.
    pub fn get(&self, own: u32) -> Option<Filter<'_>> {
        let end = |own: u32| u32_at(&self.ends, own as usize * 4);
        let start = if own == 0 { 0 } else { end(own - 1)? };
        let bytes = self.data.get(start as usize..end(own)? as usize)?;
        (!bytes.is_empty()).then_some(Filter { bytes, settings: self.settings })
    }
}

/// Filters in the making. They are set in any order, since neighbours in history are computed
/// together, and written in that of their commits.
#[derive(Debug)]
pub struct NewFilters {
    settings: BloomSettings,
    data: Vec<u8>,
    spans: Vec<Range<u32>>,
}

impl NewFilters {
    /// None yet, of `count` commits.
    pub fn new(settings: BloomSettings, count: u32) -> Self {
        NewFilters { settings, data: Vec::new(), spans: vec![0..0; count as usize] }
    }

    /// How they are made.
    pub fn settings(&self) -> &BloomSettings {
        &self.settings
    }

    /// Sets the filter of a commit that changed these paths, all different, folders included.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when the format cannot count the bytes of all filters.
    ///
    /// # Panics
    /// At or past the count.
    pub fn set_paths<'p, I>(&mut self, own: u32, paths: I) -> Result<(), Error>
    where
        I: ExactSizeIterator<Item = &'p [u8]>,
    {
        let count = paths.len() as u64;
        if count > u64::from(self.settings.changed_paths_max) {
            return self.set_everything(own);
        }
        let bytes = (count * u64::from(self.settings.entry_bits)).div_ceil(8).max(1);
        let mut filter = vec![0; bytes as usize];
        for path in paths {
            let hash = hash_path(path, self.settings.version);
            for (byte, mask) in places(hash, self.settings.hashes, bytes * 8) {
                filter[byte] |= mask;
            }
        }
        self.set(own, &filter)
    }

    /// Sets the filter of a commit that changed too many paths, or nobody knows which.
    ///
    /// # Errors
    /// As [`NewFilters::set_paths`].
    ///
    /// # Panics
    /// As [`NewFilters::set_paths`].
    pub fn set_everything(&mut self, own: u32) -> Result<(), Error> {
        self.set(own, &[0xff])
    }

    /// Takes a filter out of another graph; `false`, and nothing is set, when it does not fit.
    ///
    /// # Errors
    /// As [`NewFilters::set_paths`].
    ///
    /// # Panics
    /// As [`NewFilters::set_paths`].
    pub fn set_stored(&mut self, own: u32, filter: &Filter<'_>) -> Result<bool, Error> {
        if !self.settings.fit(&filter.settings) || filter.bytes.is_empty() {
            return Ok(false);
        }
        self.set(own, filter.bytes).map(|()| true)
    }

    fn set(&mut self, own: u32, filter: &[u8]) -> Result<(), Error> {
        let start = self.data.len();
        let (size, max) = ((start + filter.len()) as u64, u64::from(u32::MAX));
        let end = u32::try_from(size).map_err(|_| Error::TooLarge { size, max })?;
        self.data.extend_from_slice(filter);
        self.spans[own as usize] = start as u32..end;
        Ok(())
    }

    /// The filters in the order of their commits; empty where none was set.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.spans.iter().map(|span| &self.data[span.start as usize..span.end as usize])
    }

    /// The numbers before the first filter of BDAT.
    pub(super) fn header(&self) -> [u32; 3] {
        let version = match self.settings.version {
            HashVersion::V1 => 1,
            HashVersion::V2 => 2,
        };
        [version, self.settings.hashes, self.settings.entry_bits]
    }

    /// Bytes of BDAT.
    pub(super) fn data_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + self.iter().map(|filter| filter.len() as u64).sum::<u64>()
    }
}

/// The bits of a path in a filter of `bits` bits, as byte and mask.
fn places(hash: PathHash, hashes: u32, bits: u64) -> impl Iterator<Item = (usize, u8)> {
    (0..hashes).map(move |n| {
        let bit = u64::from(hash.first.wrapping_add(n.wrapping_mul(hash.step))) % bits;
        ((bit / 8) as usize, 1 << (bit % 8))
    })
}

fn hash_path(path: &[u8], version: HashVersion) -> PathHash {
    let [first, step] = SEEDS.map(|seed| murmur3(seed, path, version));
    PathHash { first, step }
}

fn murmur3(seed: u32, data: &[u8], version: HashVersion) -> u32 {
    let widen = |byte: u8| match version {
        HashVersion::V1 => i32::from(byte.cast_signed()).cast_unsigned(),
        HashVersion::V2 => u32::from(byte),
    };
    let scramble =
        |word: u32| word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let mut state = seed;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let join = |word: u32, (at, byte): (usize, &u8)| word | widen(*byte) << (8 * at);
        let word = word.iter().enumerate().fold(0, join);
        state = (state ^ scramble(word)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let join = |word: u32, (at, byte): (usize, &u8)| word ^ widen(*byte) << (8 * at);
        state ^= scramble(rest.iter().enumerate().fold(0, join));
    }
    state ^= data.len() as u32;
    state = (state ^ state >> 16).wrapping_mul(0x85eb_ca6b);
    state = (state ^ state >> 13).wrapping_mul(0xc2b2_ae35);
    state ^ state >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures of git's own tests (t0095-bloom.sh).
    #[test]
    fn hashes_are_gits() {
        assert_eq!(murmur3(0, b"", HashVersion::V1), 0);
        assert_eq!(murmur3(0, b"Hello world!", HashVersion::V1), 0x627b_0c2c);
        let fox = b"The quick brown fox jumps over the lazy dog";
        assert_eq!(murmur3(0, fox, HashVersion::V1), 0x2e4f_f723);
        assert_eq!(murmur3(0, fox, HashVersion::V2), 0x2e4f_f723);
        let high = b"\x99\xaa\xbb\xcc\xdd\xee\xff";
        assert_eq!(murmur3(0, high, HashVersion::V2), 0xa183_ccfd);
    }

    fn bits(paths: &[&str]) -> Vec<u8> {
        let mut filters = NewFilters::new(BloomSettings::default(), 1);
        filters.set_paths(0, paths.iter().map(|path| path.as_bytes())).expect("small");
        filters.data
    }

    #[test]
    fn bits_are_gits() {
        assert_eq!(bits(&[""]), [0x11, 0x11]);
        assert_eq!(bits(&[" "]), [0x51, 0x55]);
        assert_eq!(bits(&["Hello world!"]), [0x92, 0x6c]);
        assert_eq!(bits(&["file.txt"]), [0xa5, 0x4a]);
        assert_eq!(bits(&[]), [0]);
        let files: Vec<String> = (0..10).map(|n| format!("smallDir/{n}")).collect();
        let paths: Vec<&str> = files.iter().map(String::as_str).chain(["smallDir"]).collect();
        let expected = [0x02, 0xb3, 0xc4, 0xa0, 0x34, 0xe7, 0xfe, 0xeb, 0xcb, 0x47];
        assert_eq!(bits(&paths), [&expected[..], &[0xfe, 0xa0, 0xe8, 0x72]].concat());
    }

    #[test]
    fn folders_are_asked_too() {
        let might = |bytes: &[u8], path: &str| {
            let filter = Filter { bytes, settings: BloomSettings::default() };
            filter.might_contain(&PathKey::new(path.as_bytes()))
        };
        let some = bits(&["a", "a/b", "a/b/file"]);
        for path in ["a", "a/", "a/b", "a/b/file", ""] {
            assert!(might(&some, path), "{path}");
        }
        assert!(!might(&some, "b/file"));
        assert!(!might(&bits(&[]), "a"));
        assert!(might(&[0xff], "anything/at/all"));
        assert!(might(&some, "é"), "nobody knows");
    }

    #[test]
    fn too_many_paths_become_everything() {
        let settings = BloomSettings { changed_paths_max: 2, ..BloomSettings::default() };
        let mut filters = NewFilters::new(settings, 1);
        filters.set_paths(0, [&b"a"[..], b"b", b"c"].into_iter()).expect("small");
        assert_eq!(filters.data, [0xff]);
    }
}
