//! What a client asks of receive-pack: commands, options, and maybe a signature
//! over them (gitprotocol-pack, "Reference Update Request and Packfile Transfer").
//!
//! The pack that follows is not read here: the reader stands exactly in front of it.

mod cert;

use std::io::BufRead;

use bstr::{BString, ByteSlice as _};
use object::{HashKind, ObjectId};

use crate::Error;
use crate::capability::{self, RECEIVE_PACK, ReceivePackOffer, push_cert_offered};
use crate::limits::{Limits, TextBudget, push_within};
use crate::pktline::{Packet, PacketReader};
use crate::quote::quote;
use crate::report::ReportStatus;
use crate::sideband::Band;

pub use cert::PushCert;

/// A ref to create, move or delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushCommand {
    /// What the client believes the ref to be; null when it must not exist.
    pub old: ObjectId,
    /// What it shall be; null to delete it.
    pub new: ObjectId,
    /// The ref's full name, not checked in any way.
    pub name: BString,
}

impl PushCommand {
    /// Whether the ref is to be deleted.
    pub fn deletes(&self) -> bool {
        self.new.is_null()
    }
}

/// A push without its pack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PushRequest {
    /// What is to happen, in the client's order; never empty.
    pub commands: Vec<PushCommand>,
    /// The client's shallow boundary.
    pub shallow: Vec<ObjectId>,
    /// Whether a report is wanted.
    pub report_status: bool,
    /// Whether a report in the second form is wanted.
    pub report_status_v2: bool,
    /// Whether the answer goes over side-band.
    pub side_band_64k: bool,
    /// Whether progress is unwelcome.
    pub quiet: bool,
    /// Whether all commands succeed or none.
    pub atomic: bool,
    /// Whether the client spoke of deltas by offset.
    pub ofs_delta: bool,
    /// Whether push options were negotiated, be there any or not.
    pub uses_push_options: bool,
    /// The push options, in order.
    pub push_options: Vec<BString>,
    /// The signed certificate that the commands come from.
    pub push_cert: Option<PushCert>,
    /// The client's name and version.
    pub agent: Option<BString>,
    /// The client's session, for logs.
    pub session_id: Option<BString>,
    /// The hash of the client, which is the repository's.
    pub object_format: HashKind,
}

impl PushRequest {
    /// Whether no pack follows, because every command deletes.
    pub fn deletes_only(&self) -> bool {
        self.commands.iter().all(PushCommand::deletes)
    }

    /// Which report the client reads.
    pub fn report(&self) -> ReportStatus {
        match (self.report_status_v2, self.report_status) {
            (true, _) => ReportStatus::V2,
            (false, true) => ReportStatus::V1,
            (false, false) => ReportStatus::None,
        }
    }

    /// The framing of the answer.
    pub fn band(&self) -> Band {
        if self.side_band_64k { Band::Large } else { Band::None }
    }

    /// Whether the push options are those that were signed. When not, git refuses every
    /// command with "inconsistent push options".
    pub fn push_options_match_cert(&self) -> bool {
        self.push_cert.as_ref().is_none_or(|cert| {
            cert.push_options().eq(self.push_options.iter().map(|option| option.as_bstr()))
        })
    }
}

/// Reads a whole push up to its pack. `None`: the client has nothing to push.
///
/// # Errors
/// [`Error::HungUp`] when the stream ends before the pack can start.
pub fn read_push<R: BufRead>(
    reader: &mut PacketReader<R>,
    offer: &ReceivePackOffer,
    limits: &Limits,
) -> Result<Option<PushRequest>, Error> {
    let mut push = PushParser::new(offer.object_format, limits);
    let cert = read_commands(reader, offer, &mut push)?;
    if let Some(cert) = cert {
        push.take_cert(cert)?;
    }
    if push.request.commands.is_empty() {
        return Ok(None);
    }
    if push.request.uses_push_options {
        while let Some(option) = next_line(reader)? {
            push.push_option(option)?;
        }
    }
    Ok(Some(push.request))
}

/// Reads lines up to the flush; gives the bytes of a certificate among them.
fn read_commands<R: BufRead>(
    reader: &mut PacketReader<R>,
    offer: &ReceivePackOffer,
    push: &mut PushParser,
) -> Result<Option<Vec<u8>>, Error> {
    let mut cert = None;
    while let Some(line) = next_line(reader)? {
        if let Some(hex) = line.strip_prefix(b"shallow ").filter(|hex| !hex.is_empty()) {
            push.shallow(hex)?;
            continue;
        }
        let command = match line.split_once_str("\0") {
            Some((command, asked)) => {
                push.accept(asked, offer)?;
                command
            }
            None => line,
        };
        if command != b"push-cert" {
            push.command(command)?;
            continue;
        }
        if !push_cert_offered(offer) {
            return Err(Error::Refused("unknown capability 'push-cert'".to_owned()));
        }
        let bytes = cert.get_or_insert_with(Vec::new);
        if read_cert(reader, &mut push.text, bytes)? == CertEnd::Flush {
            break;
        }
    }
    Ok(cert)
}

/// What ended the lines of a certificate.
#[derive(PartialEq, Eq)]
enum CertEnd {
    Line,
    Flush,
}

fn read_cert<R: BufRead>(
    reader: &mut PacketReader<R>,
    text: &mut TextBudget,
    cert: &mut Vec<u8>,
) -> Result<CertEnd, Error> {
    loop {
        match reader.next()? {
            Packet::Data(b"push-cert-end\n") => return Ok(CertEnd::Line),
            Packet::Data(line) => {
                text.spend(line.len())?;
                cert.extend_from_slice(line);
            }
            Packet::Flush => return Ok(CertEnd::Flush),
            Packet::Eof => return Err(Error::HungUp),
            Packet::Delim | Packet::ResponseEnd => {
                let words = "protocol error: got an unexpected packet";
                return Err(Error::Malformed(words.to_owned()));
            }
        }
    }
}

/// The next line; `None` at whatever ends a list.
fn next_line<R: BufRead>(reader: &mut PacketReader<R>) -> Result<Option<&[u8]>, Error> {
    match reader.next_line()? {
        Packet::Data(line) => Ok(Some(line)),
        Packet::Eof => Err(Error::HungUp),
        Packet::Flush | Packet::Delim | Packet::ResponseEnd => Ok(None),
    }
}

/// A request in the making.
#[derive(Debug)]
pub(crate) struct PushParser {
    pub(crate) request: PushRequest,
    /// The hash named by the capability list that is being read.
    format_named: Option<HashKind>,
    hash: HashKind,
    limits: Limits,
    text: TextBudget,
}

impl PushParser {
    pub(crate) fn new(hash: HashKind, limits: &Limits) -> Self {
        PushParser {
            request: PushRequest { object_format: hash, ..PushRequest::default() },
            format_named: None,
            hash,
            limits: *limits,
            text: TextBudget::new(limits),
        }
    }

    /// Takes a capability list. One that names no hash means SHA-1.
    fn accept(&mut self, asked: &[u8], offer: &ReceivePackOffer) -> Result<(), Error> {
        self.format_named = None;
        capability::accept(RECEIVE_PACK, offer, asked, self)?;
        let format = self.format_named.unwrap_or_default();
        if format == self.hash { Ok(()) } else { Err(unsupported_format(format.name().as_ref())) }
    }

    pub(crate) fn object_format(&mut self, name: &[u8]) -> Result<(), Error> {
        let format = HashKind::from_name(name).ok_or_else(|| unsupported_format(name))?;
        self.format_named = Some(format);
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

    fn shallow(&mut self, hex: &[u8]) -> Result<(), Error> {
        let id = ObjectId::from_hex_of(hex, self.hash).ok_or_else(|| {
            let found = quote(hex);
            Error::Malformed(format!("protocol error: expected shallow sha, got '{found}'"))
        })?;
        let (list, max) = (&mut self.request.shallow, self.limits.shallow_max);
        push_within(list, id, max, "shallow commits", "shallow_max")
    }

    /// `<old> <new> <name>`
    fn command(&mut self, line: &[u8]) -> Result<(), Error> {
        let (old, new, name) = split_command(line, self.hash).ok_or_else(|| {
            let found = quote(line);
            Error::Malformed(format!("protocol error: expected old/new/ref, got '{found}'"))
        })?;
        let command = PushCommand { old, new, name: self.text.keep(name)? };
        let (list, max) = (&mut self.request.commands, self.limits.push_commands_max);
        push_within(list, command, max, "commands in one push", "push_commands_max")
    }

    fn push_option(&mut self, option: &[u8]) -> Result<(), Error> {
        let option = self.text.keep(option)?;
        let (list, max) = (&mut self.request.push_options, self.limits.push_options_max);
        push_within(list, option, max, "push options", "push_options_max")
    }

    /// Takes the commands out of a certificate.
    fn take_cert(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        // git has these words too, but looks in the wrong place and mixes the two.
        if !self.request.commands.is_empty() {
            let words = "protocol error: got both push certificate and unsigned commands";
            return Err(Error::Malformed(words.to_owned()));
        }
        let cert = PushCert::new(bytes)?;
        for line in cert.commands() {
            self.command(line)?;
        }
        self.request.push_cert = Some(cert);
        Ok(())
    }
}

fn split_command(line: &[u8], hash: HashKind) -> Option<(ObjectId, ObjectId, &[u8])> {
    let (old, rest) = line.split_at_checked(hash.hex_len())?;
    let (new, name) = rest.strip_prefix(b" ")?.split_at_checked(hash.hex_len())?;
    let id = |hex| ObjectId::from_hex_of(hex, hash);
    Some((id(old)?, id(new)?, name.strip_prefix(b" ")?))
}

fn unsupported_format(name: &[u8]) -> Error {
    Error::Refused(format!("error: unsupported object format '{}'", quote(name)))
}
