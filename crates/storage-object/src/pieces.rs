//! Which pieces of a blob are here, and how much is fetched at a time: requests cost more than bytes.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a piece: what is fetched for the smallest read.
const PIECE_BYTES: u64 = 256 << 10;

/// Bytes that are fetched at once by whoever reads on and on.
pub(crate) const WINDOW_BYTES: u64 = 8 << 20;

/// Windows that are fetched while the one before is read.
const WINDOWS_AHEAD: usize = 3;

/// After so many small reads of a blob twice as much is fetched at a time, up to a window.
const FETCHES_PER_SIZE: u32 = 2;

/// A read of so many bytes is one of many.
const LONG_READ_BYTES: u64 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Absent,
    Fetching,
    Here,
}

/// A file that gets a blob piece by piece.
pub(crate) struct Pieces {
    pub file: Arc<File>,
    size: u64,
    pieces: Vec<Piece>,
    bytes_here: u64,
    /// Windows that somebody was told to fetch ahead.
    told: Vec<bool>,
    /// How often something was fetched.
    fetches: u32,
}

/// What to do for a read.
pub(crate) enum Next {
    /// All of it is here.
    Read,
    /// Somebody else is about to have it.
    Wait,
    /// These pieces are the caller's to get.
    Fetch(Range<usize>),
}

impl Pieces {
    /// Of a blob of so many bytes nothing is here.
    pub fn new(file: Arc<File>, size: u64) -> Self {
        let pieces = vec![Piece::Absent; size.div_ceil(PIECE_BYTES) as usize];
        let told = vec![false; size.div_ceil(WINDOW_BYTES) as usize];
        Pieces { file, size, pieces, bytes_here: 0, told, fetches: 0 }
    }

    pub fn bytes_here(&self) -> u64 {
        self.bytes_here
    }

    pub fn are_fetched(&self) -> bool {
        self.pieces.contains(&Piece::Fetching)
    }

    pub fn next(&mut self, range: &Range<u64>) -> Next {
        let first = (range.start / PIECE_BYTES) as usize;
        let end = range.end.div_ceil(PIECE_BYTES) as usize;
        let Some(absent) = (first..end).find(|at| self.pieces[*at] == Piece::Absent) else {
            return match self.pieces[first..end].contains(&Piece::Fetching) {
                true => Next::Wait,
                false => Next::Read,
            };
        };
        let at_once = match self.reads_on(range) {
            true => WINDOW_BYTES,
            false => (PIECE_BYTES << (self.fetches / FETCHES_PER_SIZE)).min(WINDOW_BYTES),
        };
        self.fetches = (self.fetches + 1).min(FETCHES_PER_SIZE * 5);
        // Around it, where such parts of the blob begin and end.
        let per_window = (WINDOW_BYTES / PIECE_BYTES) as usize;
        let per_part = (at_once / PIECE_BYTES) as usize;
        let from = absent / per_part * per_part;
        let before = self.pieces[from..absent].iter().rev();
        let start = absent - before.take_while(|piece| **piece == Piece::Absent).count();
        let until = end.next_multiple_of(per_part).min(start + per_window).min(self.pieces.len());
        let behind = self.pieces[absent..until.max(absent + 1)].iter();
        let end = absent + behind.take_while(|piece| **piece == Piece::Absent).count();
        self.pieces[start..end].fill(Piece::Fetching);
        Next::Fetch(start..end)
    }

    /// Pieces are here now, or nobody's again; how many bytes more there are.
    pub fn settle(&mut self, pieces: Range<usize>, is_here: bool) -> u64 {
        let bytes = bytes_of(&pieces, self.size);
        self.pieces[pieces].fill(if is_here { Piece::Here } else { Piece::Absent });
        let more = if is_here { bytes.end - bytes.start } else { 0 };
        self.bytes_here += more;
        more
    }

    /// Windows behind a range that should be fetched now, because whoever reads it reads on. Each is
    /// given once.
    pub fn ahead_of(&mut self, range: &Range<u64>) -> Vec<Range<u64>> {
        if !self.reads_on(range) {
            return Vec::new();
        }
        let per_window = (WINDOW_BYTES / PIECE_BYTES) as usize;
        let first = range.end.div_ceil(WINDOW_BYTES) as usize;
        let end = (first + WINDOWS_AHEAD).min(self.told.len());
        let mut windows = Vec::new();
        for window in first..end {
            let pieces = self.pieces.iter().skip(window * per_window).take(per_window);
            if pieces.copied().any(|piece| piece == Piece::Absent)
                && !std::mem::replace(&mut self.told[window], true)
            {
                let start = window as u64 * WINDOW_BYTES;
                windows.push(start..(start + WINDOW_BYTES).min(self.size));
            }
        }
        windows
    }

    /// Whether whoever reads a range will read what follows.
    fn reads_on(&self, range: &Range<u64>) -> bool {
        let first = (range.start / PIECE_BYTES) as usize;
        let is_read = |at: usize| self.pieces.get(at).is_some_and(|piece| *piece != Piece::Absent);
        range.end - range.start >= LONG_READ_BYTES
            || (first >= 2 && is_read(first - 1) && is_read(first - 2))
    }
}

/// The bytes of such pieces of a blob of this size.
pub(crate) fn bytes_of(pieces: &Range<usize>, size: u64) -> Range<u64> {
    pieces.start as u64 * PIECE_BYTES..size.min(pieces.end as u64 * PIECE_BYTES)
}
