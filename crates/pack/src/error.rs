//! What can be wrong with the bytes of a pack or of a file beside it.

/// Why bytes were refused. The bytes are to blame in every variant but the last two.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes contradict their format.
    #[error("{what}")]
    Corrupt {
        /// What is wrong, in words for a person.
        what: &'static str,
    },
    /// The bytes end before the thing they hold does.
    #[error("{what} is cut short")]
    Truncated {
        /// What is incomplete.
        what: &'static str,
    },
    /// One entry of a pack is wrong.
    #[error("bad pack entry at offset {offset}: {what}")]
    BadEntry {
        /// Bytes from the start of the pack to the entry.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A well-formed file of a version or variant this crate does not read.
    #[error("unsupported {what}")]
    Unsupported {
        /// Which feature.
        what: &'static str,
    },
    /// A declared size is over the caller's limit; nothing was allocated for it.
    #[error("{size} bytes exceed the limit of {max} bytes")]
    TooLarge {
        /// The declared size, in bytes.
        size: u64,
        /// The limit, in bytes.
        max: u64,
    },
    /// The input could not be read, or a file being written could not.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The raw bytes of an arriving pack could not be stored; not the peer's fault.
    #[error("cannot store the pack: {0}")]
    Store(#[source] std::io::Error),
}

impl Error {
    pub(crate) const fn corrupt(what: &'static str) -> Self {
        Error::Corrupt { what }
    }

    pub(crate) const fn truncated(what: &'static str) -> Self {
        Error::Truncated { what }
    }

    /// Says at which entry of the pack the bytes were found wrong.
    pub(crate) fn at_entry(self, offset: u64) -> Self {
        match self {
            Error::Corrupt { what } => Error::BadEntry { offset, what },
            other => other,
        }
    }
}
