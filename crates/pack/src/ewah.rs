//! EWAH: the run-length compressed bitmaps inside .bitmap files, read where they lie.
//!
//! Format: git's technical/bitmap-format, appendix A. A bitmap is never expanded as a whole
//! unless the caller brings the set it is expanded into, so no length in it makes memory.
//! Compressing is in [`write`](mod@write).

pub mod write;

use crate::Error;
use crate::big_endian::{u32_at, u64_at};
use crate::bitset::{BitSet, last_word_mask};

/// Bit size and number of words before the words, position of the last marker behind them.
const FRAME_BYTES: usize = 12;
const WORD_BYTES: usize = 8;
const WORD_BITS: u64 = 64;

const CUT: Error = Error::truncated("compressed bitmap");

/// A compressed bitmap.
#[derive(Debug, Clone, Copy)]
pub struct Ewah<'a> {
    bit_size: u32,
    words: &'a [u8],
}

/// A stretch of a compressed bitmap, in words of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stretch<'a> {
    /// Words that are all zeros or all ones.
    Run {
        /// Their bits.
        ones: bool,
        /// How many words.
        words: u32,
    },
    /// Words as they are, in network order, eight bytes each.
    Literal(&'a [u8]),
}

impl<'a> Ewah<'a> {
    /// Reads the frame of a bitmap at the start of `bytes`; gives how many bytes it takes, too.
    ///
    /// # Errors
    /// [`Error::Truncated`] when `bytes` end before the bitmap.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, usize), Error> {
        let bit_size = u32_at(bytes, 0).ok_or(CUT)?;
        let word_count = u32_at(bytes, 4).ok_or(CUT)? as usize;
        let total = word_count
            .checked_mul(WORD_BYTES)
            .and_then(|len| len.checked_add(FRAME_BYTES))
            .filter(|total| *total <= bytes.len())
            .ok_or(CUT)?;
        Ok((Ewah { bit_size, words: &bytes[8..total - 4] }, total))
    }

    /// Bits the bitmap stands for; its writer may have rounded them up to a word.
    pub fn bit_size(&self) -> u32 {
        self.bit_size
    }

    /// Bytes of the compressed words.
    pub fn compressed_len(&self) -> usize {
        self.words.len()
    }

    /// The stretches in order; ends after the first error.
    pub fn stretches(&self) -> Stretches<'a> {
        Stretches { rest: self.words, literals: 0 }
    }

    /// Adds the bitmap's bits to `set`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a bit is set that `set` has no room for, or a marker lies.
    pub fn or_into(&self, set: &mut BitSet) -> Result<(), Error> {
        self.join_into(set, |word, bits| *word |= bits)
    }

    /// Flips the bits of `set` that the bitmap has.
    ///
    /// # Errors
    /// As [`Ewah::or_into`].
    pub fn xor_into(&self, set: &mut BitSet) -> Result<(), Error> {
        self.join_into(set, |word, bits| *word ^= bits)
    }

    /// Removes the bitmap's bits from `set`.
    ///
    /// # Errors
    /// As [`Ewah::or_into`].
    pub fn and_not_into(&self, set: &mut BitSet) -> Result<(), Error> {
        self.join_into(set, |word, bits| *word &= !bits)
    }

    /// The positions of the set bits in ascending order; ends after the first error.
    pub fn iter(&self) -> Ones<'a> {
        Ones { stretches: self.stretches(), pending: Pending::Nothing, next_word: 0 }
    }

    fn join_into(&self, set: &mut BitSet, join: impl Fn(&mut u64, u64)) -> Result<(), Error> {
        const TOO_LONG: Error = Error::corrupt("compressed bitmap has bits beyond its objects");
        let last_mask = last_word_mask(set.len());
        let words = set.words_mut();
        let mut at = 0usize;
        for stretch in self.stretches() {
            match stretch? {
                Stretch::Run { ones: false, words: count } => {
                    at = at.saturating_add(count as usize);
                }
                Stretch::Run { ones: true, words: count } => {
                    let end = at.checked_add(count as usize).ok_or(TOO_LONG)?;
                    let run = words.get_mut(at..end).ok_or(TOO_LONG)?;
                    run.iter_mut().for_each(|word| join(word, u64::MAX));
                    at = end;
                }
                Stretch::Literal(bytes) => {
                    for bits in bytes.chunks_exact(WORD_BYTES) {
                        let bits = u64_at(bits, 0).expect("a chunk of eight bytes");
                        match words.get_mut(at) {
                            Some(word) => join(word, bits),
                            None if bits == 0 => {}
                            None => return Err(TOO_LONG),
                        }
                        at += 1;
                    }
                }
            }
        }
        match words.last_mut() {
            Some(last) if *last & !last_mask != 0 => {
                *last &= last_mask;
                Err(TOO_LONG)
            }
            _ => Ok(()),
        }
    }
}

/// See [`Ewah::stretches`].
#[derive(Debug, Clone)]
pub struct Stretches<'a> {
    rest: &'a [u8],
    /// Literal words that follow the marker read last.
    literals: u32,
}

impl<'a> Iterator for Stretches<'a> {
    type Item = Result<Stretch<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.literals > 0 {
                let len = self.literals as usize * WORD_BYTES;
                self.literals = 0;
                return Some(match self.rest.split_at_checked(len) {
                    Some((literals, rest)) => {
                        self.rest = rest;
                        Ok(Stretch::Literal(literals))
                    }
                    None => {
                        self.rest = &[];
                        Err(CUT)
                    }
                });
            }
            // One bit of what runs, 32 bits of how long, 31 bits of literals behind it.
            let marker = u64_at(self.rest, 0)?;
            self.rest = &self.rest[WORD_BYTES..];
            self.literals = (marker >> 33) as u32;
            let words = (marker >> 1) as u32;
            if words > 0 {
                return Some(Ok(Stretch::Run { ones: marker & 1 != 0, words }));
            }
        }
    }
}

/// See [`Ewah::iter`].
#[derive(Debug, Clone)]
pub struct Ones<'a> {
    stretches: Stretches<'a>,
    pending: Pending<'a>,
    next_word: u64,
}

#[derive(Debug, Clone)]
enum Pending<'a> {
    Nothing,
    Run { next: u64, end: u64 },
    Word { base: u64, bits: u64, literals: &'a [u8] },
}

impl Ones<'_> {
    /// The next position; `u64`, because a damaged bitmap may go on past 32 bits.
    fn step(&mut self) -> Option<Result<u64, Error>> {
        loop {
            match &mut self.pending {
                Pending::Run { next, end } if *next < *end => {
                    *next += 1;
                    return Some(Ok(*next - 1));
                }
                Pending::Word { base, bits, .. } if *bits != 0 => {
                    let position = *base + u64::from(bits.trailing_zeros());
                    *bits &= *bits - 1;
                    return Some(Ok(position));
                }
                Pending::Word { literals, .. } if !literals.is_empty() => {
                    let literals = *literals;
                    self.pending = self.word(literals);
                }
                _ => match self.stretches.next()? {
                    Err(error) => return Some(Err(error)),
                    Ok(stretch) => self.pending = self.begin(stretch),
                },
            }
        }
    }
}

impl<'a> Ones<'a> {
    fn begin(&mut self, stretch: Stretch<'a>) -> Pending<'a> {
        match stretch {
            Stretch::Run { ones, words } => {
                let start = self.next_word;
                self.next_word += u64::from(words);
                match ones {
                    true => {
                        Pending::Run { next: start * WORD_BITS, end: self.next_word * WORD_BITS }
                    }
                    false => Pending::Nothing,
                }
            }
            Stretch::Literal(literals) => self.word(literals),
        }
    }

    fn word(&mut self, literals: &'a [u8]) -> Pending<'a> {
        let base = self.next_word * WORD_BITS;
        self.next_word += 1;
        match u64_at(literals, 0) {
            Some(bits) => Pending::Word { base, bits, literals: &literals[WORD_BYTES..] },
            None => Pending::Nothing,
        }
    }
}

impl Iterator for Ones<'_> {
    type Item = Result<u32, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let position = match self.step()? {
            Ok(position) => u32::try_from(position)
                .map_err(|_| Error::corrupt("compressed bitmap is longer than 32 bits can count")),
            Err(error) => Err(error),
        };
        if position.is_err() {
            self.stretches = Stretches { rest: &[], literals: 0 };
            self.pending = Pending::Nothing;
        }
        Some(position)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The least clever writer: a marker per stretch.
    fn encoded(stretches: &[(bool, u32, Vec<u64>)]) -> Vec<u8> {
        let mut words = Vec::new();
        let mut bits = 0u32;
        for (ones, run, literals) in stretches {
            words.push(u64::from(*ones) | u64::from(*run) << 1 | (literals.len() as u64) << 33);
            words.extend_from_slice(literals);
            bits += (run + literals.len() as u32) * 64;
        }
        let mut bytes = bits.to_be_bytes().to_vec();
        bytes.extend_from_slice(&(words.len() as u32).to_be_bytes());
        words.iter().for_each(|word| bytes.extend_from_slice(&word.to_be_bytes()));
        bytes.extend_from_slice(&[0; 4]);
        bytes
    }

    proptest! {
        #[test]
        fn decoding_streams_and_expands_alike(
            stretches in prop::collection::vec(
                (any::<bool>(), 0u32..5, prop::collection::vec(any::<u64>(), 0..4)),
                0..8,
            ),
        ) {
            let bytes = encoded(&stretches);
            let (ewah, len) = Ewah::parse(&bytes).expect("own encoding");
            prop_assert_eq!(len, bytes.len());
            let mut plain = Vec::new();
            for (ones, run, literals) in stretches {
                plain.extend((0..run).map(|_| if ones { u64::MAX } else { 0 }));
                plain.extend(literals);
            }
            let mut set = BitSet::new(ewah.bit_size());
            ewah.or_into(&mut set).expect("room for all");
            prop_assert_eq!(set.words(), &plain[..]);
            let ones: Result<Vec<_>, _> = ewah.iter().collect();
            prop_assert_eq!(ones.expect("intact"), set.iter().collect::<Vec<_>>());
            ewah.xor_into(&mut set).expect("room for all");
            prop_assert!(set.is_empty());
            let mut set = BitSet::full(ewah.bit_size());
            ewah.and_not_into(&mut set).expect("room for all");
            prop_assert_eq!(set.count() as usize, plain.iter().map(|w| w.count_zeros() as usize).sum());
        }

        #[test]
        fn nothing_panics(mut bytes: Vec<u8>, len in 0u32..1000) {
            if let Some(word_count) = bytes.get_mut(4..8) {
                word_count.fill(0);
                let count = bytes.len().saturating_sub(FRAME_BYTES) / WORD_BYTES;
                bytes[7] = count as u8;
            }
            if let Ok((ewah, _)) = Ewah::parse(&bytes) {
                let _ = ewah.or_into(&mut BitSet::new(len));
                ewah.iter().take(1000).for_each(drop);
            }
        }
    }

    #[test]
    fn bits_beyond_the_set_are_refused_zeros_are_not() {
        let run = encoded(&[(true, 2, vec![])]);
        let (run, _) = Ewah::parse(&run).expect("a frame");
        assert!(run.or_into(&mut BitSet::new(127)).is_err());
        assert!(run.or_into(&mut BitSet::new(128)).is_ok());
        let padded = encoded(&[(false, 0, vec![5, 0, 0]), (false, 9, vec![])]);
        let (padded, _) = Ewah::parse(&padded).expect("a frame");
        assert!(padded.or_into(&mut BitSet::new(3)).is_ok());
        assert!(padded.or_into(&mut BitSet::new(2)).is_err());
    }
}
