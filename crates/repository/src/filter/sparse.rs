//! Sparse patterns: the lines of a sparse-checkout file, as `sparse:oid` names it.
//!
//! The grammar is that of gitignore; a path is in when the last pattern that matches
//! it or the nearest of its folders is not negated.

use bstr::ByteSlice as _;

/// The patterns of one file.
#[derive(Debug, Clone, Default)]
pub struct SparsePatterns {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    text: Vec<u8>,
    negated: bool,
    folders_only: bool,
    /// Matched against the whole path, not the last part of it.
    anchored: bool,
}

impl SparsePatterns {
    /// Reads the patterns, one a line; blank lines and `#` comments are skipped.
    pub fn parse(file: &[u8]) -> Self {
        let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
        SparsePatterns { patterns: file.lines().filter_map(Pattern::parse).collect() }
    }

    /// Whether a file at this path (slashes between folders, none in front) is in.
    pub fn includes(&self, path: &[u8]) -> bool {
        if let Some(verdict) = self.verdict(path, false) {
            return verdict;
        }
        let mut folder = path;
        while let Some(slash) = folder.rfind_byte(b'/') {
            folder = &folder[..slash];
            if let Some(verdict) = self.verdict(folder, true) {
                return verdict;
            }
        }
        false
    }

    fn verdict(&self, path: &[u8], is_folder: bool) -> Option<bool> {
        let matching = |pattern: &&Pattern| pattern.matches(path, is_folder);
        self.patterns.iter().rev().find(matching).map(|pattern| !pattern.negated)
    }
}

impl Pattern {
    fn parse(line: &[u8]) -> Option<Pattern> {
        let mut text = trim_trailing_spaces(line);
        if text.is_empty() || text[0] == b'#' {
            return None;
        }
        let negated = text[0] == b'!';
        if negated {
            text = &text[1..];
        }
        let folders_only = text.ends_with(b"/");
        if folders_only {
            text = &text[..text.len() - 1];
        }
        let anchored = text.contains(&b'/');
        let text = text.strip_prefix(b"/").unwrap_or(text);
        Some(Pattern { text: text.to_vec(), negated, folders_only, anchored })
    }

    fn matches(&self, path: &[u8], is_folder: bool) -> bool {
        if self.folders_only && !is_folder {
            return false;
        }
        if self.anchored {
            return wildmatch(&self.text, path);
        }
        let last = path.rfind_byte(b'/').map_or(path, |slash| &path[slash + 1..]);
        wildmatch(&self.text, last)
    }
}

/// Trailing spaces do not count unless a backslash stands before them.
fn trim_trailing_spaces(line: &[u8]) -> &[u8] {
    let mut line = line;
    while line.ends_with(b" ") && !line.ends_with(b"\\ ") {
        line = &line[..line.len() - 1];
    }
    line
}

/// Shell-style matching in which `*` and `?` stop at slashes and `**` does not (gitignore).
fn wildmatch(pattern: &[u8], text: &[u8]) -> bool {
    let Some((&first, rest)) = pattern.split_first() else { return text.is_empty() };
    match first {
        b'*' if rest.first() == Some(&b'*') => match_double_star(&rest[1..], text),
        b'*' => {
            let reach = text.find_byte(b'/').unwrap_or(text.len());
            (0..=reach).any(|skip| wildmatch(rest, &text[skip..]))
        }
        b'?' => text.first().is_some_and(|&c| c != b'/') && wildmatch(rest, &text[1..]),
        b'[' => match match_class(rest, text.first().copied()) {
            Some((matched, after)) => matched && wildmatch(after, &text[1..]),
            None => text.first() == Some(&b'[') && wildmatch(rest, &text[1..]),
        },
        b'\\' if !rest.is_empty() => {
            text.first() == Some(&rest[0]) && wildmatch(&rest[1..], &text[1..])
        }
        _ => text.first() == Some(&first) && wildmatch(rest, &text[1..]),
    }
}

fn match_double_star(rest: &[u8], text: &[u8]) -> bool {
    // `**/x` matches `x` in any folder, the top one included.
    if let Some(after) = rest.strip_prefix(b"/") {
        return wildmatch(after, text)
            || text.find_iter("/").any(|slash| wildmatch(after, &text[slash + 1..]));
    }
    (0..=text.len()).any(|skip| wildmatch(rest, &text[skip..]))
}

/// A bracket expression: whether `c` is in it, and the pattern behind it. `None` when it
/// has no end.
fn match_class(class: &[u8], c: Option<u8>) -> Option<(bool, &[u8])> {
    let negated = matches!(class.first(), Some(b'!' | b'^'));
    let body = &class[usize::from(negated)..];
    let end = (1..body.len()).find(|&at| body[at] == b']')?;
    let (members, after) = (&body[..end], &body[end + 1..]);
    let Some(c) = c.filter(|&c| c != b'/') else { return Some((false, after)) };
    let mut found = false;
    let mut at = 0;
    while at < members.len() {
        if at + 2 < members.len() && members[at + 1] == b'-' {
            found |= (members[at]..=members[at + 2]).contains(&c);
            at += 3;
        } else {
            found |= members[at] == c;
            at += 1;
        }
    }
    Some((found != negated, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(patterns: &str, path: &str, expected: bool) {
        let parsed = SparsePatterns::parse(patterns.as_bytes());
        assert_eq!(parsed.includes(path.as_bytes()), expected, "{patterns:?} on {path:?}");
    }

    #[test]
    fn follows_gitignore_rules() {
        check("/*\n!/*/\n/a/\n", "top", true);
        check("/*\n!/*/\n/a/\n", "a/b/c", true);
        check("/*\n!/*/\n/a/\n", "b/c", false);
        check("*.c", "deep/er/x.c", true);
        check("*.c", "x.h", false);
        check("docs/*.txt", "docs/a.txt", true);
        check("docs/*.txt", "docs/sub/a.txt", false);
        check("**/sub/*", "docs/sub/a.txt", true);
        check("a/**/z", "a/b/c/z", true);
        check("[a-c]x", "bx", true);
        check("[!a-c]x", "bx", false);
        check("# comment\n\n!no", "no", false);
        check("\\!odd", "!odd", true);
    }
}
