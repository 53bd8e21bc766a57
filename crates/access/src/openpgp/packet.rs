//! Armour and packets (RFC 9580, sections 4 and 6.2; RFC 4880 has the same for what is read here).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Longest text of a key or a signature that is read, bytes.
pub(super) const TEXT_BYTES_MAX: usize = 256 << 10;

/// A packet: its kind and what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub tag: u8,
    pub body: &'a [u8],
}

pub(super) const SIGNATURE: u8 = 2;
pub(super) const PUBLIC_KEY: u8 = 6;
pub(super) const USER_ID: u8 = 13;
pub(super) const PUBLIC_SUBKEY: u8 = 14;

/// The bytes inside `-----BEGIN PGP {what}-----`. Their checksum is not looked at: what counts is signed.
pub(super) fn unarmoured(text: &[u8], what: &str) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= TEXT_BYTES_MAX)?;
    let (begin, end) = (format!("-----BEGIN PGP {what}-----"), format!("-----END PGP {what}-----"));
    let (inside, _) = text.trim().strip_prefix(&begin)?.split_once(&end)?;
    let mut lines = inside.lines().map(str::trim_end);
    // Headers end with an empty line; the first line is what is left of the one that begins.
    lines.by_ref().skip(1).find(|line| line.is_empty())?;
    let digits: String = lines.take_while(|line| !line.starts_with('=')).collect();
    STANDARD.decode(digits).ok()
}

/// Goes through packets. Ends early, without a word, at one that is cut off or of no known length; what was
/// signed does not fit then.
pub(super) fn packets(mut rest: &[u8]) -> impl Iterator<Item = Packet<'_>> {
    std::iter::from_fn(move || {
        let (packet, tail) = packet(rest)?;
        rest = tail;
        Some(packet)
    })
}

fn packet(bytes: &[u8]) -> Option<(Packet<'_>, &[u8])> {
    let (&head, rest) = bytes.split_first()?;
    let (tag, length, rest) = match head {
        0xc0.. => {
            let (length, rest) = new_length(rest)?;
            (head & 0x3f, length, rest)
        }
        0x80..0xc0 => {
            let digits = match head & 3 {
                0 => 1,
                1 => 2,
                2 => 4,
                // Until the end of everything: nothing here is written so.
                _ => return None,
            };
            let (digits, rest) = rest.split_at_checked(digits)?;
            (head >> 2 & 0xf, number(digits)?, rest)
        }
        _ => return None,
    };
    let (body, rest) = rest.split_at_checked(length)?;
    Some((Packet { tag, body }, rest))
}

/// A length as packets of the new form, and parts of signatures, have it; not one that is told in parts.
pub(super) fn new_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    match first {
        0..192 => Some((usize::from(first), rest)),
        192..224 => {
            let (&second, rest) = rest.split_first()?;
            Some((((usize::from(first) - 192) << 8) + usize::from(second) + 192, rest))
        }
        255 => {
            let (digits, rest) = rest.split_at_checked(4)?;
            Some((number(digits)?, rest))
        }
        _ => None,
    }
}

/// A number, most significant byte first.
pub(super) fn number(bytes: &[u8]) -> Option<usize> {
    let digits = bytes.iter().try_fold(0_u64, |number, byte| {
        number.checked_mul(256).map(|number| number | u64::from(*byte))
    });
    usize::try_from(digits?).ok()
}

/// Takes so many bytes.
pub(super) fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(bytes)?;
    *rest = tail;
    Some(head)
}

/// Takes a number of any length (section 3.2): its bytes, without zeros in front.
pub(super) fn mpi<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let bits = number(take(rest, 2)?)?;
    let bytes = take(rest, bits.div_ceil(8))?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Some(&bytes[zeros..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_both_forms() {
        let body = [7; 300];
        let of = |head: &[u8], count: usize| [head, &body[..count], b"rest"].concat();
        for (bytes, tag, count) in [
            (of(&[0xcd, 5], 5), USER_ID, 5),
            (of(&[0xc2, 192, 0], 192), SIGNATURE, 192),
            (of(&[0xc6, 255, 0, 0, 1, 0], 256), PUBLIC_KEY, 256),
            (of(&[0xb4, 5], 5), USER_ID, 5),
            (of(&[0x89, 1, 0], 256), SIGNATURE, 256),
            (of(&[0x9a, 0, 0, 0, 3], 3), PUBLIC_KEY, 3),
        ] {
            let (packet, rest) = packet(&bytes).expect("a packet");
            assert_eq!((packet.tag, packet.body.len(), rest), (tag, count, &b"rest"[..]));
        }
        for bad in [&[][..], &[0x02, 1, 1], &[0xcd, 5, 1], &[0xcd], &[0xcd, 224, 1, 1], &[0x8b, 1]]
        {
            assert_eq!(packet(bad), None, "{bad:?}");
        }
        let long = [0xc2, 255, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(packets(&long).count(), 0);
    }

    #[test]
    fn armour_is_taken_off() {
        let text = "-----BEGIN PGP SIGNATURE-----\nVersion: x\n\naGVs\nbG8=\n=abcd\n-----END PGP SIGNATURE-----\n";
        assert_eq!(unarmoured(text.as_bytes(), "SIGNATURE").as_deref(), Some(&b"hello"[..]));
        let short = "-----BEGIN PGP SIGNATURE-----\r\n\r\naGVsbG8=\r\n-----END PGP SIGNATURE-----";
        assert_eq!(unarmoured(short.as_bytes(), "SIGNATURE").as_deref(), Some(&b"hello"[..]));
        for bad in ["", "aGVs", &text.replace("\n\n", "\n"), &text.replace("END", "AND")] {
            assert_eq!(unarmoured(bad.as_bytes(), "SIGNATURE"), None, "{bad}");
        }
        assert_eq!(unarmoured(text.as_bytes(), "MESSAGE"), None);
    }

    #[test]
    fn numbers_of_any_length() {
        let mut rest = &[0, 9, 1, 2, 0, 0, 0, 8, 0, 3][..];
        assert_eq!(mpi(&mut rest), Some(&[1, 2][..]));
        assert_eq!(mpi(&mut rest), Some(&[][..]));
        assert_eq!(mpi(&mut rest), Some(&[][..]));
        assert_eq!(mpi(&mut rest), None);
    }
}
