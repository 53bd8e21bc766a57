//! Which branches are checked out somewhere: the main work tree and the linked ones.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use bstr::{BStr, BString, ByteSlice as _};
use object::ObjectId;
use storage::{LocalPaths, RefSnapshot};

use crate::Error;

use super::refs;

/// A work tree of the repository that is not bare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorkTree {
    /// Its files.
    pub path: PathBuf,
    /// Its git directory.
    pub git_dir: PathBuf,
    /// The commit its files are from; `None` on a branch without commits.
    pub commit: Option<ObjectId>,
    /// The branches a push must not move under it.
    branches: Vec<BString>,
}

impl WorkTree {
    fn read(
        path: PathBuf,
        git_dir: PathBuf,
        head: &[u8],
        snapshot: &dyn RefSnapshot,
    ) -> Result<WorkTree, Error> {
        // A HEAD that cannot be read holds no branch.
        let head = refs::resolve(snapshot, head.into()).ok().flatten();
        let commit = head.as_ref().and_then(|head| head.id);
        let branch = head.filter(|head| head.symbolic).map(|head| head.name);
        Ok(WorkTree { branches: branches(&git_dir, branch), path, git_dir, commit })
    }

    /// Whether a branch is checked out here, or is being rebased or bisected.
    pub fn holds(&self, branch: &BStr) -> bool {
        self.branches.iter().any(|held| held == branch)
    }
}

/// All work trees of a repository on disk.
pub(super) fn list(local: &LocalPaths, snapshot: &dyn RefSnapshot) -> Result<Vec<WorkTree>, Error> {
    let mut trees = Vec::new();
    if let Some(path) = main_work_tree(local) {
        let git_dir = local.common_dir.clone();
        let name = if local.git_dir == local.common_dir { "HEAD" } else { "main-worktree/HEAD" };
        trees.push(WorkTree::read(path, git_dir, name.as_bytes(), snapshot)?);
    }
    let Ok(linked) = fs::read_dir(local.common_dir.join("worktrees")) else { return Ok(trees) };
    for entry in linked.flatten() {
        let git_dir = entry.path();
        let Some(path) = linked_path(&git_dir) else { continue };
        let name = [b"worktrees/", entry.file_name().as_bytes(), b"/HEAD"].concat();
        trees.push(WorkTree::read(path, git_dir, &name, snapshot)?);
    }
    Ok(trees)
}

fn main_work_tree(local: &LocalPaths) -> Option<PathBuf> {
    if local.git_dir == local.common_dir {
        return local.work_tree.clone();
    }
    // Opened through a linked work tree: the main one lies around `.git`.
    let named_git = local.common_dir.file_name().is_some_and(|name| name == ".git");
    local.common_dir.parent().filter(|_| named_git).map(Path::to_owned)
}

/// The file `gitdir` of a linked work tree names its `.git` file.
fn linked_path(git_dir: &Path) -> Option<PathBuf> {
    let text = fs::read(git_dir.join("gitdir")).ok()?;
    let dot_git = git_dir.join(text.trim_end().to_path().ok()?);
    dot_git.parent().map(Path::to_owned)
}

/// What HEAD names; with a detached HEAD, the branch an unfinished rebase or bisection will
/// return to.
fn branches(git_dir: &Path, head: Option<BString>) -> Vec<BString> {
    if let Some(head) = head {
        return vec![head];
    }
    let rebased = ["rebase-merge/head-name", "rebase-apply/head-name"]
        .iter()
        .filter_map(|file| fs::read(git_dir.join(file)).ok())
        .map(|name| BString::from(name.trim()));
    let bisected = fs::read(git_dir.join("BISECT_START")).ok().map(|name| {
        let name = name.trim();
        if name.starts_with(b"refs/") {
            name.into()
        } else {
            [b"refs/heads/", name].concat().into()
        }
    });
    rebased.chain(bisected).collect()
}
