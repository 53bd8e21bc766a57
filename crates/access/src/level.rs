//! How much somebody may do in a repository.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Each level includes those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing; the repository might as well not be there.
    #[default]
    None,
    /// Clone, fetch, watch.
    Read,
    /// Push.
    Write,
    /// Make the repository by pushing to it, when there is none.
    Create,
    /// Everything; protections do not hold unless they say so.
    Admin,
}

impl Level {
    const ALL: [(Level, &str); 5] = [
        (Level::None, "none"),
        (Level::Read, "read"),
        (Level::Write, "write"),
        (Level::Create, "create"),
        (Level::Admin, "admin"),
    ];

    /// What is left when this level is taken away.
    pub fn below(self) -> Level {
        match self {
            Level::None | Level::Read => Level::None,
            Level::Write => Level::Read,
            Level::Create => Level::Write,
            Level::Admin => Level::Create,
        }
    }

    /// Its name in files.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(level, _)| *level == self).map_or("none", |(_, name)| name)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that is no level.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is none of: none, read, write, create, admin")]
pub struct NoLevel(String);

impl FromStr for Level {
    type Err = NoLevel;

    fn from_str(text: &str) -> Result<Self, NoLevel> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text).map(|(level, _)| *level);
        found.ok_or_else(|| NoLevel(text.to_owned()))
    }
}
