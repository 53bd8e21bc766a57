//! Parameters of a query, as git reads them.

/// The value of a parameter; of several with this name, the last.
pub(crate) fn parameter(query: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let mut found = None;
    for pair in query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        if decode(&pair[..at]) == name {
            found = Some(decode(pair.get(at + 1..).unwrap_or_default()));
        }
    }
    found
}

/// Undoes percent-encoding, and `+` for a space; an escape that is none stands for itself.
fn decode(mut text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    while let Some((byte, rest)) = text.split_first() {
        text = rest;
        match (byte, escaped(rest)) {
            (b'%', Some(value)) => {
                out.push(value);
                text = &rest[2..];
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(*byte),
        }
    }
    out
}

/// The byte two digits stand for; a zero byte cannot be written.
fn escaped(text: &[u8]) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    let (high, low) = (digit(*text.first()?)?, digit(*text.get(1)?)?);
    u8::try_from(high * 16 + low).ok().filter(|value| *value != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_as_git_reads_them() {
        let service = |query: &str| {
            let value = parameter(query.as_bytes(), b"service")?;
            Some(String::from_utf8_lossy(&value).into_owned())
        };
        for (query, value) in [
            ("", None),
            ("x=1&y", None),
            ("service=git-upload-pack", Some("git-upload-pack")),
            ("service=a&service=b", Some("b")),
            ("a=b&s%65rvice=git%2Dupload+pack", Some("git-upload pack")),
            ("service", Some("")),
            ("service=", Some("")),
            ("service=%zz%4", Some("%zz%4")),
            ("service=%00x", Some("%00x")),
            ("service=a=b", Some("a=b")),
        ] {
            assert_eq!(service(query).as_deref(), value, "{query}");
        }
    }
}
