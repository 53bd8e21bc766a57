//! What can be wrong with a table.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not what the format says.
    #[error("the reftable is damaged: {0}")]
    Corrupt(&'static str),
    /// A newer format, or another hash.
    #[error("the reftable cannot be read: {0}")]
    Unsupported(&'static str),
    /// A record that fits into no block, or comes out of order.
    #[error("a record cannot be written: {0}")]
    Record(&'static str),
    /// What is written to failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}
