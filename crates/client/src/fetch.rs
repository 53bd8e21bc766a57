//! Packs from a server: what both sides have is found out, and the rest comes (gitprotocol-v2, "fetch").

use bstr::BString;
use bytes::Bytes;
use object::ObjectId;
use wire::client::{FetchLine, FetchReader, fetch_request};
use wire::{FetchRequest, Protocol, Service};

use crate::road::{self, Answer, Road};
use crate::{Connection, Error};

/// What the client has, from the newest on.
pub trait Haves: Send {
    /// Some more, so many at most; none when that was all.
    fn next(&mut self, most: usize) -> Vec<ObjectId>;

    /// The server has this one as well, and so whatever is behind it.
    fn common(&mut self, id: ObjectId);
}

/// A client that has nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHaves;

impl Haves for NoHaves {
    fn next(&mut self, _most: usize) -> Vec<ObjectId> {
        Vec::new()
    }

    fn common(&mut self, _id: ObjectId) {}
}

/// Haves in the first request of a negotiation; each next one has twice as many.
const HAVES_FIRST: usize = 16;
/// In each at most.
const HAVES_MAX: usize = 8192;
/// So many that are not the server's, one after another, and it is asked for all (git's
/// `MAX_IN_VAIN`).
const IN_VAIN_MAX: usize = 256;

/// What a server answered, up to its pack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fetched {
    /// Where the client's history ends from now on.
    pub shallow: Vec<ObjectId>,
    /// Where it does not end any more.
    pub unshallow: Vec<ObjectId>,
    /// What the refs lead to that were wanted by name.
    pub wanted_refs: Vec<(BString, ObjectId)>,
    /// Packs that are to be had elsewhere: their checksum in hexadecimal, and the address.
    pub pack_uris: Vec<(BString, BString)>,
}

/// A piece of what comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackPart {
    /// Bytes of the pack.
    Bytes(Bytes),
    /// Words for a person.
    Progress(BString),
}

/// A pack on its way.
pub struct PackReader {
    road: Road,
    answer: Option<Answer>,
    reader: FetchReader,
    /// What was read with the last line before the pack.
    first: Option<PackPart>,
    ended: bool,
}

impl Connection {
    /// Fetches. `request` has what is wanted and how; its `haves` and `done` are not looked at.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Unsupported`] for servers that do not speak version 2.
    pub async fn fetch(
        mut self,
        mut request: FetchRequest,
        haves: &mut dyn Haves,
    ) -> Result<(Fetched, PackReader), Error> {
        if self.advertised.protocol < Protocol::V2 {
            let words = "the server does not speak version 2 of git's protocol".to_owned();
            return Err(Error::Unsupported(words));
        }
        request.object_format = self.advertised.capabilities.object_format()?;
        let mut negotiation = Negotiation::new(haves);
        loop {
            (request.haves, request.done) = negotiation.next();
            let capabilities = &self.advertised.capabilities;
            let bytes = fetch_request(&request, capabilities, &self.options.agent)?;
            let mut answer = self.road.ask(Service::UploadPack, bytes).await?;
            let mut reader = FetchReader::new(request.object_format);
            let read = {
                let packets = road::packets(&mut self.road, &mut answer);
                read_head(packets, &mut reader, &mut negotiation).await
            };
            match (read, &mut self.road) {
                (Ok(None), _) => {}
                (Ok(Some((fetched, first, ended))), _) => {
                    let pack = PackReader { road: self.road, answer, reader, first, ended };
                    return Ok((fetched, pack));
                }
                (Err(error), Road::Stream(road)) => return Err(road.why(error).await),
                (Err(error), Road::Http(_)) => return Err(error),
            }
        }
    }
}

/// What was found out about what both sides have.
struct Negotiation<'a> {
    haves: &'a mut dyn Haves,
    common: Vec<ObjectId>,
    most: usize,
    in_vain: usize,
    /// Something of theirs was found.
    found_any: bool,
}

impl<'a> Negotiation<'a> {
    fn new(haves: &'a mut dyn Haves) -> Self {
        let common = Vec::new();
        Negotiation { haves, common, most: HAVES_FIRST, in_vain: 0, found_any: false }
    }

    /// What is asked next: all that both have, because servers forget, and some more; and whether that is all.
    fn next(&mut self) -> (Vec<ObjectId>, bool) {
        let gives_up = self.found_any && self.in_vain >= IN_VAIN_MAX;
        let more = if gives_up { Vec::new() } else { self.haves.next(self.most) };
        self.most = (self.most * 2).min(HAVES_MAX);
        self.in_vain += more.len();
        let done = more.is_empty();
        (self.common.iter().copied().chain(more).collect(), done)
    }

    fn ack(&mut self, id: ObjectId) {
        self.haves.common(id);
        if !self.common.contains(&id) {
            self.common.push(id);
            (self.found_any, self.in_vain) = (true, 0);
        }
    }
}

/// Reads up to the pack; `None` when the server wants to know more.
async fn read_head(
    packets: &mut crate::packets::Packets,
    reader: &mut FetchReader,
    negotiation: &mut Negotiation<'_>,
) -> Result<Option<(Fetched, Option<PackPart>, bool)>, Error> {
    let mut fetched = Fetched::default();
    loop {
        match reader.take(packets.next().await?)? {
            FetchLine::Ack(id) => negotiation.ack(id),
            FetchLine::Ready | FetchLine::Nothing => {}
            FetchLine::Shallow(id) => fetched.shallow.push(id),
            FetchLine::Unshallow(id) => fetched.unshallow.push(id),
            FetchLine::WantedRef { id, name } => fetched.wanted_refs.push((name.into(), id)),
            FetchLine::PackUri { hash, uri } => fetched.pack_uris.push((hash.into(), uri.into())),
            FetchLine::Pack(bytes) => {
                let first = PackPart::Bytes(Bytes::copy_from_slice(bytes));
                return Ok(Some((fetched, Some(first), false)));
            }
            FetchLine::Progress(words) => {
                return Ok(Some((fetched, Some(PackPart::Progress(words.into())), false)));
            }
            FetchLine::Round => return Ok(None),
            FetchLine::End => return Ok(Some((fetched, None, true))),
        }
    }
}

impl PackReader {
    /// What comes next; `None` at the end of the pack.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn next(&mut self) -> Result<Option<PackPart>, Error> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        if self.ended {
            return Ok(None);
        }
        match self.read().await {
            Err(error) => match &mut self.road {
                Road::Stream(road) => Err(road.why(error).await),
                Road::Http(_) => Err(error),
            },
            part => part,
        }
    }

    async fn read(&mut self) -> Result<Option<PackPart>, Error> {
        let packets = road::packets(&mut self.road, &mut self.answer);
        loop {
            match self.reader.take(packets.next().await?)? {
                // What only says that the server is there.
                FetchLine::Nothing | FetchLine::Pack([]) => {}
                FetchLine::Pack(bytes) => {
                    return Ok(Some(PackPart::Bytes(Bytes::copy_from_slice(bytes))));
                }
                FetchLine::Progress(words) => return Ok(Some(PackPart::Progress(words.into()))),
                _ => {
                    self.ended = true;
                    return Ok(None);
                }
            }
        }
    }

    /// Ends the conversation as servers like it.
    pub async fn close(self) {
        self.road.close().await;
    }
}
