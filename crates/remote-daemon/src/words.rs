//! Words of a line: names of remotes and refs, whatever is in them (docs/remote-daemon-protocol.md).

/// Longest line that is read, bytes.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// Appends a word. One with a space, a quote, a backslash or a control character in it, and an empty one, is written
/// as git quotes paths: between double quotes, with backslashes.
pub fn push_word(line: &mut Vec<u8>, word: &[u8]) {
    let is_plain = |byte: &u8| !matches!(byte, 0..=b' ' | b'"' | b'\\' | 0x7f);
    if !word.is_empty() && word.iter().all(is_plain) {
        line.extend_from_slice(word);
        return;
    }
    line.push(b'"');
    for &byte in word {
        match byte {
            b'"' | b'\\' => line.extend([b'\\', byte]),
            b'\n' => line.extend(b"\\n"),
            b'\t' => line.extend(b"\\t"),
            b'\r' => line.extend(b"\\r"),
            0..b' ' | 0x7f => line.extend(format!("\\{byte:03o}").as_bytes()),
            _ => line.push(byte),
        }
    }
    line.push(b'"');
}

/// Appends words for a person, which are the rest of a line.
pub fn push_text(line: &mut Vec<u8>, text: &str) {
    let text = text.trim_end();
    line.extend(text.bytes().map(|byte| if byte.is_ascii_control() { b' ' } else { byte }));
}

/// The words of a line; `None` for a quote that is not closed, or something behind a backslash that means nothing.
pub fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let spaces = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
        rest = &rest[spaces..];
        match rest {
            [] => return Some(words),
            [b'"', ..] => {
                let (word, tail) = quoted(&rest[1..])?;
                if tail.first().is_some_and(|byte| !matches!(byte, b' ' | b'\t' | b'\r')) {
                    return None;
                }
                words.push(word);
                rest = tail;
            }
            _ => {
                let end = rest.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
                let (word, tail) = rest.split_at(end.unwrap_or(rest.len()));
                words.push(word.to_vec());
                rest = tail;
            }
        }
    }
}

/// What stands before the closing quote, and what comes behind it.
fn quoted(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    let mut rest = bytes;
    loop {
        rest = match rest {
            [b'"', tail @ ..] => return Some((word, tail)),
            [b'\\', high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', tail @ ..] => {
                word.push((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'));
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                word.push(match escaped {
                    b'"' | b'\\' => *escaped,
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'a' => 7,
                    b'b' => 8,
                    b'v' => 11,
                    b'f' => 12,
                    _ => return None,
                });
                tail
            }
            [byte, tail @ ..] if *byte != b'\\' => {
                word.push(*byte);
                tail
            }
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_as_they_were() {
        let every: Vec<u8> = (0..=255).collect();
        for list in [
            vec![&b"PUSH"[..], b"origin"],
            vec![b"", b" ", b"a b", b"\"", b"\\", b"\x01\n\t\r", "ü".as_bytes(), b"\xff"],
            vec![&every],
        ] {
            let mut line = Vec::new();
            for (at, word) in list.iter().enumerate() {
                if at > 0 {
                    line.push(b' ');
                }
                push_word(&mut line, word);
            }
            assert!(!line.contains(&b'\n'));
            assert_eq!(words(&line).expect("words"), list);
        }
        let mut line = Vec::new();
        push_word(&mut line, "a b\"c\u{1}".as_bytes());
        assert_eq!(line, br#""a b\"c\001""#);
        for bad in ["\"", "\"a", "\"a\"b", r#""\x""#, r#""\"#, r#""\9""#] {
            assert_eq!(words(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(words(b"  \r"), Some(vec![]));
    }

    #[test]
    fn texts_stay_on_their_line() {
        let mut line = Vec::new();
        push_text(&mut line, "one\ntwo\u{7}\n");
        assert_eq!(line, b"one two ");
    }
}
