//! Pseudo-merges: unions of what groups of commits reach, for repositories with many refs.
//!
//! Format: git's technical/bitmap-format, "Pseudo-merge bitmaps"; gitpacking(7) says what they are
//! for. Each is a set of commits and the set of all objects these reach together: who wants all
//! of the commits joins one bitmap for them. The extension's table of commits is not read: git
//! before 2.55 wrote it in another order than documented and pointed past what it names (git's
//! commits ff21343a59 and 8b5f199f30), while the table of positions was right from the start.

use bytes::Bytes;

use crate::Error;
use crate::big_endian::{u32_at, u64_at};
use crate::ewah::Ewah;

/// Numbers of pseudo-merges and of commits, where the table of commits starts, the
/// extension's size.
const TRAILER_BYTES: usize = 24;
const OFFSET_BYTES: usize = 8;

/// The pseudo-merges of a .bitmap file; none without the extension.
#[derive(Debug, Clone, Default)]
pub struct PseudoMerges {
    /// The file up to the table of commits.
    bytes: Bytes,
    /// Where each pseudo-merge starts in the file.
    offsets: Bytes,
}

impl PseudoMerges {
    /// Takes the extension that ends at `end` in the file's bytes; gives where it starts.
    pub(super) fn open(bytes: &Bytes, start: usize, end: usize) -> Result<(Self, usize), Error> {
        const IMPOSSIBLE: Error = Error::corrupt("pseudo-merge extension has an impossible size");
        let trailer = end
            .checked_sub(TRAILER_BYTES)
            .filter(|at| *at >= start)
            .ok_or(Error::truncated("bitmap index"))?;
        let number = |at| u64_at(bytes, at).and_then(|number| usize::try_from(number).ok());
        let count = u32_at(bytes, trailer).ok_or(IMPOSSIBLE)? as usize;
        let size = number(trailer + 16).ok_or(IMPOSSIBLE)?;
        let first = end.checked_sub(size).filter(|at| *at >= start).ok_or(IMPOSSIBLE)?;
        let merges_end = number(trailer + 8)
            .and_then(|len| first.checked_add(len))
            .filter(|at| *at <= trailer)
            .ok_or(IMPOSSIBLE)?;
        let offsets_at = count
            .checked_mul(OFFSET_BYTES)
            .and_then(|len| trailer.checked_sub(len))
            .filter(|at| *at >= merges_end)
            .ok_or(IMPOSSIBLE)?;
        let offsets = bytes.slice(offsets_at..trailer);
        for at in (0..offsets.len()).step_by(OFFSET_BYTES) {
            let offset = u64_at(&offsets, at).and_then(|offset| usize::try_from(offset).ok());
            if !offset.is_some_and(|offset| (first..merges_end).contains(&offset)) {
                return Err(Error::corrupt("pseudo-merge lies outside its extension"));
            }
        }
        Ok((PseudoMerges { bytes: bytes.slice(..merges_end), offsets }, first))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.offsets.len() / OFFSET_BYTES
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// The commits of the n-th pseudo-merge, as bits.
    ///
    /// # Errors
    /// [`Error::Truncated`] when the bitmap does not end within the extension.
    ///
    /// # Panics
    /// When there is no n-th.
    pub fn commits(&self, n: usize) -> Result<Ewah<'_>, Error> {
        Ok(Ewah::parse(self.at(n))?.0)
    }

    /// All that the commits of the n-th pseudo-merge reach, themselves included.
    ///
    /// # Errors
    /// As [`PseudoMerges::commits`].
    ///
    /// # Panics
    /// As [`PseudoMerges::commits`].
    pub fn objects(&self, n: usize) -> Result<Ewah<'_>, Error> {
        let bytes = self.at(n);
        let commits_len = Ewah::parse(bytes)?.1;
        Ok(Ewah::parse(&bytes[commits_len..])?.0)
    }

    fn at(&self, n: usize) -> &[u8] {
        let offset = u64_at(&self.offsets, n * OFFSET_BYTES).expect("callers know how many");
        &self.bytes[offset as usize..]
    }
}
