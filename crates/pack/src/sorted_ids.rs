//! A fan-out table over sorted ids: the search that .idx, multi-pack-index and commit-graph share.

use std::cmp::Ordering;
use std::ops::Range;

use bytes::Bytes;
use object::{HashKind, ObjectId};

use crate::Error;
use crate::big_endian::u32_at;

/// Bytes of a fan-out table: 256 numbers of four bytes.
pub(crate) const FANOUT_BYTES: usize = 256 * 4;

/// Interpolation guesses before the search falls back to halving, which bounds it whatever the
/// ids in a file look like.
const GUESSES_MAX: u32 = 8;

/// Rows in ascending order of the id each holds at a fixed place.
#[derive(Debug, Clone)]
pub(crate) struct SortedIds {
    fanout: Bytes,
    rows: Bytes,
    row_bytes: usize,
    id_at: usize,
    hash: HashKind,
    count: u32,
}

impl SortedIds {
    /// Reads how many rows a fan-out table announces, after a look at all its 256 numbers.
    pub(crate) fn count_of(fanout: &[u8]) -> Result<u32, Error> {
        if fanout.len() != FANOUT_BYTES {
            return Err(Error::corrupt("fan-out table has the wrong size"));
        }
        let mut before = 0;
        for number in fanout.chunks_exact(4) {
            let number = u32::from_be_bytes(number.try_into().expect("chunks of four bytes"));
            if number < before {
                return Err(Error::corrupt("fan-out table is not monotonic"));
            }
            before = number;
        }
        Ok(before)
    }

    /// Joins a fan-out table with the rows it describes, `row_bytes` each, the id at `id_at`.
    pub(crate) fn new(
        fanout: Bytes,
        rows: Bytes,
        row_bytes: usize,
        id_at: usize,
        hash: HashKind,
    ) -> Result<Self, Error> {
        let count = Self::count_of(&fanout)?;
        if (count as usize).checked_mul(row_bytes) != Some(rows.len()) {
            return Err(Error::corrupt("table of ids does not match its fan-out table"));
        }
        Ok(SortedIds { fanout, rows, row_bytes, id_at, hash, count })
    }

    #[inline]
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn hash(&self) -> HashKind {
        self.hash
    }

    /// The row at a position below [`SortedIds::count`]; panics beyond.
    #[inline]
    pub(crate) fn row(&self, position: u32) -> &[u8] {
        let start = position as usize * self.row_bytes;
        &self.rows[start..start + self.row_bytes]
    }

    /// The id at a position below [`SortedIds::count`]; panics beyond.
    #[inline]
    pub(crate) fn id_bytes(&self, position: u32) -> &[u8] {
        let start = position as usize * self.row_bytes + self.id_at;
        &self.rows[start..start + self.hash.len()]
    }

    /// The number of ids whose first byte is at most `first`.
    #[inline]
    pub(crate) fn fanout(&self, first: u8) -> u32 {
        u32_at(&self.fanout, first as usize * 4).expect("the table has 256 numbers")
    }

    #[inline]
    fn bucket(&self, first: u8) -> Range<u32> {
        let start = if first == 0 { 0 } else { self.fanout(first - 1) };
        start..self.fanout(first)
    }

    /// The position of an id.
    #[inline]
    pub(crate) fn lookup(&self, id: &ObjectId) -> Option<u32> {
        if id.kind() != self.hash {
            return None;
        }
        self.lookup_bytes(id.as_bytes())
    }

    /// Interpolates on the second to fifth byte, which hashing spreads evenly over the bucket:
    /// the distance between two keys tells how many rows lie between them.
    fn lookup_bytes(&self, wanted: &[u8]) -> Option<u32> {
        let Range { start: mut low, end: mut high } = self.bucket(wanted[0]);
        let rows = u64::from(high - low);
        let rows_between = |low_key: u32, high_key: u32| {
            ((u64::from(high_key.saturating_sub(low_key)) * rows) >> 32) as u32
        };
        let key = key_of(wanted);
        let mut guess = low + rows_between(0, key);
        let mut guesses = 0;
        while low < high {
            guesses += 1;
            if guesses > GUESSES_MAX {
                guess = low + (high - low) / 2;
            }
            let middle = guess.clamp(low, high - 1);
            let found = self.id_bytes(middle);
            let found_key = key_of(found);
            match found_key.cmp(&key).then_with(|| found.cmp(wanted)) {
                Ordering::Equal => return Some(middle),
                Ordering::Less => {
                    low = middle + 1;
                    guess = low.saturating_add(rows_between(found_key, key));
                }
                Ordering::Greater => {
                    high = middle;
                    guess = high.saturating_sub(1 + rows_between(key, found_key));
                }
            }
        }
        None
    }

    /// The positions of all ids that start with the first `hex_len` digits of `prefix`.
    pub(crate) fn prefix_range(&self, prefix: &ObjectId, hex_len: usize) -> Range<u32> {
        if prefix.kind() != self.hash {
            return 0..0;
        }
        let hex_len = hex_len.min(self.hash.hex_len());
        let wanted = prefix.as_bytes();
        let range = match hex_len {
            0 | 1 => 0..self.count,
            _ => self.bucket(wanted[0]),
        };
        let start = self
            .partition_point(range.clone(), |id| cmp_digits(id, wanted, hex_len) == Ordering::Less);
        let end = self.partition_point(start..range.end, |id| {
            cmp_digits(id, wanted, hex_len) != Ordering::Greater
        });
        start..end
    }

    fn partition_point(&self, range: Range<u32>, before: impl Fn(&[u8]) -> bool) -> u32 {
        let Range { start: mut low, end: mut high } = range;
        while low < high {
            let middle = low + (high - low) / 2;
            if before(self.id_bytes(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

#[inline]
fn key_of(id: &[u8]) -> u32 {
    u32::from_be_bytes([id[1], id[2], id[3], id[4]])
}

fn cmp_digits(id: &[u8], wanted: &[u8], hex_len: usize) -> Ordering {
    let whole = hex_len / 2;
    id[..whole].cmp(&wanted[..whole]).then_with(|| match hex_len % 2 {
        0 => Ordering::Equal,
        _ => (id[whole] >> 4).cmp(&(wanted[whole] >> 4)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(ids: &[[u8; 20]]) -> SortedIds {
        let mut fanout = Vec::new();
        for first in 0..=255u8 {
            let count = ids.iter().filter(|id| id[0] <= first).count() as u32;
            fanout.extend_from_slice(&count.to_be_bytes());
        }
        let rows = ids.concat();
        SortedIds::new(fanout.into(), rows.into(), 20, 0, HashKind::Sha1).expect("a good table")
    }

    fn id(bytes: [u8; 20]) -> ObjectId {
        ObjectId::from_prefix(&bytes, HashKind::Sha1)
    }

    proptest! {
        #[test]
        fn finds_exactly_what_is_there(
            mut ids: Vec<[u8; 20]>,
            near in prop::collection::vec(0u8..3, 0..600),
            probes: Vec<[u8; 20]>,
        ) {
            // Ids that differ only in their last bytes defeat interpolation.
            for pair in near.chunks_exact(3) {
                let mut bytes = [7; 20];
                bytes[4] = pair[0];
                bytes[18..].copy_from_slice(&pair[1..]);
                ids.push(bytes);
            }
            ids.sort();
            ids.dedup();
            let table = table(&ids);
            for (at, bytes) in ids.iter().enumerate() {
                prop_assert_eq!(table.lookup(&id(*bytes)), Some(at as u32));
            }
            for probe in probes {
                let expected = ids.binary_search(&probe).ok().map(|at| at as u32);
                prop_assert_eq!(table.lookup(&id(probe)), expected);
            }
            if let Some(wanted) = ids.first() {
                for hex_len in 0..=40 {
                    let same = |bytes: &&[u8; 20]| {
                        id(**bytes).to_hex()[..hex_len] == id(*wanted).to_hex()[..hex_len]
                    };
                    let count = ids.iter().filter(same).count() as u32;
                    prop_assert_eq!(table.prefix_range(&id(*wanted), hex_len), 0..count);
                }
            }
        }

        #[test]
        fn an_unsorted_table_ends_the_search_all_the_same(ids: Vec<[u8; 20]>, probe: [u8; 20]) {
            let _ = table(&ids).lookup(&id(probe));
        }
    }

    #[test]
    fn refuses_a_falling_fanout() {
        let mut fanout = vec![0; FANOUT_BYTES];
        fanout[3] = 1;
        assert!(SortedIds::count_of(&fanout).is_err());
    }
}
