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
    /// The peer has been told already, in the middle of an answer.
    #[error(transparent)]
    Told(Box<Error>),
}

impl Error {
    /// The client's connection failed.
    pub fn output(error: impl Into<std::io::Error>) -> Self {
        Error::Output(error.into())
    }

    /// What the peer is told. Words about the inside of this server stay inside.
    pub fn words_for_peer(&self) -> String {
        match self {
            Error::Told(error) => error.words_for_peer(),
            Error::Wire(_) | Error::Refused(_) => self.to_string(),
            Error::Repository(error) => match error {
                repository::Error::Storage(_) => STORAGE_WORDS.to_owned(),
                error => error.to_string(),
            },
            Error::Storage(_) => STORAGE_WORDS.to_owned(),
            Error::Config(_) => "the repository's configuration cannot be understood".to_owned(),
            Error::Output(_) => "the connection failed".to_owned(),
        }
    }

    /// Whether the peer has been told already.
    pub fn was_told(&self) -> bool {
        matches!(self, Error::Told(_) | Error::Output(_))
    }
}

const STORAGE_WORDS: &str = "the server's storage failed; the repository is unchanged";
