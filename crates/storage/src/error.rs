//! What can go wrong with stored things, sorted by what the caller does next.
//!
//! Every error names the ref, blob or file it is about, and keeps its source.

use std::fmt;
use std::io;

use bstr::BString;
use object::RefName;

use crate::Target;

/// What most calls of this crate answer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who has to act for the call to succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Whoever asked: a bad name, a lost race, something that is not there.
    Caller,
    /// The storage: full, damaged, unreachable, read-only.
    Storage,
}

/// A failed call on a store. `what` is always the ref, blob or file concerned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing. Treat it as missing, or look again after a re-list.
    #[error("{what}: not found")]
    NotFound {
        /// The blob or file.
        what: String,
    },
    /// The name can never name a blob here; the caller has a bug or passed on hostile input.
    #[error("'{what}' is not a valid blob name")]
    InvalidName {
        /// The refused name.
        what: String,
    },
    /// The stored bytes make no sense. Do not retry; a person has to repair the repository.
    #[error("{what}: {detail}")]
    Corrupt {
        /// The ref or file.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The storage was made by a newer or differently built program. Refuse in these words.
    #[error("{detail}")]
    Unsupported {
        /// The repository or file.
        what: String,
        /// Git's words where git has any.
        detail: String,
    },
    /// A safety rule forbids using the storage (git's `safe.directory`). Refuse in these words.
    #[error("{detail}")]
    Refused {
        /// The repository.
        what: String,
        /// What somebody may do about it.
        detail: String,
    },
    /// A configured limit was passed. Refuse the request; the store is fine.
    #[error("{what}: {bytes} bytes are over the limit of {bytes_max}")]
    TooLarge {
        /// The blob.
        what: String,
        /// The size that was refused.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// No space or quota left. Nothing was changed; retrying helps once somebody made room.
    #[error("{what}: no space left: {source}")]
    Full {
        /// The file or blob being written.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else is replacing the blob. Nothing was changed; try again later, or leave it.
    #[error("{what}: somebody else is replacing it ({lock} exists)")]
    Locked {
        /// The blob.
        what: String,
        /// What holds it: a lock file, a row.
        lock: String,
    },
    /// The storage may not be written (read-only file system, permissions).
    #[error("{what}: cannot be written: {source}")]
    ReadOnly {
        /// The file or blob being written.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The storage did not answer or ran out of a passing resource. Try again later.
    #[error("{what}: storage unavailable: {source}")]
    Unavailable {
        /// The file, blob or service.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else the system reported.
    #[error("{what}: {source}")]
    Io {
        /// The file or blob.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// Sorts a system error about `what` into the variant that says what to do next.
    pub fn io(what: impl fmt::Display, source: io::Error) -> Self {
        use io::ErrorKind as K;
        let what = what.to_string();
        match source.kind() {
            K::NotFound => Error::NotFound { what },
            K::StorageFull | K::QuotaExceeded | K::FileTooLarge => Error::Full { what, source },
            K::ReadOnlyFilesystem | K::PermissionDenied => Error::ReadOnly { what, source },
            K::TimedOut
            | K::Interrupted
            | K::WouldBlock
            | K::ResourceBusy
            | K::StaleNetworkFileHandle
            | K::OutOfMemory
            | K::NetworkDown
            | K::HostUnreachable
            | K::ConnectionRefused
            | K::ConnectionReset => Error::Unavailable { what, source },
            _ => Error::Io { what, source },
        }
    }

    /// A [`Error::Corrupt`].
    pub fn corrupt(what: impl fmt::Display, detail: impl fmt::Display) -> Self {
        Error::Corrupt { what: what.to_string(), detail: detail.to_string() }
    }

    /// A [`Error::NotFound`].
    pub fn not_found(what: impl fmt::Display) -> Self {
        Error::NotFound { what: what.to_string() }
    }

    /// A [`Error::ReadOnly`] of a view that is never written through.
    pub fn read_only(what: impl fmt::Display) -> Self {
        let source = io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
        Error::ReadOnly { what: what.to_string(), source }
    }

    /// The ref, blob or file the error is about.
    pub fn what(&self) -> &str {
        match self {
            Error::NotFound { what }
            | Error::InvalidName { what }
            | Error::Corrupt { what, .. }
            | Error::Unsupported { what, .. }
            | Error::Refused { what, .. }
            | Error::TooLarge { what, .. }
            | Error::Full { what, .. }
            | Error::Locked { what, .. }
            | Error::ReadOnly { what, .. }
            | Error::Unavailable { what, .. }
            | Error::Io { what, .. } => what,
        }
    }

    /// The same error, for one more who is to be told.
    pub fn again(&self) -> Error {
        let what = self.what().to_owned();
        let copy = |source: &io::Error| io::Error::new(source.kind(), source.to_string());
        match self {
            Error::NotFound { .. } => Error::NotFound { what },
            Error::Corrupt { detail, .. } => Error::Corrupt { what, detail: detail.clone() },
            Error::Refused { detail, .. } => Error::Refused { what, detail: detail.clone() },
            Error::Unsupported { detail, .. } => {
                Error::Unsupported { what, detail: detail.clone() }
            }
            Error::InvalidName { .. } => Error::InvalidName { what },
            Error::Locked { lock, .. } => Error::Locked { what, lock: lock.clone() },
            Error::Full { source, .. } => Error::Full { what, source: copy(source) },
            Error::ReadOnly { source, .. } => Error::ReadOnly { what, source: copy(source) },
            Error::Unavailable { source, .. } => Error::Unavailable { what, source: copy(source) },
            Error::Io { source, .. } => Error::Io { what, source: copy(source) },
            Error::TooLarge { .. } => Error::Io {
                what,
                source: io::Error::new(io::ErrorKind::FileTooLarge, self.to_string()),
            },
        }
    }

    /// Who has to act.
    pub fn blame(&self) -> Blame {
        match self {
            Error::NotFound { .. }
            | Error::InvalidName { .. }
            | Error::TooLarge { .. }
            | Error::Locked { .. } => Blame::Caller,
            _ => Blame::Storage,
        }
    }
}

/// For `std::io` traits: the kind survives, and the error itself is the source.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::NotFound { .. } => io::ErrorKind::NotFound,
            Error::InvalidName { .. } => io::ErrorKind::InvalidInput,
            Error::Corrupt { .. } => io::ErrorKind::InvalidData,
            Error::Unsupported { .. } => io::ErrorKind::Unsupported,
            Error::Refused { .. } => io::ErrorKind::PermissionDenied,
            Error::TooLarge { .. } => io::ErrorKind::FileTooLarge,
            Error::Locked { .. } => io::ErrorKind::ResourceBusy,
            Error::Full { source, .. }
            | Error::ReadOnly { source, .. }
            | Error::Unavailable { source, .. }
            | Error::Io { source, .. } => source.kind(),
        };
        io::Error::new(kind, error)
    }
}

/// A ref transaction that did not happen. Nothing of it is visible.
///
/// `Display` uses git's words, as pushers know them from `! [remote rejected]`.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else moved the ref first, or it is not what the caller believed.
    Lost {
        /// The ref.
        name: RefName,
        /// What the transaction wanted to find; `None` for "nothing".
        expected: Option<Target>,
        /// What is there now; `None` when the ref does not exist.
        found: Option<Target>,
    },
    /// A ref of the store stands where this one needs a directory, or the other way round.
    NameConflict {
        /// The ref that was to be created.
        name: RefName,
        /// The ref in its way.
        with: BString,
    },
    /// Two edits of this transaction cannot exist together (or name the same ref twice).
    EditConflict {
        /// One edit.
        name: RefName,
        /// The other.
        with: RefName,
    },
    /// Somebody else holds the ref's lock, longer than the store waits.
    Locked {
        /// The ref.
        name: RefName,
        /// What holds it: a lock file, a row.
        lock: String,
    },
    /// The store itself failed.
    Storage(#[source] Error),
}

impl From<Error> for CommitError {
    fn from(error: Error) -> Self {
        CommitError::Storage(error)
    }
}

impl CommitError {
    /// The ref the error is about, where it is about one.
    pub fn name(&self) -> Option<&RefName> {
        match self {
            CommitError::Lost { name, .. }
            | CommitError::NameConflict { name, .. }
            | CommitError::EditConflict { name, .. }
            | CommitError::Locked { name, .. } => Some(name),
            CommitError::Storage(_) => None,
        }
    }

    /// Who has to act.
    pub fn blame(&self) -> Blame {
        match self {
            CommitError::Storage(error) => error.blame(),
            _ => Blame::Caller,
        }
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommitError::Lost { name, expected, found } => {
                write!(f, "cannot lock ref '{name}': ")?;
                match (expected, found) {
                    (None, _) => write!(f, "reference already exists"),
                    (Some(_), None) => write!(f, "unable to resolve reference '{name}'"),
                    (Some(wanted), Some(found)) => {
                        write!(f, "is at {found} but expected {wanted}")
                    }
                }
            }
            CommitError::NameConflict { name, with } => {
                write!(f, "cannot lock ref '{name}': '{with}' exists; cannot create '{name}'")
            }
            CommitError::EditConflict { name, with } if name == with => {
                write!(f, "multiple updates for ref '{name}' not allowed")
            }
            CommitError::EditConflict { name, with } => write!(
                f,
                "cannot lock ref '{name}': cannot process '{name}' and '{with}' at the same time"
            ),
            CommitError::Locked { name, lock } => {
                write!(f, "cannot lock ref '{name}': Unable to create '{lock}': File exists.")
            }
            CommitError::Storage(error) => error.fmt(f),
        }
    }
}
