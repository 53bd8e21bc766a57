//! An id on its way through, in the form it came in: stores of text hold hexadecimal digits,
//! and so do answers. Lists of refs carry ids by the million from one to the other; digits
//! that stay digits are neither decoded nor written anew.

use std::fmt;

use crate::{HashKind, ID_BYTES_MAX, ObjectId};

/// The digits of one id, borrowed: as many as its hash has, lower-case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IdHex<'a>(&'a [u8]);

/// An id as bytes or as digits, borrowed: three words, since lists of refs hand it on a million
/// times. Two views of the same id are equal in any form.
#[derive(Clone, Copy)]
pub enum IdView<'a> {
    /// Its bytes.
    Id(&'a ObjectId),
    /// Its digits.
    Hex(IdHex<'a>),
    /// Its digits, upper-case ones among them.
    MixedHex(MixedHex<'a>),
}

/// The digits of one id, borrowed, some of them upper-case: git reads those and writes none.
#[derive(Clone, Copy)]
pub struct MixedHex<'a>(&'a [u8]);

impl<'a> MixedHex<'a> {
    /// Takes digits that are an id of this hash.
    pub fn new(digits: &'a [u8], kind: HashKind) -> Option<Self> {
        ObjectId::from_hex_of(digits, kind).map(|_| MixedHex(digits))
    }

    fn to_id(self) -> ObjectId {
        ObjectId::from_hex(self.0).expect("the digits were checked")
    }
}

/// Digits judged at a time. Both hashes have a multiple of eight, and more than one block.
const BLOCK: usize = 16;

impl<'a> IdHex<'a> {
    /// Takes digits that are an id of this hash; `None` for anything else, upper case too.
    #[inline]
    pub fn new(digits: &'a [u8], kind: HashKind) -> Option<Self> {
        let last = digits.last_chunk::<BLOCK>()?;
        let (blocks, _overlapped_by_last) = digits.as_chunks::<BLOCK>();
        let valid = blocks.iter().all(are_digits) && are_digits(last);
        (valid && digits.len() == kind.hex_len()).then_some(IdHex(digits))
    }

    /// The digits.
    #[inline]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The id they stand for.
    pub fn to_id(self) -> ObjectId {
        ObjectId::from_hex(self.0).expect("the digits were checked")
    }

    /// Whether this is the all-zero id.
    #[inline]
    pub fn is_null(self) -> bool {
        self.0[0] == b'0' && self.0.iter().all(|&digit| digit == b'0')
    }
}

/// Written without branches, so that it compiles to operations on the whole block.
#[inline]
fn are_digits(block: &[u8; BLOCK]) -> bool {
    let odd = block.iter().fold(0, |odd, &byte| {
        let decimal = byte.wrapping_sub(b'0') < 10;
        let letter = byte.wrapping_sub(b'a') < 6;
        odd | u8::from(!(decimal | letter))
    });
    odd == 0
}

impl IdView<'_> {
    /// The id.
    pub fn to_id(self) -> ObjectId {
        match self {
            IdView::Id(id) => *id,
            IdView::Hex(hex) => hex.to_id(),
            IdView::MixedHex(hex) => hex.to_id(),
        }
    }

    /// Whether this is the all-zero id.
    #[inline]
    pub fn is_null(&self) -> bool {
        match self {
            IdView::Id(id) => id.is_null(),
            IdView::Hex(hex) => hex.is_null(),
            IdView::MixedHex(hex) => hex.to_id().is_null(),
        }
    }

    /// The lower-case digits; `buffer` is used when they must be written first.
    #[inline]
    pub fn hex_into<'b>(&'b self, buffer: &'b mut [u8; ID_BYTES_MAX * 2]) -> &'b [u8] {
        match self {
            IdView::Id(id) => id.hex_into(buffer).as_bytes(),
            IdView::Hex(hex) => hex.as_bytes(),
            IdView::MixedHex(hex) => {
                let digits = &mut buffer[..hex.0.len()];
                digits.copy_from_slice(hex.0);
                digits.make_ascii_lowercase();
                digits
            }
        }
    }
}

impl<'a> From<&'a ObjectId> for IdView<'a> {
    fn from(id: &'a ObjectId) -> Self {
        IdView::Id(id)
    }
}

impl PartialEq for IdView<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (IdView::Hex(ours), IdView::Hex(theirs)) => ours == theirs,
            _ => self.to_id() == other.to_id(),
        }
    }
}

impl Eq for IdView<'_> {}

impl fmt::Display for IdView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_id().fmt(f)
    }
}

impl fmt::Debug for IdView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for IdHex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_id(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_an_id_are_equal() {
        for kind in [HashKind::Sha1, HashKind::Sha256] {
            let text = &"0123456789abcdef".repeat(4)[..kind.hex_len()];
            let hex = IdHex::new(text.as_bytes(), kind).expect("digits");
            let id = ObjectId::from_hex(text.as_bytes()).expect("digits");
            assert_eq!(IdView::Hex(hex), IdView::from(&id));
            let mut buffer = [0; ID_BYTES_MAX * 2];
            assert_eq!(IdView::from(&id).hex_into(&mut buffer), hex.as_bytes());
            let loud = text.to_ascii_uppercase();
            let mixed = MixedHex::new(loud.as_bytes(), kind).expect("digits");
            assert_eq!(IdView::MixedHex(mixed), IdView::from(&id));
            assert_eq!(IdView::MixedHex(mixed).hex_into(&mut buffer), hex.as_bytes());
            assert!(!hex.is_null());
            let zeros = "0".repeat(kind.hex_len());
            assert!(IdHex::new(zeros.as_bytes(), kind).is_some_and(IdHex::is_null));
        }
    }

    #[test]
    fn anything_but_lower_case_digits_of_the_hash_is_refused() {
        assert_eq!(IdHex::new(&[b'1'; 64], HashKind::Sha1), None);
        assert_eq!(IdHex::new(&[b'1'; 40], HashKind::Sha256), None);
        assert_eq!(IdHex::new(b"", HashKind::Sha1), None);
        for kind in [HashKind::Sha1, HashKind::Sha256] {
            for at in 0..kind.hex_len() {
                for bad in 0..=255 {
                    let mut text = vec![b'a'; kind.hex_len()];
                    text[at] = bad;
                    let valid = matches!(bad, b'0'..=b'9' | b'a'..=b'f');
                    assert_eq!(IdHex::new(&text, kind).is_some(), valid, "{bad} at {at}");
                }
            }
        }
    }
}
