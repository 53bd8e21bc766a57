//! Object names: which hash a repository uses, and the id of one object.
//!
//! An [`ObjectId`] is plain data, `Copy`, and ordered by its bytes, as every
//! index of Git is.

use std::fmt;

/// The hash function a repository names its objects with (`extensions.objectFormat`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum HashKind {
    /// SHA-1, 20 bytes: every repository made without saying otherwise.
    #[default]
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
}

/// The longest object name, in bytes.
pub const ID_BYTES_MAX: usize = 32;

impl HashKind {
    /// Bytes in an object name.
    #[inline]
    pub const fn len(self) -> usize {
        match self {
            HashKind::Sha1 => 20,
            HashKind::Sha256 => 32,
        }
    }

    /// Hexadecimal digits in an object name.
    #[inline]
    pub const fn hex_len(self) -> usize {
        self.len() * 2
    }

    /// The name used in `extensions.objectFormat` and the `object-format` capability.
    pub const fn name(self) -> &'static str {
        match self {
            HashKind::Sha1 => "sha1",
            HashKind::Sha256 => "sha256",
        }
    }

    /// The inverse of [`HashKind::name`].
    pub fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"sha1" => Some(HashKind::Sha1),
            b"sha256" => Some(HashKind::Sha256),
            _ => None,
        }
    }

    /// The number used in multi-pack-index and commit-graph headers (1 and 2).
    pub const fn format_version(self) -> u8 {
        match self {
            HashKind::Sha1 => 1,
            HashKind::Sha256 => 2,
        }
    }

    /// The inverse of [`HashKind::format_version`].
    pub const fn from_format_version(version: u8) -> Option<Self> {
        match version {
            1 => Some(HashKind::Sha1),
            2 => Some(HashKind::Sha256),
            _ => None,
        }
    }
}

/// The name of one object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    // Bytes past the hash's length are zero, so that derived equality holds.
    bytes: [u8; ID_BYTES_MAX],
    kind: HashKind,
}

impl ObjectId {
    /// The all-zero id: "no object" in the protocol and in reflogs.
    pub const fn null(kind: HashKind) -> Self {
        ObjectId { bytes: [0; ID_BYTES_MAX], kind }
    }

    /// An id from its raw bytes; `None` unless there are exactly [`HashKind::len`] of them.
    #[inline]
    pub fn from_bytes(bytes: &[u8], kind: HashKind) -> Option<Self> {
        (bytes.len() == kind.len()).then(|| {
            let mut id = Self::null(kind);
            id.bytes[..kind.len()].copy_from_slice(bytes);
            id
        })
    }

    /// An id from the first [`HashKind::len`] bytes of a slice known to hold as many.
    ///
    /// # Panics
    /// When the slice is shorter than an id.
    #[inline]
    pub fn from_prefix(bytes: &[u8], kind: HashKind) -> Self {
        let mut id = Self::null(kind);
        id.bytes[..kind.len()].copy_from_slice(&bytes[..kind.len()]);
        id
    }

    /// An id from lower- or upper-case hexadecimal digits; the length says which hash.
    pub fn from_hex(hex: &[u8]) -> Option<Self> {
        let kind = match hex.len() {
            40 => HashKind::Sha1,
            64 => HashKind::Sha256,
            _ => return None,
        };
        let mut id = Self::null(kind);
        // Judged once at the end: lists of refs are decoded by the hundred thousand.
        let mut seen = 0;
        for (byte, pair) in id.bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let (high, low) = (NIBBLES[pair[0] as usize], NIBBLES[pair[1] as usize]);
            seen |= high | low;
            *byte = high << 4 | (low & 0xf);
        }
        (seen & 0xf0 == 0).then_some(id)
    }

    /// Like [`ObjectId::from_hex`], for one hash only.
    pub fn from_hex_of(hex: &[u8], kind: HashKind) -> Option<Self> {
        Self::from_hex(hex).filter(|id| id.kind == kind)
    }

    /// The raw bytes, [`HashKind::len`] of them.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.kind.len()]
    }

    /// Which hash made this id.
    #[inline]
    pub const fn kind(&self) -> HashKind {
        self.kind
    }

    /// Whether this is the tree of nothing, which every repository has without anybody having stored it
    /// (git's `empty_tree`).
    pub fn is_empty_tree(&self) -> bool {
        const SHA1: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
        const SHA256: &str = "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321";
        let expected = match self.kind() {
            HashKind::Sha1 => SHA1,
            HashKind::Sha256 => SHA256,
        };
        self.hex_into(&mut [0; ID_BYTES_MAX * 2]) == expected
    }

    /// Whether this is the all-zero id.
    pub fn is_null(&self) -> bool {
        self.bytes == [0; ID_BYTES_MAX]
    }

    /// Writes the lower-case hexadecimal form and returns it as text.
    pub fn hex_into<'a>(&self, buffer: &'a mut [u8; ID_BYTES_MAX * 2]) -> &'a str {
        for (digits, byte) in buffer.chunks_exact_mut(2).zip(self.as_bytes()) {
            digits.copy_from_slice(&HEX_PAIRS[*byte as usize]);
        }
        std::str::from_utf8(&buffer[..self.kind.hex_len()]).expect("hexadecimal digits are ASCII")
    }

    /// The lower-case hexadecimal form.
    pub fn to_hex(&self) -> String {
        self.hex_into(&mut [0; ID_BYTES_MAX * 2]).to_owned()
    }
}

/// What a byte is worth as a hexadecimal digit; 0xff for one that is none.
const NIBBLES: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value] as usize] = value as u8;
        table[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    table
};

/// The two digits of every byte.
const HEX_PAIRS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
};

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.hex_into(&mut [0; ID_BYTES_MAX * 2]))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_for_both_hashes() {
        for hex in ["4b825dc642cb6eb9a060e54bf8d69288fbee4904", &"0123456789abcdef".repeat(4)] {
            let id = ObjectId::from_hex(hex.as_bytes()).expect("valid digits");
            assert_eq!(id.to_hex(), hex);
            assert_eq!(ObjectId::from_bytes(id.as_bytes(), id.kind()), Some(id));
        }
    }

    #[test]
    fn refuses_wrong_lengths_and_digits() {
        assert_eq!(ObjectId::from_hex(b"4b825d"), None);
        assert_eq!(ObjectId::from_hex("g".repeat(40).as_bytes()), None);
        for at in 0..40 {
            let mut hex = [b'0'; 40];
            for bad in [b'/', b':', b'@', b'G', b'`', b'g', 0, 0xff] {
                hex[at] = bad;
                assert_eq!(ObjectId::from_hex(&hex), None, "{bad} at {at}");
            }
        }
        let upper = "ABCDEF0123".repeat(4);
        let id = ObjectId::from_hex(upper.as_bytes()).expect("upper case counts");
        assert_eq!(id.to_hex(), upper.to_lowercase());
        assert_eq!(ObjectId::from_bytes(&[0; 19], HashKind::Sha1), None);
    }
}
