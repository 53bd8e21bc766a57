//! Files with attributes, line by line (gitattributes(5)).

use bstr::{BStr, BString, ByteSlice as _};

use super::pattern::PathPattern;

/// What a line makes of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// `name`
    Set,
    /// `-name`
    Unset,
    /// `!name`: as if nobody had said anything.
    Unspecified,
    /// `name=value`
    Value(BString),
}

/// What a line is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// Paths.
    Paths(PathPattern),
    /// The attribute of this name, which stands for others when it is set.
    Macro(BString),
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub subject: Subject,
    pub states: Vec<(BString, State)>,
}

/// Lines of so many bytes and more are passed over, as git does.
const LINE_BYTES_MAX: usize = 2048;

const MACRO: &[u8] = b"[attr]";
const BLANKS: &[u8] = b" \t\r\n";

/// The lines of a file that have a meaning. Macros count where `macros` says so.
pub(super) fn read(text: &[u8], macros: bool) -> Vec<Line> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = text.split_str("\0").next().unwrap_or_default();
    text.split_str("\n").filter_map(|line| read_line(line, macros)).collect()
}

fn read_line(line: &[u8], macros: bool) -> Option<Line> {
    let text = line.trim_start_with(|c| c.is_ascii() && BLANKS.contains(&(c as u8)));
    if text.is_empty() || text.starts_with(b"#") || line.len() >= LINE_BYTES_MAX {
        return None;
    }
    let (name, rest) = match unquote(text) {
        Some((name, rest)) => (name, rest),
        None => {
            let end = text.iter().position(|byte| BLANKS.contains(byte)).unwrap_or(text.len());
            (BString::from(&text[..end]), &text[end..])
        }
    };
    let subject = match name.strip_prefix(MACRO).filter(|name| !name.is_empty()) {
        Some(name) if macros && is_valid(name) => Subject::Macro(name.into()),
        Some(_) => return None,
        None => Subject::Paths(PathPattern::read(&name)?),
    };
    let words = rest.split(|byte| BLANKS.contains(byte)).filter(|word| !word.is_empty());
    // One word that is none spoils the line.
    let states = words.map(state).collect::<Option<Vec<_>>>()?;
    Some(Line { subject, states })
}

fn state(word: &[u8]) -> Option<(BString, State)> {
    let (name, value) = match word.split_once_str("=") {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    let (name, state) = match name {
        [b'-', name @ ..] => (name, State::Unset),
        [b'!', name @ ..] => (name, State::Unspecified),
        name => (name, value.map_or(State::Set, |value| State::Value(value.into()))),
    };
    is_valid(name).then(|| (name.into(), state))
}

fn is_valid(name: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    !name.is_empty()
        && !name.starts_with(b"-")
        && !name.starts_with(b"builtin_")
        && name.iter().all(fits)
}

/// A text in double quotes as C has it, and what follows it; `None` for what is none.
fn unquote(text: &[u8]) -> Option<(BString, &[u8])> {
    let mut rest = text.strip_prefix(b"\"")?;
    let mut out = BString::default();
    loop {
        let (&byte, behind) = rest.split_first()?;
        rest = behind;
        match byte {
            b'"' => return Some((out, rest)),
            b'\\' => {
                let (&escaped, behind) = rest.split_first()?;
                rest = behind;
                out.push(match escaped {
                    b'a' => 7,
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'v' => 11,
                    b'\\' | b'"' => escaped,
                    b'0'..=b'3' => {
                        let digit = |at: usize| {
                            rest.get(at)
                                .filter(|byte| (b'0'..=b'7').contains(byte))
                                .map(|b| b - b'0')
                        };
                        let byte = (escaped - b'0') << 6 | digit(0)? << 3 | digit(1)?;
                        rest = &rest[2..];
                        byte
                    }
                    _ => return None,
                });
            }
            byte => out.push(byte),
        }
    }
}

/// The value of an attribute that is set to one.
pub(super) fn value(state: &State) -> Option<&BStr> {
    match state {
        State::Value(value) => Some(value.as_ref()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_patterns_and_states() {
        let text = "\u{feff}# comment\n\n  *.c\ttext -diff !eol whitespace=a,b\r\n\"a b\\tc\\101\" x\n\
                    [attr]mine text -y\n";
        let lines = read(text.as_bytes(), true);
        assert_eq!(lines.len(), 3);
        let states = |line: &Line| {
            let one = |(name, state): &(BString, State)| format!("{name}:{state:?}");
            line.states.iter().map(one).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            states(&lines[0]),
            "text:Set diff:Unset eol:Unspecified whitespace:Value(\"a,b\")"
        );
        let Subject::Paths(pattern) = &lines[1].subject else { panic!("{:?}", lines[1]) };
        assert!(pattern.fits("".into(), "a b\tcA".into()));
        assert_eq!(lines[2].subject, Subject::Macro("mine".into()));
        assert_eq!(read(text.as_bytes(), false).len(), 2);
    }

    #[test]
    fn lines_that_mean_nothing_are_passed_over() {
        let long = format!("a {}", "x".repeat(LINE_BYTES_MAX));
        for text in ["a b=c -=x", "a --x", "a builtin_x", "!a x", "a x$", &long, "[attr]- x"] {
            assert_eq!(read(text.as_bytes(), true), [], "{text}");
        }
    }
}
