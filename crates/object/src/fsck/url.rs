//! URLs in the normal form git compares them in (RFC 3986, section 6), as far as judging a
//! submodule's URL needs it.

const RESERVED: &[u8] = b":/?#[]@!$&'()*+,;=";
const UNSAFE: &[u8] = b" <>\"%{}|\\^`";

/// Resolves `%` escapes, but not in the scheme; what is no escape stays, and so does `%00`.
pub(super) fn decode(url: &[u8]) -> Vec<u8> {
    let scheme_end = memchr::memchr(b':', url).unwrap_or(0);
    let (scheme, mut rest) = url.split_at(scheme_end);
    let mut out = scheme.to_vec();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match escaped(behind).filter(|value| byte == b'%' && *value > 0) {
            Some(value) => {
                out.push(value);
                rest = &behind[2..];
            }
            None => out.push(byte),
        }
    }
    out
}

/// The normal form, without ports; `None` when the URL is not whole and clean.
pub(super) fn normalize(url: &[u8]) -> Option<Vec<u8>> {
    let scheme_bytes =
        url.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(byte)).count();
    let (scheme, rest) = url.split_at(scheme_bytes);
    let rest = rest.strip_prefix(b"://")?;
    if !scheme.first()?.is_ascii_alphabetic() {
        return None;
    }
    let mut out = scheme.to_ascii_lowercase();
    out.extend_from_slice(b"://");
    let authority_end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(authority_end);
    let host = match memchr::memchr(b'@', authority) {
        Some(at) => {
            append_normal(&mut out, &authority[..at])?;
            out.push(b'@');
            &authority[at + 1..]
        }
        None => authority,
    };
    append_host(&mut out, host)?;
    append_path(&mut out, rest)?;
    Some(out)
}

/// Appends `host[:port]` without the port.
fn append_host(out: &mut Vec<u8>, host: &[u8]) -> Option<()> {
    let is_file = out.starts_with(b"file:");
    let is_missing = matches!(host.first(), None | Some(b':'));
    if is_missing && !is_file {
        return None;
    }
    let colon = match memchr::memrchr2(b':', b']', host) {
        Some(at) if host[at] == b':' => at,
        _ => host.len(),
    };
    let (name, port) = host.split_at(colon);
    let port = port.strip_prefix(b":").unwrap_or_default();
    if is_missing && !port.is_empty() {
        return None;
    }
    let is_host_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_[:]".contains(byte);
    if !name.iter().all(is_host_byte) || !is_port(port) {
        return None;
    }
    out.extend(name.iter().map(u8::to_ascii_lowercase));
    Some(())
}

/// Nothing, or 1 to 65535 with any number of zeros in front.
fn is_port(port: &[u8]) -> bool {
    let number = std::str::from_utf8(port).ok().map(|text| text.trim_start_matches('0'));
    port.is_empty()
        || number.is_some_and(|number| {
            number.bytes().all(|byte| byte.is_ascii_digit())
                && number.parse::<u16>().is_ok_and(|number| number > 0)
        })
}

/// Appends path, query and fragment; `.` and `..` in the path are resolved.
fn append_path(out: &mut Vec<u8>, rest: &[u8]) -> Option<()> {
    let path_end = rest.iter().position(|byte| b"?#".contains(byte)).unwrap_or(rest.len());
    let (path, behind) = rest.split_at(path_end);
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for segment in path.strip_prefix(b"/").unwrap_or(path).split(|&byte| byte == b'/') {
        let mut normal = Vec::new();
        append_normal(&mut normal, segment)?;
        match normal.as_slice() {
            b"." => {}
            // There has to be something to go up from.
            b".." => drop(segments.pop()?),
            _ => segments.push(normal),
        }
    }
    if segments.is_empty() {
        out.push(b'/');
    }
    for segment in segments {
        out.push(b'/');
        out.extend_from_slice(&segment);
    }
    append_normal(out, behind)
}

/// Appends with escapes in upper case, where they are needed and nowhere else.
fn append_normal(out: &mut Vec<u8>, mut text: &[u8]) -> Option<()> {
    while let Some((&byte, behind)) = text.split_first() {
        text = behind;
        let (byte, was_escaped) = if byte == b'%' {
            text = &behind[2.min(behind.len())..];
            (escaped(behind)?, true)
        } else {
            (byte, false)
        };
        let must = byte <= 0x1f || byte >= 0x7f || UNSAFE.contains(&byte);
        if must || was_escaped && RESERVED.contains(&byte) {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.push(byte);
        }
    }
    Some(())
}

/// The byte two hexadecimal digits stand for.
fn escaped(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizes() {
        for (url, expected) in [
            (
                "HTTP://User%40@HOST:080/a/./b/../%41%2f%7e?x y#z",
                Some("http://User%40@host/a/A%2F~?x%20y#z"),
            ),
            ("https://h", Some("https://h/")),
            ("file:///x", Some("file:///x")),
            ("file://:80/x", None),
            ("x", None),
            ("http://h/%4", None),
        ] {
            let normal =
                normalize(url.as_bytes()).map(|url| String::from_utf8(url).expect("ASCII"));
            assert_eq!(normal.as_deref(), expected, "{url}");
        }
    }
}
