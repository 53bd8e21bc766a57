//! Where records are kept, and an authority that reads them again when they change.

mod database;
mod file;
mod sync;
mod watched;

use std::path::Path;

use crate::{BookError, Records};

pub use watched::Watched;

/// What is wrong with a source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It cannot be read or written.
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    /// It is not in the form it should have.
    #[error("{0}: {1}")]
    Form(String, String),
    /// What it says cannot be meant.
    #[error("{0}: {1}")]
    Meaning(String, BookError),
    /// Somebody else is changing it, for too long.
    #[error("{0}: somebody else is changing it ({1})")]
    Busy(String, String),
    /// The change itself is refused.
    #[error("{0}")]
    Refused(String),
}

/// Where it was when it was read: another one means that it is to be read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    length: u64,
    modified: std::time::SystemTime,
    number: u64,
}

impl Stamp {
    fn of(path: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let meta = std::fs::metadata(path)?;
        Ok(Stamp { length: meta.len(), modified: meta.modified()?, number: meta.ino() })
    }
}

/// A change of records; refuses with words.
pub type Change<'a> = dyn FnOnce(&mut Records) -> Result<(), String> + 'a;

/// Records that are kept somewhere.
pub trait Source: Send + Sync {
    /// Reads them.
    ///
    /// # Errors
    /// [`SourceError`].
    fn load(&self) -> Result<Records, SourceError>;

    /// Changes them, if what comes out can be meant. Everything else stays as it is, and two who
    /// change at once go one after the other.
    ///
    /// # Errors
    /// [`SourceError`]; nothing has changed then.
    fn change(&self, change: Box<Change<'_>>) -> Result<(), SourceError>;

    /// The file they are in.
    fn path(&self) -> &Path;
}

/// The source at a path: a small database if the name ends in `.db`, else a TOML file.
pub fn open(path: &Path) -> Box<dyn Source> {
    match path.extension().is_some_and(|extension| extension == "db") {
        true => Box::new(database::Database::new(path)),
        false => Box::new(file::File::new(path)),
    }
}

/// How long a change waits for another, milliseconds.
const WAIT_MS: u64 = 10_000;

/// Tries until it works, or `WAIT_MS` are over.
fn with_patience<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    const PAUSE_MS: u64 = 20;
    for _ in 0..WAIT_MS / PAUSE_MS {
        if let Some(done) = attempt() {
            return Some(done);
        }
        std::thread::sleep(std::time::Duration::from_millis(PAUSE_MS));
    }
    attempt()
}

/// Carries a change out on records, and checks what comes of it.
fn changed(
    mut records: Records,
    change: Box<Change<'_>>,
    path: &Path,
) -> Result<Records, SourceError> {
    change(&mut records).map_err(SourceError::Refused)?;
    crate::Book::new(records.clone())
        .map_err(|error| SourceError::Meaning(path.display().to_string(), error))?;
    Ok(records)
}

#[cfg(test)]
mod tests;
