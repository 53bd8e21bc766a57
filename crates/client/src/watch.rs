//! What becomes of refs, from a server that tells (docs/watch.md).

use bstr::BString;
use wire::client::{WatchLine, watch_line, watch_request};
use wire::v2::WatchRequest;
use wire::{Packet, Service};

use crate::road::{self, Answer, Road};
use crate::{Connection, Error};

/// What a server tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// From here on it tells. Refs that are listed later than this have all that came before.
    At(BString),
    /// Refs that moved, and how all are after that. Of very many, a part, and how all were before.
    Moved(BString, Vec<RefMove>),
    /// Something moved that is not seen or was not asked for.
    Passed(BString),
    /// More happened than the server remembers: the refs are to be listed.
    Relist(BString),
    /// The repository is gone, or the server stops.
    End,
}

/// What became of a ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefMove {
    /// Its full name.
    pub name: BString,
    /// What it was: an id, or `ref:NAME`; `None` when it was not there.
    pub old: Option<BString>,
    /// What it is.
    pub new: Option<BString>,
}

/// A server that tells. Dropped, it is not listened to any more.
pub struct Watch {
    road: Road,
    answer: Option<Answer>,
    moves: Vec<RefMove>,
}

/// Refs of one event that are kept; servers tell of a hundred at most.
const MOVES_MAX: usize = 10_000;

impl Connection {
    /// Asks to be told.
    ///
    /// # Errors
    /// [`Error`]; of [`Error::Wire`] when the server does not tell ([`Connection::can_watch`]).
    pub async fn watch(mut self, request: &WatchRequest) -> Result<Watch, Error> {
        let capabilities = &self.advertised.capabilities;
        let bytes = watch_request(request, capabilities, &self.options.agent)?;
        let answer = self.road.ask(Service::UploadPack, bytes).await?;
        Ok(Watch { road: self.road, answer, moves: Vec::new() })
    }
}

impl Watch {
    /// What comes next. Whoever stops waiting for it loses nothing.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Silent`] when not even a sign of life comes.
    pub async fn next(&mut self) -> Result<WatchEvent, Error> {
        match self.read().await {
            Err(error) => match &mut self.road {
                Road::Stream(road) => Err(road.why(error).await),
                Road::Http(_) => Err(error),
            },
            event => event,
        }
    }

    async fn read(&mut self) -> Result<WatchEvent, Error> {
        let packets = road::packets(&mut self.road, &mut self.answer);
        loop {
            let line = match packets.next_line().await? {
                Packet::Data(line) => line,
                // The end of an event, or a sign of life.
                Packet::Flush => continue,
                Packet::Eof | Packet::Delim | Packet::ResponseEnd => {
                    return Err(wire::Error::HungUp.into());
                }
            };
            return Ok(match watch_line(line)? {
                WatchLine::At(cursor) => WatchEvent::At(cursor.into()),
                WatchLine::Relist(cursor) => WatchEvent::Relist(cursor.into()),
                WatchLine::End => WatchEvent::End,
                WatchLine::Cursor(cursor) if self.moves.is_empty() => {
                    WatchEvent::Passed(cursor.into())
                }
                WatchLine::Cursor(cursor) => {
                    WatchEvent::Moved(cursor.into(), std::mem::take(&mut self.moves))
                }
                WatchLine::Moved { old, new, name } => {
                    if self.moves.len() >= MOVES_MAX {
                        let (what, setting) = ("refs in one event", "MOVES_MAX");
                        let max = MOVES_MAX as u64;
                        return Err(wire::Error::Limit { what, max, setting }.into());
                    }
                    let value = |value: Option<&[u8]>| value.map(BString::from);
                    let (old, new) = (value(old), value(new));
                    self.moves.push(RefMove { name: name.into(), old, new });
                    continue;
                }
            });
        }
    }
}
