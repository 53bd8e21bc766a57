//! Finding out what the client has: one set of rules for v0, v1 and v2.

use std::io::BufRead;

use object::ObjectId;
use repository::{Objects, history};
use rustc_hash::FxHashSet;
use wire::reply::{self, Ack, Section};
use wire::v0::HaveLine;
use wire::{FetchRequest, Limits, MultiAck, PacketReader, PacketWriter};

use crate::{Error, Exchange};

/// What both sides have, as far as it has been said.
pub(super) struct Common<'a> {
    objects: &'a Objects,
    wants: Vec<ObjectId>,
    /// In the order they were named.
    pub ids: Vec<ObjectId>,
    known: FxHashSet<ObjectId>,
    enough: bool,
    /// How many must be known before history is looked at again.
    look_again_at: usize,
}

/// Up to so many common objects history is looked at after each of them; behind that, when
/// their number has doubled, so that no client makes the server walk it thousands of times.
const LOOKS_AT_EACH_MAX: usize = 256;

impl<'a> Common<'a> {
    pub fn new(objects: &'a Objects, wants: &[ObjectId]) -> Self {
        let wants = wants.to_vec();
        let (ids, known) = Default::default();
        Common { objects, wants, ids, known, enough: false, look_again_at: 1 }
    }

    /// Takes note of an object the client has; whether this side has it too.
    pub fn note(&mut self, id: ObjectId) -> Result<bool, Error> {
        if self.known.contains(&id) {
            return Ok(true);
        }
        if !self.objects.contains(&id)? {
            return Ok(false);
        }
        self.known.insert(id);
        self.ids.push(id);
        Ok(true)
    }

    /// Whether every want reaches something the client has: more haves would not change
    /// much.
    pub fn is_enough(&mut self) -> Result<bool, Error> {
        if !self.enough && self.ids.len() >= self.look_again_at {
            self.enough = history::each_reaches(self.objects, &self.wants, &self.known)?;
            self.look_again_at = match self.ids.len() {
                few if few < LOOKS_AT_EACH_MAX => few + 1,
                many => many * 2,
            };
        }
        Ok(self.enough)
    }
}

/// How a negotiation ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// A pack follows.
    SendPack,
    /// This exchange is over; the client comes back with another request.
    ComeBack,
}

/// The v2 form: all haves of a request are answered together.
pub(super) fn acknowledge(
    request: &FetchRequest,
    common: &mut Common<'_>,
    writer: &mut PacketWriter<'_>,
) -> Result<Ended, Error> {
    for have in &request.haves {
        common.note(*have)?;
    }
    if request.done {
        return Ok(Ended::SendPack);
    }
    reply::section(writer, Section::Acknowledgments)?;
    if common.ids.is_empty() {
        reply::nak(writer)?;
    }
    for id in &common.ids {
        reply::ack(writer, id, Ack::Plain)?;
    }
    if !request.wait_for_done && common.is_enough()? {
        reply::ready(writer)?;
        writer.delim()?;
        return Ok(Ended::SendPack);
    }
    writer.flush_pkt()?;
    writer.flush()?;
    Ok(Ended::ComeBack)
}

/// The v0 and v1 form: haves come line by line and are answered as they come.
pub(super) struct Rounds<'a, 'c> {
    pub request: &'a FetchRequest,
    pub exchange: Exchange,
    pub limits: &'a Limits,
    pub common: &'a mut Common<'c>,
    /// The client's last object that this side has too.
    last: Option<ObjectId>,
    sent_ready: bool,
}

impl<'a, 'c> Rounds<'a, 'c> {
    pub fn new(
        request: &'a FetchRequest,
        exchange: Exchange,
        limits: &'a Limits,
        common: &'a mut Common<'c>,
    ) -> Self {
        Rounds { request, exchange, limits, common, last: None, sent_ready: false }
    }

    pub fn run<R: BufRead>(
        &mut self,
        reader: &mut PacketReader<R>,
        writer: &mut PacketWriter<'_>,
    ) -> Result<Ended, Error> {
        let hash = self.request.object_format;
        let (mut got_common, mut got_other) = (false, false);
        let (mut haves, mut rounds) = (0, 0);
        let mut negotiating = false;
        loop {
            match wire::v0::read_have(reader, hash)? {
                HaveLine::Have(id) => {
                    haves += 1;
                    within(haves, self.limits.haves_max, "haves", "haves_max")?;
                    match self.common.note(id)? {
                        true => got_common = true,
                        false => got_other = true,
                    }
                    self.answer_have(id, writer)?;
                }
                HaveLine::Flush => {
                    rounds += 1;
                    within(rounds, self.limits.rounds_max, "rounds of haves", "rounds_max")?;
                    if self.end_of_round(got_common, got_other, writer)? {
                        return Ok(Ended::SendPack);
                    }
                    writer.flush()?;
                    if self.exchange == Exchange::Round {
                        return Ok(Ended::ComeBack);
                    }
                    (got_common, got_other) = (false, false);
                }
                HaveLine::Done => {
                    self.answer_done(writer)?;
                    return Ok(Ended::SendPack);
                }
                // A stateless client that deepens takes the boundary first, and comes back; one
                // more packet here would be taken for the beginning of the next answer.
                HaveLine::Eof if self.exchange == Exchange::Round && !negotiating => {
                    return Ok(Ended::ComeBack);
                }
                HaveLine::Eof => return Err(wire::Error::HungUp.into()),
            }
            negotiating = true;
        }
    }

    fn answer_have(&mut self, id: ObjectId, writer: &mut PacketWriter<'_>) -> Result<(), Error> {
        let detailed = self.request.multi_ack == MultiAck::Detailed;
        if self.common.known.contains(&id) {
            self.last = Some(id);
            match self.request.multi_ack {
                MultiAck::Detailed => reply::ack(writer, &id, Ack::Common)?,
                MultiAck::Basic => reply::ack(writer, &id, Ack::Continue)?,
                MultiAck::None if self.common.ids.len() == 1 => {
                    reply::ack(writer, &id, Ack::Plain)?;
                }
                MultiAck::None => {}
            }
        } else if self.request.multi_ack != MultiAck::None && self.common.is_enough()? {
            // Nothing of this side is missing: let the client stop naming what is new here.
            match detailed {
                true => {
                    self.sent_ready = true;
                    reply::ack(writer, &id, Ack::Ready)?;
                }
                false => reply::ack(writer, &id, Ack::Continue)?,
            }
        }
        Ok(())
    }

    /// Answers a flush; whether the pack may follow at once.
    fn end_of_round(
        &mut self,
        got_common: bool,
        got_other: bool,
        writer: &mut PacketWriter<'_>,
    ) -> Result<bool, Error> {
        let detailed = self.request.multi_ack == MultiAck::Detailed;
        if detailed && got_common && !got_other && self.common.is_enough()? {
            self.sent_ready = true;
            if let Some(last) = &self.last {
                reply::ack(writer, last, Ack::Ready)?;
            }
        }
        if self.common.ids.is_empty() || self.request.multi_ack != MultiAck::None {
            reply::nak(writer)?;
        }
        if let (true, true, Some(last)) = (self.request.no_done, self.sent_ready, &self.last) {
            reply::ack(writer, last, Ack::Plain)?;
            return Ok(true);
        }
        Ok(false)
    }

    fn answer_done(&mut self, writer: &mut PacketWriter<'_>) -> Result<(), Error> {
        match &self.last {
            Some(last) if self.request.multi_ack != MultiAck::None => {
                reply::ack(writer, last, Ack::Plain)?;
            }
            Some(_) => {}
            None => reply::nak(writer)?,
        }
        Ok(())
    }
}

fn within(
    count: usize,
    most: usize,
    what: &'static str,
    setting: &'static str,
) -> Result<(), wire::Error> {
    match count <= most {
        true => Ok(()),
        false => Err(wire::Error::Limit { what, max: most as u64, setting }),
    }
}
