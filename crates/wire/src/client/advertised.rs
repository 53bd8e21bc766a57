//! What a server says first: its capabilities (version 2), or its refs and capabilities (before).

use bstr::BString;
use object::{HashKind, ObjectId};

use super::{Capabilities, unexpected};
use crate::limits::{Limits, TextBudget, push_within};
use crate::pktline::Packet;
use crate::{Error, Protocol};

/// A ref of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRef {
    /// The full name.
    pub name: BString,
    /// What it leads to; `None` of a HEAD whose branch is not there yet.
    pub id: Option<ObjectId>,
    /// To which ref it points, of a symbolic ref, where the server says so.
    pub target: Option<BString>,
    /// What is below an annotated tag, where the server says so.
    pub peeled: Option<ObjectId>,
}

/// What a server has said first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised {
    /// The version it speaks.
    pub protocol: Protocol,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Its refs; of version 2 none, they are asked for.
    pub refs: Vec<RemoteRef>,
    /// Where its history ends (version 0 and 1).
    pub shallow: Vec<ObjectId>,
}

/// Reads what a server says first.
#[derive(Debug)]
pub struct AdvertisedReader {
    found: Advertised,
    state: State,
    hash: HashKind,
    limits: Limits,
    text: TextBudget,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing has come.
    Start,
    /// `# service=` has come (gitprotocol-http, "Smart Server Response"); a flush packet follows.
    Service,
    /// Words of version 2 come.
    Words,
    /// The first ref is to come.
    FirstRef,
    /// More refs come.
    Refs,
}

impl AdvertisedReader {
    /// Keeps so many refs and so much of their names ([`Limits::advertised_refs_max`],
    /// [`Limits::text_bytes_max`]).
    pub fn new(limits: &Limits) -> Self {
        AdvertisedReader {
            found: Advertised {
                protocol: Protocol::V0,
                capabilities: Capabilities::default(),
                refs: Vec::new(),
                shallow: Vec::new(),
            },
            state: State::Start,
            hash: HashKind::Sha1,
            limits: *limits,
            text: TextBudget::new(limits),
        }
    }

    /// Takes the next packet, as [`crate::PacketReader::next_line`] gives them; says whether that was all.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::HungUp`], [`Error::Limit`].
    pub fn take(&mut self, packet: Packet<'_>) -> Result<bool, Error> {
        let line = match packet {
            Packet::Data(line) => line,
            Packet::Flush if self.state == State::Service => {
                self.state = State::Start;
                return Ok(false);
            }
            Packet::Flush => return self.end().map(|()| true),
            Packet::Eof => return Err(Error::HungUp),
            Packet::Delim | Packet::ResponseEnd => return Err(unexpected(b"")),
        };
        match self.state {
            State::Start if line.starts_with(b"# service=") => self.state = State::Service,
            State::Start if line == b"version 2" => {
                self.found.protocol = Protocol::V2;
                self.state = State::Words;
            }
            State::Start if line == b"version 1" => {
                self.found.protocol = Protocol::V1;
                self.state = State::FirstRef;
            }
            State::Start | State::FirstRef => self.first_ref(line)?,
            State::Refs => self.next_ref(line)?,
            State::Words => {
                self.text.spend(line.len())?;
                self.found.capabilities.push(line);
            }
            State::Service => return Err(unexpected(line)),
        }
        Ok(false)
    }

    /// What has been read.
    pub fn finish(self) -> Advertised {
        self.found
    }

    fn end(&mut self) -> Result<(), Error> {
        if self.state == State::Words {
            return Ok(());
        }
        let found = &mut self.found;
        // `symref=HEAD:refs/heads/main`
        let symrefs: Vec<&[u8]> = found.capabilities.values("symref").collect();
        for symref in symrefs {
            let Some(at) = symref.iter().position(|&byte| byte == b':') else { continue };
            let (name, target) = (&symref[..at], &symref[at + 1..]);
            if let Some(one) = found.refs.iter_mut().find(|one| one.name == name) {
                one.target = Some(target.into());
            }
        }
        Ok(())
    }

    fn first_ref(&mut self, line: &[u8]) -> Result<(), Error> {
        let at = line.iter().position(|&byte| byte == 0);
        let (line, list) = at.map_or((line, &[][..]), |at| (&line[..at], &line[at + 1..]));
        self.text.spend(list.len())?;
        self.found.capabilities = Capabilities::from_list(list);
        self.hash = self.found.capabilities.object_format()?;
        self.state = State::Refs;
        // What stands where there is no ref to write capabilities behind.
        match line.strip_suffix(b" capabilities^{}") {
            Some(_) => Ok(()),
            None => self.next_ref(line),
        }
    }

    fn next_ref(&mut self, line: &[u8]) -> Result<(), Error> {
        let id = |hex| ObjectId::from_hex_of(hex, self.hash).ok_or_else(|| unexpected(line));
        if let Some(hex) = line.strip_prefix(b"shallow ") {
            let (list, max) = (&mut self.found.shallow, self.limits.shallow_max);
            return push_within(list, id(hex)?, max, "shallow commits", "shallow_max");
        }
        let at = line.iter().position(|&byte| byte == b' ').ok_or_else(|| unexpected(line))?;
        let (id, name) = (id(&line[..at])?, &line[at + 1..]);
        if let Some(name) = name.strip_suffix(b"^{}") {
            if let Some(last) = self.found.refs.last_mut().filter(|last| last.name == name) {
                last.peeled = Some(id);
            }
            return Ok(());
        }
        let name = self.text.keep(name)?;
        let one = RemoteRef { name, id: Some(id), target: None, peeled: None };
        push_ref(&mut self.found.refs, one, &self.limits)
    }
}

/// Appends a ref to a list that may grow to so many.
pub(super) fn push_ref(
    refs: &mut Vec<RemoteRef>,
    one: RemoteRef,
    limits: &Limits,
) -> Result<(), Error> {
    push_within(refs, one, limits.advertised_refs_max, "refs", "advertised_refs_max")
}
