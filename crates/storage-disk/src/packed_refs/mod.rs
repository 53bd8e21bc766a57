//! The `packed-refs` file: many refs in one file, sorted, with peeled values.
//!
//! A small file is kept in memory as the bytes it is. A large one stays where it is: a ref is
//! found by binary search in it, and lists are read in windows, so that memory does not grow
//! with the number of refs. It is read, not mapped: a mapped file that a careless tool
//! truncates would kill the process.
//!
//! Format: one line `<hex id> SP <name> LF` per ref, followed by `^<hex id> LF` when the
//! ref is an annotated tag; before them a header `# pack-refs with: <traits> LF`. Traits:
//! `peeled`, `fully-peeled`, `sorted` (git, `refs/packed-backend.c`).

mod cursor;
mod record;
mod source;

use std::cmp::Ordering;
use std::fs::File;
use std::io;

use bstr::{BStr, BString, ByteSlice as _};
use memchr::memchr;
use object::{HashKind, ObjectId};
use storage::{Error, Peeled, Result};

use cursor::last_line;
use record::{Form, Traits, corrupt, unexpected};
use source::{Source, read_exact};

pub use cursor::PackedCursor;
pub use record::PackedRecord;

/// The longest header that is looked for before a file is read, in bytes.
const HEADER_BYTES_MAX: usize = 1024;
/// What of a file's end is looked at before it is read, in bytes.
const END_BYTES: usize = 80;

/// How files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The largest file that is kept in memory, in bytes. Default: 256 KiB.
    pub held_bytes_max: u64,
    /// What is read of a larger one to find a ref, in bytes. Default: 4 KiB.
    pub window_bytes_min: usize,
    /// What is read of it at a time to list refs, and the longest record, in bytes.
    /// Default: 64 KiB.
    pub window_bytes_max: usize,
}

impl Default for Reading {
    fn default() -> Self {
        Reading { held_bytes_max: 256 << 10, window_bytes_min: 4 << 10, window_bytes_max: 64 << 10 }
    }
}

/// The content of a `packed-refs` file, sorted by name.
#[derive(Debug)]
pub struct PackedRefs {
    source: Source,
    /// Where the records begin: behind the header.
    start: u64,
    form: Form,
    reading: Reading,
}

/// What the file says of one ref.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedValue {
    /// The object.
    pub id: ObjectId,
    /// Its peeled value.
    pub peeled: Peeled,
}

struct Header {
    len: usize,
    traits: Traits,
    sorted: bool,
}

impl PackedRefs {
    /// No refs.
    pub fn empty(hash: HashKind) -> Self {
        let source = Source::Held(Vec::new());
        let form = Form { hash, traits: Traits::Fully };
        PackedRefs { source, start: 0, form, reading: Reading::default() }
    }

    /// Takes over a file's bytes. A file that does not say it is sorted is checked, and
    /// sorted where it is not.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a bad header, an unterminated last line, or, in a file that
    /// must be sorted first, any malformed line. Others are met where they are read.
    pub fn parse(bytes: Vec<u8>, hash: HashKind) -> Result<Self> {
        check_last_line(&bytes)?;
        let header = Header::read(&bytes)?;
        let form = Form { hash, traits: header.traits };
        let bytes = if header.sorted { bytes } else { sort(bytes, header.len, form)? };
        let source = Source::Held(bytes);
        Ok(PackedRefs { source, start: header.len as u64, form, reading: Reading::default() })
    }

    /// Takes over an open file of `len` bytes, which nobody writes to. It is read at once when
    /// it is small or does not say it is sorted.
    ///
    /// # Errors
    /// As [`PackedRefs::parse`], and what reading fails with.
    pub fn open(file: File, len: u64, hash: HashKind, reading: Reading) -> Result<Self> {
        if len > reading.held_bytes_max {
            let mut start = [0; HEADER_BYTES_MAX];
            let start = &mut start[..HEADER_BYTES_MAX.min(len as usize)];
            read_exact(&file, start, 0)?;
            let header = Header::read(start)?;
            if header.sorted && header.len < start.len() {
                let mut end = [0; END_BYTES];
                let end = &mut end[..END_BYTES.min(len as usize)];
                read_exact(&file, end, len - end.len() as u64)?;
                check_last_line(end)?;
                let form = Form { hash, traits: header.traits };
                let source = Source::File { file, len };
                return Ok(PackedRefs { source, start: header.len as u64, form, reading });
            }
        }
        let mut bytes = Vec::new();
        // The length is the file's own: room is made for what is there, or not at all.
        bytes
            .try_reserve_exact(len as usize)
            .map_err(|_| Error::io("packed-refs", io::ErrorKind::OutOfMemory.into()))?;
        bytes.resize(len as usize, 0);
        read_exact(&file, &mut bytes, 0)?;
        Self::parse(bytes, hash)
    }

    /// The header of a file that keeps these records as they are.
    pub fn header(&self) -> &'static [u8] {
        match self.form.traits {
            Traits::Fully => b"# pack-refs with: peeled fully-peeled sorted \n",
            Traits::Tags => b"# pack-refs with: peeled sorted \n",
            Traits::Nothing => b"# pack-refs with: sorted \n",
        }
    }

    /// Whether the file holds no refs.
    pub fn is_empty(&self) -> bool {
        self.start == self.source.len()
    }

    /// One ref.
    pub fn find(&self, name: &BStr) -> Result<Option<PackedValue>> {
        let mut cursor = self.cursor_from(name)?;
        let found = cursor.next_record()?.filter(|record| record.name == name);
        Ok(found
            .map(|record| PackedValue { id: record.id.to_id(), peeled: record.peeled.to_peeled() }))
    }

    /// Every ref, in byte order.
    pub fn cursor(&self) -> PackedCursor<'_> {
        PackedCursor::new(self, self.start)
    }

    /// Every ref from the first one not before `name`, in byte order.
    pub fn cursor_from(&self, name: &BStr) -> Result<PackedCursor<'_>> {
        let mut cursor = PackedCursor::new(self, self.shortly_before(name)?);
        cursor.skip_before(name)?;
        Ok(cursor)
    }

    /// The name of the first ref in the directory `name`.
    pub fn first_below(&self, name: &BStr) -> Result<Option<BString>> {
        let directory = [name.as_bytes(), b"/"].concat();
        let mut cursor = self.cursor_from(directory.as_bstr())?;
        let first = cursor.next_record()?.filter(|first| first.name.starts_with(&directory));
        Ok(first.map(|record| record.name.to_owned()))
    }

    /// Where a record begins that is before `name`, unless it is the first, and not far.
    fn shortly_before(&self, name: &BStr) -> Result<u64> {
        let near = self.reading.window_bytes_min as u64;
        let (mut low, mut high) = (self.start, self.source.len());
        let mut buffer = Vec::new();
        while high - low > near {
            let middle = low + (high - low) / 2;
            match self.record_behind(middle, high, name, &mut buffer)? {
                Some((at, Ordering::Less)) => low = at,
                Some((at, _)) => high = at,
                // The last record in question is longer than all others together.
                None => break,
            }
        }
        Ok(low)
    }

    /// The first record that begins behind `middle` and before `high`: where, and how its name
    /// compares with `name`.
    fn record_behind(
        &self,
        middle: u64,
        high: u64,
        name: &BStr,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<(u64, Ordering)>> {
        let Reading { window_bytes_min, window_bytes_max, .. } = self.reading;
        // As much as the rest of one record and all of the next.
        for most in [window_bytes_min, window_bytes_max.saturating_mul(2)] {
            let bytes = self.source.peek(middle, most, buffer)?;
            let start = ref_line_behind(bytes);
            let at = middle + start as u64;
            if at >= high {
                return Ok(None);
            }
            if let Some(feed) = memchr(b'\n', &bytes[start..]) {
                let found = self.form.name(&bytes[start..start + feed])?;
                return Ok(Some((at, found.cmp(name))));
            }
        }
        Err(corrupt("line too long", buffer))
    }
}

/// Where the first line of a ref begins that is not the first line; the end when there is none.
fn ref_line_behind(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(feed) = memchr(b'\n', &bytes[at..]) {
        at += feed + 1;
        if bytes.get(at) != Some(&b'^') {
            return at;
        }
    }
    bytes.len()
}

impl Header {
    /// The header that a file starts with, if it has one.
    fn read(bytes: &[u8]) -> Result<Self> {
        if !bytes.starts_with(b"#") {
            return Ok(Header { len: 0, traits: Traits::Nothing, sorted: false });
        }
        let end = memchr(b'\n', bytes).unwrap_or(bytes.len());
        let Some(traits) = bytes[..end].strip_prefix(b"# pack-refs with: ") else {
            return Err(unexpected(bytes));
        };
        let has = |wanted: &[u8]| traits.split(|&byte| byte == b' ').any(|t| t == wanted);
        let traits = match (has(b"fully-peeled"), has(b"peeled")) {
            (true, _) => Traits::Fully,
            (_, true) => Traits::Tags,
            _ => Traits::Nothing,
        };
        Ok(Header { len: (end + 1).min(bytes.len()), traits, sorted: has(b"sorted") })
    }
}

fn check_last_line(bytes: &[u8]) -> Result<()> {
    match last_line(bytes) {
        [] => Ok(()),
        line => Err(corrupt("unterminated line", line)),
    }
}

/// Brings the records behind the header into order, if they are not.
fn sort(bytes: Vec<u8>, start: usize, form: Form) -> Result<Vec<u8>> {
    let mut records: Vec<(&BStr, &[u8])> = Vec::new();
    let mut rest = &bytes[start..];
    let mut in_order = true;
    while !rest.is_empty() {
        let record = form.record(rest)?;
        in_order &= records.last().is_none_or(|(last, _)| *last < record.name);
        records.push((record.name, record.lines));
        rest = &rest[record.lines.len()..];
    }
    if in_order {
        return Ok(bytes);
    }
    records.sort_by_key(|(name, _)| *name);
    let mut sorted = Vec::with_capacity(bytes.len());
    sorted.extend_from_slice(&bytes[..start]);
    records.iter().for_each(|(_, lines)| sorted.extend_from_slice(lines));
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const A: &str = "1111111111111111111111111111111111111111";
    const B: &str = "2222222222222222222222222222222222222222";

    fn parse(text: &str) -> Result<PackedRefs> {
        PackedRefs::parse(text.as_bytes().to_vec(), HashKind::Sha1)
    }

    /// The same text as a file that is read in windows: of a size that splits records
    /// everywhere, and as they are by default.
    fn open(text: &str, window: Option<(usize, usize)>, hash: HashKind) -> Result<PackedRefs> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        let mut reading = Reading { held_bytes_max: 0, ..Reading::default() };
        if let Some((min, max)) = window {
            (reading.window_bytes_min, reading.window_bytes_max) = (min, max);
        }
        PackedRefs::open(file, text.len() as u64, hash, reading)
    }

    fn all(mut cursor: PackedCursor<'_>) -> Result<Vec<(String, String, Peeled)>> {
        let mut found = Vec::new();
        while let Some(record) = cursor.next_record()? {
            let peeled = record.peeled.to_peeled();
            found.push((record.name.to_string(), record.lines.as_bstr().to_string(), peeled));
        }
        Ok(found)
    }

    fn names(packed: &PackedRefs, from: &str) -> Vec<String> {
        let cursor = packed.cursor_from(from.into()).expect("searchable");
        all(cursor).expect("records").into_iter().map(|(name, ..)| name).collect()
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
        assert_eq!(below.expect("there is one"), "refs/heads/main");
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
            assert!(packed.find(name.as_str().into()).expect("searchable").is_some());
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
        assert!(all(packed.cursor()).is_err());
        let _ = packed.find("refs/heads/z".into());
    }

    #[test]
    fn a_file_reads_the_same_from_disk_as_from_memory() {
        for hash in [HashKind::Sha1, HashKind::Sha256] {
            let (a, b) = ("a".repeat(hash.hex_len()), "b".repeat(hash.hex_len()));
            let mut text = String::from("# pack-refs with: peeled fully-peeled sorted \n");
            for number in 0..300 {
                let long = "x".repeat(if number % 50 == 49 { 300 } else { number % 11 });
                text += &format!("{a} refs/tags/{number:03}{long}\n");
                if number % 3 == 0 {
                    text += &format!("^{b}\n");
                }
            }
            let held = PackedRefs::parse(text.clone().into_bytes(), hash).expect("fine");
            let expected = all(held.cursor()).expect("records");
            assert_eq!(expected.len(), 300);
            for window in [Some((7, 600)), Some((100, 450)), Some((512, 512)), None] {
                let file = open(&text, window, hash).expect("fine");
                assert!(matches!(file.source, Source::File { .. }));
                assert_eq!(all(file.cursor()).expect("records"), expected, "{window:?}");
                for (at, (name, ..)) in expected.iter().enumerate() {
                    let name = name.as_str();
                    let rest = file.cursor_from(name.into()).expect("searchable");
                    if at % 97 == 0 {
                        assert_eq!(all(rest).expect("records"), expected[at..]);
                    }
                    assert_eq!(
                        file.find(name.into()).expect("searchable"),
                        held.find(name.into()).expect("searchable"),
                    );
                    assert_eq!(file.find(format!("{name}!").as_str().into()).expect("fine"), None);
                }
                assert_eq!(names(&file, "refs/z"), Vec::<String>::new());
                assert_eq!(names(&file, "").len(), 300);
            }
        }
    }

    #[test]
    fn damage_in_a_file_on_disk_is_told_too() {
        let header = "# pack-refs with: sorted \n";
        let lines = |from: u32| -> String {
            (from..from + 40).map(|n| format!("{A} refs/heads/{n:03}\n")).collect()
        };
        let long = format!("{A} refs/heads/{}\n", "n".repeat(2000));
        for damage in [
            "\n",
            "^\n",
            "garbage\n",
            &format!("^{B}\n^{B}\n"),
            &format!("{A}  x"),
            &long,
            &format!("{A}-refs/heads/dash\n"),
            &format!("{}g refs/heads/hex\n", &A[1..]),
            &format!("{A} refs/heads/000\r\n^{B}\r\n"),
            &format!("^{}\n", &B[1..]),
        ] {
            let text = format!("{header}{}{damage}", lines(0));
            let read = |text: &str| {
                let file = open(text, Some((64, 1024)), HashKind::Sha1)?;
                all(file.cursor()).map(|_| ())
            };
            assert!(read(&text).is_err(), "{damage:?} at the end");
            if damage.ends_with('\n') {
                assert!(read(&format!("{text}{}", lines(500))).is_err(), "{damage:?}");
                let first = format!("{header}{damage}{}", lines(500));
                assert!(read(&first).is_err(), "{damage:?} at the start");
            }
        }
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let text = format!("# pack-refs with: sorted \n{A} refs/heads/a\n{A} refs/heads/b\n");
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        let reading = Reading { held_bytes_max: 0, ..Reading::default() };
        let copy = file.try_clone().expect("duplicated");
        let len = text.len() as u64;
        let packed = PackedRefs::open(file, len, HashKind::Sha1, reading).expect("fine");
        copy.set_len(len - 20).expect("cut");
        assert!(all(packed.cursor()).is_err());
        assert!(packed.find("refs/heads/b".into()).is_err());
    }

    #[test]
    fn upper_case_ids_are_read_and_the_file_kept_as_it_is() {
        let text = format!("# pack-refs with: sorted \n{} refs/heads/a\n", "AB".repeat(20));
        let packed = parse(&text).expect("fine");
        let id = ObjectId::from_hex("ab".repeat(20).as_bytes()).expect("hex");
        assert_eq!(packed.find("refs/heads/a".into()).expect("fine").expect("there").id, id);
        assert!(text.ends_with(&all(packed.cursor()).expect("fine")[0].1));
    }
}
