//! Patterns for names of repositories, refs and files.

use gitconfig::wildmatch;

/// What stands for the name of whoever asks.
const USER: &str = "{user}";
/// Longest pattern, bytes.
const BYTES_MAX: usize = 1024;

/// A pattern over names with slashes in them: `*` stays between slashes, `**` does not, and a `/`
/// at the end stands for all that is below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
}

impl Pattern {
    /// Reads one.
    ///
    /// # Errors
    /// Words about what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("an empty pattern stands for nothing; '**' stands for all".into()),
            _ if text.len() > BYTES_MAX => Err(format!("a pattern has at most {BYTES_MAX} bytes")),
            _ if text.starts_with('/') => Err(format!("'{text}': names do not begin with a slash")),
            _ => Ok(Pattern { text: text.to_owned() }),
        }
    }

    /// Whether a name fits, for somebody of this name; for nobody, `{user}` fits nothing.
    pub fn matches(&self, name: &[u8], user: Option<&str>) -> bool {
        let own;
        let text = match (self.text.contains(USER), user) {
            (false, _) => &self.text,
            (true, None) => return false,
            // Names of users have nothing in them that means something in a pattern.
            (true, Some(user)) => {
                own = self.text.replace(USER, user);
                &own
            }
        };
        match text.strip_suffix('/') {
            Some(folder) => wildmatch(format!("{folder}/**").as_bytes(), name),
            None => wildmatch(text.as_bytes(), name),
        }
    }

    /// Whether it stands for one name only.
    pub fn is_plain(&self) -> bool {
        !self.text.ends_with('/') && !self.text.contains(['*', '?', '[', '\\', '{'])
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A pattern for files: one without a slash fits the last part of a path (gitignore's rule).
pub(crate) fn fits_path(pattern: &Pattern, path: &[u8]) -> bool {
    let name = match pattern.text.trim_end_matches('/').contains('/') {
        true => path,
        false => path.rsplit(|&byte| byte == b'/').next().unwrap_or(path),
    };
    let is_folder_of = |path: &[u8]| {
        let parts = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let mut folders = parts.map(|(at, _)| &path[..at]);
        folders.any(|folder| {
            let last = folder.rsplit(|&byte| byte == b'/').next().unwrap_or(folder);
            wildmatch(pattern.text.trim_end_matches('/').as_bytes(), last)
        })
    };
    match pattern.text.strip_suffix('/') {
        // `secrets/`: whatever is in a folder of that name, anywhere.
        Some(folder) if !folder.contains('/') => is_folder_of(path),
        _ => pattern.matches(name, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_patterns() {
        for (pattern, name, fits) in [
            ("**", "a/b", true),
            ("*", "a", true),
            ("*", "a/b", false),
            ("team/", "team/a/b", true),
            ("team/", "team", false),
            ("team/", "teams/a", false),
            ("team/*", "team/a", true),
            ("home/{user}/**", "home/ann/x", true),
            ("home/{user}/**", "home/bob/x", false),
            ("a/**/z", "a/z", true),
        ] {
            let is = Pattern::new(pattern).expect(pattern).matches(name.as_bytes(), Some("ann"));
            assert_eq!(is, fits, "{pattern} {name}");
        }
        let own = Pattern::new("home/{user}/**").expect("a pattern");
        assert!(!own.matches(b"home//x", None) && !own.matches(b"home/{user}/x", None));
        Pattern::new("/x").expect_err("a slash");
    }

    #[test]
    fn files_fit_patterns() {
        for (pattern, path, fits) in [
            ("*.pem", "a/b/key.pem", true),
            ("*.pem", "a/b.pem/c", false),
            ("secrets/", "a/secrets/b", true),
            ("secrets/", "secrets/b/c", true),
            ("secrets/", "a/secrets", false),
            ("conf/prod/", "conf/prod/x/y", true),
            ("conf/prod/", "a/conf/prod/x", false),
            ("conf/*.toml", "conf/a.toml", true),
        ] {
            let is = fits_path(&Pattern::new(pattern).expect(pattern), path.as_bytes());
            assert_eq!(is, fits, "{pattern} {path}");
        }
    }
}
