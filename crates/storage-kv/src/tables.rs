//! How rows are laid out.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | a word | a number |
//! | `repositories` | the name, without `.git` | number (8), hash (1), configuration as text |
//! | `numbers` | repository (8) | its name: there as long as the repository is |
//! | `refs` | repository (8), name | a target, see [`encode_ref`] |
//! | `shallow` | repository (8), id | |
//! | `reflogs` | repository (8), name, 0, line number (8) | one line as git writes it |
//! | `blobs` | repository (8), name | chunks (8), size (8), seconds (8), nanoseconds (4) |
//! | `chunks` | chunks (8), number (8) | bytes |
//! | `staged` | chunks (8) | |
//!
//! Numbers are big-endian, so that rows of one repository lie in the order of names. `chunks` are
//! those of one blob, whatever it is called; those in `staged` belong to no published blob and
//! are dropped when the file is opened.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bstr::{BStr, ByteSlice as _};
use object::{HashKind, ObjectId, RefName};
use redb::TableDefinition;
use storage::{BlobMeta, Error, Peeled, Ref, Result, Stored, Target};

pub(crate) type Rows = TableDefinition<'static, &'static [u8], &'static [u8]>;

pub(crate) const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");
pub(crate) const REPOSITORIES: Rows = TableDefinition::new("repositories");
pub(crate) const NUMBERS: Rows = TableDefinition::new("numbers");
pub(crate) const REFS: Rows = TableDefinition::new("refs");
pub(crate) const SHALLOW: Rows = TableDefinition::new("shallow");
pub(crate) const REFLOGS: Rows = TableDefinition::new("reflogs");
pub(crate) const BLOBS: Rows = TableDefinition::new("blobs");
pub(crate) const CHUNKS: Rows = TableDefinition::new("chunks");
pub(crate) const STAGED: Rows = TableDefinition::new("staged");

/// In `meta`: which layout this is.
pub(crate) const LAYOUT: &str = "layout";
/// The layout of this page.
pub(crate) const LAYOUT_PRESENT: u64 = 2;
/// In `meta`: the number the next repository gets.
pub(crate) const NEXT_REPOSITORY: &str = "next repository";

/// Tells repositories apart; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RepositoryNumber(pub u64);

impl RepositoryNumber {
    /// The key of something of this repository.
    pub fn key(self, name: &[u8]) -> Vec<u8> {
        [&self.0.to_be_bytes(), name].concat()
    }

    /// The key of the repository itself.
    pub fn own_key(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// Where the keys of all its things end.
    pub fn end(self) -> [u8; 8] {
        (self.0 + 1).to_be_bytes()
    }

    /// The name in such a key, if the key is of this repository.
    pub fn name_in(self, key: &[u8]) -> Option<&[u8]> {
        key.strip_prefix(&self.0.to_be_bytes())
    }
}

/// Two numbers as a key.
pub(crate) fn pair(first: u64, second: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&first.to_be_bytes());
    key[8..].copy_from_slice(&second.to_be_bytes());
    key
}

const IS_ID: u8 = 1;
const IS_SYMBOLIC: u8 = 2;
const PEELED_UNKNOWN: u8 = 0;
const PEELED_NOT_A_TAG: u8 = 1;
const PEELED_TO: u8 = 2;

/// A ref's value: 1, how it peels, its id and the peeled id, if known; or 2 and a name.
pub(crate) fn encode_ref(target: &Target, peeled: &Peeled) -> Vec<u8> {
    match target {
        Target::Symbolic(name) => [&[IS_SYMBOLIC], name.as_bytes()].concat(),
        Target::Id(id) => {
            let (tag, peeled) = match peeled {
                Peeled::Unknown => (PEELED_UNKNOWN, None),
                Peeled::NotATag => (PEELED_NOT_A_TAG, None),
                Peeled::To(id) => (PEELED_TO, Some(id)),
            };
            let peeled = peeled.map_or(&[][..], ObjectId::as_bytes);
            [&[IS_ID, tag], id.as_bytes(), peeled].concat()
        }
    }
}

/// The inverse of [`encode_ref`]; the name is for errors.
pub(crate) fn decode_ref(name: &BStr, value: &[u8], hash: HashKind) -> Result<(Target, Peeled)> {
    let damaged = || Error::corrupt(name, "its row in the key-value file is damaged");
    match value {
        [IS_ID, tag, ids @ ..] => {
            let (id, rest) = ids.split_at_checked(hash.len()).ok_or_else(damaged)?;
            let id = ObjectId::from_bytes(id, hash).ok_or_else(damaged)?;
            let peeled = match (*tag, rest) {
                (PEELED_UNKNOWN, []) => Peeled::Unknown,
                (PEELED_NOT_A_TAG, []) => Peeled::NotATag,
                (PEELED_TO, id) => Peeled::To(ObjectId::from_bytes(id, hash).ok_or_else(damaged)?),
                _ => return Err(damaged()),
            };
            Ok((Target::Id(id), peeled))
        }
        [IS_SYMBOLIC, target @ ..] => {
            let target = RefName::new(target).map_err(|_| damaged())?;
            Ok((Target::Symbolic(target), Peeled::Unknown))
        }
        _ => Err(damaged()),
    }
}

/// A ref from its row.
pub(crate) fn ref_of(name: RefName, value: &[u8], hash: HashKind) -> Result<Ref> {
    let (target, peeled) = decode_ref(name.as_bstr(), value, hash)?;
    Ok(Ref { name, target, peeled })
}

/// What is known of a published blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlobRow {
    /// Whose chunks it has.
    pub chunks: u64,
    pub size: u64,
    pub modified: SystemTime,
}

impl BlobRow {
    pub fn encode(&self) -> [u8; 28] {
        let since = self.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut row = [0; 28];
        row[..8].copy_from_slice(&self.chunks.to_be_bytes());
        row[8..16].copy_from_slice(&self.size.to_be_bytes());
        row[16..24].copy_from_slice(&since.as_secs().to_be_bytes());
        row[24..].copy_from_slice(&since.subsec_nanos().to_be_bytes());
        row
    }

    pub fn decode(name: &str, row: &[u8]) -> Result<Self> {
        let damaged = || Error::corrupt(name, "its row in the key-value file is damaged");
        let row: &[u8; 28] = row.try_into().map_err(|_| damaged())?;
        let number = |at: usize| {
            u64::from_be_bytes(row[at..at + 8].try_into().expect("eight bytes were cut out"))
        };
        let nanoseconds = u32::from_be_bytes(row[24..].try_into().expect("four bytes are left"));
        let since = Duration::from_secs(number(16))
            .checked_add(Duration::from_nanos(nanoseconds.into()))
            .ok_or_else(damaged)?;
        let modified = UNIX_EPOCH.checked_add(since).ok_or_else(damaged)?;
        Ok(BlobRow { chunks: number(0), size: number(8), modified })
    }

    pub fn meta(&self, name: &str) -> BlobMeta {
        BlobMeta { name: name.to_owned(), size: self.size, modified: self.modified }
    }
}

/// A repository's row: its number and hash in front of its configuration.
pub(crate) fn encode_repository(stored: &Stored) -> Vec<u8> {
    let hash = [stored.hash.format_version()];
    [&stored.number.to_be_bytes()[..], &hash, &stored.config].concat()
}

/// The inverse of [`encode_repository`].
pub(crate) fn decode_repository(name: &str, row: &[u8]) -> Result<Stored> {
    let damaged = || Error::corrupt(name, "its row in the key-value file is damaged");
    let (number, rest) = row.split_first_chunk::<8>().ok_or_else(damaged)?;
    let (version, config) = rest.split_first().ok_or_else(damaged)?;
    let mut kinds = [HashKind::Sha1, HashKind::Sha256].into_iter();
    let hash = kinds.find(|kind| kind.format_version() == *version).ok_or_else(damaged)?;
    Ok(Stored { number: u64::from_be_bytes(*number), hash, config: config.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_survive_their_rows() {
        for hash in [HashKind::Sha1, HashKind::Sha256] {
            let id = |byte: u8| {
                ObjectId::from_bytes(&vec![byte; hash.len()], hash).expect("the hash's length")
            };
            let name = RefName::new("refs/heads/main").expect("valid");
            for (target, peeled) in [
                (Target::Id(id(1)), Peeled::Unknown),
                (Target::Id(id(1)), Peeled::NotATag),
                (Target::Id(id(1)), Peeled::To(id(2))),
                (Target::Symbolic(name.clone()), Peeled::Unknown),
            ] {
                let row = encode_ref(&target, &peeled);
                let read = decode_ref(name.as_bstr(), &row, hash).expect("its own row");
                assert_eq!(read, (target, peeled));
            }
            for damaged in [&b""[..], b"\x01", b"\x01\x00short", b"\x03x", b"\x02..", b"\x01\x07"] {
                decode_ref(name.as_bstr(), damaged, hash).expect_err("damage");
            }
        }
    }

    #[test]
    fn blobs_and_repositories_survive_their_rows() {
        let modified = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
        let row = BlobRow { chunks: 7, size: 1 << 40, modified };
        assert_eq!(BlobRow::decode("x", &row.encode()).expect("its own row"), row);
        BlobRow::decode("x", &row.encode()[1..]).expect_err("damage");
        let stored = Stored { number: 9, hash: HashKind::Sha256, config: b"[core]\n".to_vec() };
        let row = encode_repository(&stored);
        assert_eq!(decode_repository("x", &row).expect("its own row"), stored);
        decode_repository("x", &row[..8]).expect_err("damage");
    }
}
