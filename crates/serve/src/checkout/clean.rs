//! Whether a tracked file is as the index says.

use std::fs::File;
use std::io::{self, Read as _};

use gitconfig::Config;
use object::{EntryMode, HashKind, Kind, ObjectHasher, ObjectId, object_id};
use rustix::fs::FileType;

use super::index::IndexEntry;
use super::stat::{Stat, Time};
use super::work_root::WorkRoot;
use super::{NOT_COMPARABLE, Refused};

/// Bytes of a file hashed at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// How files of one work tree are compared.
pub(super) struct Cleanliness<'a> {
    pub root: &'a WorkRoot,
    pub config: &'a Config,
    /// When the index was written.
    pub index_mtime: Option<Time>,
}

impl Cleanliness<'_> {
    /// Whether the file holds what the index says; its `stat` in the entry is brought up to
    /// date then. Submodules are not looked into.
    pub fn refresh(&self, entry: &mut IndexEntry) -> Result<bool, Refused> {
        self.compare(entry).map_err(|error| {
            Refused::new(NOT_COMPARABLE, format!("cannot read '{}': {error}", entry.path))
        })
    }

    fn compare(&self, entry: &mut IndexEntry) -> io::Result<bool> {
        if entry.intent_to_add {
            return Ok(false);
        }
        if entry.mode.is_submodule() {
            return Ok(true);
        }
        let Some(found) = self.root.look(entry.path.as_ref())? else { return Ok(false) };
        let now = Stat::of(&found);
        let kind = FileType::from_raw_mode(found.st_mode);
        if entry.mode.is_symlink() {
            if kind != FileType::Symlink {
                return Ok(false);
            }
        } else if kind != FileType::RegularFile || !self.same_bit(entry, found.st_mode) {
            return Ok(false);
        }
        if entry.stat.proves_unchanged(&now, self.index_mtime) {
            return Ok(true);
        }
        let (stat, id) = match self.content(entry, now)? {
            Some(found) => found,
            None => return Ok(false),
        };
        if id == Some(entry.id) {
            entry.stat = stat;
        }
        Ok(id == Some(entry.id))
    }

    /// The executable bit, where the file system can be trusted with it.
    fn same_bit(&self, entry: &IndexEntry, mode: u32) -> bool {
        let trusted = self.config.bool("core.fileMode").ok().flatten().unwrap_or(true);
        !trusted || (mode & 0o100 != 0) == (entry.mode == EntryMode::EXECUTABLE)
    }

    /// What the file holds, and its `stat` from before it was read; no id when its bytes are
    /// a collision attack.
    fn content(
        &self,
        entry: &IndexEntry,
        now: Stat,
    ) -> io::Result<Option<(Stat, Option<ObjectId>)>> {
        let hash = entry.id.kind();
        if entry.mode.is_symlink() {
            let target = self.root.link(entry.path.as_ref())?;
            return Ok(Some((now, object_id(hash, Kind::Blob, &target).ok())));
        }
        let Some(file) = self.root.file(entry.path.as_ref())? else { return Ok(None) };
        let before = rustix::fs::fstat(&file)?;
        let size = u64::try_from(before.st_size).unwrap_or(0);
        Ok(Some((Stat::of(&before), hash_file(file, size, hash)?)))
    }
}

fn hash_file(file: File, size: u64, hash: HashKind) -> io::Result<Option<ObjectId>> {
    let mut hasher = ObjectHasher::new(hash, Kind::Blob, size);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut file = file.take(size);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hasher.finish().ok()),
            count => hasher.update(&chunk[..count]),
        }
    }
}
