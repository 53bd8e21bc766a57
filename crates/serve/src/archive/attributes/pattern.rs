//! Patterns of attributes, which are those of gitignore(5) without negation.

use bstr::{BStr, BString, ByteSlice as _};
use gitconfig::wildmatch;

/// Which paths below a directory a line is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathPattern {
    text: BString,
    only_directories: bool,
    /// It is compared with the last component alone, at every depth.
    is_name: bool,
    /// Nothing in it stands for anything but itself.
    is_literal: bool,
}

impl PathPattern {
    /// Reads a pattern; `None` for a negated one, which has no meaning here.
    pub fn read(text: &[u8]) -> Option<Self> {
        if text.starts_with(b"!") {
            return None;
        }
        let (text, only_directories) = match text.strip_suffix(b"/") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let is_name = !text.contains(&b'/');
        let text = text.strip_prefix(b"/").unwrap_or(text);
        let is_literal = !text.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'));
        Some(PathPattern { text: text.into(), only_directories, is_name, is_literal })
    }

    /// Whether a path fits, seen from the directory `below` the pattern is written in. Paths of
    /// directories end with a slash.
    pub fn fits(&self, below: &BStr, path: &BStr) -> bool {
        let (path, is_directory) = match path.strip_suffix(b"/") {
            Some(path) => (path, true),
            None => (path.as_bytes(), false),
        };
        if self.only_directories && !is_directory {
            return false;
        }
        let subject = if self.is_name {
            path.rsplit_str("/").next().unwrap_or(path)
        } else {
            let inside = match below.is_empty() {
                true => Some(path),
                false => path.strip_prefix(below.as_bytes()).and_then(|p| p.strip_prefix(b"/")),
            };
            let Some(inside) = inside else { return false };
            inside
        };
        match self.is_literal {
            true => subject == self.text.as_slice(),
            false => wildmatch(&self.text, subject),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_at_every_depth_and_paths_below_their_file() {
        let fits = |pattern: &str, below: &str, path: &str| {
            let pattern = PathPattern::read(pattern.as_bytes()).expect("not negated");
            pattern.fits(below.into(), path.into())
        };
        for (pattern, below, path) in [
            ("a", "", "a"),
            ("a", "", "x/a"),
            ("a", "", "x/a/"),
            ("a/", "", "x/a/"),
            ("*.c", "", "x/y.c"),
            ("/a", "", "a"),
            ("x/*.c", "", "x/y.c"),
            ("**/c", "", "a/b/c"),
            ("a/**", "", "a/b/c"),
            ("y/*.c", "x", "x/y/z.c"),
            ("/y", "x", "x/y"),
            ("\\!a", "", "!a"),
        ] {
            assert!(fits(pattern, below, path), "{pattern} {path}");
        }
        for (pattern, below, path) in [
            ("a/", "", "a"),
            ("/a", "", "x/a"),
            ("x/*.c", "", "x/y/z.c"),
            ("x/*.c", "", "z/x/y.c"),
            ("/y", "x", "y"),
            ("/y", "x", "xy"),
            ("a", "", "ab"),
        ] {
            assert!(!fits(pattern, below, path), "{pattern} {path}");
        }
        assert_eq!(PathPattern::read(b"!a"), None);
    }
}
