//! Why an executor gave up, by who is to blame.

/// An error that ended an exchange.
///
/// A refusal the protocol has words for (`ng`, `unpack`) is part of the answer and never an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer broke the protocol, went past a limit, or hung up.
    #[error(transparent)]
    Wire(#[from] wire::Error),
    /// The peer asked for something it must not have; the words are for the peer.
    #[error("{0}")]
    Refused(String),
    /// The client's connection failed while it was written to.
    #[error("writing to the client: {0}")]
    Output(#[from] std::io::Error),
    /// The repository could not answer.
    #[error(transparent)]
    Repository(#[from] repository::Error),
    /// The storage under the repository could not answer.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// A setting of the repository cannot be understood.
    #[error(transparent)]
    Config(#[from] gitconfig::ConfigError),
}
