//! Records: refs and the lines of their logs.

use bstr::{BStr, BString, ByteSlice as _};
use object::{HashKind, ObjectId};

use crate::varint::{put, take, take_bytes};
use crate::{Error, Result};

/// What a table says of a ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefValue {
    /// It is gone, whatever older tables say.
    Deleted,
    /// It points at an object that is no annotated tag, or of which that is not known.
    Id(ObjectId),
    /// It points at an annotated tag, which leads to another object in the end.
    Tag {
        /// The tag.
        id: ObjectId,
        /// Where it leads.
        peeled: ObjectId,
    },
    /// It points at another ref.
    Symbolic(BString),
}

/// A [`RefValue`], borrowed; ids are their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueView<'a> {
    /// As [`RefValue::Deleted`].
    Deleted,
    /// As [`RefValue::Id`].
    Id(&'a [u8]),
    /// As [`RefValue::Tag`]: the tag, and where it leads.
    Tag(&'a [u8], &'a [u8]),
    /// As [`RefValue::Symbolic`].
    Symbolic(&'a BStr),
}

/// A ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefRecord {
    /// Its full name.
    pub name: BString,
    /// The number of the transaction that changed it last.
    pub update_index: u64,
    /// What it is.
    pub value: RefValue,
}

/// A [`RefRecord`] where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefView<'a> {
    /// Its full name.
    pub name: &'a BStr,
    /// The number of the transaction that changed it last.
    pub update_index: u64,
    /// What it is.
    pub value: ValueView<'a>,
}

impl RefView<'_> {
    /// The same, owned.
    pub fn to_record(&self, hash: HashKind) -> RefRecord {
        let id = |bytes: &[u8]| ObjectId::from_prefix(bytes, hash);
        let value = match self.value {
            ValueView::Deleted => RefValue::Deleted,
            ValueView::Id(bytes) => RefValue::Id(id(bytes)),
            ValueView::Tag(tag, peeled) => RefValue::Tag { id: id(tag), peeled: id(peeled) },
            ValueView::Symbolic(target) => RefValue::Symbolic(target.to_owned()),
        };
        RefRecord { name: self.name.to_owned(), update_index: self.update_index, value }
    }
}

/// Reads what is behind a ref's name. `kind` is the number in front of it.
pub(crate) fn take_value<'a>(
    kind: u8,
    hash: HashKind,
    bytes: &mut &'a [u8],
) -> Result<ValueView<'a>> {
    let id_bytes = hash.len() as u64;
    Ok(match kind {
        0 => ValueView::Deleted,
        1 => ValueView::Id(take_bytes(bytes, id_bytes)?),
        2 => ValueView::Tag(take_bytes(bytes, id_bytes)?, take_bytes(bytes, id_bytes)?),
        3 => {
            let length = take(bytes)?;
            ValueView::Symbolic(take_bytes(bytes, length)?.as_bstr())
        }
        _ => return Err(Error::Corrupt("a ref has a value of an unknown kind")),
    })
}

impl RefValue {
    /// The number in front of the name.
    pub(crate) fn kind(&self) -> u8 {
        match self {
            RefValue::Deleted => 0,
            RefValue::Id(_) => 1,
            RefValue::Tag { .. } => 2,
            RefValue::Symbolic(_) => 3,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            RefValue::Deleted => {}
            RefValue::Id(id) => out.extend_from_slice(id.as_bytes()),
            RefValue::Tag { id, peeled } => {
                out.extend_from_slice(id.as_bytes());
                out.extend_from_slice(peeled.as_bytes());
            }
            RefValue::Symbolic(target) => put_text(target, out),
        }
    }
}

/// A line of a ref's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// The ref's full name.
    pub name: BString,
    /// The number of the transaction.
    pub update_index: u64,
    /// What happened; `None` takes a line of an older table away.
    pub entry: Option<LogEntry>,
}

/// What happened to a ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// What it pointed at; all zeros when it was made.
    pub old: ObjectId,
    /// What it points at since; all zeros when it was deleted.
    pub new: ObjectId,
    /// Who did it.
    pub name: BString,
    /// The address, without `<` and `>`.
    pub email: BString,
    /// Seconds since 1970.
    pub seconds: u64,
    /// The time zone as git writes it, read as a decimal number: 230 is `+0230`.
    pub zone: i16,
    /// Why, mostly with a line feed at its end.
    pub message: BString,
}

/// A line of a log where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogView<'a> {
    /// The ref's full name.
    pub name: &'a BStr,
    /// The number of the transaction.
    pub update_index: u64,
    /// What happened; `None` takes a line of an older table away.
    pub entry: Option<LogEntry>,
}

impl LogView<'_> {
    /// The same, owned.
    pub fn to_record(&self) -> LogRecord {
        let LogView { name, update_index, entry } = self.clone();
        LogRecord { name: name.to_owned(), update_index, entry }
    }
}

/// The key of a log line: later ones come first.
pub(crate) fn log_key(name: &BStr, update_index: u64) -> Vec<u8> {
    [name, &[0][..], &(u64::MAX - update_index).to_be_bytes()].concat()
}

/// The inverse of [`log_key`].
pub(crate) fn split_log_key(key: &[u8]) -> Result<(&BStr, u64)> {
    const BAD: Error = Error::Corrupt("a log line's key is no name and number");
    let (rest, number) = key.split_last_chunk::<8>().ok_or(BAD)?;
    let (zero, name) = rest.split_last().ok_or(BAD)?;
    match *zero {
        0 => Ok((name.as_bstr(), u64::MAX - u64::from_be_bytes(*number))),
        _ => Err(BAD),
    }
}

/// Reads what is behind a log line's key.
pub(crate) fn take_entry(kind: u8, hash: HashKind, bytes: &mut &[u8]) -> Result<Option<LogEntry>> {
    match kind {
        0 => return Ok(None),
        1 => {}
        _ => return Err(Error::Corrupt("a log line is of an unknown kind")),
    }
    let mut id = || {
        let id = take_bytes(bytes, hash.len() as u64)?;
        Ok::<_, Error>(ObjectId::from_prefix(id, hash))
    };
    let (old, new) = (id()?, id()?);
    let (name, email) = (take_text(bytes)?, take_text(bytes)?);
    let seconds = take(bytes)?;
    let zone = take_bytes(bytes, 2)?;
    let zone = i16::from_be_bytes([zone[0], zone[1]]);
    let message = take_text(bytes)?;
    Ok(Some(LogEntry { old, new, name, email, seconds, zone, message }))
}

impl LogEntry {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.old.as_bytes());
        out.extend_from_slice(self.new.as_bytes());
        put_text(&self.name, out);
        put_text(&self.email, out);
        put(self.seconds, out);
        out.extend_from_slice(&self.zone.to_be_bytes());
        put_text(&self.message, out);
    }
}

fn take_text(bytes: &mut &[u8]) -> Result<BString> {
    let length = take(bytes)?;
    Ok(take_bytes(bytes, length)?.into())
}

fn put_text(text: &[u8], out: &mut Vec<u8>) {
    put(text.len() as u64, out);
    out.extend_from_slice(text);
}
