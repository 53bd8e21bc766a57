//! Configuration carried by environment variables: `GIT_CONFIG_COUNT` with its numbered keys and
//! values, and `GIT_CONFIG_PARAMETERS`, in which `git -c` hands settings to its children.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use bstr::{BStr, BString, ByteSlice as _};

use crate::entry::canonical_name;
use crate::{ConfigError, Entry, Scope};

const COUNT: &str = "GIT_CONFIG_COUNT";
const PARAMETERS: &str = "GIT_CONFIG_PARAMETERS";

/// Hands every setting of the environment to `add`, in order.
pub(crate) fn read(
    variable: &dyn Fn(&str) -> Option<OsString>,
    add: &mut dyn FnMut(Entry) -> Result<(), ConfigError>,
) -> Result<(), ConfigError> {
    let mut add_pair = |name: &[u8], value: Option<&[u8]>| {
        let name = canonical_name(name)?;
        add(Entry::new(name.as_bstr(), value.map(|value| value.as_bstr()), Scope::Command, None, 0))
    };
    if let Some(count) = variable(COUNT) {
        for number in 0..parse_count(&count.into_vec())? {
            let get = |kind: &str, problem: &'static str| {
                let name = format!("GIT_CONFIG_{kind}_{number}");
                match variable(&name) {
                    Some(value) => Ok(value.into_vec()),
                    None => Err(ConfigError::Environment { problem, variable: name }),
                }
            };
            let key = get("KEY", "missing config key")?;
            let value = get("VALUE", "missing config value")?;
            add_pair(&key, Some(&value))?;
        }
    }
    match variable(PARAMETERS) {
        Some(list) => read_parameters(list.into_vec().as_bstr(), &mut add_pair),
        None => Ok(()),
    }
}

fn parse_count(text: &[u8]) -> Result<u32, ConfigError> {
    let text = text.trim_ascii_start();
    if text.is_empty() {
        return Ok(0);
    }
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ConfigError::Environment { problem: "bogus count in", variable: COUNT.into() });
    }
    let count = digits.to_str().ok().and_then(|digits| digits.parse::<u32>().ok());
    count.filter(|count| *count <= i32::MAX as u32).ok_or_else(|| ConfigError::Environment {
        problem: "too many entries in",
        variable: COUNT.into(),
    })
}

/// Reads `'key'='value'` (since git 2.31), `'key'=` and the older `'key=value'` and `'key'`,
/// parted by white space.
fn read_parameters(
    mut rest: &BStr,
    add: &mut dyn FnMut(&[u8], Option<&[u8]>) -> Result<(), ConfigError>,
) -> Result<(), ConfigError> {
    let bogus =
        || ConfigError::Environment { problem: "bogus format in", variable: PARAMETERS.to_owned() };
    let ends = |rest: &BStr| rest.first().is_none_or(|byte| is_space(*byte));
    while !rest.is_empty() {
        let (key, behind) = dequote(rest).ok_or_else(bogus)?;
        rest = behind;
        if ends(rest) {
            match key.split_once_str("=") {
                Some((key, value)) => add(key, Some(value))?,
                None => add(&key, None)?,
            }
        } else {
            rest = rest.strip_prefix(b"=").ok_or_else(bogus)?.as_bstr();
            if ends(rest) {
                add(&key, None)?;
            } else {
                let (value, behind) = dequote(rest).ok_or_else(bogus)?;
                rest = behind;
                if !ends(rest) {
                    return Err(bogus());
                }
                add(&key, Some(&value))?;
            }
        }
        rest = rest.trim_start_with(|c| c.is_ascii() && is_space(c as u8)).as_bstr();
    }
    Ok(())
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// One shell word in single quotes, where `'\''` and `'\!'` stand for the quote and the
/// exclamation mark, and what follows it.
fn dequote(text: &BStr) -> Option<(BString, &BStr)> {
    let mut rest: &[u8] = text.strip_prefix(b"'")?;
    let mut word = BString::default();
    loop {
        let end = rest.find_byte(b'\'')?;
        word.extend_from_slice(&rest[..end]);
        rest = &rest[end + 1..];
        match rest {
            [b'\\', escaped @ (b'\'' | b'!'), b'\'', behind @ ..] => {
                word.push(*escaped);
                rest = behind;
            }
            _ => return Some((word, rest.as_bstr())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(list: &str) -> Result<Vec<String>, ConfigError> {
        let mut found = Vec::new();
        let variable = |name: &str| (name == PARAMETERS).then(|| list.into());
        read(&variable, &mut |entry| {
            found.push(match entry.value() {
                Some(value) => format!("{}={value}", entry.name()),
                None => entry.name().to_string(),
            });
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn reads_both_quotings() {
        let found = read_all("'A.b'='x y'\t'c.D.e=f=g' 'h.i'= 'j.k' 'l.m'='it'\\''s'\\!''");
        assert_eq!(found.expect("valid"), ["a.b=x y", "c.D.e=f=g", "h.i", "j.k", "l.m=it's!"]);
    }

    #[test]
    fn refuses_what_git_refuses() {
        for list in ["a.b=c", "'a.b", "'a.b'x", "'a.b'='c'x", "'a.b'=c", "'a'", "''", "'a.1=x'"] {
            assert!(read_all(list).is_err(), "{list}");
        }
    }
}
