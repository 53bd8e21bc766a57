//! What becomes of a file's content on its way out of the repository (gitattributes(5), "EFFECTS",
//! "Checking-out and checking-in"): `$Id$`, ends of lines, encodings. Filters are not run: what a
//! server archives is what is stored.

mod encoding;

use bstr::ByteSlice as _;
use gitconfig::Config;
use object::ObjectId;

use self::encoding::Encoding;
use super::attributes::Found;

/// What the configuration says about ends of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineEndings {
    auto: AutoCrlf,
    /// Text gets CRLF where nothing else is said.
    native_crlf: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AutoCrlf {
    Off,
    On,
    Input,
}

impl LineEndings {
    /// `core.autocrlf` and `core.eol`; the system's own are line feeds.
    pub fn of(config: &Config) -> Result<Self, gitconfig::ConfigError> {
        let auto = match config.string("core.autocrlf") {
            Some(word) if word.eq_ignore_ascii_case(b"input") => AutoCrlf::Input,
            _ if config.bool("core.autocrlf")?.unwrap_or(false) => AutoCrlf::On,
            _ => AutoCrlf::Off,
        };
        let crlf = |word: &bstr::BStr| word.eq_ignore_ascii_case(b"crlf");
        let native_crlf = match auto {
            AutoCrlf::On => true,
            AutoCrlf::Input => false,
            AutoCrlf::Off => config.string("core.eol").is_some_and(crlf),
        };
        Ok(LineEndings { auto, native_crlf })
    }
}

/// What is done to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conversion {
    ident: bool,
    crlf: Crlf,
    encoding: Option<Encoding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crlf {
    Keep,
    /// Every line ends with CRLF.
    Write,
    /// As `Write`, if the file looks like text and has none yet.
    Guess,
}

impl Conversion {
    /// What attributes and configuration ask for.
    ///
    /// # Errors
    /// In git's words, for an encoding that cannot be one.
    pub fn of(found: &Found<'_>, endings: LineEndings) -> Result<Self, String> {
        let encoding = if found.is_set(ENCODING) || found.is_unset(ENCODING) {
            return Err("true/false are no valid working-tree-encodings".to_owned());
        } else {
            found.value(ENCODING).and_then(|name| Encoding::named(name))
        };
        Ok(Conversion { ident: found.is_set("ident"), crlf: crlf(found, endings), encoding })
    }

    /// Whether nothing is done.
    pub fn is_none(&self) -> bool {
        !self.ident && self.crlf == Crlf::Keep && self.encoding.is_none()
    }

    /// Converts a content; `Err` has the words about an encoding that did not work out, and the
    /// content without it.
    pub fn apply(&self, id: &ObjectId, content: Vec<u8>) -> (Vec<u8>, Option<String>) {
        let mut content = content;
        if self.ident {
            content = ident(content, id);
        }
        if self.crlf == Crlf::Write || self.crlf == Crlf::Guess && may_become_crlf(&content) {
            content = with_crlf(&content);
        }
        match &self.encoding {
            None => (content, None),
            Some(encoding) => match encoding.encode(&content) {
                Some(encoded) => (encoded, None),
                None => {
                    let words = format!("failed to encode from UTF-8 to {}", encoding.name());
                    (content, Some(words))
                }
            },
        }
    }
}

const ENCODING: &str = "working-tree-encoding";

/// What attributes make of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Unsaid,
    Binary,
    Yes,
    Input,
    Auto,
}

fn crlf(found: &Found<'_>, endings: LineEndings) -> Crlf {
    let text = |name: &str| {
        if found.is_set(name) {
            Text::Yes
        } else if found.is_unset(name) {
            Text::Binary
        } else {
            match found.value(name) {
                Some(value) if value == "input" => Text::Input,
                Some(value) if value == "auto" => Text::Auto,
                _ => Text::Unsaid,
            }
        }
    };
    let text = match text("text") {
        // What it was called once.
        Text::Unsaid => text("crlf"),
        said => said,
    };
    let eol = found.value("eol").map(|eol| eol.as_bytes());
    let native = |yes| if endings.native_crlf { yes } else { Crlf::Keep };
    match (text, eol) {
        (Text::Binary, _) => Crlf::Keep,
        (_, Some(b"lf")) => Crlf::Keep,
        (Text::Auto, Some(b"crlf")) => Crlf::Guess,
        (_, Some(b"crlf")) => Crlf::Write,
        (Text::Input, _) => Crlf::Keep,
        (Text::Yes, _) => native(Crlf::Write),
        (Text::Auto, _) => native(Crlf::Guess),
        (Text::Unsaid, _) if endings.auto == AutoCrlf::On => Crlf::Guess,
        (Text::Unsaid, _) => Crlf::Keep,
    }
}

/// Whether a guess says that a content is text, all of whose lines end with line feeds: one byte in
/// 128 may be no letter, and none is zero.
fn may_become_crlf(content: &[u8]) -> bool {
    let (mut printable, mut other, mut feeds) = (0usize, 0usize, 0usize);
    for byte in content {
        match byte {
            b'\r' | 0 => return false,
            b'\n' => feeds += 1,
            8 | b'\t' | 27 | 12 => printable += 1,
            127 | 0..32 => other += 1,
            _ => printable += 1,
        }
    }
    // An end of file of old systems.
    if content.ends_with(&[26]) {
        other -= 1;
    }
    feeds > 0 && printable >> 7 >= other
}

fn with_crlf(content: &[u8]) -> Vec<u8> {
    let feeds = content.iter().filter(|byte| **byte == b'\n').count();
    let mut out = Vec::with_capacity(content.len() + feeds);
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(text) if !text.ends_with(b"\r") => {
                out.extend_from_slice(text);
                out.extend_from_slice(b"\r\n");
            }
            _ => out.extend_from_slice(line),
        }
    }
    out
}

/// Puts the object's id into each `$Id$`, also where one was put before.
fn ident(content: Vec<u8>, id: &ObjectId) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = content.as_slice();
    let mut found = false;
    while let Some(at) = rest.find_byte(b'$') {
        let (before, behind) = rest.split_at(at + 1);
        out.extend_from_slice(before);
        rest = behind;
        let Some(behind) = ident_end(rest) else { continue };
        out.extend_from_slice(format!("Id: {id} $").as_bytes());
        rest = behind;
        found = true;
    }
    out.extend_from_slice(rest);
    if found { out } else { content }
}

/// What follows `Id$` or `Id: … $`; `None` where neither stands, or words of something else.
fn ident_end(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_prefix(b"Id")?;
    match text.split_first()? {
        (b'$', rest) => Some(rest),
        (b':', rest) => {
            let end = rest.find_byte(b'$')?;
            let inside = &rest[..end];
            // One word and blanks around it may have been put there; more come from elsewhere.
            let foreign = inside.get(1..).and_then(|inside| inside.find_byte(b' '));
            let foreign = foreign.is_some_and(|at| at + 2 < inside.len());
            (!foreign && !inside.contains(&b'\n')).then(|| &rest[end + 1..])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use gitconfig::Scope;
    use object::{HashKind, Kind, object_id};

    use super::super::attributes::tests::attributes;
    use super::*;

    fn converted(line: &str, settings: &[(&str, &str)], content: &[u8]) -> Vec<u8> {
        let mut config = Config::empty();
        for (key, value) in settings {
            config.set(key, value.as_bytes(), Scope::Local).expect("a key");
        }
        let endings = LineEndings::of(&config).expect("valid");
        let attributes = attributes(line, &[], "");
        let conversion = Conversion::of(&attributes.of("f".into()), endings).expect("valid");
        let id = object_id(HashKind::Sha1, Kind::Blob, content).expect("an id");
        conversion.apply(&id, content.to_vec()).0
    }

    #[test]
    fn line_ends_as_attributes_and_settings_say() {
        let on = [("core.autocrlf", "true")];
        let input = [("core.autocrlf", "input"), ("core.eol", "crlf")];
        let eol = [("core.eol", "crlf")];
        for (line, settings, crlf) in [
            ("", &[][..], false),
            ("* text", &[], false),
            ("* text eol=crlf", &[], true),
            ("* eol=crlf", &[], true),
            ("* crlf=auto eol=crlf", &[], true),
            ("* text eol=lf", &on, false),
            ("* -text eol=crlf", &[], false),
            ("", &on, true),
            ("* text", &eol, true),
            ("", &eol, false),
            ("* text", &input, false),
            ("* text=auto", &eol, true),
            ("* text=input", &on, false),
            ("* binary", &on, false),
        ] {
            let expected: &[u8] = if crlf { b"a\r\nb\r\n" } else { b"a\nb\n" };
            assert_eq!(converted(line, settings, b"a\nb\n"), expected, "{line} {settings:?}");
        }
    }

    #[test]
    fn a_guess_leaves_alone_what_is_no_text() {
        let guess = "* text=auto eol=crlf";
        for content in [&b"a\0\n"[..], b"a\rb\n", b"a\r\nb\n", b"\x01\x02\n", b"ab"] {
            assert_eq!(converted(guess, &[], content), content);
        }
        assert_eq!(converted(guess, &[], b"a\n\x1a"), b"a\r\n\x1a");
        assert_eq!(converted("* text eol=crlf", &[], b"a\r\nb\0\n\n"), b"a\r\nb\0\r\n\r\n");
    }

    #[test]
    fn ids_are_put_in_where_one_stands() {
        let content = b"$Id$ $Id: old $ $Id: a b $ $Id\n$ $Id: x\n$ $Ida$ $Id:$ $Id: open";
        let id = object_id(HashKind::Sha1, Kind::Blob, content).expect("an id");
        let expected = format!(
            "$Id: {id} $ $Id: {id} $ $Id: a b $ $Id\n$ $Id: x\n$ $Ida$ $Id: {id} $ $Id: open"
        );
        let converted = converted("* ident", &[], content);
        assert_eq!(converted.as_bstr(), expected.as_str());
    }

    #[test]
    fn encodings_are_values() {
        let attributes = attributes("f working-tree-encoding\n", &[], "");
        let endings = LineEndings::of(&Config::empty()).expect("valid");
        Conversion::of(&attributes.of("f".into()), endings).expect_err("no encoding");
        assert_eq!(converted("* working-tree-encoding=UTF-16LE-BOM", &[], b"a"), b"\xff\xfea\0");
    }
}
