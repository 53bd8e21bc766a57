//! Which changes of refs are noted.

use gitconfig::Config;
use object::RefName;

use crate::{Error, Result};

/// Which refs get a reflog when they have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReflogPolicy {
    /// None: lines are added only to reflogs that exist.
    #[default]
    Existing,
    /// Branches, remote-tracking branches, notes and `HEAD`.
    Branches,
    /// All.
    Always,
}

impl ReflogPolicy {
    /// `core.logAllRefUpdates`; a bare repository notes nothing unless it is set.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a value that is none.
    pub fn from_config(config: &Config, bare: bool) -> Result<Self> {
        const KEY: &str = "core.logAllRefUpdates";
        if config.string(KEY).is_some_and(|value| value.eq_ignore_ascii_case(b"always")) {
            return Ok(ReflogPolicy::Always);
        }
        let set = config.bool(KEY).map_err(|error| Error::corrupt(KEY, error))?;
        Ok(if set.unwrap_or(!bare) { ReflogPolicy::Branches } else { ReflogPolicy::Existing })
    }

    /// Whether a ref without a reflog gets one.
    pub fn creates(self, name: &RefName) -> bool {
        const LOGGED: [&[u8]; 3] = [b"refs/heads/", b"refs/remotes/", b"refs/notes/"];
        match self {
            ReflogPolicy::Existing => false,
            ReflogPolicy::Always => true,
            ReflogPolicy::Branches => {
                *name == "HEAD" || LOGGED.iter().any(|prefix| name.starts_with(prefix))
            }
        }
    }
}
