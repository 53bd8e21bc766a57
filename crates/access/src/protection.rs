//! What may become of single refs, as far as it concerns one caller.

use std::fmt;

use crate::pattern::{Pattern, fits_path};

/// What a push does to a ref.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// There was none.
    Create,
    /// What it was is part of what it becomes.
    Update,
    /// What it was is not.
    Force,
    /// It goes away.
    Delete,
}

impl Action {
    /// All there are.
    pub const ALL: [Action; 4] = [Action::Create, Action::Update, Action::Force, Action::Delete];
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Create => "create",
            Action::Update => "update",
            Action::Force => "force-push to",
            Action::Delete => "delete",
        })
    }
}

/// One protection of some refs, for one caller.
#[derive(Debug, Clone)]
pub struct Protection {
    pub(crate) refs: Vec<Pattern>,
    pub(crate) user: Option<String>,
    /// What he may not do, and who may.
    pub(crate) refused: Vec<(Action, String)>,
    pub(crate) paths_denied: Vec<Pattern>,
    /// Pushes are signed.
    pub signed: bool,
    /// No new file has more bytes.
    pub file_bytes_max: Option<u64>,
}

impl Protection {
    /// Whether it is about this ref.
    pub fn covers(&self, name: &[u8]) -> bool {
        self.refs.iter().any(|pattern| pattern.matches(name, self.user.as_deref()))
    }

    /// Why the caller may not do this to a ref it covers.
    pub fn refuses(&self, action: Action) -> Option<String> {
        let (_, who) = self.refused.iter().find(|(refused, _)| *refused == action)?;
        Some(format!("protected: {who} may {action} it"))
    }

    /// Whether anything depends on what is in the commits.
    pub fn is_about_content(&self) -> bool {
        self.file_bytes_max.is_some() || !self.paths_denied.is_empty()
    }

    /// Whether there are files that may not be changed.
    pub fn is_about_paths(&self) -> bool {
        !self.paths_denied.is_empty()
    }

    /// The pattern for which a file may not be changed.
    pub fn denies_path(&self, path: &[u8]) -> Option<&str> {
        self.paths_denied.iter().find(|pattern| fits_path(pattern, path)).map(Pattern::text)
    }
}
