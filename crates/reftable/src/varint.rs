//! Numbers of variable length, as in offset deltas of packs.

use crate::{Error, Result};

const TOO_LONG: Error = Error::Corrupt("a number has no end");

/// Takes a number off the front of `bytes`.
pub(crate) fn take(bytes: &mut &[u8]) -> Result<u64> {
    let mut value: u64 = 0;
    for count in 0.. {
        let (byte, rest) = bytes.split_first().ok_or(TOO_LONG)?;
        *bytes = rest;
        if count > 0 {
            value = value.checked_add(1).filter(|value| *value >> 57 == 0).ok_or(TOO_LONG)?;
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Ok(value)
}

/// Takes so many bytes off the front.
pub(crate) fn take_bytes<'a>(bytes: &mut &'a [u8], count: u64) -> Result<&'a [u8]> {
    let count = usize::try_from(count).ok();
    let split = count.and_then(|count| bytes.split_at_checked(count));
    let (taken, rest) = split.ok_or(Error::Corrupt("a record ends early"))?;
    *bytes = rest;
    Ok(taken)
}

/// Appends a number.
pub(crate) fn put(mut value: u64, out: &mut Vec<u8>) {
    let mut buffer = [0; 10];
    let mut at = buffer.len() - 1;
    buffer[at] = (value & 0x7f) as u8;
    while value >> 7 != 0 {
        value = (value >> 7) - 1;
        at -= 1;
        buffer[at] = 0x80 | (value & 0x7f) as u8;
    }
    out.extend_from_slice(&buffer[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive() {
        for value in [0, 1, 127, 128, 255, 16_511, 16_512, 1 << 32, (1 << 57) - 1, 1 << 57] {
            let mut bytes = Vec::new();
            put(value, &mut bytes);
            bytes.push(7);
            let mut rest = &bytes[..];
            assert_eq!(take(&mut rest).expect("written just now"), value);
            assert_eq!(rest, [7]);
        }
        assert!(take(&mut &[0x80, 0x80][..]).is_err());
        assert!(take(&mut &[0xff; 20][..]).is_err());
        assert!(take_bytes(&mut &b"abc"[..], 4).is_err());
    }
}
