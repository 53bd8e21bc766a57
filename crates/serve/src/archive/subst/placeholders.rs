//! `%H` and its like (git-log(1), "PRETTY FORMATS"), as far as they are about the commit and what
//! this server may tell of it. What is not known is left as it stands, as git does: signatures,
//! notes, `%(describe)`, `%(trailers)`, padding and wrapping. There are no colours.

use std::sync::Arc;

use bstr::ByteSlice as _;
use object::{CommitRef, ObjectId};
use repository::{Error as RepositoryError, Objects};

use super::decorations;
use super::person::Person;
use crate::Error;
use crate::archive::dates::{Style, write};
use crate::upload::refs::Refs;

/// A commit that is written about.
pub(super) struct Commit<'a> {
    pub objects: &'a Objects,
    pub refs: &'a Refs<'a>,
    pub id: ObjectId,
    pub parents: Vec<ObjectId>,
    pub text: Arc<Vec<u8>>,
    /// Digits of short ids at least; `None` as many as suit the repository.
    pub abbreviate: Option<usize>,
}

impl Commit<'_> {
    /// Writes a format to `out`, which may become so large and no larger.
    pub fn write(&self, format: &[u8], bytes_max: u64, out: &mut Vec<u8>) -> Result<(), Error> {
        let bad = |error: object::ParseError| {
            Error::from(RepositoryError::BadObject { id: self.id, reason: error.to_string() })
        };
        let commit = CommitRef::parse(&self.text, self.objects.hash()).map_err(bad)?;
        let mut rest = format;
        while let Some(at) = rest.find_byte(b'%') {
            out.extend_from_slice(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(behind) = rest.strip_prefix(b"%") {
                out.push(b'%');
                rest = behind;
            } else {
                match self.item(&commit, rest, out)? {
                    0 => out.push(b'%'),
                    taken => rest = &rest[taken..],
                }
            }
            if out.len() as u64 > bytes_max {
                return Err(Error::Refused(format!(
                    "a file that is export-subst grows to more than {bytes_max} bytes \
                     (archive_converted_bytes_max)"
                )));
            }
        }
        out.extend_from_slice(rest);
        Ok(())
    }

    /// Writes one placeholder, whose `%` was read; how long it is, 0 for what is none.
    fn item(&self, commit: &CommitRef<'_>, text: &[u8], out: &mut Vec<u8>) -> Result<usize, Error> {
        let Some(&magic @ (b'+' | b'-' | b' ')) = text.first() else {
            return self.plain(commit, text, out);
        };
        let before = out.len();
        let taken = self.plain(commit, &text[1..], out)?;
        if taken == 0 {
            return Ok(0);
        }
        match (magic, out.len() > before) {
            (b'+', true) => out.insert(before, b'\n'),
            (b' ', true) => out.insert(before, b' '),
            (b'-', false) => {
                while out.ends_with(b"\n") {
                    out.pop();
                }
            }
            _ => {}
        }
        Ok(taken + 1)
    }

    fn plain(
        &self,
        commit: &CommitRef<'_>,
        text: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<usize, Error> {
        let Some(first) = text.first() else { return Ok(0) };
        let message = || commit.message();
        match first {
            b'n' => out.push(b'\n'),
            b'x' => return Ok(hex_byte(text, out)),
            b'C' => return Ok(colour(text)),
            b'm' => out.push(b'>'),
            b'H' => out.extend_from_slice(self.id.to_hex().as_bytes()),
            b'T' => out.extend_from_slice(commit.tree.to_hex().as_bytes()),
            b'h' => out.extend_from_slice(&self.short(&self.id)?),
            b't' => out.extend_from_slice(&self.short(&commit.tree)?),
            b'P' => {
                let all: Vec<String> = self.parents.iter().map(ObjectId::to_hex).collect();
                out.extend_from_slice(all.join(" ").as_bytes());
            }
            b'p' => {
                let all: Result<Vec<_>, _> = self.parents.iter().map(|id| self.short(id)).collect();
                out.extend_from_slice(&bstr::join(" ", all?));
            }
            b'd' | b'D' => {
                let names = decorations::of(self.objects, self.refs, &self.id)?;
                let list = bstr::join(", ", &names);
                match (first, names.is_empty()) {
                    (b'd', false) => out.extend_from_slice(&[b" (", &*list, b")"].concat()),
                    _ => out.extend_from_slice(&list),
                }
            }
            b'a' => return Ok(person(commit.author().map(|line| line.as_bytes()), text, out)),
            b'c' => return Ok(person(commit.committer().map(|line| line.as_bytes()), text, out)),
            b'e' => out.extend_from_slice(commit.encoding().unwrap_or_default()),
            b'B' => out.extend_from_slice(message()),
            b's' => out.extend_from_slice(&subject(message()).0),
            b'b' => out.extend_from_slice(subject(message()).1),
            b'f' => sanitized(message(), out),
            _ => return Ok(0),
        }
        Ok(1)
    }

    fn short(&self, id: &ObjectId) -> Result<Vec<u8>, Error> {
        let mut hex = id.to_hex().into_bytes();
        hex.truncate(self.objects.abbreviation(id, self.abbreviate)?);
        Ok(hex)
    }
}

/// `x41`
fn hex_byte(text: &[u8], out: &mut Vec<u8>) -> usize {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    match (digit(1), digit(2)) {
        (Some(high), Some(low)) => {
            out.push((high * 16 + low) as u8);
            3
        }
        _ => 0,
    }
}

/// How long the name of a colour is, which nothing is written for.
fn colour(text: &[u8]) -> usize {
    if text.starts_with(b"C(") {
        return text.find_byte(b')').map_or(0, |end| end + 1);
    }
    let names = [&b"Cred"[..], b"Cgreen", b"Cblue", b"Creset"];
    names.into_iter().find(|name| text.starts_with(name)).map_or(0, <[u8]>::len)
}

/// A person's part, which the second letter names. What a broken line does not have is written as
/// nothing.
fn person(line: Option<&[u8]>, text: &[u8], out: &mut Vec<u8>) -> usize {
    const TAKEN: usize = 2;
    let Some(part) = text.get(1) else { return 0 };
    let style = match part {
        b'd' => Style::Normal,
        b'D' => Style::Rfc2822,
        b'i' => Style::Iso,
        b'I' => Style::IsoStrict,
        b's' => Style::Short,
        b'n' | b'N' | b'e' | b'E' | b'l' | b'L' | b't' => Style::Normal,
        _ => return 0,
    };
    let Some(person) = line.and_then(Person::read) else {
        return if b"netdDi".contains(part) { TAKEN } else { 0 };
    };
    match (part, person.date) {
        (b'n' | b'N', _) => out.extend_from_slice(person.name),
        (b'e' | b'E', _) => out.extend_from_slice(person.email),
        (b'l' | b'L', _) => {
            out.extend_from_slice(person.email.split_str("@").next().unwrap_or_default());
        }
        (b't', Some(date)) => out.extend_from_slice(date.digits),
        (_, Some(date)) => {
            out.extend_from_slice(write(date.seconds(), date.zone, style).as_bytes());
        }
        (part, None) => return if b"tdDi".contains(part) { TAKEN } else { 0 },
    }
    TAKEN
}

/// The first paragraph as one line, and what follows it.
fn subject(message: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut rest = without_blank_lines(message);
    let mut lines: Vec<&[u8]> = Vec::new();
    while let Some(line) = rest.lines_with_terminator().next() {
        let text = line.trim_ascii_end();
        rest = &rest[line.len()..];
        if text.is_empty() {
            break;
        }
        lines.push(text);
    }
    (bstr::join(" ", lines), without_blank_lines(rest))
}

fn without_blank_lines(mut text: &[u8]) -> &[u8] {
    while let Some(line) = text.lines_with_terminator().next() {
        if !line.trim_ascii().is_empty() {
            break;
        }
        text = &text[line.len()..];
    }
    text
}

/// The first line as a name of a file: letters, digits and `._`, a `-` for the rest.
fn sanitized(message: &[u8], out: &mut Vec<u8>) {
    let line = without_blank_lines(message).lines().next().unwrap_or_default();
    let start = out.len();
    let mut gap = false;
    let mut before = 0;
    for &byte in line {
        if byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_' {
            if gap && out.len() > start {
                out.push(b'-');
            }
            gap = false;
            // No name has two dots in a row.
            if byte != b'.' || before != b'.' {
                out.push(byte);
            }
        } else {
            gap = true;
        }
        before = byte;
    }
    while out.len() > start && matches!(out.last(), Some(b'.' | b'-')) {
        out.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_bodies_and_names() {
        let message = b"\n \nOne  \ntwo\n\n\nBody\n\nmore\n";
        let (line, body) = subject(message);
        assert_eq!((line.as_bstr(), body), ("One two".into(), &b"Body\n\nmore\n"[..]));
        assert_eq!(subject(b""), (Vec::new(), &b""[..]));
        let name = |message: &[u8]| {
            let mut out = Vec::new();
            sanitized(message, &mut out);
            String::from_utf8(out).expect("ASCII")
        };
        assert_eq!(name(b" [x] a..b: c_d.. \nnext"), "x-a.b-c_d");
        assert_eq!(name(b"..."), "");
    }

    #[test]
    fn persons_part_by_part() {
        let part = |line: Option<&[u8]>, text: &str| {
            let mut out = Vec::new();
            let taken = person(line, text.as_bytes(), &mut out);
            (taken, String::from_utf8(out).expect("ASCII"))
        };
        let line = Some(&b"A U Thor <thor@x> 1112911993 -0700"[..]);
        for (text, written) in [
            ("an", "A U Thor"),
            ("ae", "thor@x"),
            ("al", "thor"),
            ("at", "1112911993"),
            ("ad", "Thu Apr 7 15:13:13 2005 -0700"),
            ("aI", "2005-04-07T15:13:13-07:00"),
            ("as", "2005-04-07"),
        ] {
            assert_eq!(part(line, text), (2, written.to_owned()), "{text}");
        }
        assert_eq!(part(line, "aX").0, 0);
        assert_eq!(part(line, "a").0, 0);
        assert_eq!(part(None, "an"), (2, String::new()));
        assert_eq!(part(None, "aI").0, 0);
    }
}
