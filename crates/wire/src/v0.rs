//! Versions 0 and 1 of a fetch: wants first, then rounds of haves
//! (gitprotocol-pack, "Packfile Negotiation").
//!
//! The two parts are read separately, because the server answers between them:
//! with the new shallow boundary after the wants, and in every round of haves.

use std::io::BufRead;

use object::{HashKind, ObjectId};

use crate::Error;
use crate::capability::{self, UPLOAD_PACK, UploadPackOffer};
use crate::fetch::{FetchParser, FetchRequest, filter_not_negotiated, have_id};
use crate::limits::Limits;
use crate::pktline::{Packet, PacketReader};
use crate::quote::quote;

/// Reads everything up to the flush behind the wants. `None`: the client wants nothing,
/// as after `ls-remote`.
///
/// # Errors
/// [`Error::HungUp`] when the stream ends before that flush.
pub fn read_wants<R: BufRead>(
    reader: &mut PacketReader<R>,
    offer: &UploadPackOffer,
    limits: &Limits,
) -> Result<Option<FetchRequest>, Error> {
    let mut fetch = FetchParser::new(offer.object_format, limits);
    loop {
        match reader.next_line()? {
            Packet::Data(line) => read_need(line, offer, &mut fetch)?,
            Packet::Eof => return Err(Error::HungUp),
            Packet::Flush | Packet::Delim | Packet::ResponseEnd => break,
        }
    }
    if fetch.request.wants.is_empty() {
        return Ok(None);
    }
    fetch.finish().map(Some)
}

fn read_need(line: &[u8], offer: &UploadPackOffer, fetch: &mut FetchParser) -> Result<(), Error> {
    if let Some(hex) = line.strip_prefix(b"shallow ") {
        fetch.shallow(hex)
    } else if let Some(depth) = line.strip_prefix(b"deepen ") {
        fetch.deepen(depth)
    } else if let Some(time) = line.strip_prefix(b"deepen-since ") {
        fetch.deepen_since(time)
    } else if let Some(name) = line.strip_prefix(b"deepen-not ") {
        fetch.deepen_not(name)
    } else if let Some(spec) = line.strip_prefix(b"filter ") {
        if !fetch.filter_negotiated {
            return Err(filter_not_negotiated());
        }
        fetch.filter(spec, offer)
    } else {
        read_want(line, offer, fetch)
    }
}

/// `want <id>`, the first one with the client's capabilities behind it.
fn read_want(line: &[u8], offer: &UploadPackOffer, fetch: &mut FetchParser) -> Result<(), Error> {
    let hex_len = offer.object_format.hex_len();
    let (id, asked) = line
        .strip_prefix(b"want ")
        .and_then(|rest| rest.split_at_checked(hex_len))
        .and_then(|(hex, asked)| Some((ObjectId::from_hex_of(hex, offer.object_format)?, asked)))
        .ok_or_else(|| {
            Error::Malformed(format!(
                "git upload-pack: protocol error, expected to get object ID, not '{}'",
                quote(line)
            ))
        })?;
    capability::accept(UPLOAD_PACK, offer, asked, fetch)?;
    fetch.want(id)
}

/// One step of the negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HaveLine {
    /// The client has this object.
    Have(ObjectId),
    /// The end of a round: the client waits for the answer.
    Flush,
    /// The client waits for the pack.
    Done,
    /// The stream ended between two lines. A stateless client that only wanted to
    /// learn the shallow boundary ends so; from any other it means it hung up.
    Eof,
}

/// Reads one line of the negotiation.
pub fn read_have<R: BufRead>(
    reader: &mut PacketReader<R>,
    hash: HashKind,
) -> Result<HaveLine, Error> {
    match reader.next_line()? {
        Packet::Data(b"done") => Ok(HaveLine::Done),
        Packet::Data(line) => match line.strip_prefix(b"have ") {
            Some(hex) => have_id(hex, hash).map(HaveLine::Have),
            None => Err(Error::Malformed(format!(
                "git upload-pack: expected SHA1 list, got '{}'",
                quote(line)
            ))),
        },
        Packet::Eof => Ok(HaveLine::Eof),
        Packet::Flush | Packet::Delim | Packet::ResponseEnd => Ok(HaveLine::Flush),
    }
}
