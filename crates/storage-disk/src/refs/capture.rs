//! The loose refs below a prefix, read at one go into two flat buffers, in byte order.

use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;

use bstr::{BStr, BString, ByteSlice as _};
use object::{HashKind, ObjectId, check_ref_format};
use storage::{Error, Result, Target, TargetView};

use super::loose::{self, Loose};
use crate::worktree::{PER_WORKTREE, RefDirs};

/// Directories deeper than this hold no refs: no file system takes such a name.
const NAME_BYTES_MAX: usize = 4096;

/// Loose refs, sorted by name.
#[derive(Debug, Default)]
pub(super) struct LooseRefs {
    /// Names and the targets of symbolic refs, one behind the other.
    text: BString,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: Range<usize>,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Id(ObjectId),
    Symbolic(Range<usize>),
    /// Hides a packed ref of the same name, as it does from git.
    Broken,
}

/// A loose ref; no target when it is broken.
#[derive(Debug, Clone, Copy)]
pub(super) struct LooseView<'a> {
    pub name: &'a BStr,
    pub target: Option<TargetView<'a>>,
}

impl LooseRefs {
    /// Reads every loose ref below `refs/` whose name starts with `prefix`.
    pub fn read(dirs: &RefDirs, prefix: &BStr, hash: HashKind) -> Result<Self> {
        let mut refs = LooseRefs::default();
        if prefix.starts_with(b"refs/") {
            // Names below the prefix's last directory; one that no ref can have holds nothing.
            let directory = &prefix[..prefix.rfind_byte(b'/').expect("refs/ has one")];
            if directory == b"refs" || check_ref_format(directory).is_ok() {
                refs.walk(dirs, directory.as_bstr(), prefix, hash)?;
            }
        } else if b"refs/".starts_with(prefix) {
            refs.walk(dirs, b"refs".as_bstr(), prefix, hash)?;
        }
        Ok(refs)
    }

    /// The refs from the first one not before `name`.
    pub fn iter_from(&self, name: &BStr) -> impl Iterator<Item = LooseView<'_>> {
        let start = self.entries.partition_point(|entry| self.slice(&entry.name) < name);
        self.entries[start..].iter().map(|entry| self.view(entry))
    }

    /// One ref.
    pub fn find(&self, name: &BStr) -> Option<LooseView<'_>> {
        self.iter_from(name).next().filter(|view| view.name == name)
    }

    fn view<'a>(&'a self, entry: &'a Entry) -> LooseView<'a> {
        let target = match &entry.value {
            Value::Id(id) => Some(TargetView::Id(id.into())),
            Value::Symbolic(name) => Some(TargetView::Symbolic(self.slice(name))),
            Value::Broken => None,
        };
        LooseView { name: self.slice(&entry.name), target }
    }

    fn slice(&self, range: &Range<usize>) -> &BStr {
        self.text[range.clone()].as_bstr()
    }

    fn append(&mut self, text: &[u8]) -> Range<usize> {
        let start = self.text.len();
        self.text.extend_from_slice(text);
        start..self.text.len()
    }

    fn walk(
        &mut self,
        dirs: &RefDirs,
        directory: &BStr,
        prefix: &BStr,
        hash: HashKind,
    ) -> Result<()> {
        if directory.len() > NAME_BYTES_MAX {
            return Ok(());
        }
        for mut name in list(dirs, directory)? {
            let is_directory = name.ends_with(b"/");
            // A directory is worth a look when it leads to the prefix or lies below it.
            let leads_there = is_directory && prefix.starts_with(&name);
            if !leads_there && !name.starts_with(prefix) {
                continue;
            }
            if is_directory {
                name.pop();
                self.walk(dirs, name.as_bstr(), prefix, hash)?;
            } else {
                self.read_one(dirs, name.as_bstr(), hash)?;
            }
        }
        Ok(())
    }

    fn read_one(&mut self, dirs: &RefDirs, name: &BStr, hash: HashKind) -> Result<()> {
        if check_ref_format(name).is_err() {
            tracing::warn!("ignoring ref with broken name {name}");
            return Ok(());
        }
        let loose = match loose::read(&dirs.file_of(name), hash)? {
            // Deleted or packed since the directory was listed.
            Loose::Missing | Loose::Directory => return Ok(()),
            Loose::Broken(why) => {
                tracing::warn!("ignoring broken ref {name}: {why}");
                Value::Broken
            }
            Loose::Found(Target::Id(id)) => Value::Id(id),
            Loose::Found(Target::Symbolic(target)) => Value::Symbolic(self.append(&target)),
        };
        let name = self.append(name);
        self.entries.push(Entry { name, value: loose });
        Ok(())
    }
}

/// The names in one directory, directories with a `/` behind them, in the byte order of the
/// full names they lead to.
fn list(dirs: &RefDirs, directory: &BStr) -> Result<Vec<BString>> {
    let path = dirs.file_of(directory);
    let at = |source: io::Error| Error::io(path.display(), source);
    let mut names = Vec::new();
    let entries = match fs::read_dir(&path) {
        Ok(entries) => Some(entries),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            None
        }
        Err(error) => return Err(at(error)),
    };
    for entry in entries.into_iter().flatten() {
        let entry = entry.map_err(at)?;
        let file_name = entry.file_name();
        let file_name = file_name.as_bytes();
        if file_name.starts_with(b".") || file_name.ends_with(b".lock") {
            continue;
        }
        let mut file_type = entry.file_type().map_err(at)?;
        if file_type.is_symlink() {
            match fs::metadata(entry.path()) {
                Ok(metadata) => file_type = metadata.file_type(),
                // A dangling link: a symbolic ref whose target is packed or not yet born.
                Err(_) => {
                    names.push(join(directory, file_name, b""));
                    continue;
                }
            }
        }
        if file_type.is_dir() {
            names.push(join(directory, file_name, b"/"));
        } else if file_type.is_file() {
            names.push(join(directory, file_name, b""));
        }
    }
    if directory == "refs" && dirs.git_dir != dirs.common_dir {
        // The work tree's own directories are elsewhere, and need not exist in the common one.
        for own in PER_WORKTREE {
            names.push(format!("{own}/").into());
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn join(directory: &BStr, name: &[u8], end: &[u8]) -> BString {
    [directory.as_bytes(), b"/", name, end].concat().into()
}
