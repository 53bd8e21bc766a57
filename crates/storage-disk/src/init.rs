//! Making an empty bare repository, as `git init --bare` does, in one step.

use std::fs;
use std::io;
use std::path::Path;

use object::{HashKind, RefName};
use storage::{Error, Result};

use crate::disk::{Directories, Disk};

const DESCRIPTION: &str =
    "Unnamed repository; edit this file 'description' to name the repository.\n";

/// Makes an empty bare repository whose `HEAD` points at the branch `default_branch` (without
/// `refs/heads/`).
///
/// It is built beside `path` and renamed there: nobody sees half of it. The directory that
/// holds it must exist.
///
/// # Errors
/// [`Error::Io`] of kind `AlreadyExists` when there is something at `path` other than an empty
/// directory; [`Error::InvalidName`] for a branch name git would not take.
pub fn init_bare(path: &Path, hash: HashKind, default_branch: &str) -> Result<()> {
    init_bare_with(path, hash, default_branch, None)
}

/// As [`init_bare`], with this configuration in place of git's own beginning. It must name the
/// hash, where that is not SHA-1.
///
/// # Errors
/// As [`init_bare`].
pub fn init_bare_with(
    path: &Path,
    hash: HashKind,
    default_branch: &str,
    config: Option<&[u8]>,
) -> Result<()> {
    let head = RefName::new(format!("refs/heads/{default_branch}"))
        .map_err(|_| Error::InvalidName { what: default_branch.to_owned() })?;
    let at = |source| Error::io(path.display(), source);
    let path = std::path::absolute(path).map_err(at)?;
    let parent = path.parent().ok_or_else(|| at(io::ErrorKind::InvalidInput.into()))?;
    let building = tempfile::Builder::new().prefix(".packhorse-init-").tempdir_in(parent);
    let building = building.map_err(at)?;
    let config = config.map_or_else(|| first_config(hash).into_bytes(), <[u8]>::to_vec);
    fill(building.path(), &head, config).map_err(at)?;
    fs::rename(building.path(), &path).map_err(|error| match error.kind() {
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory => {
            at(io::ErrorKind::AlreadyExists.into())
        }
        _ => at(error),
    })?;
    // Its name is gone: there is nothing left to clean up.
    let _ = building.keep();
    Disk::default().sync_directories(&Directories::from([parent.to_owned()])).map_err(at)
}

fn first_config(hash: HashKind) -> String {
    let (version, extensions) = match hash {
        HashKind::Sha1 => (0, String::new()),
        other => (1, format!("[extensions]\n\tobjectformat = {}\n", other.name())),
    };
    format!(
        "[core]\n\trepositoryformatversion = {version}\n\tfilemode = true\n\tbare = true\n\
         {extensions}"
    )
}

fn fill(root: &Path, head: &RefName, config: Vec<u8>) -> io::Result<()> {
    let disk = Disk::default();
    let mut directories = Directories::from([root.to_owned()]);
    for name in [
        "hooks",
        "info",
        "objects",
        "objects/info",
        "objects/pack",
        "refs",
        "refs/heads",
        "refs/tags",
    ] {
        disk.create_dir(&root.join(name))?;
        directories.insert(root.join(name));
    }
    let files = [
        ("HEAD", format!("ref: {head}\n").into_bytes()),
        ("config", config),
        ("description", DESCRIPTION.as_bytes().to_vec()),
    ];
    for (name, content) in files {
        let path = root.join(name);
        let file = disk.create_new(&path, 0o666)?;
        disk.write_all(&file, &path, &content)?;
        disk.sync_file(&file, &path)?;
    }
    open_to_the_umask(root)?;
    disk.sync_directories(&directories)
}

/// A temporary directory is private; the repository gets the mode of its own subdirectories.
fn open_to_the_umask(root: &Path) -> io::Result<()> {
    let mode = fs::metadata(root.join("refs"))?.permissions();
    fs::set_permissions(root, mode)
}
