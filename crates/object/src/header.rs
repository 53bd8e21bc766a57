//! The header lines that commits and tags share: ids in hexadecimal, people with a date.

use bstr::{BStr, ByteSlice as _};

use crate::{HashKind, ObjectId};

/// Takes `<keyword><hex id>\n` off the front; `keyword` includes its trailing space.
#[inline]
pub(crate) fn id_line<'a>(
    bytes: &'a [u8],
    keyword: &[u8],
    hash: HashKind,
) -> Option<(ObjectId, &'a [u8])> {
    let rest = bytes.strip_prefix(keyword)?;
    let (hex, rest) = rest.split_at_checked(hash.hex_len())?;
    let rest = rest.strip_prefix(b"\n")?;
    Some((ObjectId::from_hex(hex)?, rest))
}

/// Takes one line off the front, without its newline; `None` when there is no newline.
#[inline]
pub(crate) fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// The number at the front of `text`, white space skipped, as C's `strtoumax` reads it.
///
/// Git keeps dates unsigned: what is negative there wraps to the far future. Both that and an
/// overflow become [`i64::MAX`], which sorts the same way.
pub(crate) fn timestamp(text: &[u8]) -> i64 {
    let text = text.trim_start_with(|c| c.is_ascii_whitespace() || c == '\x0b');
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let mut value = 0i64;
    for digit in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        value = value.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
    }
    if negative && value != 0 { i64::MAX } else { value }
}

/// The value of the first header called `name` before the empty line, continuation lines left out.
pub(crate) fn field<'a>(mut bytes: &'a [u8], name: &[u8]) -> Option<&'a BStr> {
    while let Some((text, rest)) = line(bytes) {
        if text.is_empty() {
            return None;
        }
        if let Some(value) = text.strip_prefix(name).and_then(|value| value.strip_prefix(b" ")) {
            return Some(value.as_bstr());
        }
        bytes = rest;
    }
    None
}

/// Everything after the first empty line.
pub(crate) fn body(bytes: &[u8]) -> &BStr {
    if let Some(rest) = bytes.strip_prefix(b"\n") {
        return rest.as_bstr();
    }
    bytes.find(b"\n\n").map_or(&[][..], |at| &bytes[at + 2..]).as_bstr()
}
