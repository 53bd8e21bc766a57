//! Which file holds a ref when a repository has several work trees
//! (`gitrepository-layout`, "commondir"; git-worktree, "REFS").

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use bstr::{BStr, ByteSlice as _};
use object::{RefName, check_ref_format_onelevel};

/// The two directories refs live in. Both are the same for an ordinary repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefDirs {
    /// `HEAD` and the refs of one work tree.
    pub git_dir: PathBuf,
    /// Everything else.
    pub common_dir: PathBuf,
}

/// The directories below `refs/` that every work tree has for itself.
pub(crate) const PER_WORKTREE: [&str; 3] = ["refs/bisect", "refs/rewritten", "refs/worktree"];

impl RefDirs {
    /// The directory in which the file of a valid ref name (or of a directory below `refs`)
    /// is found under its name.
    pub fn root_of(&self, name: &BStr) -> &Path {
        let own = !name.starts_with(b"refs")
            || PER_WORKTREE.iter().any(|directory| {
                name.strip_prefix(directory.as_bytes())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            });
        if own { &self.git_dir } else { &self.common_dir }
    }

    /// The file of a valid ref name.
    pub fn file_of(&self, name: &BStr) -> PathBuf {
        self.root_of(name).join(to_path(name))
    }

    /// The reflog of a valid ref name.
    pub fn log_of(&self, name: &BStr) -> PathBuf {
        self.root_of(name).join("logs").join(to_path(name))
    }

    /// Reads `main-worktree/HEAD` and `worktrees/<id>/HEAD` as a ref of another work tree.
    pub fn of_other_worktree<'a>(&self, name: &'a BStr) -> Option<(RefDirs, &'a BStr)> {
        let common_dir = self.common_dir.clone();
        let (git_dir, name) = if let Some(rest) = name.strip_prefix(b"main-worktree/") {
            (common_dir.clone(), rest)
        } else {
            let (id, rest) = name.strip_prefix(b"worktrees/")?.split_once_str("/")?;
            check_ref_format_onelevel(id).ok()?;
            (common_dir.join("worktrees").join(OsStr::from_bytes(id)), rest)
        };
        let name = name.as_bstr();
        RefName::new(name).ok().filter(RefName::is_per_worktree)?;
        Some((RefDirs { git_dir, common_dir }, name))
    }
}

/// The directory above a ref's file that stays when it is empty: `refs/heads` and its like,
/// or `refs` itself.
pub(crate) fn lasting_directory(root: &Path, name: &BStr) -> PathBuf {
    let mut slashes = name.find_iter("/");
    match (slashes.next(), slashes.next()) {
        (_, Some(second)) => root.join(to_path(&name[..second])),
        (Some(first), None) => root.join(to_path(&name[..first])),
        (None, None) => root.to_owned(),
    }
}

/// A name with `/` in it as a relative path.
pub(crate) fn to_path(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_trees_share_all_but_their_own() {
        let dirs = RefDirs { git_dir: "/c/worktrees/w".into(), common_dir: "/c".into() };
        for (name, file) in [
            ("HEAD", "/c/worktrees/w/HEAD"),
            ("refs/heads/main", "/c/refs/heads/main"),
            ("refs/bisect/bad", "/c/worktrees/w/refs/bisect/bad"),
            ("refs/bisecting", "/c/refs/bisecting"),
        ] {
            assert_eq!(dirs.file_of(name.into()), Path::new(file));
        }
        let other = |name: &str| {
            let (dirs, name) = dirs.of_other_worktree(name.into())?;
            Some(dirs.file_of(name))
        };
        assert_eq!(other("main-worktree/HEAD"), Some("/c/HEAD".into()));
        assert_eq!(other("worktrees/x/HEAD"), Some("/c/worktrees/x/HEAD".into()));
        assert_eq!(other("worktrees/../HEAD"), None);
        assert_eq!(other("main-worktree/refs/heads/main"), None);
        assert_eq!(other("refs/heads/main"), None);
    }
}
