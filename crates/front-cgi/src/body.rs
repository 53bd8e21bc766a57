//! The body of a request: as long as the web server says, and unpacked.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;

/// The most bytes of a request for which there is no other bound (`GIT_HTTP_MAX_REQUEST_BUFFER`).
pub(crate) const REQUEST_BYTES_MAX: u64 = 10 << 20;

/// A request of unknown length may always have so many bytes.
const REQUEST_BYTES_MIN: u64 = 8192;

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("failed to parse CONTENT_LENGTH: {0}")]
    Length(String),
    #[error("failed to parse {0}")]
    Setting(&'static str),
    #[error(
        "request was larger than our maximum size ({max}): {length}; try setting GIT_HTTP_MAX_REQUEST_BUFFER"
    )]
    TooLong { max: u64, length: u64 },
}

/// What is known of a body before it is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyFacts {
    /// Its length, if that was said.
    pub length: Option<u64>,
    /// Whether it is compressed.
    pub gzip: bool,
    /// The most bytes it may have, of those that have a bound.
    pub max: Option<u64>,
}

/// `CONTENT_LENGTH`: `None` when nothing is said, or less than nothing.
pub(crate) fn content_length(said: &str) -> Result<Option<u64>, BodyError> {
    if said.is_empty() {
        return Ok(None);
    }
    let length = number(said).and_then(|length| i64::try_from(length).ok());
    let length = length.ok_or_else(|| BodyError::Length(said.to_owned()))?;
    Ok(u64::try_from(length).ok())
}

/// A bound of a request out of the environment.
pub(crate) fn setting(name: &'static str, said: &str) -> Result<u64, BodyError> {
    let value = number(said).and_then(|value| u64::try_from(value).ok());
    value.ok_or(BodyError::Setting(name))
}

/// A number as git takes one: with a sign, and `k`, `m` or `g` behind it.
fn number(text: &str) -> Option<i128> {
    let text = text.trim_start();
    let last = text.chars().last()?.to_ascii_lowercase();
    let (digits, shift) = match ["k", "m", "g"].iter().position(|unit| unit.starts_with(last)) {
        Some(at) => (&text[..text.len() - 1], 10 * (at as u32 + 1)),
        None => (text, 0),
    };
    digits
        .parse::<i64>()
        .ok()
        .map(i128::from)
        .or_else(|| digits.parse::<u64>().ok().map(i128::from))
        .map(|value| value << shift)
}

/// The body, to be read.
///
/// # Errors
/// [`BodyError::TooLong`].
pub(crate) fn body(input: Box<dyn Read>, facts: BodyFacts) -> Result<Box<dyn BufRead>, BodyError> {
    let bounded: Box<dyn Read> = match (facts.length, facts.max) {
        (Some(length), Some(max)) if length > max => {
            return Err(BodyError::TooLong { max, length });
        }
        (Some(length), _) => Box::new(input.take(length)),
        (None, Some(max)) => {
            let max = max.max(REQUEST_BYTES_MIN);
            Box::new(Bounded { input, max, left: max })
        }
        (None, None) => input,
    };
    let buffered = BufReader::with_capacity(READ_BYTES, bounded);
    Ok(match facts.gzip {
        true => {
            let inflated = Inflated { decoder: GzDecoder::new(buffered) };
            Box::new(BufReader::with_capacity(READ_BYTES, inflated))
        }
        false => Box::new(buffered),
    })
}

/// Input that must end in time.
struct Bounded {
    input: Box<dyn Read>,
    max: u64,
    left: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // One more than there may be, to see whether there is.
        let most = usize::try_from(self.left + 1).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.input.read(&mut buffer[..most])?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            let max = self.max;
            io::Error::other(format!(
                "request was larger than our maximum size ({max}); try setting GIT_HTTP_MAX_REQUEST_BUFFER"
            ))
        })?;
        Ok(count)
    }
}

/// A compressed body, in git's words when it is none.
struct Inflated<R: BufRead> {
    decoder: GzDecoder<R>,
}

impl<R: BufRead> Read for Inflated<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                io::Error::other("request ended in the middle of the gzip stream")
            }
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                io::Error::other(format!("zlib error inflating request: {error}"))
            }
            _ => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_as_git_takes_them() {
        for (said, length) in [("", None), ("0", Some(0)), ("12", Some(12)), ("-1", None)] {
            assert_eq!(content_length(said).expect("a length"), length, "{said}");
        }
        assert_eq!(content_length("2k").expect("a length"), Some(2048));
        for said in [
            "9223372036854775808",
            "99999999999999999999",
            "9223372036854775807g",
            "x",
            "1x",
            "-",
            "k",
        ] {
            let error = content_length(said).expect_err("no length").to_string();
            assert_eq!(error, format!("failed to parse CONTENT_LENGTH: {said}"));
        }
        assert!(setting("X", "-1").is_err() && setting("X", "1m").is_ok_and(|max| max == 1 << 20));
    }

    fn read(input: &'static [u8], facts: BodyFacts) -> Result<Vec<u8>, String> {
        let mut body = body(Box::new(input), facts).map_err(|error| error.to_string())?;
        let mut read = Vec::new();
        body.read_to_end(&mut read).map(|_| read).map_err(|error| error.to_string())
    }

    #[test]
    fn no_more_is_read_than_there_may_be() {
        let facts = BodyFacts { length: None, gzip: false, max: None };
        assert_eq!(read(b"abcdef", BodyFacts { length: Some(3), ..facts }).expect("bytes"), b"abc");
        assert_eq!(read(b"ab", BodyFacts { length: Some(3), ..facts }).expect("bytes"), b"ab");
        let words = read(b"abcdef", BodyFacts { length: Some(6), max: Some(5), ..facts });
        assert!(words.expect_err("too long").contains("our maximum size (5): 6; try"));
        static LONG: [u8; 8193] = [0; 8193];
        let words = read(&LONG, BodyFacts { max: Some(5), ..facts }).expect_err("too long");
        assert!(words.contains("our maximum size (8192); try"), "{words}");
        assert_eq!(
            read(&LONG[..8192], BodyFacts { max: Some(5), ..facts }).expect("it fits").len(),
            8192
        );
        let words = read(b"\x1f\x8b\x08\0\0\0\0\0\0\x03abc", BodyFacts { gzip: true, ..facts });
        assert!(words.is_err());
        let words = read(b"\x1f\x8b\x08\0\0", BodyFacts { gzip: true, ..facts });
        assert!(words.expect_err("it ends").contains("in the middle of the gzip stream"));
    }
}
