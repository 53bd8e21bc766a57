//! Repositories that come to be because somebody pushes to a name that is free.

use std::fs;
use std::path::{Path, PathBuf};

use object::{HashKind, RefName};
use storage::{NewRepository, RepositoryStore};

use crate::RepositoryName;
use crate::catalogue::{repository_at, within};

/// Where a repository of this name would lie below `folder`; `None` where none may be: inside
/// of another repository, or behind a symbolic link that leads out of the folder.
pub(crate) fn place(folder: &Path, name: &RepositoryName) -> Option<PathBuf> {
    let mut file = name.below(folder).into_os_string();
    if !name.as_bytes().ends_with(b".git") {
        file.push(".git");
    }
    let path = PathBuf::from(file);
    let mut above = path.ancestors().skip(1).take_while(|parent| *parent != folder);
    if above.any(|parent| repository_at(parent).is_some() || with_git(parent).is_some()) {
        return None;
    }
    let existing = path.ancestors().find(|parent| parent.symlink_metadata().is_ok())?;
    (existing != path && within(folder, existing)).then_some(path)
}

/// The repository that answers to the name of a folder.
fn with_git(folder: &Path) -> Option<PathBuf> {
    let mut name = folder.as_os_str().to_owned();
    name.push(".git");
    repository_at(Path::new(&name))
}

/// Makes an empty bare repository, and the folders above it.
pub(crate) fn make(path: &Path, hash: HashKind, branch: &str) -> Result<(), storage::Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)
            .map_err(|source| storage::Error::io(parent.display(), source))?;
    }
    storage_disk::init_bare(path, hash, branch)
}

/// Makes an empty repository in a store; whether there was none of that name.
pub(crate) fn make_named(
    store: &dyn RepositoryStore,
    name: &str,
    hash: HashKind,
    branch: &str,
) -> Result<bool, storage::Error> {
    let branch = format!("refs/heads/{branch}");
    let head = RefName::new(&branch).map_err(|error| storage::Error::corrupt(branch, error))?;
    let config = match hash {
        HashKind::Sha1 => "[core]\n\trepositoryformatversion = 0\n\tbare = true\n".to_owned(),
        other => format!(
            "[core]\n\trepositoryformatversion = 1\n\tbare = true\n\
             [extensions]\n\tobjectformat = {}\n",
            other.name()
        ),
    };
    store.create(name, &NewRepository { hash, head, config: config.as_bytes() })
}
