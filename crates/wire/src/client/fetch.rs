//! The command `fetch` of version 2.

use bstr::ByteSlice as _;
use object::{HashKind, ObjectId};

use super::{Capabilities, begin_command, end_command, line, not_offered, unexpected, words};
use crate::Error;
use crate::fetch::{Depth, FetchRequest};
use crate::pktline::Packet;
use crate::quote::quote;
use crate::sideband::{DATA, ERROR, PROGRESS};

/// A request for a pack, or for what both sides have.
///
/// # Errors
/// [`Error::Refused`] when the server does not offer something of it.
pub fn fetch_request(
    request: &FetchRequest,
    capabilities: &Capabilities,
    agent: &str,
) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    begin_command(&mut out, "fetch", capabilities, agent, &request.server_options)?;
    let needs = |feature: &str, asked: bool| match asked {
        true if !capabilities.has_feature("fetch", feature) => Err(not_offered(feature)),
        _ => Ok(()),
    };
    needs("shallow", request.deepens() || !request.shallow.is_empty())?;
    needs("filter", request.filter.is_some())?;
    needs("ref-in-want", !request.want_refs.is_empty())?;
    needs("wait-for-done", request.wait_for_done)?;
    for (asked, word) in [
        (request.thin_pack, "thin-pack"),
        (request.no_progress, "no-progress"),
        (request.include_tag, "include-tag"),
        (request.ofs_delta, "ofs-delta"),
        (request.wait_for_done, "wait-for-done"),
    ] {
        if asked {
            line(&mut out, &[word.as_bytes()])?;
        }
    }
    let ids = |out: &mut Vec<u8>, word: &[u8], ids: &[ObjectId]| {
        ids.iter().try_for_each(|id| line(out, &[word, id.to_hex().as_bytes()]))
    };
    ids(&mut out, b"want ", &request.wants)?;
    for name in &request.want_refs {
        line(&mut out, &[b"want-ref ", name])?;
    }
    ids(&mut out, b"shallow ", &request.shallow)?;
    if let Some(Depth(depth)) = request.deepen {
        line(&mut out, &[b"deepen ", depth.to_string().as_bytes()])?;
    }
    if request.deepen_relative {
        line(&mut out, &[b"deepen-relative"])?;
    }
    if let Some(time) = request.deepen_since {
        line(&mut out, &[b"deepen-since ", time.to_string().as_bytes()])?;
    }
    for name in &request.deepen_not {
        line(&mut out, &[b"deepen-not ", name])?;
    }
    if let Some(filter) = &request.filter {
        line(&mut out, &[b"filter ", filter.to_string().as_bytes()])?;
    }
    ids(&mut out, b"have ", &request.haves)?;
    if request.done {
        line(&mut out, &[b"done"])?;
    }
    end_command(&mut out);
    Ok(out)
}

/// A part of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchLine<'a> {
    /// The server has it, too.
    Ack(ObjectId),
    /// The server has enough; the pack follows.
    Ready,
    /// The history ends here now.
    Shallow(ObjectId),
    /// The history does not end here any more.
    Unshallow(ObjectId),
    /// What a ref that was wanted by name leads to.
    WantedRef {
        /// The object.
        id: ObjectId,
        /// The ref.
        name: &'a [u8],
    },
    /// A pack that is to be had elsewhere.
    PackUri {
        /// Its checksum, hexadecimal.
        hash: &'a [u8],
        /// Where it is.
        uri: &'a [u8],
    },
    /// Bytes of the pack.
    Pack(&'a [u8]),
    /// Words for a person.
    Progress(&'a [u8]),
    /// Nothing that matters to anybody.
    Nothing,
    /// The server has said what it has of the haves, and wants more, or `done`.
    Round,
    /// That was the pack, and all.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    None,
    Acknowledgments,
    ShallowInfo,
    WantedRefs,
    PackfileUris,
    Packfile,
}

/// Reads the answer to one request.
#[derive(Debug)]
pub struct FetchReader {
    section: Section,
    hash: HashKind,
}

impl FetchReader {
    /// A reader of ids of this kind.
    pub fn new(hash: HashKind) -> Self {
        FetchReader { section: Section::None, hash }
    }

    /// Takes the next packet, as it came ([`crate::PacketReader::next`]).
    ///
    /// # Errors
    /// [`Error::Malformed`]; [`Error::HungUp`] in the middle; [`Error::Remote`] when the server gave up, in its words.
    pub fn take<'a>(&mut self, packet: Packet<'a>) -> Result<FetchLine<'a>, Error> {
        match (packet, self.section) {
            (Packet::Data(data), Section::Packfile) => pack_part(data),
            (Packet::Data(data), _) => {
                let line = data.strip_suffix(b"\n").unwrap_or(data);
                if let Some(words) = line.strip_prefix(b"ERR ") {
                    return Err(Error::Remote(quote(words)));
                }
                self.line(line).ok_or_else(|| unexpected(line))
            }
            (Packet::Delim, section) if section != Section::Packfile => {
                self.section = Section::None;
                Ok(FetchLine::Nothing)
            }
            (Packet::Flush, Section::Packfile) => Ok(FetchLine::End),
            (Packet::Flush, Section::Acknowledgments) => Ok(FetchLine::Round),
            // Behind the end of an answer over HTTP.
            (Packet::ResponseEnd, _) => Ok(FetchLine::Nothing),
            (Packet::Eof, _) => Err(Error::HungUp),
            (Packet::Flush | Packet::Delim, _) => Err(unexpected(b"")),
        }
    }

    fn line<'a>(&mut self, line: &'a [u8]) -> Option<FetchLine<'a>> {
        let id = |hex: &[u8]| ObjectId::from_hex_of(hex, self.hash);
        match self.section {
            Section::None => {
                self.section = match line {
                    b"acknowledgments" => Section::Acknowledgments,
                    b"shallow-info" => Section::ShallowInfo,
                    b"wanted-refs" => Section::WantedRefs,
                    b"packfile-uris" => Section::PackfileUris,
                    b"packfile" => Section::Packfile,
                    _ => return None,
                };
                Some(FetchLine::Nothing)
            }
            Section::Acknowledgments => match line {
                b"NAK" => Some(FetchLine::Nothing),
                b"ready" => Some(FetchLine::Ready),
                _ => id(line.strip_prefix(b"ACK ")?).map(FetchLine::Ack),
            },
            Section::ShallowInfo => match line.strip_prefix(b"un") {
                Some(rest) => id(rest.strip_prefix(b"shallow ")?).map(FetchLine::Unshallow),
                None => id(line.strip_prefix(b"shallow ")?).map(FetchLine::Shallow),
            },
            Section::WantedRefs => {
                let (hex, name) = line.split_once_str(" ")?;
                Some(FetchLine::WantedRef { id: id(hex)?, name })
            }
            Section::PackfileUris => {
                let mut words = words(line);
                let (hash, uri) = (words.next()?, words.next()?);
                Some(FetchLine::PackUri { hash, uri })
            }
            Section::Packfile => None,
        }
    }
}

/// What a packet of the packfile section, or of side-band-64k, is.
fn pack_part(data: &[u8]) -> Result<FetchLine<'_>, Error> {
    match data.split_first() {
        Some((&DATA, data)) => Ok(FetchLine::Pack(data)),
        Some((&PROGRESS, words)) => Ok(FetchLine::Progress(words)),
        Some((&ERROR, words)) => Err(Error::Remote(quote(words.trim_end()))),
        _ => Err(unexpected(data)),
    }
}
