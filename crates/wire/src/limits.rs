//! How much one request may hold: every count and size a peer can choose.

use bstr::BString;

use crate::Error;
use crate::pktline::LARGE_PACKET_DATA_MAX;

/// The limits of one request. Lengths and counts are checked against these
/// before anything is stored.
///
/// The defaults leave room for repositories with a million refs; a server for
/// strangers may want less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Data bytes in one pkt-line (65516, the most the format can carry).
    pub line_bytes_max: usize,
    /// Bytes of names, options, certificates and values kept from one request (32 MiB).
    pub text_bytes_max: usize,
    /// Refs that a client takes from a server (10,000,000).
    pub advertised_refs_max: usize,
    /// `want` and `want-ref` lines of one fetch (1,000,000).
    pub wants_max: usize,
    /// `have` lines of one request (1,000,000).
    pub haves_max: usize,
    /// Rounds of `have` lines in one v0 or v1 conversation (100,000).
    pub rounds_max: usize,
    /// `shallow` lines of one fetch or push (1,000,000).
    pub shallow_max: usize,
    /// `deepen-not` lines of one fetch (10,000).
    pub deepen_not_max: usize,
    /// `ref-prefix` lines after which `ls-refs` ignores prefixes and lists all refs
    /// (65,536, as git; more are not an error).
    pub prefixes_max: usize,
    /// `server-option` lines of one request (1,000).
    pub server_options_max: usize,
    /// Objects asked about in one `object-info` (100,000).
    pub object_info_max: usize,
    /// Commands of one push (1,000,000).
    pub push_commands_max: usize,
    /// Push options of one push (1,000).
    pub push_options_max: usize,
    /// `combine:` filters inside each other (16).
    pub filter_nesting_max: usize,
    /// Parts of one object filter, at every level together (256).
    pub filter_parts_max: usize,
    /// `argument` lines of one request for an archive (64, as git).
    pub archive_arguments_max: usize,
    /// Bytes of a file whose content attributes change on its way into an archive, before and
    /// after (128 MiB).
    pub archive_converted_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            line_bytes_max: LARGE_PACKET_DATA_MAX,
            text_bytes_max: 32 << 20,
            advertised_refs_max: 10_000_000,
            wants_max: 1_000_000,
            haves_max: 1_000_000,
            rounds_max: 100_000,
            shallow_max: 1_000_000,
            deepen_not_max: 10_000,
            prefixes_max: 65_536,
            server_options_max: 1_000,
            object_info_max: 100_000,
            push_commands_max: 1_000_000,
            push_options_max: 1_000,
            filter_nesting_max: 16,
            filter_parts_max: 256,
            archive_arguments_max: 64,
            archive_converted_bytes_max: 128 << 20,
        }
    }
}

/// Appends to a list that may grow to `max` items.
pub(crate) fn push_within<T>(
    list: &mut Vec<T>,
    item: T,
    max: usize,
    what: &'static str,
    setting: &'static str,
) -> Result<(), Error> {
    if list.len() >= max {
        return Err(Error::Limit { what, max: max as u64, setting });
    }
    list.push(item);
    Ok(())
}

/// The bytes of text one request may still keep.
#[derive(Debug)]
pub(crate) struct TextBudget {
    left: usize,
    max: usize,
}

impl TextBudget {
    pub(crate) fn new(limits: &Limits) -> Self {
        TextBudget { left: limits.text_bytes_max, max: limits.text_bytes_max }
    }

    /// Counts bytes that are about to be kept.
    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), Error> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Error::Limit {
                what: "bytes of text",
                max: self.max as u64,
                setting: "text_bytes_max",
            }),
        }
    }

    /// Keeps a copy of a text.
    pub(crate) fn keep(&mut self, text: &[u8]) -> Result<BString, Error> {
        self.spend(text.len())?;
        Ok(BString::from(text))
    }
}
