//! Why something could not be had from a server.

use std::io;
use std::time::Duration;

/// What went wrong, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server cannot be reached, or the connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What the server says is not Git's protocol, or it gave up, in its words.
    #[error(transparent)]
    Wire(#[from] wire::Error),
    /// A program that was to carry the conversation ended, or could not be started.
    #[error("{program}: {words}")]
    Program {
        /// Its name.
        program: String,
        /// The last it said, or how it ended.
        words: String,
    },
    /// The server wants to know who asks, and was not told, or did not believe it.
    #[error("{url}: the server wants a login")]
    Unauthorized {
        /// Where.
        url: String,
    },
    /// The server answered with something else.
    #[error("{url}: the server answers {status}{words}")]
    Http {
        /// What was asked for.
        url: String,
        /// The status of HTTP.
        status: u16,
        /// What the server says about it, behind a colon.
        words: String,
    },
    /// Nothing was heard for so long, though the server says at least that it is there.
    #[error("nothing was heard for {} s", .0.as_secs())]
    Silent(Duration),
    /// This cannot be done here; git may be able to.
    #[error("{0}")]
    Unsupported(String),
}

impl Error {
    /// Whether trying again can help without anybody doing anything.
    pub fn may_pass(&self) -> bool {
        match self {
            Error::Io(_) | Error::Silent(_) | Error::Program { .. } => true,
            Error::Wire(error) => matches!(error, wire::Error::Io(_) | wire::Error::HungUp),
            Error::Http { status, .. } => *status >= 500 || *status == 429,
            Error::Unauthorized { .. } | Error::Unsupported(_) => false,
        }
    }
}
