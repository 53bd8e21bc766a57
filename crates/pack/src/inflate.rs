//! zlib: inflating entries whose size is known, inflating a stream whose end is not, deflating.
//!
//! Two decoders on purpose. libdeflate is the faster one but wants the whole input and the exact
//! output size, which a stored entry gives ([`inflate_exact`]). Whatever arrives as a stream goes
//! through [`Inflater`], which reports how much input one zlib stream took.

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::{CompressionLvl, Compressor, DecompressionError, Decompressor};

use crate::Error;

/// Deflate cannot expand data by more than this factor (zlib's technical notes: 1032:1).
const EXPANSION_MAX: u64 = 1032;

/// The compression level that stands for "the library's default" (git's `-1`).
pub const LEVEL_DEFAULT: i32 = 6;

thread_local! {
    static DECOMPRESSOR: RefCell<Decompressor> = RefCell::new(Decompressor::new());
    static STREAMING: RefCell<Inflater> = RefCell::new(Inflater::new());
    static COMPRESSOR: RefCell<Option<(i32, Compressor)>> = const { RefCell::new(None) };
}

/// Replaces `out` by the `size` bytes the zlib stream at the start of `compressed` inflates to.
///
/// `compressed` may go on past the stream. A reused `out` is not zero-filled again. The size is
/// checked against the best possible compression of the input before anything is allocated; a
/// caller with a tighter limit checks it first.
///
/// # Errors
/// [`Error::Corrupt`] when the stream is damaged or does not inflate to exactly `size` bytes;
/// `out` is empty then.
pub fn inflate_exact(compressed: &[u8], size: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    if size as u64 > (compressed.len() as u64).saturating_mul(EXPANSION_MAX) {
        out.clear();
        return Err(Error::corrupt("declared size is beyond what the compressed data can hold"));
    }
    if out.len() > size {
        out.truncate(size);
    } else {
        out.resize(size, 0);
    }
    let result = DECOMPRESSOR.with_borrow_mut(|it| it.zlib_decompress(compressed, out));
    let what = match result {
        Ok(produced) if produced == size => return Ok(()),
        Ok(_) => "inflated data is shorter than declared",
        Err(DecompressionError::InsufficientSpace) => "inflated data is longer than declared",
        Err(DecompressionError::BadData) => "zlib data is damaged",
    };
    out.clear();
    Err(Error::corrupt(what))
}

/// Inflates only the first bytes of a zlib stream, as many as `out` takes; gives their number.
///
/// For reading the two sizes at the start of a delta, or the header of a loose object.
///
/// # Errors
/// [`Error::Corrupt`] when the stream is damaged within the part that was read.
pub fn inflate_prefix(compressed: &[u8], out: &mut [u8]) -> Result<usize, Error> {
    STREAMING.with_borrow_mut(|inflater| {
        inflater.reset();
        let (mut consumed, mut produced) = (0, 0);
        while produced < out.len() {
            let step = inflater.step(&compressed[consumed..], &mut out[produced..])?;
            consumed += step.consumed;
            produced += step.produced;
            if step.ended || (step.consumed == 0 && step.produced == 0) {
                break;
            }
        }
        Ok(produced)
    })
}

/// What one [`Inflater::step`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Input bytes taken.
    pub consumed: usize,
    /// Output bytes written.
    pub produced: usize,
    /// Whether the stream ended, its checksum verified.
    pub ended: bool,
}

/// Inflates one zlib stream piece by piece, into buffers of the caller.
///
/// The bound on output is the caller's buffer: a stream that wants to say more than the caller
/// has room for simply does not end.
pub struct Inflater {
    state: Decompress,
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

impl Inflater {
    /// A decoder at the start of a stream; holds about 40 KiB, so keep and [`reset`] it.
    ///
    /// [`reset`]: Inflater::reset
    pub fn new() -> Self {
        Inflater { state: Decompress::new(true) }
    }

    /// Gets ready for another stream.
    pub fn reset(&mut self) {
        self.state.reset(true);
    }

    /// Takes some input and writes some output.
    ///
    /// Neither consuming nor producing anything means that the input or the output is used up;
    /// an empty `output` still lets a stream end whose data has all been written.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the stream is damaged or needs a preset dictionary.
    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Error> {
        let (before_in, before_out) = (self.state.total_in(), self.state.total_out());
        let status = self
            .state
            .decompress(input, output, FlushDecompress::None)
            .map_err(|_| Error::corrupt("zlib data is damaged"))?;
        Ok(Step {
            consumed: (self.state.total_in() - before_in) as usize,
            produced: (self.state.total_out() - before_out) as usize,
            ended: status == Status::StreamEnd,
        })
    }
}

/// Appends the zlib stream of `bytes` at a level of git's `core.compression` (0 to 9; anything
/// else is [`LEVEL_DEFAULT`]). The bytes inflate anywhere, but are not those git would write.
pub fn deflate(bytes: &[u8], level: i32, out: &mut Vec<u8>) {
    let level = if (0..=9).contains(&level) { level } else { LEVEL_DEFAULT };
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(at, _)| *at != level) {
            let lvl = CompressionLvl::new(level).expect("libdeflate knows the levels 0 to 12");
            *slot = Some((level, Compressor::new(lvl)));
        }
        let (_, compressor) = slot.as_mut().expect("set above");
        let start = out.len();
        out.resize(start + compressor.zlib_compress_bound(bytes.len()), 0);
        let written =
            compressor.zlib_compress(bytes, &mut out[start..]).expect("the bound always suffices");
        out.truncate(start + written);
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compressed(bytes: &[u8], level: i32) -> Vec<u8> {
        let mut out = Vec::new();
        deflate(bytes, level, &mut out);
        out
    }

    proptest! {
        #[test]
        fn both_decoders_read_every_level(bytes: Vec<u8>, level in -1..=9i32) {
            let mut stream = compressed(&bytes, level);
            let stream_len = stream.len();
            stream.extend_from_slice(b"next entry");

            let mut out = vec![9; 5];
            inflate_exact(&stream, bytes.len(), &mut out).expect("own stream");
            prop_assert_eq!(&out, &bytes);

            let mut inflater = Inflater::new();
            let mut out = vec![0; bytes.len() + 1];
            let step = inflater.step(&stream, &mut out).expect("own stream");
            prop_assert!(step.ended);
            prop_assert_eq!((step.consumed, step.produced), (stream_len, bytes.len()));
            prop_assert_eq!(&out[..step.produced], &bytes);
        }
    }

    #[test]
    fn a_wrong_size_is_refused_both_ways() {
        let stream = compressed(&[b'x'; 1000], LEVEL_DEFAULT);
        let mut out = Vec::new();
        for size in [0, 999, 1001, 5000] {
            let result = inflate_exact(&stream, size, &mut out);
            assert!(matches!(result, Err(Error::Corrupt { .. })), "size {size}");
            assert!(out.is_empty());
        }
    }

    #[test]
    fn an_impossible_size_allocates_nothing() {
        let stream = compressed(b"x", LEVEL_DEFAULT);
        let mut out = Vec::new();
        assert!(inflate_exact(&stream, 10 << 30, &mut out).is_err());
        assert_eq!(out.capacity(), 0);
    }

    #[test]
    fn a_prefix_needs_no_whole_stream() {
        let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let stream = compressed(&bytes, 1);
        let mut out = [0; 32];
        assert_eq!(inflate_prefix(&stream[..stream.len() - 40], &mut out).expect("intact"), 32);
        assert_eq!(out, bytes[..32]);
        assert_eq!(inflate_prefix(&compressed(b"abc", 6), &mut out).expect("intact"), 3);
    }
}
