//! Who hears of what happened, inside the server.

use serve::receive::RefUpdate;

use crate::Caller;

/// A push that moved refs.
#[derive(Debug, Clone, Copy)]
pub struct Pushed<'a> {
    /// The repository's name, as rules have it.
    pub repository: &'a str,
    /// Who pushed.
    pub caller: &'a Caller,
    /// How the push came: `http`, `ssh`, `git`, `stdio`, `cgi`, `daemon`.
    pub road: &'static str,
    /// The refs that moved, by the names the pusher knows.
    pub updates: &'a [RefUpdate],
}

/// Hears of pushes.
pub trait Listener: Send + Sync {
    /// Refs have moved, and whoever pushed has not been told yet: what is durable when this comes back
    /// is so before the push is acknowledged. Called by the thread that answers.
    ///
    /// # Errors
    /// Words the pusher is warned with.
    fn pushed(&self, push: &Pushed<'_>) -> Result<(), String>;
}
