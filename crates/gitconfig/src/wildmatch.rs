//! Git's shell patterns over paths: `*` stays within one path component, `**` crosses them
//! (gitignore, "PATTERN FORMAT").

/// How a comparison of letters goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Sensitive,
    Insensitive,
}

/// What a slash is to a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slash {
    /// The border of two components, which only `**` and a slash itself get across.
    Border,
    /// A byte like others.
    Byte,
}

/// How a pattern is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct How {
    case: Case,
    slash: Slash,
}

/// Patterns longer than any path match nothing, in bytes; it bounds the recursion.
const PATTERN_BYTES_MAX: usize = 4096;

/// Whether the whole text fits the pattern: `*` and `?` stay within one component of a path, `**`
/// crosses them (gitignore, "PATTERN FORMAT"). A pattern of more than 4096 bytes fits nothing.
pub fn wildmatch(pattern: &[u8], text: &[u8]) -> bool {
    matches(pattern, text, Case::Sensitive)
}

/// As [`wildmatch`], where a slash is a byte like others: `*` and `?` take it, as they do in
/// pathspecs (gitglossary, "pathspec").
pub fn wildmatch_any(pattern: &[u8], text: &[u8]) -> bool {
    compare(pattern, text, How { case: Case::Sensitive, slash: Slash::Byte })
}

/// Whether the whole text fits the pattern.
pub(crate) fn matches(pattern: &[u8], text: &[u8], case: Case) -> bool {
    compare(pattern, text, How { case, slash: Slash::Border })
}

fn compare(pattern: &[u8], text: &[u8], how: How) -> bool {
    pattern.len() <= PATTERN_BYTES_MAX && walk(pattern, text, pattern, how) == Match::Yes
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    Yes,
    No,
    /// No longer text can match: every star on the way may give up.
    Never,
    /// Only a `**` further out may go on.
    NeverInComponent,
}

/// Matches `rest`, a tail of `pattern`.
fn walk(pattern: &[u8], mut text: &[u8], mut rest: &[u8], how: How) -> Match {
    let How { case, slash } = how;
    while let Some((&wanted, behind)) = rest.split_first() {
        let Some((&byte, text_behind)) = text.split_first() else {
            return if wanted == b'*' { star(pattern, text, rest, how) } else { Match::Never };
        };
        match wanted {
            b'*' => return star(pattern, text, rest, how),
            b'?' if byte == b'/' && slash == Slash::Border => return Match::No,
            b'?' => rest = behind,
            b'[' => match class(behind, byte, case) {
                Some((true, behind)) if byte != b'/' || slash == Slash::Byte => rest = behind,
                Some(_) => return Match::No,
                None => return Match::Never,
            },
            b'\\' => match behind.split_first() {
                Some((&literal, behind)) if fold(literal, case) == fold(byte, case) => {
                    rest = behind;
                }
                _ => return Match::No,
            },
            literal if fold(literal, case) == fold(byte, case) => rest = behind,
            _ => return Match::No,
        }
        text = text_behind;
    }
    if text.is_empty() { Match::Yes } else { Match::No }
}

/// Matches a run of stars, at which `stars` begins, and all behind it.
fn star(pattern: &[u8], text: &[u8], stars: &[u8], how: How) -> Match {
    let count = stars.iter().take_while(|&&byte| byte == b'*').count();
    let rest = &stars[count..];
    let before = &pattern[..pattern.len() - stars.len()];
    let whole_component = (before.is_empty() || before.ends_with(b"/"))
        && (rest.is_empty() || rest.starts_with(b"/") || rest.starts_with(b"\\/"));
    let every_byte = how.slash == Slash::Byte;
    let crosses = every_byte || count > 1 && whole_component;
    // "a/**/b" also means "a/b". Where that runs out of text, so does everything longer, which
    // keeps "**/**/**/…" from trying every combination.
    if crosses && !every_byte && rest.starts_with(b"/") {
        match walk(pattern, text, &rest[1..], how) {
            decided @ (Match::Yes | Match::Never) => return decided,
            Match::No | Match::NeverInComponent => {}
        }
    }
    if rest.is_empty() {
        let inside = crosses || !text.contains(&b'/');
        return if inside { Match::Yes } else { Match::NeverInComponent };
    }
    if !crosses && rest.starts_with(b"/") {
        return match memchr(b'/', text) {
            Some(slash) => walk(pattern, &text[slash..], rest, how),
            None => Match::Never,
        };
    }
    for at in 0..text.len() {
        match walk(pattern, &text[at..], rest, how) {
            Match::No if !crosses && text[at] == b'/' => return Match::NeverInComponent,
            Match::No => {}
            Match::NeverInComponent if crosses => {}
            decided => return decided,
        }
    }
    Match::Never
}

fn memchr(wanted: u8, text: &[u8]) -> Option<usize> {
    text.iter().position(|&byte| byte == wanted)
}

fn fold(byte: u8, case: Case) -> u8 {
    match case {
        Case::Sensitive => byte,
        Case::Insensitive => byte.to_ascii_lowercase(),
    }
}

/// Whether a byte is in the class that begins behind `[`, and the pattern behind its `]`;
/// `None` when the class is malformed.
fn class(mut rest: &[u8], byte: u8, case: Case) -> Option<(bool, &[u8])> {
    let negated = matches!(rest.first(), Some(b'!' | b'^'));
    if negated {
        rest = &rest[1..];
    }
    let byte = fold(byte, case);
    let in_range = |low: u8, high: u8| {
        (low..=high).contains(&byte)
            || case == Case::Insensitive && (low..=high).contains(&byte.to_ascii_uppercase())
    };
    let mut found = false;
    // The byte a '-' would make a range of.
    let mut previous = None;
    // A ']' directly at the front stands for itself.
    let mut first = true;
    loop {
        let (&next, behind) = rest.split_first()?;
        match next {
            b']' if !first => return Some((found != negated, behind)),
            b'-' if previous.is_some() && !matches!(behind.first(), None | Some(b']')) => {
                let (high, behind) = literal(behind)?;
                found |= in_range(previous.take()?, high);
                rest = behind;
            }
            b'[' if behind.starts_with(b":") && named_class_end(behind).is_some() => {
                let end = named_class_end(behind)?;
                found |= in_named_class(&behind[1..end - 1], byte, case)?;
                previous = None;
                rest = &behind[end + 1..];
            }
            _ => {
                let (member, behind) = literal(rest)?;
                found |= byte == member;
                previous = Some(member);
                rest = behind;
            }
        }
        first = false;
    }
}

/// One byte, behind a backslash or not.
fn literal(pattern: &[u8]) -> Option<(u8, &[u8])> {
    let pattern = pattern.strip_prefix(b"\\").unwrap_or(pattern);
    pattern.split_first().map(|(&byte, rest)| (byte, rest))
}

/// Where the `]` of `:name:]` is.
fn named_class_end(pattern: &[u8]) -> Option<usize> {
    let end = memchr(b']', pattern)?;
    (end >= 2 && pattern[end - 1] == b':').then_some(end)
}

fn in_named_class(name: &[u8], byte: u8, case: Case) -> Option<bool> {
    Some(match name {
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"alpha" => byte.is_ascii_alphabetic(),
        b"blank" => byte == b' ' || byte == b'\t',
        b"cntrl" => byte.is_ascii_control(),
        b"digit" => byte.is_ascii_digit(),
        b"graph" => byte.is_ascii_graphic(),
        b"lower" => byte.is_ascii_lowercase(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"punct" => byte.is_ascii_punctuation(),
        b"space" => byte.is_ascii_whitespace() || byte == 0x0b,
        b"upper" => {
            byte.is_ascii_uppercase() || case == Case::Insensitive && byte.is_ascii_lowercase()
        }
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_may_be_a_byte_like_others() {
        for (fits, text, pattern) in [
            (true, "foo/baz/bar", "foo*bar"),
            (true, "foo/bar", "foo?bar"),
            (true, "foo/bar", "foo[/]bar"),
            (true, "a/b/c.txt", "*.txt"),
            (false, "foo", "**/foo"),
            (true, "a/foo", "**/foo"),
            (false, "foo/baz/bar", "foo*baz"),
        ] {
            assert_eq!(wildmatch_any(pattern.as_bytes(), text.as_bytes()), fits, "{pattern}");
        }
    }

    // Cases from git's t/t3070-wildmatch.sh, columns "wildmatch" and "iwildmatch".
    #[test]
    fn agrees_with_git() {
        let cases: &[(bool, bool, &str, &str)] = &[
            (true, true, "foo", "foo"),
            (false, false, "foo", "bar"),
            (true, true, "", ""),
            (true, true, "foo", "???"),
            (false, false, "foo", "??"),
            (true, true, "foo", "*"),
            (false, false, "foo", "*ob"),
            (true, true, "foobar", "*ob*a*r*"),
            (true, true, "foo*", "foo\\*"),
            (false, false, "foobar", "foo\\*bar"),
            (true, true, "ball", "*[al]?"),
            (false, false, "ten", "[ten]"),
            (true, true, "ten", "**[!te]"),
            (false, false, "ten", "**[!ten]"),
            (true, true, "ton", "t[!a-g]n"),
            (true, true, "a]b", "a[]]b"),
            (true, true, "a-b", "a[]-]b"),
            (false, false, "aab", "a[]-]b"),
            (true, true, "]", "]"),
            (false, false, "foo/baz/bar", "foo*bar"),
            (false, false, "foo/baz/bar", "foo**bar"),
            (true, true, "foobazbar", "foo**bar"),
            (true, true, "foo/baz/bar", "foo/**/bar"),
            (false, false, "foo/baz/bar", "foo/**/**/ba"),
            (true, true, "foo/b/a/z/bar", "foo/**/bar"),
            (true, true, "foo/bar", "foo/**/bar"),
            (true, true, "foo/bar", "foo/**/**/bar"),
            (false, false, "foo/bar", "foo?bar"),
            (false, false, "foo/bar", "foo[/]bar"),
            (true, true, "foo-bar", "f[^eiu][^eiu][^eiu][^eiu][^eiu]r"),
            (true, true, "foo", "**/foo"),
            (true, true, "XXX/foo", "**/foo"),
            (true, true, "bar/baz/foo", "**/foo"),
            (false, false, "bar/baz/foo", "*/foo"),
            (false, false, "foo/bar/baz", "**/bar*"),
            (true, true, "deep/foo/bar/baz", "**/bar/*"),
            (false, false, "deep/foo/bar/baz/", "**/bar/*"),
            (true, true, "deep/foo/bar/baz/", "**/bar/**"),
            (true, true, "a/b/c/d", "a/**/d"),
            (true, true, "a1B", "[[:alpha:]][[:digit:]][[:upper:]]"),
            (false, true, "a", "[[:digit:][:upper:][:space:]]"),
            (true, true, "A", "[[:digit:][:upper:][:space:]]"),
            (false, false, "q", "[a-c[:digit:]x-z]"),
            (true, true, "]", "[\\]]"),
            (false, false, "\\", "[\\]]"),
            (true, true, "-", "[,-.]"),
            (false, true, "a", "[A-Z]"),
            (false, true, "foo", "FOO"),
            (false, false, "foo", "[[:bogus:]oo"),
            (false, false, "a", "[a"),
        ];
        for &(exact, folded, text, pattern) in cases {
            let run = |case| matches(pattern.as_bytes(), text.as_bytes(), case);
            assert_eq!(run(Case::Sensitive), exact, "{text:?} {pattern:?}");
            assert_eq!(run(Case::Insensitive), folded, "{text:?} {pattern:?} (no case)");
        }
    }

    #[test]
    fn many_stars_end() {
        let text = "a/".repeat(1000);
        for pattern in ["**/", "*a*/", "**/a/"] {
            let pattern = [pattern.repeat(800), "x".into()].concat();
            assert!(!matches(pattern.as_bytes(), text.as_bytes(), Case::Sensitive));
        }
        let stars = "*a".repeat(2000) + "b";
        assert!(!matches(stars.as_bytes(), "a".repeat(4000).as_bytes(), Case::Sensitive));
    }
}
