//! What can go wrong in a repository, by what the caller does next.

use object::{Kind, ObjectId};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The storage under the repository failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// Stored bytes are not what their format says: the repository is damaged.
    #[error("the repository is damaged: {what}: {source}")]
    Format {
        /// The file or object.
        what: String,
        /// What the format reader found.
        source: pack::Error,
    },
    /// An object that something refers to is not there: the repository is damaged or partial.
    #[error("missing {}{id}", kind.map(|kind| format!("{kind} ")).unwrap_or_default())]
    Missing {
        /// The object.
        id: ObjectId,
        /// The kind that was expected, where known.
        kind: Option<Kind>,
    },
    /// An object is there but is not what the reference to it says.
    #[error("object {id} is a {found}, not a {expected}")]
    WrongKind {
        /// The object.
        id: ObjectId,
        /// What the reference needs.
        expected: Kind,
        /// What it is.
        found: Kind,
    },
    /// An object's text cannot be read.
    #[error("object {id} is damaged: {reason}")]
    BadObject {
        /// The object.
        id: ObjectId,
        /// What is wrong with it.
        reason: String,
    },
    /// What the peer sent is refused; the words go to the peer.
    #[error("{0}")]
    Refused(String),
    /// A named limit was reached.
    #[error("{setting} is {limit}: {what}")]
    Limit {
        /// The setting that names the limit.
        setting: &'static str,
        /// Its value, in the unit the setting's name ends in.
        limit: u64,
        /// What went past it.
        what: String,
    },
    /// The peer's stream failed or ended early.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Whoever asked for the work no longer wants it.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    pub(crate) fn format(what: impl Into<String>) -> impl FnOnce(pack::Error) -> Error {
        let what = what.into();
        move |source| Error::Format { what, source }
    }
}

/// Results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
