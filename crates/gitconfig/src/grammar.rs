//! The grammar of configuration text, read the way git reads it, character by character:
//! what git accepts by accident is accepted here, with the same meaning.
//!
//! Knows no file and no scope; a reader gets the entries one by one, so that those before a
//! broken line are seen, too.

use bstr::{BStr, BString, ByteSlice as _};

/// One `key = value` line under its section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawEntry<'a> {
    /// `section.key` or `section.subsection.key`; section and key in lower case. A key above
    /// every section stands alone.
    pub name: &'a BStr,
    /// The value; `None` for a key without `=`, which is not the same as an empty value.
    pub value: Option<&'a BStr>,
    /// The line the entry ends on, counted from 1.
    pub line: usize,
}

/// A line that breaks the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bad config line {line}")]
pub struct SyntaxError {
    /// The line, counted from 1.
    pub line: usize,
}

/// Reads configuration text and hands every entry to `visit`, in order.
///
/// # Errors
/// At the first line that breaks the grammar, or with what `visit` returns.
pub fn scan<E: From<SyntaxError>>(
    text: &[u8],
    visit: &mut dyn FnMut(RawEntry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let mut reader = Reader {
        rest: text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text),
        line: 1,
        at_end: false,
        name: BString::default(),
        value: BString::default(),
    };
    // The length of "section." or "section.subsection." in `name`.
    let mut section_bytes = 0;
    loop {
        match reader.next() {
            b'\n' if reader.at_end => return Ok(()),
            byte if is_space(byte) => {}
            b'#' | b';' => reader.skip_comment(),
            b'[' => {
                reader.name.clear();
                reader.section().ok_or_else(|| reader.error())?;
                reader.name.push(b'.');
                section_bytes = reader.name.len();
            }
            byte if byte.is_ascii_alphabetic() => {
                reader.name.truncate(section_bytes);
                reader.name.push(byte.to_ascii_lowercase());
                let has_value = reader.entry().ok_or_else(|| reader.error())?;
                visit(RawEntry {
                    name: until_nul(&reader.name),
                    value: has_value.then(|| until_nul(&reader.value)),
                    // The line's end was already consumed.
                    line: reader.line - 1,
                })?;
            }
            _ => return Err(reader.error().into()),
        }
    }
}

/// Git hands names and values on as C strings.
fn until_nul(bytes: &[u8]) -> &BStr {
    bytes.find_byte(0).map_or(bytes, |end| &bytes[..end]).as_bstr()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

pub(crate) fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

struct Reader<'a> {
    rest: &'a [u8],
    /// The line of the next byte.
    line: usize,
    at_end: bool,
    name: BString,
    value: BString,
}

impl Reader<'_> {
    fn error(&self) -> SyntaxError {
        SyntaxError { line: self.line }
    }

    /// The next byte; CR LF counts as LF, and the text ends with a LF of its own, again and
    /// again.
    fn next(&mut self) -> u8 {
        let (byte, rest) = match self.rest {
            [b'\r', b'\n', rest @ ..] => (b'\n', rest),
            [byte, rest @ ..] => (*byte, rest),
            [] => {
                self.at_end = true;
                (b'\n', self.rest)
            }
        };
        self.rest = rest;
        if byte == b'\n' {
            self.line += 1;
        }
        byte
    }

    fn skip_comment(&mut self) {
        let end = self.rest.find_byte(b'\n').unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
    }

    /// `section]`, `section.sub]` (deprecated, in lower case) or `section "sub"]`, into `name`.
    fn section(&mut self) -> Option<()> {
        loop {
            let byte = self.next();
            match byte {
                _ if self.at_end => return None,
                b']' if self.name.is_empty() => return None,
                b']' => return Some(()),
                byte if is_space(byte) => return self.subsection(byte),
                byte if is_key_byte(byte) || byte == b'.' => {
                    self.name.push(byte.to_ascii_lowercase());
                }
                _ => return None,
            }
        }
    }

    /// `"sub"]`, into `name`; `byte` is the white space in front of it.
    fn subsection(&mut self, mut byte: u8) -> Option<()> {
        while is_space(byte) {
            if byte == b'\n' {
                return self.incomplete_line();
            }
            byte = self.next();
        }
        if byte != b'"' {
            return None;
        }
        self.name.push(b'.');
        loop {
            byte = self.next();
            if byte == b'"' {
                break;
            }
            if byte == b'\\' {
                byte = self.next();
            }
            if byte == b'\n' {
                return self.incomplete_line();
            }
            self.name.push(byte);
        }
        (self.next() == b']').then_some(())
    }

    /// The rest of a key into `name` and its value into `value`; `false` for a key alone.
    fn entry(&mut self) -> Option<bool> {
        let mut byte = self.next();
        while is_key_byte(byte) {
            self.name.push(byte.to_ascii_lowercase());
            byte = self.next();
        }
        while byte == b' ' || byte == b'\t' {
            byte = self.next();
        }
        match byte {
            b'\n' => Some(false),
            b'=' => self.read_value().map(|()| true),
            _ => None,
        }
    }

    /// The value up to the line's end, into `value`.
    fn read_value(&mut self) -> Option<()> {
        self.value.clear();
        let mut quoted = false;
        // Where the white space began that will be cut off, if nothing follows it.
        let mut trim_at = 0;
        loop {
            let byte = self.next();
            match byte {
                b'\n' if quoted => return self.incomplete_line(),
                b'\n' => break,
                byte if is_space(byte) && !quoted => {
                    if trim_at == 0 {
                        trim_at = self.value.len();
                    }
                    if !self.value.is_empty() {
                        self.value.push(byte);
                    }
                    continue;
                }
                b'#' | b';' if !quoted => {
                    self.skip_comment();
                    continue;
                }
                b'"' => quoted = !quoted,
                b'\\' => self.escape()?,
                byte => self.value.push(byte),
            }
            trim_at = 0;
        }
        if trim_at > 0 {
            self.value.truncate(trim_at);
        }
        Some(())
    }

    /// What follows a backslash in a value; an escaped line end stands for nothing.
    fn escape(&mut self) -> Option<()> {
        let byte = match self.next() {
            b'\n' => return Some(()),
            b't' => b'\t',
            b'b' => b'\x08',
            b'n' => b'\n',
            byte @ (b'\\' | b'"') => byte,
            _ => return None,
        };
        self.value.push(byte);
        Some(())
    }

    /// A line that ends too early: the error belongs to it, not to the next one.
    fn incomplete_line(&mut self) -> Option<()> {
        self.line -= 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<String, SyntaxError> {
        let mut out = String::new();
        scan::<SyntaxError>(text, &mut |entry| {
            let value = entry.value.map_or("(none)".to_owned(), |value| format!("{value:?}"));
            out += &format!("{}:{} {value}\n", entry.line, entry.name);
            Ok(())
        })?;
        Ok(out)
    }

    #[test]
    fn reads_every_form() {
        let text = b"\xef\xbb\xbf; c\n[Core]\r\n Bare = true # c\r\n\tKey\n[a \"B\\\"c\\x\"] k=\"x ;\" y \\\n  z\\t\n[d.E] f =\n";
        let expected =
            "3:core.bare \"true\"\n4:core.key (none)\n6:a.B\"cx.k \"x ; y   z\\t\"\n7:d.e.f \"\"\n";
        assert_eq!(read(text).expect("valid"), expected);
    }

    #[test]
    fn names_the_broken_line() {
        for (text, line) in [
            ("[a]\nb = \"x\n", 2),
            ("[a\n", 1),
            ("[a \"b\n", 1),
            ("[a]\n\nb = \\x\n", 3),
            ("[]\n", 1),
            ("[a]\n=x\n", 2),
            ("[a]\n1 = x\n", 2),
            ("\u{feff}\u{feff}", 1),
        ] {
            assert_eq!(read(text.as_bytes()), Err(SyntaxError { line }), "{text:?}");
        }
    }
}
