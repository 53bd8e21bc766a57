//! From the path a client asks for to a repository: the rules of git's server programs.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use storage::{Error, Result};

use crate::gitdir::{is_git_directory, read_gitfile};

/// A repository that was found, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovered {
    /// The git directory.
    pub git_dir: PathBuf,
    /// The file or directory the path led to: the git directory, or the `.git` file naming it.
    pub entered: PathBuf,
    /// What the `.git` file names, when there was one.
    pub gitfile: Option<PathBuf>,
}

/// Finds the repository at `path`; the git directory, as [`discover_with`] finds it.
pub fn discover(path: &Path, strict: bool) -> Result<PathBuf> {
    discover_with(path, strict).map(|found| found.git_dir)
}

/// Finds the repository at `path` as `git upload-pack` does.
///
/// With `strict` the path must be the git directory itself or a `.git` file. Otherwise
/// trailing slashes are dropped and, in this order, `path/.git`, `path`, `path.git/.git` and
/// `path.git` are tried. `~` is not expanded; see [`expand_user`].
///
/// # Errors
/// [`Error::NotFound`] when there is no repository; [`Error::Corrupt`] for a `.git` file that
/// leads nowhere.
pub fn discover_with(path: &Path, strict: bool) -> Result<Discovered> {
    let entered = match strict {
        true => path.to_owned(),
        false => first_candidate(path).ok_or_else(|| not_a_repository(path))?,
    };
    let gitfile = read_gitfile(&entered)?;
    let git_dir = gitfile.clone().unwrap_or_else(|| entered.clone());
    match is_git_directory(&git_dir) {
        true => Ok(Discovered { git_dir, entered, gitfile }),
        false => Err(not_a_repository(path)),
    }
}

fn not_a_repository(path: &Path) -> Error {
    Error::not_found(format!("repository '{}'", path.display()))
}

fn first_candidate(path: &Path) -> Option<PathBuf> {
    let mut base = path.as_os_str().as_bytes();
    while base.len() > 1 && base.ends_with(b"/") {
        base = &base[..base.len() - 1];
    }
    if base.is_empty() {
        return None;
    }
    ["/.git", "", ".git/.git", ".git"].iter().find_map(|suffix| {
        let candidate = PathBuf::from(OsStr::from_bytes(&[base, suffix.as_bytes()].concat()));
        let metadata = fs::metadata(&candidate).ok()?;
        let fits = metadata.is_file() || (metadata.is_dir() && is_git_directory(&candidate));
        fits.then_some(candidate)
    })
}

/// Replaces a leading `~` by `home`, and `~user` by that user's home from `/etc/passwd`.
///
/// `None` when the home is not known; other paths come back as they are.
pub fn expand_user(path: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let Some(rest) = path.as_os_str().as_bytes().strip_prefix(b"~") else {
        return Some(path.to_owned());
    };
    let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
    let (user, below) = (&rest[..end], rest[end..].strip_prefix(b"/").unwrap_or_default());
    let home = match user {
        b"" => home?.to_owned(),
        user => home_of(user, &fs::read("/etc/passwd").ok()?)?,
    };
    Some(home.join(OsStr::from_bytes(below)))
}

fn home_of(user: &[u8], passwd: &[u8]) -> Option<PathBuf> {
    passwd.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let home = (fields.next()? == user).then(|| fields.nth(4)).flatten()?;
        Some(PathBuf::from(OsStr::from_bytes(home)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_are_expanded() {
        let home = Some(Path::new("/home/me"));
        assert_eq!(expand_user(Path::new("~/x.git"), home), Some("/home/me/x.git".into()));
        assert_eq!(expand_user(Path::new("~"), home), Some("/home/me/".into()));
        assert_eq!(expand_user(Path::new("/srv/~x"), home), Some("/srv/~x".into()));
        assert_eq!(expand_user(Path::new("~/x"), None), None);
        let passwd = b"root:x:0:0:root:/root:/bin/sh\ngit:x:9:9::/srv/git:/bin/sh\n";
        assert_eq!(home_of(b"git", passwd), Some("/srv/git".into()));
        assert_eq!(home_of(b"gi", passwd), None);
    }
}
