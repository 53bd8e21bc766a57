//! Whose repository is it: git's `safe.directory` rule, which keeps a server from running
//! what a stranger wrote into a repository's configuration and hooks.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bstr::ByteSlice as _;
use gitconfig::{Config, Scope};
use storage::{Error, Result};

use crate::Discovered;

/// What the ownership check needs to know of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnerContext {
    /// Behave as if every repository belonged to somebody else
    /// (`GIT_TEST_ASSUME_DIFFERENT_OWNER`).
    pub assume_different_owner: bool,
    /// The user that became root through sudo (`SUDO_UID`), who is trusted as well as root.
    pub sudo_uid: Option<u32>,
    /// What `~/` in `safe.directory` stands for.
    pub home: Option<PathBuf>,
}

/// Verifies that the repository belongs to the current user or is listed in `safe.directory`.
///
/// Only the system, global and command scopes of `config` are asked: a repository cannot
/// call itself safe.
///
/// # Errors
/// [`Error::Refused`] with git's words and advice.
pub fn check_owner(found: &Discovered, config: &Config, context: &OwnerContext) -> Result<()> {
    let paths = [found.gitfile.as_deref(), Some(found.entered.as_path())];
    let ours = paths.into_iter().flatten().all(|path| is_ours(path, context));
    if (ours && !context.assume_different_owner) || is_listed(&found.entered, config, context) {
        return Ok(());
    }
    let path = found.gitfile.as_deref().unwrap_or(&found.entered).display();
    let detail = format!(
        "detected dubious ownership in repository at '{path}'\n\
         To add an exception for this directory, call:\n\
         \n\
         \tgit config --global --add safe.directory {path}"
    );
    Err(Error::Refused { what: path.to_string(), detail })
}

fn is_ours(path: &Path, context: &OwnerContext) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else { return false };
    let user = rustix::process::geteuid();
    metadata.uid() == user.as_raw() || (user.is_root() && context.sudo_uid == Some(metadata.uid()))
}

fn is_listed(path: &Path, config: &Config, context: &OwnerContext) -> bool {
    let Ok(path) = fs::canonicalize(path) else { return false };
    let path = path.as_os_str().as_bytes();
    let mut listed = false;
    for entry in config.all("safe.directory") {
        if !matches!(entry.scope(), Scope::System | Scope::Global | Scope::Command) {
            continue;
        }
        match entry.value().map(|value| value.as_bytes()) {
            None | Some(b"") => listed = false,
            Some(b"*") => listed = true,
            Some(value) => listed |= covers(value, path, context.home.as_deref()),
        }
    }
    listed
}

/// Whether one `safe.directory` value covers an absolute, real path.
fn covers(value: &[u8], path: &[u8], home: Option<&Path>) -> bool {
    let Some(value) = crate::expand_user(Path::new(std::ffi::OsStr::from_bytes(value)), home)
    else {
        return false;
    };
    if !value.is_absolute() && value != Path::new(".") {
        tracing::warn!("safe.directory '{}' not absolute", value.display());
        return false;
    }
    // `dir/*` covers everything below; what is before the star may be a link.
    let (base, below) = match value.as_os_str().as_bytes().strip_suffix(b"/*") {
        Some(b"") => (PathBuf::from("/"), true),
        Some(base) => (Path::new(std::ffi::OsStr::from_bytes(base)).to_owned(), true),
        None => (value, false),
    };
    let Ok(real) = fs::canonicalize(&base) else { return false };
    let real = real.as_os_str().as_bytes();
    match below {
        true => path
            .strip_prefix(real.trim_end_with(|c| c == '/'))
            .is_some_and(|rest| rest.starts_with(b"/")),
        false => path == real,
    }
}
