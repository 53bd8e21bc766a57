//! The `packed-refs` file: many refs in one file, sorted, with peeled values.
//!
//! The file is kept as the bytes it is; looking up and iterating allocate nothing, and a
//! prefix is found by binary search. It is read, not mapped: a mapped file that a careless
//! tool truncates would kill the process.
//!
//! Format: one line `<hex id> SP <name> LF` per ref, followed by `^<hex id> LF` when the
//! ref is an annotated tag; before them a header `# pack-refs with: <traits> LF`. Traits:
//! `peeled`, `fully-peeled`, `sorted` (git, `refs/packed-backend.c`).

use std::ops::Range;

use bstr::{BStr, ByteSlice as _};
use memchr::{memchr, memrchr};
use object::{HashKind, ObjectId};
use storage::{Error, Peeled, Result};

/// The content of a `packed-refs` file, sorted by name.
#[derive(Debug)]
pub struct PackedRefs {
    bytes: Vec<u8>,
    /// Where the records begin: behind the header.
    start: usize,
    traits: Traits,
    hash: HashKind,
}

/// What the absence of a peeled value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Traits {
    Nothing,
    /// Tags below `refs/tags/` are peeled.
    Tags,
    /// Every tag is peeled.
    Fully,
}

/// One ref of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedRecord<'a> {
    /// The name as it stands in the file; it need not be valid.
    pub name: &'a BStr,
    /// The object.
    pub id: ObjectId,
    /// What the file says about its peeled value.
    pub peeled: Peeled,
    /// The record's lines, with their line feeds.
    pub lines: &'a [u8],
}

impl PackedRefs {
    /// No refs.
    pub fn empty(hash: HashKind) -> Self {
        PackedRefs { bytes: Vec::new(), start: 0, traits: Traits::Fully, hash }
    }

    /// Takes over a file's bytes. A file that does not say it is sorted is checked, and
    /// sorted where it is not.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a bad header, an unterminated last line, or, in a file that
    /// must be sorted first, any malformed line. Others are met where they are read.
    pub fn parse(bytes: Vec<u8>, hash: HashKind) -> Result<Self> {
        let mut packed = PackedRefs { bytes, start: 0, traits: Traits::Nothing, hash };
        if packed.bytes.last().is_some_and(|&last| last != b'\n') {
            let line = packed.bytes.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
            return Err(corrupt("unterminated line", line));
        }
        let mut sorted = false;
        if packed.bytes.starts_with(b"#") {
            let end = line_end(&packed.bytes, 0);
            let header = &packed.bytes[..end];
            let Some(traits) = header.strip_prefix(b"# pack-refs with: ") else {
                return Err(corrupt("unexpected line", header));
            };
            let has = |wanted: &[u8]| traits.split(|&byte| byte == b' ').any(|t| t == wanted);
            sorted = has(b"sorted");
            packed.traits = match (has(b"fully-peeled"), has(b"peeled")) {
                (true, _) => Traits::Fully,
                (_, true) => Traits::Tags,
                _ => Traits::Nothing,
            };
            packed.start = end + 1;
        }
        if !sorted {
            packed.sort()?;
        }
        Ok(packed)
    }

    /// The header of a file that keeps these records as they are.
    pub fn header(&self) -> &'static [u8] {
        match self.traits {
            Traits::Fully => b"# pack-refs with: peeled fully-peeled sorted \n",
            Traits::Tags => b"# pack-refs with: peeled sorted \n",
            Traits::Nothing => b"# pack-refs with: sorted \n",
        }
    }

    /// Whether the file holds no refs.
    pub fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// One ref.
    pub fn find(&self, name: &BStr) -> Result<Option<PackedRecord<'_>>> {
        let at = self.lower_bound(name)?;
        let record = self.record(at).transpose()?;
        Ok(record.filter(|record| record.name == name))
    }

    /// Every ref from the first one not before `name`, in byte order.
    pub fn iter_from(&self, name: &BStr) -> Result<PackedIter<'_>> {
        Ok(PackedIter { packed: self, at: self.lower_bound(name)? })
    }

    /// Every ref, in byte order.
    pub fn iter(&self) -> PackedIter<'_> {
        PackedIter { packed: self, at: self.start }
    }

    /// The first ref in the directory `name`.
    pub fn first_below(&self, name: &BStr) -> Result<Option<PackedRecord<'_>>> {
        let directory = [name.as_bytes(), b"/"].concat();
        let first = self.iter_from(directory.as_bstr())?.next().transpose()?;
        Ok(first.filter(|record| record.name.starts_with(&directory)))
    }

    /// The offset of the first record whose name is not before `name`.
    fn lower_bound(&self, name: &BStr) -> Result<usize> {
        let (mut low, mut high) = (self.start, self.bytes.len());
        while low < high {
            let at = self.record_start(low, low + (high - low) / 2);
            let record = self.record(at).expect("there is a record below the end")?;
            if record.name < name {
                low = at + record.lines.len();
            } else {
                high = at;
            }
        }
        Ok(low)
    }

    /// The start of the record that holds the byte at `at`; not before `low`.
    fn record_start(&self, low: usize, mut at: usize) -> usize {
        loop {
            at = memrchr(b'\n', &self.bytes[low..at]).map_or(low, |feed| low + feed + 1);
            if at == low || self.bytes[at] != b'^' {
                return at;
            }
            at -= 1;
        }
    }

    /// The record that starts at `at`; `None` at the end.
    fn record(&self, at: usize) -> Option<Result<PackedRecord<'_>>> {
        (at < self.bytes.len()).then(|| self.parse_record(at))
    }

    fn parse_record(&self, at: usize) -> Result<PackedRecord<'_>> {
        let hex_len = self.hash.hex_len();
        let mut end = line_end(&self.bytes, at);
        let line = &self.bytes[at..end];
        let id = line.get(..hex_len).and_then(|hex| ObjectId::from_hex_of(hex, self.hash));
        let name = line.get(hex_len..).and_then(|rest| rest.strip_prefix(b" "));
        let (Some(id), Some(name)) = (id, name) else {
            return Err(corrupt("unexpected line", line));
        };
        end += 1;
        let mut peeled = None;
        if self.bytes.get(end) == Some(&b'^') {
            let peel_end = line_end(&self.bytes, end);
            let peel = &self.bytes[end + 1..peel_end];
            let Some(to) = ObjectId::from_hex_of(peel, self.hash) else {
                return Err(corrupt("unexpected line", &self.bytes[end..peel_end]));
            };
            peeled = Some(to);
            end = peel_end + 1;
        }
        let name = name.as_bstr();
        Ok(PackedRecord {
            name,
            id,
            peeled: self.meaning(name, peeled),
            lines: &self.bytes[at..end],
        })
    }

    fn meaning(&self, name: &BStr, peeled: Option<ObjectId>) -> Peeled {
        match (peeled, self.traits) {
            (Some(id), _) => Peeled::To(id),
            (None, Traits::Fully) => Peeled::NotATag,
            (None, Traits::Tags) if name.starts_with(b"refs/tags/") => Peeled::NotATag,
            (None, _) => Peeled::Unknown,
        }
    }

    /// Brings the records into order, if they are not.
    fn sort(&mut self) -> Result<()> {
        let mut records: Vec<(&BStr, Range<usize>)> = Vec::new();
        let mut at = self.start;
        let mut in_order = true;
        while let Some(record) = self.record(at).transpose()? {
            let end = at + record.lines.len();
            in_order &= records.last().is_none_or(|(last, _)| *last < record.name);
            records.push((record.name, at..end));
            at = end;
        }
        if in_order {
            return Ok(());
        }
        records.sort_by_key(|(name, _)| *name);
        let mut sorted = Vec::with_capacity(self.bytes.len());
        sorted.extend_from_slice(&self.bytes[..self.start]);
        for (_, lines) in records {
            sorted.extend_from_slice(&self.bytes[lines]);
        }
        self.bytes = sorted;
        Ok(())
    }
}

/// Iterates over the records of a [`PackedRefs`]; ends after an error.
#[derive(Debug, Clone)]
pub struct PackedIter<'a> {
    packed: &'a PackedRefs,
    at: usize,
}

impl<'a> Iterator for PackedIter<'a> {
    type Item = Result<PackedRecord<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.packed.record(self.at)?;
        self.at = match &record {
            Ok(record) => self.at + record.lines.len(),
            Err(_) => self.packed.bytes.len(),
        };
        Some(record)
    }
}

/// Where the line that holds `at` ends; every line of a parsed file is terminated.
fn line_end(bytes: &[u8], at: usize) -> usize {
    memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |feed| at + feed)
}

fn corrupt(what: &str, line: &[u8]) -> Error {
    const SHOWN_MAX: usize = 80;
    let shown = line[..line.len().min(SHOWN_MAX)].as_bstr();
    Error::corrupt("packed-refs", format!("{what}: {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "1111111111111111111111111111111111111111";
    const B: &str = "2222222222222222222222222222222222222222";

    fn parse(text: &str) -> Result<PackedRefs> {
        PackedRefs::parse(text.as_bytes().to_vec(), HashKind::Sha1)
    }

    fn names(packed: &PackedRefs, from: &str) -> Vec<String> {
        let records = packed.iter_from(from.into()).expect("searchable");
        records.map(|record| record.expect("a record").name.to_string()).collect()
    }

    #[test]
    fn reads_what_git_writes() {
        let text = format!(
            "# pack-refs with: peeled fully-peeled sorted \n\
             {A} refs/heads/main\n{A} refs/tags/v1\n^{B}\n{B} refs/tags/v2\n"
        );
        let packed = parse(&text).expect("fine");
        assert_eq!(names(&packed, ""), ["refs/heads/main", "refs/tags/v1", "refs/tags/v2"]);
        assert_eq!(names(&packed, "refs/tags/"), ["refs/tags/v1", "refs/tags/v2"]);
        assert_eq!(names(&packed, "refs/z"), Vec::<String>::new());
        let peeled =
            |name: &str| packed.find(name.into()).expect("searchable").map(|record| record.peeled);
        let b = ObjectId::from_hex(B.as_bytes()).expect("hex");
        assert_eq!(peeled("refs/tags/v1"), Some(Peeled::To(b)));
        assert_eq!(peeled("refs/heads/main"), Some(Peeled::NotATag));
        assert_eq!(peeled("refs/heads"), None);
        let below = packed.first_below("refs/heads".into()).expect("searchable");
        assert_eq!(below.expect("there is one").name, "refs/heads/main");
        assert_eq!(packed.first_below("refs/heads/main".into()).expect("searchable"), None);
    }

    #[test]
    fn finds_every_record_of_many() {
        let mut text = String::from("# pack-refs with: peeled fully-peeled sorted \n");
        for number in 0..500 {
            text += &format!("{A} refs/tags/{number:04}{}\n", "x".repeat(number % 7));
            if number % 3 == 0 {
                text += &format!("^{B}\n");
            }
        }
        let packed = parse(&text).expect("fine");
        let all = names(&packed, "");
        assert_eq!(all.len(), 500);
        for (at, name) in all.iter().enumerate() {
            let found = packed.find(name.as_str().into()).expect("searchable").expect("there");
            assert_eq!(found.name, *name);
            assert_eq!(names(&packed, name).len(), 500 - at);
        }
    }

    #[test]
    fn sorts_old_and_foreign_files() {
        let text = format!("{A} refs/tags/b\n^{B}\n{B} refs/heads/x\n{A} refs/heads/a\n");
        let packed = parse(&text).expect("fine");
        assert_eq!(names(&packed, ""), ["refs/heads/a", "refs/heads/x", "refs/tags/b"]);
        let tag = packed.find("refs/tags/b".into()).expect("searchable").expect("there");
        assert!(matches!(tag.peeled, Peeled::To(_)));
        let head = packed.find("refs/heads/a".into()).expect("searchable").expect("there");
        assert_eq!(head.peeled, Peeled::Unknown);
    }

    #[test]
    fn damage_is_told_and_never_a_panic() {
        for text in ["#", "# other\n", "x", "abc\n", "^\n", &format!("{A} x\n^{A}"), "\n\n"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        // A file that claims to be sorted is only looked at where it is read.
        let text = format!("# pack-refs with: sorted \n{A} refs/heads/a\ngarbage\n^{B}\n");
        let packed = parse(&text).expect("the header is fine");
        assert!(packed.iter().any(|record| record.is_err()));
        let _ = packed.find("refs/heads/z".into());
    }
}
