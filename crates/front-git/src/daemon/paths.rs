//! From the path a client sends to paths of this machine (git-daemon(1)).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::virtual_host::VirtualHost;

/// The longest path, bytes (`PATH_MAX`).
const PATH_BYTES_MAX: usize = 4096;

/// How paths are made.
#[derive(Debug, Clone, Default)]
pub struct PathSettings {
    /// What every path is put behind.
    pub base_path: Option<PathBuf>,
    /// Whether a path that leads nowhere behind it is tried without it.
    pub base_path_relaxed: bool,
    /// A path with `%H`, `%CH`, `%IP`, `%P` and `%D` in it, for clients that name a host.
    pub interpolated_path: Option<PathBuf>,
    /// Whether paths may begin with `~user`, and what is put behind that.
    pub user_path: Option<PathBuf>,
}

impl PathSettings {
    /// The paths to try, in this order.
    ///
    /// # Errors
    /// In git's words, for the log.
    pub(super) fn candidates(
        &self,
        asked: &[u8],
        host: Option<&VirtualHost>,
    ) -> Result<Vec<PathBuf>, String> {
        let shown = String::from_utf8_lossy(asked);
        if host::is_aliased(asked) {
            return Err(format!("'{shown}': aliased"));
        }
        let first = match (&self.interpolated_path, host, &self.base_path) {
            _ if asked.starts_with(b"~") => self.of_user(asked)?,
            (Some(pattern), Some(host), _) => interpolated(pattern, asked, host),
            (_, _, Some(base)) => [base.as_os_str().as_bytes(), asked].concat(),
            _ => asked.to_vec(),
        };
        if first.len() >= PATH_BYTES_MAX {
            return Err(format!("path too large: {}", String::from_utf8_lossy(&first)));
        }
        let mut candidates = vec![as_path(&first)];
        if self.base_path.is_some() && self.base_path_relaxed {
            candidates.push(as_path(asked));
        }
        Ok(candidates)
    }

    /// `~user/rest` with the user's folder in between.
    fn of_user(&self, asked: &[u8]) -> Result<Vec<u8>, String> {
        let shown = String::from_utf8_lossy(asked);
        let folder = self.user_path.as_ref();
        let folder = folder.ok_or_else(|| format!("'{shown}': User-path not allowed"))?;
        if folder.as_os_str().is_empty() {
            return Ok(asked.to_vec());
        }
        let end = asked.iter().position(|byte| *byte == b'/').unwrap_or(asked.len());
        let (user, rest) = asked.split_at(end);
        Ok([user, b"/", folder.as_os_str().as_bytes(), rest].concat())
    }
}

fn as_path(bytes: &[u8]) -> PathBuf {
    Path::new(OsStr::from_bytes(bytes)).to_owned()
}

fn interpolated(pattern: &Path, asked: &[u8], host: &VirtualHost) -> Vec<u8> {
    let mut pattern = pattern.as_os_str().as_bytes();
    let mut out = Vec::new();
    while let Some(at) = pattern.iter().position(|byte| *byte == b'%') {
        out.extend_from_slice(&pattern[..at]);
        let rest = &pattern[at + 1..];
        let (name, value): (&[u8], &[u8]) = match rest {
            [b'%', ..] => (b"%", b"%"),
            [b'H', ..] => (b"H", host.name.as_bytes()),
            [b'C', b'H', ..] => (b"CH", host.canonical_name().as_bytes()),
            [b'I', b'P', ..] => (b"IP", host.address().as_bytes()),
            [b'P', ..] => (b"P", host.port.as_bytes()),
            [b'D', ..] => (b"D", asked),
            _ => (b"", b"%"),
        };
        out.extend_from_slice(value);
        pattern = &rest[name.len()..];
    }
    out.extend_from_slice(pattern);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(settings: &PathSettings, asked: &str, host: Option<&str>) -> String {
        let host = host.map(|host| VirtualHost::read(host.as_bytes()).expect("a host"));
        match settings.candidates(asked.as_bytes(), host.as_ref()) {
            Ok(paths) => {
                let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                paths.join(" ")
            }
            Err(words) => words,
        }
    }

    #[test]
    fn paths_as_git_daemon_makes_them() {
        let plain = PathSettings::default();
        assert_eq!(tried(&plain, "/a.git", None), "/a.git");
        assert_eq!(tried(&plain, "~me/a", None), "'~me/a': User-path not allowed");
        let based = PathSettings { base_path: Some("/srv".into()), ..PathSettings::default() };
        assert_eq!(tried(&based, "/a.git", Some("x")), "/srv/a.git");
        let relaxed = PathSettings { base_path_relaxed: true, ..based.clone() };
        assert_eq!(tried(&relaxed, "/a.git", None), "/srv/a.git /a.git");
        let user = PathSettings { user_path: Some("pub".into()), ..based.clone() };
        assert_eq!(tried(&user, "~me/a", None), "~me/pub/a");
        assert_eq!(tried(&user, "~me", None), "~me/pub");
        let user = PathSettings { user_path: Some("".into()), ..based.clone() };
        assert_eq!(tried(&user, "~me/a", None), "~me/a");
        let pattern = PathSettings { interpolated_path: Some("/v/%H/%P%%%x%D%".into()), ..based };
        assert_eq!(tried(&pattern, "/a", Some("../E:1")), "/v/e/1%%x/a%");
        assert_eq!(tried(&pattern, "/a", Some("127.0.0.1")), "/v/127.0.0.1/%%x/a%");
        // Old clients name no host.
        assert_eq!(tried(&pattern, "/a", None), "/srv/a");
    }

    #[test]
    fn no_path_leads_out() {
        let settings = PathSettings { base_path: Some("/srv".into()), ..PathSettings::default() };
        for bad in
            ["/..", "/../a", "/a/../b", "/a/..", "/./a", "//a", "/a//b", "a", "../a", "", "."]
        {
            let words = tried(&settings, bad, None);
            assert_eq!(words, format!("'{bad}': aliased"));
        }
        let long = format!("/{}", "x".repeat(PATH_BYTES_MAX));
        assert!(tried(&settings, &long, None).starts_with("path too large"));
    }
}
