//! A dense set of positions, one bit each.
//!
//! Ten million objects take 1.2 MiB. All set operations go word by word.

use std::ops::Range;

const WORD_BITS: u32 = u64::BITS;

/// A set of positions below a fixed length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BitSet {
    /// Bits past `len` are zero.
    words: Vec<u64>,
    len: u32,
}

impl BitSet {
    /// An empty set of positions below `len`.
    pub fn new(len: u32) -> Self {
        BitSet { words: vec![0; len.div_ceil(WORD_BITS) as usize], len }
    }

    /// A set of all positions below `len`.
    pub fn full(len: u32) -> Self {
        let mut set = BitSet::new(len);
        set.set_range(0..len);
        set
    }

    /// The positions this set can hold are below this.
    #[inline]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Changes [`BitSet::len`]; positions that fall out are forgotten.
    pub fn resize(&mut self, len: u32) {
        self.words.resize(len.div_ceil(WORD_BITS) as usize, 0);
        self.len = len;
        if let Some(last) = self.words.last_mut() {
            *last &= last_word_mask(len);
        }
    }

    /// Whether a position is in the set; not so for any past the length.
    #[inline]
    pub fn get(&self, position: u32) -> bool {
        self.words
            .get((position / WORD_BITS) as usize)
            .is_some_and(|word| word >> (position % WORD_BITS) & 1 != 0)
    }

    /// Adds a position; tells whether it is new.
    ///
    /// # Panics
    /// When it is not below the length.
    #[inline]
    pub fn set(&mut self, position: u32) -> bool {
        assert!(position < self.len, "position {position} is not below {}", self.len);
        let word = &mut self.words[(position / WORD_BITS) as usize];
        let bit = 1 << (position % WORD_BITS);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Removes a position.
    #[inline]
    pub fn unset(&mut self, position: u32) {
        if let Some(word) = self.words.get_mut((position / WORD_BITS) as usize) {
            *word &= !(1 << (position % WORD_BITS));
        }
    }

    /// Adds all positions of a range.
    ///
    /// # Panics
    /// When the range goes past the length.
    pub fn set_range(&mut self, range: Range<u32>) {
        if range.is_empty() {
            return;
        }
        assert!(range.end <= self.len, "range ends at {}, past {}", range.end, self.len);
        let (first, last) = (range.start / WORD_BITS, (range.end - 1) / WORD_BITS);
        for at in first..=last {
            let mut mask = u64::MAX;
            if at == first {
                mask &= u64::MAX << (range.start % WORD_BITS);
            }
            if at == last {
                mask &= last_word_mask(range.end);
            }
            self.words[at as usize] |= mask;
        }
    }

    /// The positions of a range, counted from its beginning; those past the length are not in it.
    pub fn part(&self, range: Range<u32>) -> BitSet {
        let mut part = BitSet::new(range.end.saturating_sub(range.start));
        let (first, shift) = ((range.start / WORD_BITS) as usize, range.start % WORD_BITS);
        let words = self.words.get(first..).unwrap_or_default();
        for (at, word) in part.words.iter_mut().enumerate().take(words.len()) {
            let above = words.get(at + 1).copied().unwrap_or_default();
            // A shift by all 64 bits is none in Rust.
            *word = words[at] >> shift | above.checked_shl(WORD_BITS - shift).unwrap_or_default();
        }
        if let Some(last) = part.words.last_mut() {
            *last &= last_word_mask(part.len);
        }
        part
    }

    /// Removes all positions.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Adds every position of `other`, which must be of the same length.
    pub fn or(&mut self, other: &BitSet) {
        self.zip(other, |word, other| *word |= other);
    }

    /// Keeps the positions that are in `other` too.
    pub fn and(&mut self, other: &BitSet) {
        self.zip(other, |word, other| *word &= other);
    }

    /// Removes every position of `other`.
    pub fn and_not(&mut self, other: &BitSet) {
        self.zip(other, |word, other| *word &= !other);
    }

    /// Keeps the positions that are in exactly one of the two.
    pub fn xor(&mut self, other: &BitSet) {
        self.zip(other, |word, other| *word ^= other);
    }

    /// Whether every position is in `other` too.
    pub fn is_subset(&self, other: &BitSet) -> bool {
        assert_eq!(self.len, other.len, "sets of the same length");
        self.words.iter().zip(&other.words).all(|(word, other)| word & !other == 0)
    }

    /// Positions in the set.
    pub fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether the set has no position.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// The positions in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let mut word = *word;
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros())?;
                word &= word - 1;
                Some(at as u32 * WORD_BITS + bit)
            })
        })
    }

    /// The longest ranges of consecutive positions, in ascending order.
    pub fn runs(&self) -> Runs<'_> {
        Runs { set: self, at: 0 }
    }

    /// The first position in the set that is `from` or greater.
    pub fn next_set(&self, from: u32) -> Option<u32> {
        self.find(from, |word| word)
    }

    /// The first position not in the set that is `from` or greater and below the length.
    pub fn next_unset(&self, from: u32) -> Option<u32> {
        self.find(from, |word| !word).filter(|position| *position < self.len)
    }

    /// The words, lowest positions first, lowest bits first.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// For decoders, which take care of the bits past the length themselves.
    pub(crate) fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }

    fn zip(&mut self, other: &BitSet, join: impl Fn(&mut u64, u64)) {
        assert_eq!(self.len, other.len, "sets of the same length");
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            join(word, *other);
        }
    }

    fn find(&self, from: u32, view: impl Fn(u64) -> u64) -> Option<u32> {
        let first = (from / WORD_BITS) as usize;
        let mut word = view(*self.words.get(first)?) & u64::MAX << (from % WORD_BITS);
        let mut at = first;
        while word == 0 {
            at += 1;
            word = view(*self.words.get(at)?);
        }
        Some(at as u32 * WORD_BITS + word.trailing_zeros())
    }
}

/// The bits of the last word of a set of `len` positions, which must not be zero.
pub(crate) fn last_word_mask(len: u32) -> u64 {
    match len % WORD_BITS {
        0 => u64::MAX,
        bits => (1 << bits) - 1,
    }
}

/// Ranges of consecutive positions; see [`BitSet::runs`].
#[derive(Debug, Clone)]
pub struct Runs<'a> {
    set: &'a BitSet,
    at: u32,
}

impl Iterator for Runs<'_> {
    type Item = Range<u32>;

    fn next(&mut self) -> Option<Range<u32>> {
        let start = self.set.next_set(self.at)?;
        let end = self.set.next_unset(start).unwrap_or(self.set.len);
        self.at = end;
        Some(start..end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set_of(positions: &BTreeSet<u32>, len: u32) -> BitSet {
        let mut set = BitSet::new(len);
        for position in positions {
            assert!(set.set(*position));
            assert!(!set.set(*position));
        }
        set
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(
            one in prop::collection::btree_set(0u32..500, 0..80),
            two in prop::collection::btree_set(0u32..500, 0..80),
        ) {
            let (a, b) = (set_of(&one, 500), set_of(&two, 500));
            prop_assert_eq!(a.iter().collect::<BTreeSet<_>>(), one.clone());
            prop_assert_eq!(a.count() as usize, one.len());
            prop_assert_eq!(a.is_subset(&b), one.is_subset(&two));
            let joined = |join: fn(&mut BitSet, &BitSet)| {
                let mut set = a.clone();
                join(&mut set, &b);
                set
            };
            prop_assert_eq!(joined(BitSet::or), set_of(&(&one | &two), 500));
            prop_assert_eq!(joined(BitSet::and), set_of(&(&one & &two), 500));
            prop_assert_eq!(joined(BitSet::and_not), set_of(&(&one - &two), 500));
            prop_assert_eq!(joined(BitSet::xor), set_of(&(&one ^ &two), 500));
        }

        #[test]
        fn runs_cover_exactly_the_set(
            ranges in prop::collection::vec((0u32..300, 0u32..130), 0..6),
            len in 1u32..400,
        ) {
            let mut set = BitSet::new(len);
            let mut plain = BTreeSet::new();
            for (start, size) in ranges {
                let range = start.min(len)..(start + size).min(len);
                plain.extend(range.clone());
                set.set_range(range);
            }
            let runs: Vec<_> = set.runs().collect();
            prop_assert_eq!(runs.iter().cloned().flatten().collect::<BTreeSet<_>>(), plain);
            for pair in runs.windows(2) {
                prop_assert!(pair[0].end < pair[1].start);
            }
        }
    }

    proptest! {
        #[test]
        fn a_part_is_counted_from_its_beginning(
            positions in prop::collection::btree_set(0u32..500, 0..200),
            (start, count) in (0u32..600, 0u32..300),
        ) {
            let part = set_of(&positions, 500).part(start..start + count);
            let inside = positions.range(start..start + count).map(|position| position - start);
            prop_assert_eq!(part, set_of(&inside.collect(), count));
        }
    }

    #[test]
    fn the_length_is_an_end() {
        let mut set = BitSet::full(70);
        assert_eq!(set.count(), 70);
        assert_eq!(set.runs().collect::<Vec<_>>(), vec![0..70]);
        assert!(!set.get(70) && !set.get(10_000));
        set.resize(65);
        assert_eq!(set.count(), 65);
        set.resize(200);
        assert_eq!(set.next_set(65), None);
        assert_eq!(set.next_unset(0), Some(65));
        assert_eq!(BitSet::full(0).runs().count(), 0);
    }
}
