//! The command `packhorse-watch`: to be told what becomes of refs (docs/watch.md).

use std::io::BufRead;

use bstr::BString;

use super::{Arguments, Keys, Offered, ls_refs, unexpected_line};
use crate::Error;
use crate::capability::UploadPackOffer;
use crate::limits::Limits;
use crate::pktline::{FLUSH, HEADER_LEN, LARGE_PACKET_DATA_MAX, header};

/// What a client wants to be told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchRequest {
    /// How the refs were when the client saw them last, by a word of the server's.
    pub since: Option<BString>,
    /// Only refs whose full name starts with one of these; all when there is none.
    pub prefixes: Vec<BString>,
}

/// The name of the command. Clients that do not know it pass it over.
pub(crate) const NAME: &str = "packhorse-watch";

pub(super) fn offered(offer: &UploadPackOffer) -> Offered {
    if offer.watch { Offered::Plain } else { Offered::No }
}

pub(super) fn read<R: BufRead>(
    arguments: &mut Arguments<'_, R>,
    mut keys: Keys,
    limits: &Limits,
) -> Result<WatchRequest, Error> {
    let mut request = WatchRequest::default();
    let mut prefixes = Some(Vec::new());
    while let Some(line) = arguments.next("expected flush after packhorse-watch arguments")? {
        if let Some(prefix) = line.strip_prefix(b"ref-prefix ") {
            ls_refs::add_prefix(&mut prefixes, prefix, &mut keys, limits);
        } else if let Some(since) = line.strip_prefix(b"since ") {
            request.since = Some(keys.text.keep(since)?);
        } else {
            return Err(unexpected_line(line));
        }
    }
    request.prefixes = prefixes.unwrap_or_default();
    Ok(request)
}

/// What a watching client is told, packet by packet. Each event ends with a flush packet; one alone says that
/// the connection is alive.
pub struct WatchWriter<'a>(pub &'a mut Vec<u8>);

impl WatchWriter<'_> {
    /// `WORD CURSOR`: `at`, `relist` or `cursor`.
    pub fn cursor(&mut self, word: &str, cursor: &dyn std::fmt::Display) {
        self.line(format!("{word} {cursor}\n").as_bytes());
    }

    /// What became of a ref: what it was and is, an id or `ref:NAME`; `-` where it was not, or is not, there.
    /// Says whether it fits into a packet; nothing is written of one that does not.
    #[must_use]
    pub fn moved(&mut self, old: Option<&[u8]>, new: Option<&[u8]>, name: &[u8]) -> bool {
        let parts = [b"ref", old.unwrap_or(b"-"), new.unwrap_or(b"-"), name];
        let mut line = parts.join(&b' ');
        line.push(b'\n');
        let fits = line.len() <= LARGE_PACKET_DATA_MAX;
        if fits {
            self.line(&line);
        }
        fits
    }

    /// That was all.
    pub fn end(&mut self) {
        self.line(b"end\n");
    }

    /// Ends an event.
    pub fn flush(&mut self) {
        self.0.extend_from_slice(FLUSH);
    }

    fn line(&mut self, line: &[u8]) {
        self.0.extend_from_slice(&header(HEADER_LEN + line.len()));
        self.0.extend_from_slice(line);
    }
}
