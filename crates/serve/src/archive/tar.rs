//! tar archives as git writes them: ustar headers (POSIX, pax), extended ones for what does not fit.

use std::io::{self, Write};

use object::ObjectId;

use super::entry::{Archiver, Content, Entry};
use crate::Error;

/// Everything is padded to records of so many bytes.
const RECORD_BYTES: usize = 512;
/// The archive is padded to blocks of so many bytes.
const BLOCK_BYTES: u64 = 20 * RECORD_BYTES as u64;
/// The largest number in eleven octal digits: sizes and times beyond it go into extended headers.
const NUMBER_MAX: u64 = 0o77_777_777_777;

// Where the fields of a header are, and how long.
const NAME: (usize, usize) = (0, 100);
const MODE: (usize, usize) = (100, 8);
const UID: (usize, usize) = (108, 8);
const GID: (usize, usize) = (116, 8);
const SIZE: (usize, usize) = (124, 12);
const MTIME: (usize, usize) = (136, 12);
const CHECKSUM: (usize, usize) = (148, 8);
const TYPE: usize = 156;
const LINK: (usize, usize) = (157, 100);
const MAGIC: usize = 257;
const USER: (usize, usize) = (265, 32);
const GROUP: (usize, usize) = (297, 32);
const DEVICE_MAJOR: (usize, usize) = (329, 8);
const DEVICE_MINOR: (usize, usize) = (337, 8);
const PREFIX: (usize, usize) = (345, 155);

/// What a header says it is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    File = b'0' as isize,
    Link = b'2' as isize,
    Directory = b'5' as isize,
    Extended = b'x' as isize,
    Global = b'g' as isize,
}

/// A writer whose stream can be ended.
pub(super) trait Ending: Write {
    /// Writes what is left; nothing may follow.
    fn end(&mut self) -> io::Result<()>;
}

/// Writes a tar archive.
pub(super) struct Tar<W: Ending> {
    output: W,
    written: u64,
    /// Permissions no entry has (`tar.umask`).
    umask: u32,
    /// The time of all entries, seconds since 1970.
    time: u64,
}

impl<W: Ending> Tar<W> {
    /// Begins an archive, of a commit if there is one.
    pub fn begin(
        output: W,
        commit: Option<&ObjectId>,
        time: u64,
        umask: u32,
    ) -> Result<Self, Error> {
        let mut tar = Tar { output, written: 0, umask, time };
        let mut global = Vec::new();
        if let Some(commit) = commit {
            extend(&mut global, "comment", commit.to_hex().as_bytes());
        }
        if time > NUMBER_MAX {
            extend(&mut global, "mtime", time.to_string().as_bytes());
            tar.time = NUMBER_MAX;
        }
        if !global.is_empty() {
            tar.extended(Type::Global, b"pax_global_header", &global)?;
        }
        Ok(tar)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.output.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Fills the record that was begun with zeros.
    fn pad(&mut self) -> Result<(), Error> {
        let over = (self.written % RECORD_BYTES as u64) as usize;
        match over {
            0 => Ok(()),
            over => self.write(&[0; RECORD_BYTES][over..]),
        }
    }

    fn extended(&mut self, kind: Type, name: &[u8], text: &[u8]) -> Result<(), Error> {
        let mut header = Header::new(kind);
        header.text(NAME, name);
        let header = header.finish(0o666, text.len() as u64, self.time);
        self.write(&header)?;
        self.write(text)?;
        self.pad()
    }
}

impl<W: Ending> Archiver for Tar<W> {
    fn add(&mut self, entry: &Entry<'_>, content: Content) -> Result<(), Error> {
        let (kind, mode) = if entry.is_directory() {
            (Type::Directory, (entry.mode.0 | 0o777) & !self.umask)
        } else if entry.mode.is_symlink() {
            (Type::Link, entry.mode.0 | 0o777)
        } else {
            let all = if entry.mode.0 & 0o100 != 0 { 0o777 } else { 0o666 };
            (Type::File, (entry.mode.0 | all) & !self.umask)
        };
        let mut header = Header::new(kind);
        let mut extra = Vec::new();
        match split(entry.path) {
            Some((prefix, name)) => {
                header.text(PREFIX, prefix);
                header.text(NAME, name);
            }
            None => {
                header.text(NAME, format!("{}.data", entry.id).as_bytes());
                extend(&mut extra, "path", entry.path);
            }
        }
        let mut size = 0;
        let mut content = content;
        match kind {
            Type::Link => {
                let mut target = Vec::new();
                content.each(&mut |piece| {
                    target.extend_from_slice(piece);
                    Ok(())
                })?;
                if target.len() > LINK.1 {
                    header.text(LINK, format!("see {}.paxheader", entry.id).as_bytes());
                    extend(&mut extra, "linkpath", &target);
                } else {
                    header.text(LINK, &target);
                }
                content = Content::Nothing;
            }
            Type::File => {
                size = content.size();
                if size > NUMBER_MAX {
                    extend(&mut extra, "size", size.to_string().as_bytes());
                    size = 0;
                }
            }
            _ => {}
        }
        if !extra.is_empty() {
            let name = format!("{}.paxheader", entry.id);
            self.extended(Type::Extended, name.as_bytes(), &extra)?;
        }
        let header = header.finish(mode, size, self.time);
        self.write(&header)?;
        content.each(&mut |piece| self.write(piece))?;
        self.pad()
    }

    /// Two records of zeros at least, and a whole number of blocks.
    fn finish(&mut self) -> Result<(), Error> {
        let least = self.written + 2 * RECORD_BYTES as u64;
        let end = least.next_multiple_of(BLOCK_BYTES);
        while self.written < end {
            self.write(&[0; RECORD_BYTES])?;
        }
        Ok(self.output.end()?)
    }
}

/// A header in the making.
struct Header([u8; RECORD_BYTES]);

impl Header {
    fn new(kind: Type) -> Self {
        let mut header = Header([0; RECORD_BYTES]);
        header.0[TYPE] = kind as u8;
        header
    }

    fn text(&mut self, (at, most): (usize, usize), text: &[u8]) {
        let count = text.len().min(most);
        self.0[at..at + count].copy_from_slice(&text[..count]);
    }

    /// In octal digits with zeros in front, and one byte left for the end of the text.
    fn number(&mut self, field: (usize, usize), number: u64) {
        let digits = field.1 - 1;
        self.text(field, format!("{number:0digits$o}").as_bytes());
    }

    fn finish(mut self, mode: u32, size: u64, time: u64) -> [u8; RECORD_BYTES] {
        self.number(MODE, u64::from(mode & 0o7777));
        self.number(SIZE, size);
        self.number(MTIME, time);
        self.number(UID, 0);
        self.number(GID, 0);
        self.text(USER, b"root");
        self.text(GROUP, b"root");
        self.number(DEVICE_MAJOR, 0);
        self.number(DEVICE_MINOR, 0);
        self.0[MAGIC..MAGIC + 8].copy_from_slice(b"ustar\x0000");
        // The checksum is made as if there were spaces in its place.
        let spaces = CHECKSUM.1 as u64 * u64::from(b' ');
        let sum = self.0.iter().map(|byte| u64::from(*byte)).sum::<u64>() + spaces;
        self.number(CHECKSUM, sum);
        self.0
    }
}

/// A path as the two fields of a header take it, the first one empty if it fits the second;
/// `None` when it fits neither way.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= NAME.1 {
        return Some((b"", path));
    }
    // The last slash that leaves the front short enough, and a name behind it.
    let end = match path {
        [front @ .., b'/'] => front.len(),
        path => path.len(),
    };
    let at = path[..end.min(PREFIX.1)].iter().rposition(|byte| *byte == b'/')?;
    let (prefix, name) = (&path[..at], &path[at + 1..]);
    (at > 0 && name.len() <= NAME.1).then_some((prefix, name))
}

/// Appends a record `LENGTH KEY=VALUE` and a line feed, where the length counts itself (pax(1),
/// "pax Extended Header").
fn extend(header: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    header.extend_from_slice(format!("{length} {key}=").as_bytes());
    header.extend_from_slice(value);
    header.push(b'\n');
}

impl Ending for Vec<u8> {
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bstr::ByteSlice as _;
    use object::{EntryMode, HashKind};

    use super::*;

    #[test]
    fn extended_records_count_themselves() {
        for (value, length) in
            [(1, "7"), (2, "8"), (3, "9"), (4, "11"), (91, "98"), (92, "99"), (93, "101")]
        {
            let mut header = Vec::new();
            extend(&mut header, "ab", &vec![b'x'; value]);
            let written = header.len().to_string();
            assert!(header.starts_with(format!("{written} ab=x").as_bytes()), "{value}");
            assert_eq!(written, length, "{value}");
        }
    }

    #[test]
    fn paths_are_split_at_the_last_slash_that_fits() {
        let name = |count| "n".repeat(count);
        let path = format!("{}/{}/{}", name(60), name(60), name(30));
        let (prefix, rest) = split(path.as_bytes()).expect("fits");
        assert_eq!((prefix.len(), rest.len()), (121, 30));
        assert!(split(format!("{}/{}", name(100), name(101)).as_bytes()).is_none());
        assert!(split(name(101).as_bytes()).is_none());
        assert!(split(format!("/{}", name(100)).as_bytes()).is_none());
        let directory = format!("{}/{}/", name(60), name(60));
        let (prefix, rest) = split(directory.as_bytes()).expect("fits");
        assert_eq!((prefix.len(), rest.len()), (60, 61));
    }

    #[test]
    fn an_archive_is_a_whole_number_of_blocks() {
        for (content, blocks) in [(0, 1), (17 * 512, 1), (17 * 512 + 1, 2), (19 * 512, 2)] {
            let id = object::object_id(HashKind::Sha1, object::Kind::Blob, b"").expect("an id");
            let mut tar = Tar::begin(Vec::new(), None, 0, 2).expect("memory");
            let entry =
                Entry { path: b"a".as_bstr(), mode: EntryMode::FILE, id: &id, binary: None };
            tar.add(&entry, Content::Whole(vec![b'x'; content].into())).expect("memory");
            tar.finish().expect("memory");
            assert_eq!(tar.output.len(), blocks * BLOCK_BYTES as usize, "{content}");
        }
    }

    #[test]
    fn what_does_not_fit_a_header_is_extended() {
        let id = object::object_id(HashKind::Sha1, object::Kind::Blob, b"").expect("an id");
        let mut tar = Tar::begin(Vec::new(), Some(&id), NUMBER_MAX + 1, 2).expect("memory");
        let path = "p".repeat(300);
        let entry =
            Entry { path: path.as_str().into(), mode: EntryMode::SYMLINK, id: &id, binary: None };
        tar.add(&entry, Content::Whole(vec![b't'; 200].into())).expect("memory");
        tar.finish().expect("memory");
        let text = tar.output.as_bstr();
        for part in ["20 mtime=8589934592\n", &format!("310 path={path}\n"), " linkpath=tttt"] {
            assert!(text.contains_str(part), "{part}");
        }
        assert!(
            text.contains_str(format!("{id}.paxheader")) && text.contains_str(format!("{id}.data"))
        );
    }
}
