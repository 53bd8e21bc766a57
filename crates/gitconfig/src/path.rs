//! Paths as they stand in configuration values.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use bstr::{BStr, ByteSlice as _};

use crate::ConfigError;

/// The path a value means: `~/` is the user's home, `~user/` another's.
///
/// # Errors
/// When there is no such home.
pub(crate) fn expand(value: &BStr, home: Option<&Path>) -> Result<PathBuf, ConfigError> {
    let Some(rest) = value.strip_prefix(b"~") else {
        return Ok(from_bytes(value));
    };
    let (user, below) = rest.split_at(rest.find_byte(b'/').unwrap_or(rest.len()));
    let home = match user {
        [] => home.map(Path::to_owned),
        user => home_of(user),
    };
    let home = home.ok_or_else(|| ConfigError::ExpandPath { path: value.to_owned() })?;
    let mut path = home.into_os_string();
    path.push(OsStr::from_bytes(below));
    Ok(path.into())
}

pub(crate) fn from_bytes(bytes: &[u8]) -> PathBuf {
    OsStr::from_bytes(bytes).into()
}

pub(crate) fn to_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// The home `/etc/passwd` gives a user. Users known only to a directory service have none here.
fn home_of(user: &[u8]) -> Option<PathBuf> {
    let accounts = std::fs::read("/etc/passwd").ok()?;
    accounts.lines().find_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        (fields.next() == Some(user)).then(|| fields.nth(4).map(from_bytes)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_homes() {
        let home = Path::new("/home/me");
        let expand = |value: &str| super::expand(value.into(), Some(home)).ok();
        assert_eq!(expand("~/x"), Some("/home/me/x".into()));
        assert_eq!(expand("~"), Some("/home/me".into()));
        assert_eq!(expand("a/~/x"), Some("a/~/x".into()));
        assert_eq!(expand("~no such user/x"), None);
        assert_eq!(expand("~root/x"), Some("/root/x".into()));
        assert!(super::expand("~/x".into(), None).is_err());
    }
}
