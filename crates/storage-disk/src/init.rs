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
    let head = RefName::new(format!("refs/heads/{default_branch}"))
        .map_err(|_| Error::InvalidName { what: default_branch.to_owned() })?;
    let at = |source| Error::io(path.display(), source);
    let path = std::path::absolute(path).map_err(at)?;
    let parent = path.parent().ok_or_else(|| at(io::ErrorKind::InvalidInput.into()))?;
    let building = tempfile::Builder::new().prefix(".packhorse-init-").tempdir_in(parent);
    let building = building.map_err(at)?;
    fill(building.path(), hash, &head).map_err(at)?;
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

fn fill(root: &Path, hash: HashKind, head: &RefName) -> io::Result<()> {
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
    let (version, extensions) = match hash {
        HashKind::Sha1 => (0, String::new()),
        other => (1, format!("[extensions]\n\tobjectformat = {}\n", other.name())),
    };
    let config = format!(
        "[core]\n\trepositoryformatversion = {version}\n\tfilemode = true\n\tbare = true\n\
         {extensions}"
    );
    let files = [
        ("HEAD", format!("ref: {head}\n")),
        ("config", config),
        ("description", DESCRIPTION.to_owned()),
    ];
    for (name, content) in files {
        let path = root.join(name);
        let file = disk.create_new(&path, 0o666)?;
        disk.write_all(&file, &path, content.as_bytes())?;
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
