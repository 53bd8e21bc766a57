//! Compressing bits as EWAH, into the stretches git makes of them.
//!
//! Words arrive in order and are compressed at once; zeros at the end are left out, as git
//! leaves them out.

use super::{FRAME_BYTES, WORD_BITS, WORD_BYTES};
use crate::bitset::BitSet;

const RUN_WORDS_MAX: u64 = u32::MAX as u64;
const LITERALS_MAX: u64 = (1 << 31) - 1;
const LITERALS_SHIFT: u32 = 33;

/// A compressed bitmap in the making.
#[derive(Debug, Clone)]
pub struct Encoder {
    /// Markers and literal words; begins with a marker.
    words: Vec<u64>,
    last_marker: usize,
    /// Words of zeros that have arrived since.
    zeros: u64,
    /// Words of 64 bits the stretches stand for.
    expanded_words: u64,
}

impl Default for Encoder {
    fn default() -> Self {
        Encoder { words: vec![0], last_marker: 0, zeros: 0, expanded_words: 0 }
    }
}

impl Encoder {
    /// Forgets everything that was pushed, keeping the memory.
    pub fn clear(&mut self) {
        self.words.clear();
        self.words.push(0);
        (self.last_marker, self.zeros, self.expanded_words) = (0, 0, 0);
    }

    /// Appends 64 bits, the lowest first.
    #[inline]
    pub fn push(&mut self, word: u64) {
        match word {
            0 => self.zeros += 1,
            u64::MAX => self.push_run(true, 1),
            _ => self.push_literal(word),
        }
    }

    /// Appends words that are all zeros or all ones.
    pub fn push_run(&mut self, ones: bool, words: u64) {
        if ones {
            self.write_zeros();
            self.write_run(true, words);
        } else {
            self.zeros += words;
        }
    }

    /// Appends all bits of a set.
    pub fn push_set(&mut self, set: &BitSet) {
        set.words().iter().for_each(|word| self.push(*word));
    }

    /// How many bytes [`Encoder::append_to`] appends.
    pub fn byte_len(&self) -> usize {
        FRAME_BYTES + self.words.len() * WORD_BYTES
    }

    /// Appends the bitmap as files have it, which [`Ewah::parse`](super::Ewah::parse) reads.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        out.reserve(self.byte_len());
        let bits = u32::try_from(self.expanded_words * WORD_BITS).unwrap_or(u32::MAX);
        out.extend_from_slice(&bits.to_be_bytes());
        out.extend_from_slice(&(self.words.len() as u32).to_be_bytes());
        for word in &self.words {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(&(self.last_marker as u32).to_be_bytes());
    }

    fn push_literal(&mut self, word: u64) {
        self.write_zeros();
        if self.words[self.last_marker] >> LITERALS_SHIFT == LITERALS_MAX {
            self.start_stretch();
        }
        self.words[self.last_marker] += 1 << LITERALS_SHIFT;
        self.words.push(word);
        self.expanded_words += 1;
    }

    fn write_zeros(&mut self) {
        if self.zeros > 0 {
            let zeros = std::mem::take(&mut self.zeros);
            self.write_run(false, zeros);
        }
    }

    fn write_run(&mut self, ones: bool, mut count: u64) {
        self.expanded_words += count;
        while count > 0 {
            let marker = self.words[self.last_marker];
            let run = marker >> 1 & RUN_WORDS_MAX;
            let other_bit = run > 0 && (marker & 1 != 0) != ones;
            if marker >> LITERALS_SHIFT > 0 || run == RUN_WORDS_MAX || other_bit {
                self.start_stretch();
                continue;
            }
            let taken = count.min(RUN_WORDS_MAX - run);
            self.words[self.last_marker] = u64::from(ones) | (run + taken) << 1;
            count -= taken;
        }
    }

    fn start_stretch(&mut self) {
        self.last_marker = self.words.len();
        self.words.push(0);
    }
}

/// A set, compressed.
pub fn encode(set: &BitSet) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.push_set(set);
    encoded(&encoder)
}

/// A set given by its positions in ascending order, compressed.
pub fn encode_positions(positions: impl IntoIterator<Item = u32>) -> Vec<u8> {
    let mut encoder = Encoder::default();
    let (mut at, mut word) = (0u64, 0u64);
    for position in positions {
        let word_at = u64::from(position) / WORD_BITS;
        if word_at > at {
            encoder.push(word);
            encoder.push_run(false, word_at - at - 1);
            (at, word) = (word_at, 0);
        }
        word |= 1 << (u64::from(position) % WORD_BITS);
    }
    encoder.push(word);
    encoded(&encoder)
}

fn encoded(encoder: &Encoder) -> Vec<u8> {
    let mut bytes = Vec::new();
    encoder.append_to(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Ewah;

    proptest! {
        #[test]
        fn what_is_encoded_is_read_again(
            ranges in prop::collection::vec((0u32..3000, 0u32..400), 0..8),
            len in 1u32..4000,
        ) {
            let mut set = BitSet::new(len);
            for (start, size) in ranges {
                set.set_range(start.min(len)..(start + size).min(len));
            }
            let bytes = encode(&set);
            prop_assert_eq!(&bytes, &encode_positions(set.iter()));
            let (ewah, read) = Ewah::parse(&bytes).expect("own encoding");
            prop_assert_eq!(read, bytes.len());
            let mut again = BitSet::new(len);
            ewah.or_into(&mut again).expect("room for all");
            prop_assert_eq!(again, set);
        }
    }

    #[test]
    fn runs_that_follow_each_other_share_a_marker() {
        let mut encoder = Encoder::default();
        encoder.push_run(true, 3);
        encoder.push(u64::MAX);
        assert_eq!(encoder.words, [1 | 4 << 1]);
        encoder.push_run(false, 7);
        encoder.push(5);
        assert_eq!(encoder.words, [1 | 4 << 1, 7 << 1 | 1 << 33, 5]);
        assert_eq!(encoder.byte_len(), encode_positions((0..256).chain([704, 706])).len());
        encoder.push_run(true, RUN_WORDS_MAX + 1);
        assert_eq!(encoder.words[3..], [1 | RUN_WORDS_MAX << 1, 1 | 1 << 1]);
        encoder.clear();
        encoder.push_run(false, 9);
        assert_eq!(encoder.words, [0], "zeros at the end are left out");
    }
}
