//! What can go wrong while reading a request, by what the caller does next.
//!
//! `Display` gives the words for the peer; where git's users know the words,
//! they are git's.

use std::io;

/// Why a request could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream below failed; nothing more can be read from it.
    #[error("read error: {0}")]
    Io(#[source] io::Error),
    /// The peer closed the stream in the middle of a request.
    #[error("the remote end hung up unexpectedly")]
    HungUp,
    /// The bytes are not the protocol; the peer is broken and the stream is lost.
    #[error("{0}")]
    Malformed(String),
    /// The peer sent an `ERR` packet instead of a request.
    #[error("remote error: {0}")]
    Remote(String),
    /// The request is larger than this server's configuration allows.
    #[error("too many {what}: this server takes at most {max} ({setting})")]
    Limit {
        /// What there is too much of, in the plural.
        what: &'static str,
        /// The limit in force.
        max: u64,
        /// The field of [`Limits`](crate::Limits) that sets it.
        setting: &'static str,
    },
    /// The request is well formed, but asks for something this server does not
    /// offer or does not understand.
    #[error("{0}")]
    Refused(String),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::HungUp,
            _ => Error::Io(error),
        }
    }
}
