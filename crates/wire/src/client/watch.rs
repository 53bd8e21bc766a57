//! The command `packhorse-watch` of version 2 (docs/watch.md).

use super::{Capabilities, begin_command, end_command, line, unexpected, words};
use crate::Error;
use crate::v2::{WATCH, WatchRequest};

/// A request to be told what becomes of refs.
///
/// # Errors
/// [`Error::Refused`] when the server has no such command, or something does not fit into a packet.
pub fn watch_request(
    request: &WatchRequest,
    capabilities: &Capabilities,
    agent: &str,
) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    begin_command(&mut out, WATCH, capabilities, agent, &[])?;
    if let Some(since) = &request.since {
        line(&mut out, &[b"since ", since])?;
    }
    for prefix in &request.prefixes {
        line(&mut out, &[b"ref-prefix ", prefix])?;
    }
    end_command(&mut out);
    Ok(out)
}

/// A line of an event; a flush packet ends each, and one alone says that the server is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchLine<'a> {
    /// From here on the client is told. What it lists later than this has it all.
    At(&'a [u8]),
    /// What became of a ref: what it was and is, an id or `ref:NAME`, or `None`.
    Moved {
        /// What it was.
        old: Option<&'a [u8]>,
        /// What it is.
        new: Option<&'a [u8]>,
        /// Its full name.
        name: &'a [u8],
    },
    /// How all refs are after what came before this.
    Cursor(&'a [u8]),
    /// More happened than the server remembers: the client has to list the refs.
    Relist(&'a [u8]),
    /// That was all.
    End,
}

/// Reads a line of an event.
///
/// # Errors
/// [`Error::Malformed`].
pub fn watch_line(line: &[u8]) -> Result<WatchLine<'_>, Error> {
    let mut words = words(line);
    let mut next = || words.next().filter(|word| !word.is_empty());
    let read = match next() {
        Some(b"at") => next().map(WatchLine::At),
        Some(b"cursor") => next().map(WatchLine::Cursor),
        Some(b"relist") => next().map(WatchLine::Relist),
        Some(b"end") => Some(WatchLine::End),
        Some(b"ref") => match (next(), next(), next()) {
            (Some(old), Some(new), Some(name)) => {
                let value = |word| Some(word).filter(|word| *word != b"-");
                Some(WatchLine::Moved { old: value(old), new: value(new), name })
            }
            _ => None,
        },
        _ => None,
    };
    let ended = words.next().is_none();
    read.filter(|_| ended).ok_or_else(|| unexpected(line))
}
