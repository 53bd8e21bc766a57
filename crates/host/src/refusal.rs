//! Why a request is not let in, by what the front-end answers.

use std::time::Duration;

/// A request was not let in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such repository, or none the caller may know of.
    #[error("repository '{name}' not found")]
    NotFound {
        /// The name as the caller gave it.
        name: String,
    },
    /// The caller may not do this, whoever it is.
    #[error("{words}")]
    Forbidden {
        /// What, and what to do about it.
        words: String,
    },
    /// The service is off, as the repository or its server says; of git's own programs.
    #[error("'{service}': service not enabled")]
    NotEnabled {
        /// Its name, without `git-`; `file` for files.
        service: &'static str,
    },
    /// There is no repository at this path of the machine; the caller may name any.
    #[error("'{path}' does not appear to be a git repository")]
    NotARepository {
        /// The path.
        path: String,
    },
    /// Nobody said that the repository at this path may be served.
    #[error("'{path}': repository not exported")]
    NotExported {
        /// The path, as it was found.
        path: String,
    },
    /// The repository at this path lies in none of the directories that are served.
    #[error("'{path}': not in directory list")]
    NotListed {
        /// The path, as it was found.
        path: String,
    },
    /// Whoever asks has to show who he is, or has shown something that proves nothing.
    #[error("{words}")]
    Unauthenticated {
        /// What, and what to do about it.
        words: String,
    },
    /// Too many from there did not manage to log in.
    #[error("too many failed logins; try again in {} seconds", wait.as_secs() + 1)]
    TooManyAttempts {
        /// How long to wait.
        wait: Duration,
    },
    /// Accounts cannot be looked up.
    #[error("the server cannot look up accounts; its log says why")]
    NoAccounts,
    /// As many requests as are allowed are running.
    #[error("the server is busy with {requests_max} requests (requests_max); try again")]
    Busy {
        /// The setting.
        requests_max: usize,
    },
    /// As much is watched as is allowed.
    #[error("as much is watched as this server allows ({setting} = {most}); try again later")]
    Crowded {
        /// The bound.
        most: usize,
        /// The setting.
        setting: &'static str,
    },
    /// The repository is there but cannot be served.
    #[error("repository '{name}' cannot be served: {reason}")]
    Unavailable {
        /// The name as the caller gave it.
        name: String,
        /// Why, for the log; the inside of the server is not for the caller.
        reason: String,
    },
}

impl Refusal {
    /// What the caller is told.
    pub fn words_for_peer(&self) -> String {
        match self {
            Refusal::Unavailable { name, .. } => {
                format!("repository '{name}' cannot be served; the server's log says why")
            }
            other => other.to_string(),
        }
    }
}
