//! Numbers as C reads them: `strtoumax` with base 0, and git's unit suffixes.

/// An unsigned number in decimal, `0x` hexadecimal or `0` octal, and nothing after it.
pub(crate) fn parse_unsigned(text: &[u8]) -> Option<u64> {
    match split_unsigned(text)? {
        (number, b"") => Some(number),
        _ => None,
    }
}

/// An unsigned number with an optional `k`, `m` or `g` suffix (1024-based).
pub(crate) fn parse_with_unit(text: &[u8]) -> Option<u64> {
    let (number, unit) = split_unsigned(text)?;
    let factor: u64 = match unit {
        b"" => 1,
        b"k" | b"K" => 1 << 10,
        b"m" | b"M" => 1 << 20,
        b"g" | b"G" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// The number in front of a text, and what follows it. No sign but `+`: C would wrap
/// negative numbers around, which git refuses where it matters.
fn split_unsigned(text: &[u8]) -> Option<(u64, &[u8])> {
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let (radix, digits) = match text {
        [b'0', b'x' | b'X', digits @ ..] if digits.first().is_some_and(u8::is_ascii_hexdigit) => {
            (16, digits)
        }
        [b'0', ..] => (8, text),
        _ => (10, text),
    };
    let end =
        digits.iter().position(|&byte| !(byte as char).is_digit(radix)).unwrap_or(digits.len());
    if end == 0 {
        return None;
    }
    let digits_text = std::str::from_utf8(&digits[..end]).expect("digits are ASCII");
    Some((u64::from_str_radix(digits_text, radix).ok()?, &digits[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_as_c_does() {
        for (text, number) in [
            ("0", Some(0)),
            ("17", Some(17)),
            ("0x10", Some(16)),
            ("010", Some(8)),
            (" +5", Some(5)),
            ("08", None),
            ("0x", None),
            ("", None),
            ("-1", None),
            ("1 ", None),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
        ] {
            assert_eq!(parse_unsigned(text.as_bytes()), number, "{text:?}");
        }
    }

    #[test]
    fn units_multiply_and_overflow_is_no_number() {
        assert_eq!(parse_with_unit(b"1k"), Some(1024));
        assert_eq!(parse_with_unit(b"2M"), Some(2 << 20));
        assert_eq!(parse_with_unit(b"3g"), Some(3 << 30));
        assert_eq!(parse_with_unit(b"3t"), None);
        assert_eq!(parse_with_unit(b"18446744073709551615k"), None);
    }
}
