//! Which paths somebody means (gitglossary, "pathspec"): names and directories, patterns, and what
//! is left out again.

use bstr::{BStr, BString, ByteSlice as _};
use gitconfig::{wildmatch, wildmatch_any};

/// Some of a tree's paths. None at all stand for every path.
#[derive(Debug, Default)]
pub(super) struct Pathspec {
    items: Vec<Item>,
}

#[derive(Debug)]
struct Item {
    /// The path without slashes at its end; empty for everything.
    text: BString,
    /// It ended with a slash.
    only_directory: bool,
    /// Bytes before the first that has a meaning in patterns.
    literal: usize,
    excludes: bool,
    pattern: Pattern,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pattern {
    None,
    /// `*` takes slashes.
    Any,
    /// `**` takes slashes (`:(glob)`).
    Glob,
}

/// What is known of one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// It is not meant, and if it is a directory nothing in it is.
    No,
    /// A directory in which something may be meant.
    Inside,
    /// It is meant; of a directory, what is in it has to be asked about.
    Yes,
    /// It is meant with everything in it.
    All,
}

impl Pathspec {
    /// Reads what somebody wrote.
    ///
    /// # Errors
    /// In git's words.
    pub fn read(texts: &[BString]) -> Result<Self, String> {
        let mut items = texts.iter().map(Item::read).collect::<Result<Vec<_>, _>>()?;
        // What is left out is left out of everything, if nothing else is said.
        if !items.is_empty() && items.iter().all(|item| item.excludes) {
            items.push(Item::everything());
        }
        Ok(Pathspec { items })
    }

    /// Whether every path is meant.
    pub fn is_everything(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether a path is meant; without a slash at its end.
    pub fn fit(&self, path: &BStr, is_directory: bool, is_submodule: bool) -> Fit {
        if self.items.is_empty() {
            return Fit::All;
        }
        let best = |excludes: bool| {
            let items = self.items.iter().filter(|item| item.excludes == excludes);
            items.map(|item| item.fit(path, is_directory, is_submodule)).max().unwrap_or(Fit::No)
        };
        let wanted = best(false);
        if wanted == Fit::No {
            return Fit::No;
        }
        match (best(true), is_directory) {
            (Fit::No, _) => wanted,
            (Fit::All, _) | (Fit::Yes | Fit::Inside, false) => Fit::No,
            // A pattern that takes the directory does not take all that is in it.
            (Fit::Yes | Fit::Inside, true) => wanted.min(Fit::Inside),
        }
    }
}

impl Item {
    fn everything() -> Self {
        Item {
            text: BString::default(),
            only_directory: false,
            literal: 0,
            excludes: false,
            pattern: Pattern::None,
        }
    }

    fn read(written: &BString) -> Result<Self, String> {
        let mut item = Item { pattern: Pattern::Any, ..Item::everything() };
        if written.is_empty() {
            return Err("empty string is not a valid pathspec. please use . instead if you meant \
                        to match all paths"
                .to_owned());
        }
        let text = item.magic(written)?;
        let outside = || format!("{written}: '{written}' is outside repository");
        if text.starts_with(b"/") {
            return Err(outside());
        }
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in text.split_str("/") {
            match part {
                b"" | b"." => {}
                b".." => drop(parts.pop().ok_or_else(outside)?),
                part => parts.push(part),
            }
        }
        item.text = bstr::join("/", parts).into();
        item.only_directory = text.ends_with(b"/");
        let special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
        item.literal = item.text.iter().position(special).unwrap_or(item.text.len());
        if item.literal == item.text.len() || item.pattern == Pattern::None {
            (item.pattern, item.literal) = (Pattern::None, item.text.len());
        }
        Ok(item)
    }

    /// Reads what stands before the path and says how it is meant; the path.
    fn magic<'t>(&mut self, written: &'t BString) -> Result<&'t [u8], String> {
        let Some(magic) = written.strip_prefix(b":") else { return Ok(written) };
        if let Some(long) = magic.strip_prefix(b"(") {
            let (words, path) = long.split_once_str(")").ok_or_else(|| {
                format!("Missing ')' at the end of pathspec magic in '{written}'")
            })?;
            for word in words.split_str(",") {
                match word {
                    b"" | b"top" => {}
                    b"exclude" => self.excludes = true,
                    b"literal" => self.pattern = Pattern::None,
                    b"glob" => self.pattern = Pattern::Glob,
                    other => {
                        let magic = other.as_bstr();
                        return Err(format!("Unsupported pathspec magic '{magic}' in '{written}'"));
                    }
                }
            }
            return Ok(path);
        }
        let mut path = magic;
        while let Some((sign, rest)) = path.split_first() {
            match sign {
                b'/' => {}
                b'!' | b'^' => self.excludes = true,
                b':' => return Ok(rest),
                sign if sign.is_ascii_punctuation() && !b"*?[\\._-".contains(sign) => {
                    let sign = char::from(*sign);
                    return Err(format!("Unimplemented pathspec magic '{sign}' in '{written}'"));
                }
                _ => break,
            }
            path = rest;
        }
        Ok(path)
    }

    fn fit(&self, path: &BStr, is_directory: bool, is_submodule: bool) -> Fit {
        let text = self.text.as_slice();
        if text.is_empty() {
            return Fit::All;
        }
        match path.strip_prefix(text) {
            Some(b"") if is_directory || is_submodule || !self.only_directory => return Fit::All,
            Some([b'/', ..]) => return Fit::All,
            _ => {}
        }
        if self.pattern != Pattern::None {
            let pattern: &[u8] = match self.only_directory {
                // A slash at the end belongs to a pattern, and no path has one.
                true => &[text, b"/"].concat(),
                false => text,
            };
            let fits = match self.pattern {
                Pattern::Glob => wildmatch(pattern, path),
                _ => wildmatch_any(pattern, path),
            };
            if fits {
                return Fit::Yes;
            }
        }
        let leads_there = is_directory && {
            let known = &text[..self.literal];
            let common = known.len().min(path.len() + 1);
            [path.as_bytes(), b"/"].concat()[..common] == known[..common]
                && (self.pattern != Pattern::None || text.len() > path.len())
        };
        if leads_there { Fit::Inside } else { Fit::No }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(specs: &[&str], path: &str) -> Fit {
        let specs: Vec<BString> = specs.iter().map(|spec| BString::from(*spec)).collect();
        let spec = Pathspec::read(&specs).expect("valid");
        let directory = path.strip_suffix('/');
        spec.fit(directory.unwrap_or(path).into(), directory.is_some(), false)
    }

    #[test]
    fn names_patterns_and_what_is_left_out() {
        for (specs, path, fit) in [
            (&[][..], "a", Fit::All),
            (&["."], "a", Fit::All),
            (&["a"], "a", Fit::All),
            (&["a"], "a/", Fit::All),
            (&["a"], "a/b", Fit::All),
            (&["a"], "ab", Fit::No),
            (&["a/"], "a", Fit::No),
            (&["a/"], "a/", Fit::All),
            (&["a//./b/../c"], "a/c", Fit::All),
            (&["a/b"], "a/", Fit::Inside),
            (&["a/b"], "ab/", Fit::No),
            (&["a/b"], "a", Fit::No),
            (&["*.c"], "a/b.c", Fit::Yes),
            (&["*.c"], "a/", Fit::Inside),
            (&["a/*.c"], "b/", Fit::No),
            (&["a/*.c"], "a/b/", Fit::Inside),
            (&["a*"], "b/", Fit::No),
            (&["a*"], "ab/", Fit::Yes),
            (&[":(glob)*.c"], "a/b.c", Fit::No),
            (&[":(glob)**/*.c"], "a/b.c", Fit::Yes),
            (&[":(literal)*.c"], "b.c", Fit::No),
            (&[":(literal)*.c"], "*.c", Fit::All),
            (&[":!a"], "a/", Fit::No),
            (&[":!a"], "b", Fit::All),
            (&[":^a/*"], "a/", Fit::Inside),
            (&["a", ":(exclude)a/b"], "a/", Fit::Inside),
            (&["a", ":(exclude)a/b"], "a/b", Fit::No),
            (&["a", ":(exclude)a/b"], "a/c", Fit::All),
            (&[":/a"], "a", Fit::All),
        ] {
            assert_eq!(fits(specs, path), fit, "{specs:?} {path}");
        }
    }

    #[test]
    fn what_is_no_pathspec_is_refused() {
        for (text, words) in [
            ("", "empty string"),
            ("/a", "outside repository"),
            ("a/../..", "outside repository"),
            (":(attr:x)a", "Unsupported pathspec magic 'attr:x'"),
            (":(top", "Missing ')'"),
            (":%a", "Unimplemented pathspec magic '%'"),
        ] {
            let error = Pathspec::read(&[text.into()]).expect_err(text);
            assert!(error.contains(words), "{error}");
        }
    }
}
