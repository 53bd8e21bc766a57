//! Making several tables one, while others go on writing.
//!
//! The list is locked only to choose the tables and to put the new one in their place. In between
//! each of them is locked by itself, which keeps others from choosing it too; as git does it.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher as _;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use reftable::stack::{compact, due, format_list, table_name};
use storage::{BlobStore as _, Error, Result};
use storage_reftable::RefTables;

use super::{Inner, LINE_WAIT};
use crate::disk::{Directories, Disk};
use crate::lock::LockFile;

/// Bytes of every table that git leaves out when it compares sizes: a header but for one.
pub(super) const FRAME_BYTES: u64 = 23;

impl Inner {
    /// Makes tables one until each is at least twice as large as the next newer one. Does
    /// nothing when somebody else is at it.
    pub fn compact(&self) -> Result<()> {
        let list = self.list();
        let Some(turn) = self.line.enter(LINE_WAIT) else { return Ok(()) };
        let Some(lock) = self.try_lock(&list, Duration::ZERO)? else { return Ok(()) };
        let stack = self.stack()?;
        let sizes: Vec<u64> =
            stack.tables.iter().map(|table| table.size().saturating_sub(FRAME_BYTES)).collect();
        let Some(range) = due(&sizes) else { return Ok(()) };
        // The newest first: of those that somebody else has, the older ones are left to them.
        let (mut held, mut start) = (Vec::with_capacity(range.len()), range.end);
        for at in range.clone().rev() {
            match self.try_lock(&self.directory().join(&stack.names[at]), Duration::ZERO)? {
                Some(lock) => held.push(lock),
                None => break,
            }
            start = at;
        }
        if range.end - start < 2 {
            tracing::debug!("reftables are locked, or a lock was left behind");
            return Ok(());
        }
        drop((lock, turn));
        self.replace(&stack, start..range.end)
    }

    pub(super) fn try_lock(&self, path: &Path, wait: Duration) -> Result<Option<LockFile>> {
        let root = &self.dirs.common_dir;
        let mut changed = Directories::new();
        match LockFile::acquire(&self.disk, root, path.to_owned(), wait, &mut changed) {
            Ok(lock) => Ok(Some(lock)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(Error::io(path.display(), error)),
        }
    }

    /// Writes some tables as one and lists it in their place.
    fn replace(&self, stack: &RefTables, range: Range<usize>) -> Result<()> {
        let (names, tables) = (&stack.names[range.clone()], &stack.tables[range.clone()]);
        let (Some(first), Some(last)) = (tables.first(), tables.last()) else { return Ok(()) };
        let random = RandomState::new().hash_one(names) as u32;
        let name = table_name(first.min_update_index(), last.max_update_index(), random);
        // Not by its name before it is listed: git removes tables that are in no list.
        let unlisted = self.directory().join(format!("{name}.temp"));
        let written = self.write_merged(stack, range.clone(), &unlisted);
        let listed = written.and_then(|()| self.list_merged(stack, range, (&unlisted, &name)));
        if !matches!(listed, Ok(true)) {
            // Gone already when it has its name.
            let _ = self.disk.remove_file(&unlisted);
            return listed.map(|_| ());
        }
        for name in names {
            let path = self.directory().join(name);
            match self.disk.remove_file(&path) {
                // A git that had it open removes what is not listed when it ends.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(|source| Error::io(path.display(), source))?,
            }
        }
        Ok(())
    }

    fn write_merged(&self, stack: &RefTables, range: Range<usize>, path: &Path) -> Result<()> {
        let is_oldest = range.start == 0;
        let at = |source| Error::io(path.display(), source);
        let faults = self.files.faults();
        let file = self.disk.create_new(path, 0o666).map_err(at)?;
        let out = DiskWriter { disk: &self.disk, file: &file, path };
        let out = compact(&stack.tables[range], is_oldest, BufWriter::with_capacity(1 << 20, out));
        let mut out = out.map_err(|error| stack.damaged(error))?;
        out.flush().map_err(at)?;
        self.check_intact(faults)?;
        self.disk.sync_file(&file, path).map_err(at)
    }

    /// Gives a table its name and lists it; whether it did.
    fn list_merged(
        &self,
        stack: &RefTables,
        range: Range<usize>,
        (unlisted, name): (&Path, &str),
    ) -> Result<bool> {
        let list = self.list();
        let at = |source| Error::io(list.display(), source);
        let Some(_turn) = self.line.enter(LINE_WAIT) else { return Ok(false) };
        let Some(mut lock) = self.try_lock(&list, self.settings.lock_wait)? else {
            return Ok(false);
        };
        // Newer tables may have come; nobody else takes these away.
        let mut names = self.names()?;
        if names.get(range.clone()) != Some(&stack.names[range.clone()]) {
            return Ok(false);
        }
        names.splice(range, [name.to_owned()]);
        lock.write(format_list(&names).as_bytes()).map_err(at)?;
        // From here to the end nobody removes it: the list is locked.
        self.disk.rename(unlisted, &self.directory().join(name)).map_err(at)?;
        let directory = Directories::from([self.directory()]);
        self.disk.sync_directories(&directory).map_err(at)?;
        lock.replace_target().map_err(at)?;
        self.disk.sync_directories(&directory).map_err(at)?;
        Ok(true)
    }
}

/// A file through the one that counts every change.
struct DiskWriter<'a> {
    disk: &'a Disk,
    file: &'a File,
    path: &'a Path,
}

impl Write for DiskWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.write(self.file, self.path, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
