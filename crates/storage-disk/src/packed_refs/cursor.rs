//! Reading records one after another; a file's in windows, so that memory does not grow
//! with it.

use std::fs::File;

use bstr::BStr;
use memchr::memrchr;
use storage::Result;

use super::record::{PackedRecord, corrupt};
use super::source::{Source, read_exact};
use super::{PackedRefs, Reading};

/// A place between two records of a [`PackedRefs`].
#[derive(Debug)]
pub struct PackedCursor<'a> {
    packed: &'a PackedRefs,
    window: Window<'a>,
    /// Where in the window the next record begins.
    at: usize,
    /// Where in the window its last whole record ends.
    whole: usize,
}

#[derive(Debug)]
enum Window<'a> {
    Held(&'a [u8]),
    Read(Box<ReadWindow<'a>>),
}

/// A part of a file.
#[derive(Debug)]
struct ReadWindow<'a> {
    file: &'a File,
    buffer: Vec<u8>,
    /// How much of the buffer is from the file.
    filled: usize,
    /// Where in the file the bytes behind the window are, and where they end.
    ahead: std::ops::Range<u64>,
}

impl<'a> PackedCursor<'a> {
    /// A cursor before the record that begins at `from`.
    pub(super) fn new(packed: &'a PackedRefs, from: u64) -> Self {
        match &packed.source {
            Source::Held(bytes) => {
                let bytes = bytes.get(from as usize..).unwrap_or_default();
                PackedCursor { packed, window: Window::Held(bytes), at: 0, whole: bytes.len() }
            }
            Source::File { file, len } => {
                let window = ReadWindow { file, buffer: Vec::new(), filled: 0, ahead: from..*len };
                PackedCursor { packed, window: Window::Read(Box::new(window)), at: 0, whole: 0 }
            }
        }
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// [`storage::Error::Corrupt`] for a malformed line, which the cursor does not pass.
    #[inline]
    pub fn next_record(&mut self) -> Result<Option<PackedRecord<'_>>> {
        if self.at == self.whole && !self.refill()? {
            return Ok(None);
        }
        let bytes = match &self.window {
            Window::Held(bytes) => *bytes,
            Window::Read(window) => &window.buffer,
        };
        let record = self.packed.form.record(&bytes[self.at..self.whole])?;
        self.at += record.lines.len();
        Ok(Some(record))
    }

    /// Passes every record before `name`.
    pub(super) fn skip_before(&mut self, name: &BStr) -> Result<()> {
        while let Some(record) = self.next_record()? {
            if record.name >= name {
                let len = record.lines.len();
                self.at -= len;
                break;
            }
        }
        Ok(())
    }

    /// Whether there are more records.
    #[cold]
    fn refill(&mut self) -> Result<bool> {
        let Window::Read(window) = &mut self.window else { return Ok(false) };
        window.drop_front(self.at);
        (self.at, self.whole) = (0, 0);
        self.whole = window.read_on(&self.packed.reading)?;
        Ok(self.whole > 0)
    }
}

impl ReadWindow<'_> {
    fn drop_front(&mut self, bytes: usize) {
        self.buffer.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
    }

    /// Reads until there is a whole record, and answers where the last whole one ends;
    /// nothing at the end of the file.
    fn read_on(&mut self, reading: &Reading) -> Result<usize> {
        let mut size = match self.buffer.len() {
            0 => reading.window_bytes_min,
            _ => reading.window_bytes_max,
        };
        while self.ahead.start < self.ahead.end {
            self.buffer.resize(size, 0);
            let left = self.ahead.end - self.ahead.start;
            let room = &mut self.buffer[self.filled..];
            let taken = room.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            read_exact(self.file, &mut room[..taken], self.ahead.start)?;
            self.filled += taken;
            self.ahead.start += taken as u64;
            let bytes = &self.buffer[..self.filled];
            if self.ahead.is_empty() && !bytes.ends_with(b"\n") {
                return Err(corrupt("unterminated line", last_line(bytes)));
            }
            let whole = if self.ahead.is_empty() { bytes.len() } else { whole_records(bytes) };
            if whole > 0 {
                return Ok(whole);
            }
            if size == reading.window_bytes_max {
                return Err(corrupt("line too long", bytes));
            }
            size = reading.window_bytes_max;
        }
        Ok(0)
    }
}

pub(super) fn last_line(bytes: &[u8]) -> &[u8] {
    &bytes[line_start(bytes, bytes.len())..]
}

/// Where the line begins that holds the byte before `end`, or would go on there.
fn line_start(bytes: &[u8], end: usize) -> usize {
    memrchr(b'\n', &bytes[..end]).map_or(0, |feed| feed + 1)
}

/// How much of the start of a file's part is whole records: what is before its last ref. The
/// line behind a ref's own may be its peeled value, and must have begun to say it is not.
fn whole_records(bytes: &[u8]) -> usize {
    let mut at = line_start(bytes, bytes.len());
    while at > 0 && bytes.get(at).is_none_or(|&first| first == b'^') {
        at = line_start(bytes, at - 1);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_whole_when_the_next_one_has_begun() {
        let whole = |text: &str| whole_records(text.as_bytes());
        assert_eq!(whole(""), 0);
        assert_eq!(whole("1 a"), 0);
        assert_eq!(whole("1 a\n"), 0);
        assert_eq!(whole("1 a\n2"), 4);
        assert_eq!(whole("1 a\n^"), 0);
        assert_eq!(whole("1 a\n^3\n"), 0);
        assert_eq!(whole("1 a\n^3\n2"), 7);
        assert_eq!(whole("1 a\n^3\n2 b\n"), 7);
        assert_eq!(whole("1 a\n^3\n2 b\n^"), 7);
        assert_eq!(whole("1 a\n^3\n^4\n^"), 0);
        assert_eq!(whole("^"), 0);
    }
}
