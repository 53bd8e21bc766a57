//! Objects directories a repository borrows from: `objects/info/alternates`, and
//! `GIT_ALTERNATE_OBJECT_DIRECTORIES`.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use bstr::{BString, ByteSlice as _};
use storage::{Error, Result};

use crate::gitdir::read_limited;

/// How deep alternates may have alternates of their own (git's limit).
const NESTING_MAX: usize = 5;

/// The largest `info/alternates` file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The objects directories `objects_dir` borrows from, in git's search order and each once:
/// first those of `environment` (separated by `:`), then those of its file, each followed by
/// its own. Directories that are gone are left out with a warning.
pub(crate) fn find(objects_dir: &Path, environment: Option<&OsStr>) -> Result<Vec<PathBuf>> {
    let mut found = Found { own: fs::canonicalize(objects_dir).ok(), alternates: Vec::new() };
    if let Some(list) = environment {
        for path in parse(list.as_bytes(), b':') {
            // Relative to the process's directory, as git takes them.
            found.add(Path::new(OsStr::from_bytes(&path)), 0)?;
        }
    }
    found.add_file(objects_dir, 0)?;
    Ok(found.alternates)
}

struct Found {
    own: Option<PathBuf>,
    alternates: Vec<PathBuf>,
}

impl Found {
    fn add(&mut self, path: &Path, depth: usize) -> Result<()> {
        let Ok(path) = fs::canonicalize(path) else {
            tracing::warn!("unable to normalize alternate object path: {}", path.display());
            return Ok(());
        };
        if !path.is_dir() {
            let shown = path.display();
            tracing::warn!("object directory {shown} does not exist; check info/alternates");
            return Ok(());
        }
        if self.own.as_ref() == Some(&path) || self.alternates.contains(&path) {
            return Ok(());
        }
        self.alternates.push(path.clone());
        self.add_file(&path, depth + 1)
    }

    fn add_file(&mut self, objects_dir: &Path, depth: usize) -> Result<()> {
        let file = objects_dir.join("info/alternates");
        let content = match read_limited(&file, FILE_BYTES_MAX) {
            Ok(content) => content,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(Error::io(file.display(), error)),
        };
        let paths = parse(&content, b'\n');
        if depth > NESTING_MAX && !paths.is_empty() {
            let shown = objects_dir.display();
            tracing::warn!("{shown}: ignoring alternate object stores, nesting too deep");
            return Ok(());
        }
        for path in paths {
            self.add(&objects_dir.join(OsStr::from_bytes(&path)), depth)?;
        }
        Ok(())
    }
}

/// Splits a list of paths: comments and empty entries are left out, quoted ones unquoted.
fn parse(mut list: &[u8], separator: u8) -> Vec<BString> {
    let mut paths = Vec::new();
    while !list.is_empty() {
        let plain_end = list.find_byte(separator).unwrap_or(list.len());
        let (path, end) = match (list[0], unquote(list)) {
            (b'#', _) => (None, plain_end),
            (b'"', Some((path, end))) => (Some(path), end),
            _ => (Some(list[..plain_end].into()), plain_end),
        };
        paths.extend(path.filter(|path| !path.is_empty()));
        list = &list[(end + 1).min(list.len())..];
    }
    paths
}

/// A C-style quoted string at the start of `text`, and where it ends; `None` when broken.
fn unquote(text: &[u8]) -> Option<(BString, usize)> {
    let mut path = BString::default();
    let mut at = text.first().filter(|&&first| first == b'"').map(|_| 1)?;
    loop {
        match text.get(at)? {
            b'"' => return Some((path, at + 1)),
            b'\\' => {
                at += 1;
                let byte = match *text.get(at)? {
                    b'a' => 7,
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'v' => 11,
                    escaped @ (b'\\' | b'"') => escaped,
                    b'0'..=b'3' => {
                        let digits = std::str::from_utf8(text.get(at..at + 3)?).ok()?;
                        at += 2;
                        u8::from_str_radix(digits, 8).ok()?
                    }
                    _ => return None,
                };
                path.push(byte);
            }
            byte => path.push(*byte),
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_as_git_does() {
        assert_eq!(parse(b"/a\n# no\n\n../b\n", b'\n'), ["/a", "../b"]);
        assert_eq!(parse(b"\"/a:\\\"b\\303\\244\":/c", b':'), ["/a:\"b\u{e4}", "/c"]);
        assert_eq!(parse(b"\"broken:/c", b':'), ["\"broken", "/c"]);
        assert_eq!(parse(b"", b'\n'), Vec::<BString>::new());
        assert_eq!(unquote(b"\"\\9\""), None);
    }

    #[test]
    fn nesting_cycles_and_gone_directories_end() {
        let root = tempfile::tempdir().expect("a directory");
        let objects = |number: usize| root.path().join(format!("{number}/objects"));
        for number in 0..9 {
            fs::create_dir_all(objects(number).join("info")).expect("made");
            let next = format!("../../{}/objects\n/gone\n../../0/objects\n", number + 1);
            fs::write(objects(number).join("info/alternates"), next).expect("written");
        }
        let found = find(&objects(0), None).expect("readable");
        let real = |number: usize| fs::canonicalize(objects(number)).expect("there");
        assert_eq!(found, (1..=6).map(real).collect::<Vec<_>>());
        let environment = objects(3).into_os_string();
        let found = find(&objects(8), Some(&environment)).expect("readable");
        assert_eq!(found[0], real(3));
    }
}
