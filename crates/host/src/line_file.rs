//! A file that lines of JSON are put at the end of.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Lines of JSON in a file. Whoever moves it away (logrotate) finds the next line in a new one.
pub struct LineFile {
    path: PathBuf,
    file: Mutex<Option<(File, u64)>>,
}

impl LineFile {
    /// Opens a file, or makes it, for its owner alone.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn open(path: &Path) -> io::Result<Self> {
        let lines = LineFile { path: path.to_owned(), file: Mutex::default() };
        *lines.lock() = Some(lines.opened()?);
        Ok(lines)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts one more line at the end.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn write(&self, line: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(line)?;
        line.push(b'\n');
        self.append(&line)
    }

    fn opened(&self) -> io::Result<(File, u64)> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
        let number = file.metadata()?.ino();
        Ok((file, number))
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut file = self.lock();
        let there = std::fs::metadata(&self.path).map(|meta| meta.ino()).ok();
        if file.as_ref().map(|(_, number)| *number) != there || there.is_none() {
            *file = Some(self.opened()?);
        }
        match &mut *file {
            // At once, so that lines of two servers do not mix.
            Some((file, _)) => file.write_all(line),
            None => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(File, u64)>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
