//! Fetches and pushes without git, where everything that git would look at is known here.
//!
//! [`Reasons`] says why something is git's: settings, hooks and shapes of repositories that are not known here. The rest
//! ([`fetch`], [`push`]) does what git-fetch(1) and git-push(1) do, with the client library and the repository's own
//! parts: objects before refs, and refs in one transaction.

mod fetch;
mod haves;
mod pack;
mod push;
mod reasons;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bstr::{BString, ByteSlice as _};
use repository::Repository;
use storage_disk::OpenOptions;

use crate::git;

pub use fetch::fetch;
pub use push::{Branch, push};
pub use reasons::Reasons;

/// Why something was not done here. Git may do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// In words.
    pub words: String,
    /// It is the server, or the way to it: git would fare no better.
    pub may_pass: bool,
}

impl Unfit {
    fn new(words: impl Into<String>) -> Self {
        Unfit { words: words.into(), may_pass: false }
    }

    /// What went wrong between here and a server.
    fn between(error: client::Error) -> Self {
        Unfit { words: error.to_string(), may_pass: error.may_pass() }
    }
}

impl<E: std::error::Error> From<E> for Unfit {
    fn from(error: E) -> Self {
        Unfit::new(error.to_string())
    }
}

/// Opens the repository beside git.
fn open(repository: &git::Repository) -> Result<Repository, Unfit> {
    let options =
        OpenOptions { variable: Arc::new(|name| std::env::var_os(name)), ..OpenOptions::default() };
    let parts = storage_disk::open(&repository.git_dir, &options)?;
    Ok(Repository::open(parts, repository::Settings::default()))
}

/// `Name <email> seconds +0000`, for reflogs; git finds out who that is in ways of its own when nobody says it.
fn committer(repository: &Repository) -> BString {
    let config = repository.config();
    let said = |keys: [&str; 2], variable: &str| {
        let variable = std::env::var_os(variable).filter(|value| !value.is_empty());
        let variable = variable.map(|value| value.to_string_lossy().into_owned().into());
        variable.or_else(|| keys.iter().find_map(|key| config.string(key)).map(ToOwned::to_owned))
    };
    let name = said(["committer.name", "user.name"], "GIT_COMMITTER_NAME");
    let email = said(["committer.email", "user.email"], "GIT_COMMITTER_EMAIL");
    let clean = |text: BString| text.replace(b"<", b"").replace(b">", b"").replace(b"\n", b" ");
    let name = name.unwrap_or_else(|| "git-remote-daemon".into());
    let email = email.unwrap_or_else(|| "git-remote-daemon@localhost".into());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    [&clean(name)[..], b" <", &clean(email), format!("> {now} +0000").as_bytes()].concat().into()
}
