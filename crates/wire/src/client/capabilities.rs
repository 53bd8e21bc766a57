//! What a server offers.

use bstr::{BString, ByteSlice as _};
use object::HashKind;

use crate::Error;
use crate::quote::quote;

/// The capabilities of a server, of whatever version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    words: Vec<BString>,
}

impl Capabilities {
    /// From the words behind the first ref of an advertisement (version 0 and 1).
    pub(super) fn from_list(list: &[u8]) -> Self {
        let words = list.fields().map(BString::from);
        Capabilities { words: words.collect() }
    }

    pub(super) fn push(&mut self, word: &[u8]) {
        self.words.push(word.into());
    }

    /// Whether it is there, with a value or without.
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// What stands behind its `=`, the first time; empty without one.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.words.iter().find_map(|word| value_of(word, name))
    }

    /// What stands behind each `=`, for those that may be there more than once (`symref`).
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.words.iter().filter_map(move |word| match word.strip_prefix(name.as_bytes())? {
            [] => Some(&[][..]),
            [b'=', value @ ..] => Some(value),
            _ => None,
        })
    }

    /// Whether a word is among the features of a command (`fetch=shallow filter`).
    pub fn has_feature(&self, command: &str, feature: &str) -> bool {
        let value = self.value(command).unwrap_or_default();
        super::words(value).any(|word| word == feature.as_bytes())
    }

    /// The hash of the repository; SHA-1 where nothing is said.
    ///
    /// # Errors
    /// [`Error::Refused`] for one that is not known here.
    pub fn object_format(&self) -> Result<HashKind, Error> {
        let Some(name) = self.value("object-format") else { return Ok(HashKind::Sha1) };
        HashKind::from_name(name).ok_or_else(|| {
            Error::Refused(format!("the server has the unknown object format '{}'", quote(name)))
        })
    }
}

fn value_of<'a>(word: &'a [u8], name: &str) -> Option<&'a [u8]> {
    match word.strip_prefix(name.as_bytes())? {
        [] => Some(&[]),
        [b'=', value @ ..] => Some(value),
        _ => None,
    }
}
