//! Pushes, which are as they were before version 2, and what a server reports of them.

use bstr::ByteSlice as _;
use object::{HashKind, ObjectId};

use super::{Capabilities, line, not_offered, unexpected};
use crate::Error;
use crate::limits::{Limits, TextBudget, push_within};
use crate::pktline::{DELIM, FLUSH, Packet, PacketReader};
use crate::push::PushRequest;
use crate::quote::quote;
use crate::report::{PushReport, RefOutcome, RefReport, ReportOptions, ReportStatus};
use crate::sideband::{DATA, ERROR, PROGRESS};

/// In which form the answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushTerms {
    /// Whether it is on side-band.
    pub side_band: bool,
    /// Which report it has.
    pub report: ReportStatus,
}

/// A push up to its pack, which follows, unless all commands delete. Of the reports and side-band that the request
/// asks for, the server may have less.
///
/// # Errors
/// [`Error::Refused`] when the server cannot do something that would be another push without it.
pub fn push_request(
    request: &PushRequest,
    capabilities: &Capabilities,
    agent: &str,
) -> Result<(Vec<u8>, PushTerms), Error> {
    let needs = |name: &str, asked: bool| match asked {
        true if !capabilities.has(name) => Err(not_offered(name)),
        _ => Ok(()),
    };
    needs("atomic", request.atomic)?;
    needs("push-options", !request.push_options.is_empty())?;
    needs("delete-refs", request.commands.iter().any(|command| command.deletes()))?;
    let format = capabilities.object_format()?;
    if format != request.object_format {
        let words = format!("the server has objects of {}", format.name());
        return Err(Error::Refused(words));
    }
    let report = match request.report() {
        ReportStatus::V2 if capabilities.has("report-status-v2") => ReportStatus::V2,
        ReportStatus::V1 | ReportStatus::V2 if capabilities.has("report-status") => {
            ReportStatus::V1
        }
        _ => ReportStatus::None,
    };
    let side_band = request.side_band_64k && capabilities.has("side-band-64k");
    let has_options = !request.push_options.is_empty();
    let mut list = String::new();
    for (asked, word) in [
        (report == ReportStatus::V2, "report-status-v2"),
        (report == ReportStatus::V1, "report-status"),
        (side_band, "side-band-64k"),
        (request.quiet && capabilities.has("quiet"), "quiet"),
        (request.atomic, "atomic"),
        (has_options, "push-options"),
        (request.ofs_delta && capabilities.has("ofs-delta"), "ofs-delta"),
    ] {
        if asked {
            list.push(' ');
            list.push_str(word);
        }
    }
    if capabilities.has("object-format") {
        list.push_str(&format!(" object-format={}", format.name()));
    }
    if capabilities.has("agent") {
        list.push_str(&format!(" agent={agent}"));
    }
    let mut out = Vec::new();
    for id in &request.shallow {
        line(&mut out, &[b"shallow ", id.to_hex().as_bytes()])?;
    }
    for (at, command) in request.commands.iter().enumerate() {
        let (old, new) = (command.old.to_hex(), command.new.to_hex());
        let start = [old.as_bytes(), b" ", new.as_bytes(), b" "];
        let start = start.concat();
        match at {
            0 => line(&mut out, &[&start, &command.name, b"\0", list.as_bytes()])?,
            _ => line(&mut out, &[&start, &command.name])?,
        }
    }
    out.extend_from_slice(FLUSH);
    if has_options {
        for option in &request.push_options {
            line(&mut out, &[option])?;
        }
        out.extend_from_slice(FLUSH);
    }
    Ok((out, PushTerms { side_band, report }))
}

/// Reads what a server answers to a push.
#[derive(Debug)]
pub struct ReportReader {
    terms: PushTerms,
    hash: HashKind,
    /// The report, as packets.
    report: Vec<u8>,
    limits: Limits,
    text: TextBudget,
    /// The report has been read to its flush packet.
    is_whole: bool,
}

impl ReportReader {
    /// A reader of an answer in this form.
    pub fn new(terms: PushTerms, hash: HashKind, limits: &Limits) -> Self {
        let text = TextBudget::new(limits);
        let is_whole = terms.report == ReportStatus::None;
        ReportReader { terms, hash, report: Vec::new(), limits: *limits, text, is_whole }
    }

    /// Takes the next packet, as it came. Gives words for a person; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Remote`] when the server gave up, in its words; [`Error::Malformed`], [`Error::Limit`].
    pub fn take<'a>(&mut self, packet: Packet<'a>) -> Result<Option<&'a [u8]>, Error> {
        match (packet, self.terms.side_band) {
            (Packet::Data(data), true) => match data.split_first() {
                Some((&DATA, data)) => {
                    self.text.spend(data.len())?;
                    self.report.extend_from_slice(data);
                }
                Some((&PROGRESS, words)) => return Ok(Some(words)),
                Some((&ERROR, words)) => return Err(Error::Remote(quote(words.trim_end()))),
                _ => return Err(unexpected(data)),
            },
            (Packet::Data(data), false) => {
                self.text.spend(data.len())?;
                line(&mut self.report, &[data.strip_suffix(b"\n").unwrap_or(data)])?;
            }
            (Packet::Flush, true) => {
                self.is_whole = true;
                return Ok(None);
            }
            (Packet::Flush, false) => {
                self.report.extend_from_slice(FLUSH);
                self.is_whole = true;
                return Ok(None);
            }
            (Packet::Eof, _) if self.is_whole => return Ok(None),
            (Packet::Eof, _) => return Err(Error::HungUp),
            (Packet::Delim | Packet::ResponseEnd, _) => return Err(unexpected(DELIM)),
        }
        Ok(Some(b""))
    }

    /// What became of the push; of a server that reports nothing, that it took it.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::HungUp`], [`Error::Limit`].
    pub fn finish(self) -> Result<PushReport, Error> {
        let mut report = PushReport { unpack: Ok(()), refs: Vec::new() };
        if self.terms.report == ReportStatus::None {
            return Ok(report);
        }
        let mut packets = PacketReader::new(&self.report[..]);
        match packets.next_line()? {
            Packet::Data(line) => match line.strip_prefix(b"unpack ") {
                Some(b"ok") => {}
                Some(words) => report.unpack = Err(quote(words)),
                None => return Err(unexpected(line)),
            },
            _ => return Err(Error::HungUp),
        }
        loop {
            let line = match packets.next_line()? {
                Packet::Data(line) => line,
                Packet::Flush => return Ok(report),
                _ => return Err(Error::HungUp),
            };
            let (word, rest) = line.split_once_str(" ").unwrap_or((line, b""));
            let (name, outcome) = match word {
                b"ok" => (rest, RefOutcome::Ok(Vec::new())),
                b"ng" => {
                    let (name, why) = rest.split_once_str(" ").unwrap_or((rest, b"refused"));
                    (name, RefOutcome::Ng(quote(why)))
                }
                b"option" => {
                    let options = report.refs.last_mut().and_then(|last| match &mut last.outcome {
                        RefOutcome::Ok(options) => Some(options),
                        RefOutcome::Ng(_) => None,
                    });
                    let options = options.ok_or_else(|| unexpected(line))?;
                    option(options, rest, self.hash).ok_or_else(|| unexpected(line))?;
                    continue;
                }
                _ => return Err(unexpected(line)),
            };
            let one = RefReport { name: name.into(), outcome };
            let max = self.limits.push_commands_max;
            push_within(&mut report.refs, one, max, "reports", "push_commands_max")?;
        }
    }
}

/// An option of the `ok` before it (gitprotocol-pack, "Report Status"). One that is not known says nothing.
fn option(options: &mut Vec<ReportOptions>, text: &[u8], hash: HashKind) -> Option<()> {
    if options.is_empty() {
        options.push(ReportOptions::default());
    }
    let last = options.last_mut()?;
    let (key, value) = text.split_once_str(" ").unwrap_or((text, b""));
    match key {
        b"refname" => last.refname = Some(value.into()),
        b"old-oid" => last.old_oid = Some(ObjectId::from_hex_of(value, hash)?),
        b"new-oid" => last.new_oid = Some(ObjectId::from_hex_of(value, hash)?),
        b"forced-update" => last.forced_update = true,
        _ => {}
    }
    Some(())
}
