//! What the key-value file says, in the words of storage errors.

use std::fmt;
use std::io;

use storage::Error;

/// Names the file in what went wrong with it.
pub(crate) fn failed<E: Into<redb::Error>>(what: impl fmt::Display) -> impl FnOnce(E) -> Error {
    move |error| sorted(what, &error.into())
}

/// The same failure may be told to several callers.
pub(crate) fn sorted(what: impl fmt::Display, error: &redb::Error) -> Error {
    match error {
        redb::Error::Io(source) => {
            Error::io(what, io::Error::new(source.kind(), source.to_string()))
        }
        redb::Error::Corrupted(detail) => Error::corrupt(what, detail),
        redb::Error::UpgradeRequired(version) => Error::Unsupported {
            detail: format!("{what}: version {version} of key-value files is not known here"),
            what: what.to_string(),
        },
        redb::Error::DatabaseAlreadyOpen => {
            let detail = "another process has the file open";
            Error::io(what, io::Error::new(io::ErrorKind::ResourceBusy, detail))
        }
        other => Error::io(what, io::Error::other(other.to_string())),
    }
}
