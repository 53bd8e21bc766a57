//! How git reads booleans and numbers ("Values" in git-config).

use crate::NumberFault;

/// A boolean word, an empty value (false) or a number; `None` value means a key without `=`,
/// which is true.
pub fn parse_bool(value: Option<&[u8]>) -> Option<bool> {
    parse_bool_word(value).or_else(|| {
        let number = parse_signed(value?, i64::from(i32::MAX)).ok()?;
        Some(number != 0)
    })
}

/// Like [`parse_bool`], without the numbers.
pub(crate) fn parse_bool_word(value: Option<&[u8]>) -> Option<bool> {
    let Some(value) = value else { return Some(true) };
    let is = |words: &[&str]| words.iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes()));
    if is(&["true", "yes", "on"]) {
        Some(true)
    } else if is(&["", "false", "no", "off"]) {
        Some(false)
    } else {
        None
    }
}

/// A number with an optional sign, `0x` or `0` prefix, and `k`, `m` or `g` suffix (1024 each).
///
/// # Errors
/// No number, an unknown suffix, or a result outside of `-max - 1 ..= max`.
pub fn parse_signed(text: &[u8], max: i64) -> Result<i64, NumberFault> {
    let (negative, magnitude, factor) = parse_parts(text)?;
    let value = i128::from(magnitude) * i128::from(factor) * if negative { -1 } else { 1 };
    if value > i128::from(max) || value < -i128::from(max) - 1 {
        return Err(NumberFault::OutOfRange);
    }
    i64::try_from(value).map_err(|_| NumberFault::OutOfRange)
}

/// Like [`parse_signed`], with no `-` anywhere.
///
/// # Errors
/// No number, an unknown suffix, or a result above `max`.
pub fn parse_unsigned(text: &[u8], max: u64) -> Result<u64, NumberFault> {
    if text.contains(&b'-') {
        return Err(NumberFault::InvalidUnit);
    }
    let (_, magnitude, factor) = parse_parts(text)?;
    magnitude.checked_mul(factor).filter(|value| *value <= max).ok_or(NumberFault::OutOfRange)
}

/// Sign, digits and unit factor, as `strtoimax` with base 0 takes them apart.
fn parse_parts(text: &[u8]) -> Result<(bool, u64, u64), NumberFault> {
    let start = text.iter().position(|byte| !matches!(byte, b' ' | b'\t'..=b'\r'));
    let text = &text[start.unwrap_or(text.len())..];
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (base, digits) = match text {
        [b'0', b'x' | b'X', rest @ ..] if rest.first().is_some_and(u8::is_ascii_hexdigit) => {
            (16, rest)
        }
        [b'0', ..] => (8, text),
        _ => (10, text),
    };
    let mut magnitude = Some(0u64);
    let mut used = 0;
    for digit in digits.iter().map_while(|&byte| char::from(byte).to_digit(base)) {
        magnitude = magnitude
            .and_then(|value| value.checked_mul(u64::from(base)))
            .and_then(|value| value.checked_add(u64::from(digit)));
        used += 1;
    }
    if used == 0 {
        return Err(NumberFault::InvalidUnit);
    }
    // Too many digits are the first thing git complains about.
    let magnitude = magnitude.ok_or(NumberFault::OutOfRange)?;
    let factor = match &digits[used..] {
        [] => 1,
        [b'k' | b'K'] => 1 << 10,
        [b'm' | b'M'] => 1 << 20,
        [b'g' | b'G'] => 1 << 30,
        _ => return Err(NumberFault::InvalidUnit),
    };
    Ok((negative, magnitude, factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_booleans() {
        for (value, expected) in [
            (None, Some(true)),
            (Some(""), Some(false)),
            (Some("YES"), Some(true)),
            (Some("off"), Some(false)),
            (Some("2"), Some(true)),
            (Some("0x0"), Some(false)),
            (Some("-1"), Some(true)),
            (Some("4g"), None),
            (Some("maybe"), None),
        ] {
            assert_eq!(parse_bool(value.map(str::as_bytes)), expected, "{value:?}");
        }
    }

    #[test]
    fn reads_numbers() {
        let signed = |text: &str| parse_signed(text.as_bytes(), i64::MAX);
        assert_eq!(signed("1k"), Ok(1024));
        assert_eq!(signed(" -2M"), Ok(-2 << 20));
        assert_eq!(signed("0x10g"), Ok(16 << 30));
        assert_eq!(signed("010"), Ok(8));
        assert_eq!(signed("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(signed("9223372036854775808"), Err(NumberFault::OutOfRange));
        for text in ["", "k", "1kk", "1 k", "08", "0x", "1t"] {
            assert_eq!(signed(text), Err(NumberFault::InvalidUnit), "{text:?}");
        }
        assert_eq!(parse_unsigned(b"-1", u64::MAX), Err(NumberFault::InvalidUnit));
        assert_eq!(parse_unsigned(b"18446744073709551615", u64::MAX), Ok(u64::MAX));
        assert_eq!(
            parse_unsigned(b"18446744073709551615k", u64::MAX),
            Err(NumberFault::OutOfRange)
        );
    }
}
