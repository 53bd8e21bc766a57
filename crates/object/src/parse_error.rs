//! What can be wrong with an object's bytes for a walk over history.

/// The object cannot be read as its kind.
///
/// Only what a walk needs is looked at; everything else is the business of the fsck checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The commit does not begin with `tree <hex id>\n`.
    #[error("bogus commit object: no tree line")]
    CommitTree,
    /// A `parent` line of the commit does not hold an id.
    #[error("bad parents in commit")]
    CommitParent,
    /// The tree ends in the middle of an entry.
    #[error("too-short tree object")]
    TreeTooShort,
    /// The mode of a tree entry is not octal digits followed by a space.
    #[error("malformed mode in tree entry")]
    TreeMode,
    /// A tree entry has no name.
    #[error("empty filename in tree entry")]
    TreeEmptyName,
    /// The tag does not begin with `object <hex id>\n`.
    #[error("bogus tag object: no object line")]
    TagObject,
    /// The tag has no `type` line, or an unknown kind on it.
    #[error("bogus tag object: no known type")]
    TagType,
    /// The tag has no `tag` line.
    #[error("bogus tag object: no tag line")]
    TagName,
}
