//! One ref's own file: an id, `ref: <name>`, or a symbolic link to a ref.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use bstr::ByteSlice as _;
use object::{HashKind, ObjectId, RefName};
use storage::{Error, Result, Target};

use crate::gitdir::read_limited;

/// The longest file that is looked at, in bytes: longer than any name a file system takes.
const FILE_BYTES_MAX: u64 = 8192;

/// How often a file that changes its type under our eyes is looked at again (git: 3).
const ATTEMPTS: usize = 3;

/// What is at a ref's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Loose {
    Missing,
    Directory,
    /// A file that is no ref, and why.
    Broken(&'static str),
    Found(Target),
}

pub(super) fn read(path: &Path, hash: HashKind) -> Result<Loose> {
    for _ in 0..ATTEMPTS {
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if is_absent(&error) => return Ok(Loose::Missing),
            Err(error) => return Err(Error::io(path.display(), error)),
        };
        if metadata.is_dir() {
            return Ok(Loose::Directory);
        }
        if metadata.is_symlink() {
            match fs::read_link(path) {
                Ok(link) if link.as_os_str().as_bytes().starts_with(b"refs/") => {
                    if let Ok(name) = RefName::new(link.as_os_str().as_bytes()) {
                        return Ok(Loose::Found(Target::Symbolic(name)));
                    }
                }
                // Another kind of link leads to a file that is read like any other.
                Ok(_) => {}
                Err(_) => continue,
            }
        }
        match read_limited(path, FILE_BYTES_MAX) {
            Ok(content) => return Ok(parse(&content, hash)),
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                return Ok(Loose::Directory);
            }
            Err(error) if is_absent(&error) && metadata.is_symlink() => {
                return Ok(Loose::Broken("a link that leads nowhere"));
            }
            Err(error) if is_absent(&error) => continue,
            Err(error) => return Err(Error::io(path.display(), error)),
        }
    }
    Ok(Loose::Missing)
}

/// Nothing of that name, or no name a file can have.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
}

fn parse(content: &[u8], hash: HashKind) -> Loose {
    let content = content.trim_ascii_end();
    if content.is_empty() {
        return Loose::Broken("an empty file");
    }
    if let Some(name) = content.strip_prefix(b"ref:") {
        return match RefName::new(name.trim_ascii_start()) {
            Ok(name) => Loose::Found(Target::Symbolic(name)),
            Err(_) => Loose::Broken("a symbolic ref to an impossible name"),
        };
    }
    let hex_len = hash.hex_len();
    let id = content.get(..hex_len).and_then(|hex| ObjectId::from_hex_of(hex, hash));
    match id {
        // Git accepts more text behind white space (FETCH_HEAD has it).
        Some(id) if content.get(hex_len).is_none_or(u8::is_ascii_whitespace) => {
            if id.is_null() {
                Loose::Broken("the null id")
            } else {
                Loose::Found(Target::Id(id))
            }
        }
        _ if content.find_byte(0).is_some() => Loose::Broken("binary garbage"),
        _ => Loose::Broken("neither an id nor 'ref:'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_read_as_git_reads_them() {
        let hex = "1".repeat(40);
        let id = Loose::Found(Target::Id(ObjectId::from_hex(hex.as_bytes()).expect("hex")));
        let read = |content: &str| parse(content.as_bytes(), HashKind::Sha1);
        assert_eq!(read(&hex), id);
        assert_eq!(read(&format!("{hex}\n")), id);
        assert_eq!(read(&format!("{hex}\tmore")), id);
        let main = Target::Symbolic(RefName::new("refs/heads/main").expect("valid"));
        assert_eq!(read("ref:   refs/heads/main \n"), Loose::Found(main));
        for bad in ["", "\n", &format!("{hex}1"), "ref: ../x", "ref:", &"0".repeat(40), "xyz"] {
            assert!(matches!(read(bad), Loose::Broken(_)), "{bad:?}");
        }
        assert!(matches!(parse(hex.as_bytes(), HashKind::Sha256), Loose::Broken(_)));
    }
}
