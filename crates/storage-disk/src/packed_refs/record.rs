//! One ref of a `packed-refs` file, as its lines are.

use bstr::{BStr, ByteSlice as _};
use memchr::memchr;
use object::{HashKind, IdHex, IdView, MixedHex};
use storage::{Error, PeeledView, Result};

/// One ref of the file, borrowed from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedRecord<'a> {
    /// The name as it stands in the file; it need not be valid.
    pub name: &'a BStr,
    /// The object.
    pub id: IdView<'a>,
    /// What the file says about its peeled value.
    pub peeled: PeeledView<'a>,
    /// The record's lines, with their line feeds.
    pub lines: &'a [u8],
}

/// What a file's records look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub hash: HashKind,
    pub traits: Traits,
}

/// What the absence of a peeled value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Traits {
    Nothing,
    /// Tags below `refs/tags/` are peeled.
    Tags,
    /// Every tag is peeled.
    Fully,
}

impl Form {
    /// The record at the start of `bytes`, which end with a line and hold the record whole.
    pub fn record<'a>(&self, bytes: &'a [u8]) -> Result<PackedRecord<'a>> {
        let Some((id, behind)) = self.id(bytes) else { return Err(unexpected(bytes)) };
        let Some(text) = behind.strip_prefix(b" ") else { return Err(unexpected(bytes)) };
        let Some(feed) = memchr(b'\n', text) else { return Err(unexpected(bytes)) };
        let name = text[..feed].as_bstr();
        let mut rest = &text[feed + 1..];
        let mut peeled = self.peeled_without_line(name);
        if let Some(line) = rest.strip_prefix(b"^") {
            let Some((to, behind)) = self.id(line) else { return Err(unexpected(rest)) };
            let Some(behind) = behind.strip_prefix(b"\n") else { return Err(unexpected(rest)) };
            (peeled, rest) = (PeeledView::To(to), behind);
        }
        Ok(PackedRecord { name, id, peeled, lines: &bytes[..bytes.len() - rest.len()] })
    }

    /// The name in a record's first line, given without its line feed.
    pub fn name<'a>(&self, line: &'a [u8]) -> Result<&'a BStr> {
        let named = self.id(line).and_then(|(_, behind)| behind.strip_prefix(b" "));
        named.map(BStr::new).ok_or_else(|| unexpected(line))
    }

    /// The id that `bytes` begin with, and what follows. Git writes lower case and reads both.
    fn id<'a>(&self, bytes: &'a [u8]) -> Option<(IdView<'a>, &'a [u8])> {
        let (digits, behind) = bytes.split_at_checked(self.hash.hex_len())?;
        let id = match IdHex::new(digits, self.hash) {
            Some(hex) => IdView::Hex(hex),
            None => IdView::MixedHex(MixedHex::new(digits, self.hash)?),
        };
        Some((id, behind))
    }

    fn peeled_without_line(&self, name: &BStr) -> PeeledView<'static> {
        match self.traits {
            Traits::Fully => PeeledView::NotATag,
            Traits::Tags if name.starts_with(b"refs/tags/") => PeeledView::NotATag,
            Traits::Tags | Traits::Nothing => PeeledView::Unknown,
        }
    }
}

/// Damage in the line that `bytes` begin with.
#[cold]
pub(super) fn unexpected(bytes: &[u8]) -> Error {
    corrupt("unexpected line", bytes)
}

#[cold]
pub(super) fn corrupt(what: &str, bytes: &[u8]) -> Error {
    const SHOWN_MAX: usize = 80;
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let shown = line[..line.len().min(SHOWN_MAX)].as_bstr();
    Error::corrupt("packed-refs", format!("{what}: {shown}"))
}
