//! What a client asks of upload-pack: one request type for v0, v1 and v2.
//!
//! The three versions differ in how lines arrive ([`crate::v0`], [`crate::v2`]);
//! the lines they share are read here.

use std::collections::HashSet;

use bstr::BString;
use object::{HashKind, ObjectId};

use crate::Error;
use crate::capability::UploadPackOffer;
use crate::filter::Filter;
use crate::limits::{Limits, TextBudget, push_within};
use crate::number::parse_unsigned;
use crate::quote::quote;
use crate::sideband::Band;

/// How many commits of history a shallow client wants: `deepen N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Depth(pub u32);

impl Depth {
    /// What `--unshallow` sends: everything.
    pub const INFINITE: Depth = Depth(0x7fff_ffff);

    /// Whether everything is wanted.
    pub fn is_infinite(self) -> bool {
        self >= Self::INFINITE
    }
}

/// How a v0 or v1 server acknowledges `have` lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum MultiAck {
    /// Once, for the first common object.
    #[default]
    None,
    /// `multi_ack`: every common object, with `continue`.
    Basic,
    /// `multi_ack_detailed`: with `common` and `ready`.
    Detailed,
}

/// A fetch, as every version of the protocol asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchRequest {
    /// Objects wanted, each once, in the client's order.
    pub wants: Vec<ObjectId>,
    /// Refs wanted by name (v2, `ref-in-want`), each once.
    pub want_refs: Vec<BString>,
    /// Objects the client has. Of v0 and v1 none: they arrive in rounds
    /// ([`crate::v0::read_have`]).
    pub haves: Vec<ObjectId>,
    /// Whether the client ends the negotiation (v2).
    pub done: bool,
    /// The client's shallow boundary.
    pub shallow: Vec<ObjectId>,
    /// `deepen`: the new depth of the history. Not together with the next two.
    pub deepen: Option<Depth>,
    /// `deepen-since`: seconds since 1970.
    pub deepen_since: Option<i64>,
    /// `deepen-not`: names of refs, full or abbreviated.
    pub deepen_not: Vec<BString>,
    /// Whether [`FetchRequest::deepen`] counts from the present boundary.
    pub deepen_relative: bool,
    /// Which objects to leave out.
    pub filter: Option<Filter>,
    /// Whether deltas may use bases that are not in the pack.
    pub thin_pack: bool,
    /// Whether progress is unwelcome.
    pub no_progress: bool,
    /// Whether tags of objects in the pack come along.
    pub include_tag: bool,
    /// Whether deltas may name their bases by offset.
    pub ofs_delta: bool,
    /// Whether the server must never end the negotiation by itself (v2).
    pub wait_for_done: bool,
    /// Whether the whole response is on side-band (v2).
    pub sideband_all: bool,
    /// The framing of the pack; always [`Band::Large`] in v2.
    pub side_band: Band,
    /// How haves are acknowledged (v0, v1).
    pub multi_ack: MultiAck,
    /// Whether the pack may follow `ready` without a `done` (v0, v1, stateless).
    pub no_done: bool,
    /// The client's name and version.
    pub agent: Option<BString>,
    /// The client's session, for logs.
    pub session_id: Option<BString>,
    /// Values of `server-option` (v2).
    pub server_options: Vec<BString>,
    /// Other remotes, of those the server has told of, from which the client fetches what this one
    /// leaves out (v2).
    pub promisors: Vec<BString>,
    /// The hash of the client, which is the repository's.
    pub object_format: HashKind,
}

impl FetchRequest {
    /// Whether the request changes the client's shallow boundary.
    pub fn deepens(&self) -> bool {
        self.deepen.is_some() || self.deepens_by_rev_list()
    }

    fn deepens_by_rev_list(&self) -> bool {
        self.deepen_since.is_some() || !self.deepen_not.is_empty()
    }
}

/// A request in the making.
#[derive(Debug)]
pub(crate) struct FetchParser {
    pub(crate) request: FetchRequest,
    /// Whether a v0 client has taken up `filter`.
    pub(crate) filter_negotiated: bool,
    wanted: HashSet<ObjectId>,
    wanted_refs: HashSet<BString>,
    hash: HashKind,
    limits: Limits,
    text: TextBudget,
}

impl FetchParser {
    pub(crate) fn new(hash: HashKind, limits: &Limits) -> Self {
        FetchParser {
            request: FetchRequest { object_format: hash, ..FetchRequest::default() },
            filter_negotiated: false,
            wanted: HashSet::new(),
            wanted_refs: HashSet::new(),
            hash,
            limits: *limits,
            text: TextBudget::new(limits),
        }
    }

    pub(crate) fn want(&mut self, id: ObjectId) -> Result<(), Error> {
        if !self.wanted.insert(id) {
            return Ok(());
        }
        let (wants, max) = (&mut self.request.wants, self.limits.wants_max);
        push_within(wants, id, max, "wants", "wants_max")
    }

    pub(crate) fn want_ref(&mut self, name: &[u8]) -> Result<(), Error> {
        // Kept twice: in the request and in the set.
        self.text.spend(name.len())?;
        let name = self.text.keep(name)?;
        if !self.wanted_refs.insert(name.clone()) {
            return Err(Error::Refused(format!("duplicate want-ref {}", quote(&name))));
        }
        let (refs, max) = (&mut self.request.want_refs, self.limits.wants_max);
        push_within(refs, name, max, "wants", "wants_max")
    }

    pub(crate) fn have(&mut self, hex: &[u8]) -> Result<(), Error> {
        let id = have_id(hex, self.hash)?;
        push_within(&mut self.request.haves, id, self.limits.haves_max, "haves", "haves_max")
    }

    pub(crate) fn shallow(&mut self, hex: &[u8]) -> Result<(), Error> {
        let id = ObjectId::from_hex_of(hex, self.hash).ok_or_else(|| {
            Error::Malformed(format!("invalid shallow line: shallow {}", quote(hex)))
        })?;
        let (list, max) = (&mut self.request.shallow, self.limits.shallow_max);
        push_within(list, id, max, "shallow commits", "shallow_max")
    }

    pub(crate) fn deepen(&mut self, depth: &[u8]) -> Result<(), Error> {
        let parsed = parse_unsigned(depth)
            .filter(|&depth| depth > 0)
            .and_then(|depth| i32::try_from(depth).ok())
            .ok_or_else(|| Error::Malformed(format!("Invalid deepen: deepen {}", quote(depth))))?;
        self.request.deepen = Some(Depth(parsed.unsigned_abs()));
        Ok(())
    }

    pub(crate) fn deepen_since(&mut self, time: &[u8]) -> Result<(), Error> {
        let parsed = parse_unsigned(time).and_then(|time| i64::try_from(time).ok());
        self.request.deepen_since = Some(parsed.ok_or_else(|| {
            Error::Malformed(format!("Invalid deepen-since: deepen-since {}", quote(time)))
        })?);
        Ok(())
    }

    pub(crate) fn deepen_not(&mut self, name: &[u8]) -> Result<(), Error> {
        let name = self.text.keep(name)?;
        let (list, max) = (&mut self.request.deepen_not, self.limits.deepen_not_max);
        push_within(list, name, max, "deepen-not lines", "deepen_not_max")
    }

    /// Reads a filter the server's rules allow.
    pub(crate) fn filter(&mut self, spec: &[u8], offer: &UploadPackOffer) -> Result<(), Error> {
        let Some(rules) = &offer.filter else {
            return Err(filter_not_negotiated());
        };
        if self.request.filter.is_some() {
            let words = "multiple filter-specs cannot be combined";
            return Err(Error::Refused(words.to_owned()));
        }
        self.text.spend(spec.len())?;
        let filter = Filter::parse_within(spec, &self.limits).map_err(Error::Refused)?;
        rules.check(&filter).map_err(Error::Refused)?;
        self.request.filter = Some(filter);
        Ok(())
    }

    pub(crate) fn agent(&mut self, agent: &[u8]) -> Result<(), Error> {
        self.request.agent = Some(self.text.keep(agent)?);
        Ok(())
    }

    pub(crate) fn session_id(&mut self, id: &[u8]) -> Result<(), Error> {
        self.request.session_id = Some(self.text.keep(id)?);
        Ok(())
    }

    /// Checks that the client speaks of the repository's hash.
    pub(crate) fn object_format(&mut self, name: &[u8]) -> Result<(), Error> {
        check_object_format(HashKind::from_name(name), name, self.hash)
    }

    /// The request, when its parts go together.
    pub(crate) fn finish(self) -> Result<FetchRequest, Error> {
        let request = self.request;
        if request.deepen.is_some() && request.deepens_by_rev_list() {
            let words = "git upload-pack: deepen and deepen-since (or deepen-not) \
                         cannot be used together";
            return Err(Error::Refused(words.to_owned()));
        }
        Ok(request)
    }
}

/// The id of a `have` line.
pub(crate) fn have_id(hex: &[u8], hash: HashKind) -> Result<ObjectId, Error> {
    ObjectId::from_hex_of(hex, hash).ok_or_else(|| {
        let found = quote(hex);
        Error::Malformed(format!("git upload-pack: expected SHA1 object, got '{found}'"))
    })
}

pub(crate) fn filter_not_negotiated() -> Error {
    Error::Refused("git upload-pack: filtering capability not negotiated".to_owned())
}

/// The client's hash must be the server's: nothing is translated.
pub(crate) fn check_object_format(
    client: Option<HashKind>,
    name: &[u8],
    server: HashKind,
) -> Result<(), Error> {
    match client {
        None => Err(Error::Refused(format!("unknown object format '{}'", quote(name)))),
        Some(client) if client != server => Err(Error::Refused(format!(
            "mismatched object format: server {}; client {}",
            server.name(),
            client.name()
        ))),
        Some(_) => Ok(()),
    }
}
