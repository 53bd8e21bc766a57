//! Trees: the entries of a directory, borrowed from the object's bytes.
//!
//! A full clone passes every entry of every tree through [`TreeIter`], so nothing here
//! allocates or copies; an id stays a slice until somebody asks for it.

use std::cmp::Ordering;

use bstr::{BStr, ByteSlice as _};

use crate::{HashKind, ObjectId, ParseError};

/// What a tree entry stands for: the file mode as it is stored, sixteen bits of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryMode(pub u32);

impl EntryMode {
    /// A directory.
    pub const TREE: EntryMode = EntryMode(0o040_000);
    /// An ordinary file.
    pub const FILE: EntryMode = EntryMode(0o100_644);
    /// An executable file.
    pub const EXECUTABLE: EntryMode = EntryMode(0o100_755);
    /// A symbolic link.
    pub const SYMLINK: EntryMode = EntryMode(0o120_000);
    /// A commit of another repository (a submodule).
    pub const SUBMODULE: EntryMode = EntryMode(0o160_000);

    const FORMAT: u32 = 0o170_000;

    /// Whether the entry names a tree.
    #[inline]
    pub const fn is_tree(self) -> bool {
        self.0 & Self::FORMAT == Self::TREE.0
    }

    /// Whether the entry names a blob: a file, executable or not, or a symbolic link.
    #[inline]
    pub const fn is_blob(self) -> bool {
        self.0 & Self::FORMAT == 0o100_000 || self.is_symlink()
    }

    /// Whether the entry is a symbolic link.
    #[inline]
    pub const fn is_symlink(self) -> bool {
        self.0 & Self::FORMAT == Self::SYMLINK.0
    }

    /// Whether the entry names a commit elsewhere. As in git, that is every mode which is neither
    /// tree nor blob.
    #[inline]
    pub const fn is_submodule(self) -> bool {
        !self.is_tree() && !self.is_blob()
    }
}

impl std::fmt::Debug for EntryMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:06o}", self.0)
    }
}

/// One entry of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeEntry<'a> {
    /// What the entry stands for.
    pub mode: EntryMode,
    /// Its name, one path component, never empty.
    pub name: &'a BStr,
    /// Its raw object name, [`HashKind::len`] bytes.
    pub id: &'a [u8],
}

impl TreeEntry<'_> {
    /// The object name as an [`ObjectId`]; `hash` is the one the iterator was made with.
    #[inline]
    pub fn oid(&self, hash: HashKind) -> ObjectId {
        ObjectId::from_prefix(self.id, hash)
    }

    /// The order of a tree's entries: by name, with a `/` behind the names of trees. Entries of
    /// one name that are tree and file are different.
    pub fn order(&self, other: &TreeEntry<'_>) -> Ordering {
        let common = self.name.len().min(other.name.len());
        let behind = |entry: &TreeEntry<'_>| match entry.name.get(common) {
            None if entry.mode.is_tree() => b'/',
            None => 0,
            Some(byte) => *byte,
        };
        self.name[..common]
            .cmp(&other.name[..common])
            .then_with(|| behind(self).cmp(&behind(other)))
            // One name goes on with what the other, a tree's, ends in.
            .then_with(|| self.name.len().cmp(&other.name.len()))
    }
}

/// Walks the entries of a tree in stored order; ends after the first error.
#[derive(Debug, Clone)]
pub struct TreeIter<'a> {
    rest: &'a [u8],
    hash_bytes: usize,
}

impl<'a> TreeIter<'a> {
    /// Starts at the first entry.
    #[inline]
    pub fn new(bytes: &'a [u8], hash: HashKind) -> Self {
        TreeIter { rest: bytes, hash_bytes: hash.len() }
    }

    /// The bytes behind the last entry.
    #[inline]
    pub fn remaining(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn entry(&mut self) -> Result<TreeEntry<'a>, ParseError> {
        let bytes = self.rest;
        let (mode, mode_bytes) = parse_mode(bytes)?;
        let after_mode = &bytes[mode_bytes..];
        let name_bytes = memchr::memchr(0, after_mode).ok_or(ParseError::TreeTooShort)?;
        if name_bytes == 0 {
            return Err(ParseError::TreeEmptyName);
        }
        let (name, after_name) = after_mode.split_at(name_bytes);
        let (id, rest) =
            after_name[1..].split_at_checked(self.hash_bytes).ok_or(ParseError::TreeTooShort)?;
        self.rest = rest;
        Ok(TreeEntry { mode, name: name.as_bstr(), id })
    }
}

impl<'a> Iterator for TreeIter<'a> {
    type Item = Result<TreeEntry<'a>, ParseError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            self.rest = &[];
        }
        Some(entry)
    }
}

impl std::iter::FusedIterator for TreeIter<'_> {}

/// The mode and how many bytes it takes, its space included.
#[inline]
fn parse_mode(bytes: &[u8]) -> Result<(EntryMode, usize), ParseError> {
    let mut mode = 0u32;
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'7' => mode = mode << 3 | u32::from(byte - b'0'),
            // Git keeps sixteen bits, whatever stands there.
            b' ' if at > 0 => return Ok((EntryMode(mode & 0xffff), at + 1)),
            _ => return Err(ParseError::TreeMode),
        }
    }
    Err(ParseError::TreeTooShort)
}

#[cfg(test)]
mod tests {
    #[test]
    fn entries_are_ordered_as_in_trees() {
        let entry = |mode, name: &'static str| TreeEntry { mode, name: name.into(), id: &[] };
        let ordered = [
            entry(EntryMode::FILE, "a"),
            entry(EntryMode::FILE, "a-b"),
            entry(EntryMode::TREE, "a"),
            entry(EntryMode::FILE, "a0"),
            entry(EntryMode::TREE, "a0"),
            entry(EntryMode::FILE, "b"),
        ];
        for (at, one) in ordered.iter().enumerate() {
            for (other_at, other) in ordered.iter().enumerate() {
                assert_eq!(one.order(other), at.cmp(&other_at), "{one:?} {other:?}");
            }
        }
    }

    use super::*;

    fn entry(mode: &str, name: &str, id: u8) -> Vec<u8> {
        let mut bytes = format!("{mode} {name}\0").into_bytes();
        bytes.extend([id; 20]);
        bytes
    }

    #[test]
    fn walks_entries_in_order() {
        let bytes = [
            entry("100644", "a", 1),
            entry("40000", "dir", 2),
            entry("120000", "link", 3),
            entry("160000", "sub", 0),
        ]
        .concat();
        let entries: Vec<_> =
            TreeIter::new(&bytes, HashKind::Sha1).collect::<Result<_, _>>().expect("well formed");
        assert_eq!(
            entries.iter().map(|entry| entry.name.to_string()).collect::<Vec<_>>(),
            ["a", "dir", "link", "sub"]
        );
        assert!(entries[0].mode.is_blob() && !entries[0].mode.is_symlink());
        assert!(entries[1].mode.is_tree());
        assert!(entries[2].mode.is_blob() && entries[2].mode.is_symlink());
        assert!(entries[3].mode.is_submodule());
        assert_eq!(entries[1].oid(HashKind::Sha1).to_hex(), "02".repeat(20));
    }

    #[test]
    fn reports_damage_once_and_ends() {
        let cases: [(&[u8], ParseError); 6] = [
            (b"100644", ParseError::TreeTooShort),
            (b"100644 a", ParseError::TreeTooShort),
            (b"100644 a\0short", ParseError::TreeTooShort),
            (b" a\0", ParseError::TreeMode),
            (b"10x644 a\0", ParseError::TreeMode),
            (b"100644 \0", ParseError::TreeEmptyName),
        ];
        for (bytes, error) in cases {
            let mut iter = TreeIter::new(bytes, HashKind::Sha1);
            assert_eq!(iter.next(), Some(Err(error)), "{}", bytes.as_bstr());
            assert_eq!(iter.next(), None);
        }
    }
}
