//! The parts of packs that are sent, with their bytes.
//!
//! A mapped pack's bytes are there. Elsewhere every read is a journey to the storage, so what
//! lies close together is read at once, and the next reads are under way while the last is sent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use super::extents::{Extent, Extents};
use crate::error::Result;
use crate::objects::PackHandle;
use crate::repository::RangeReads;
use crate::walk::Reached;

/// The most bytes handed on in one slice.
pub(super) const SLICE_BYTES: u64 = 1 << 20;
/// Parts that one read may be made up of: they are listed while it is under way.
const PARTS_MAX: usize = 8192;

/// Parts of packs, and bytes of them, in the order of [`Extents`].
pub(super) struct Feed {
    reached: Arc<Reached>,
    extents: Extents,
    settings: RangeReads,
    /// Parts that bytes are being read for, and perhaps one of a mapped pack behind them.
    ahead: VecDeque<Extent>,
    /// A part that did not fit into the last read.
    held_back: Option<Extent>,
    /// Of a part longer than one read: what no read has been begun for.
    rest: Option<(u32, u64, u64)>,
    reads: VecDeque<Read>,
    window: Option<Window>,
}

/// Bytes that were read, not mapped.
struct Window {
    pack: u32,
    start: u64,
    bytes: Bytes,
}

/// A read under way.
struct Read {
    pack: u32,
    start: u64,
    end: u64,
    bytes: JoinHandle<Result<Bytes>>,
}

impl Feed {
    pub fn new(reached: Arc<Reached>, extents: Extents, settings: RangeReads) -> Self {
        Feed {
            reached,
            extents,
            settings,
            ahead: VecDeque::new(),
            held_back: None,
            rest: None,
            reads: VecDeque::new(),
            window: None,
        }
    }

    /// The pack an extent lies in.
    pub fn pack(&self, number: u32) -> &Arc<PackHandle> {
        self.extents.pack(number)
    }

    /// The next part of a pack that is sent. Whoever asks is done with the last.
    pub fn next(&mut self) -> Result<Option<Extent>> {
        if self.ahead.is_empty() {
            match self.pull()? {
                Some(extent) if self.is_mapped(extent.pack) => return Ok(Some(extent)),
                Some(extent) => self.held_back = Some(extent),
                None => return Ok(None),
            }
            // Of parts whose bytes nobody asked for.
            (self.rest, self.reads) = (None, VecDeque::new());
            self.read_ahead()?;
        }
        Ok(self.ahead.pop_front())
    }

    /// Whether bytes from here on have been read already.
    fn holds(&self, pack: u32, start: u64) -> bool {
        self.window.as_ref().is_some_and(|w| w.holds(pack, start))
    }

    /// The bytes of a pack from `start` on, at least one and at most up to `end`: as many as
    /// are at hand in one piece.
    pub fn bytes(&mut self, pack: u32, start: u64, end: u64) -> Result<Bytes> {
        if self.is_mapped(pack) {
            return self.pack(pack).bytes(start..end.min(start + SLICE_BYTES));
        }
        self.turn_to(pack, start)?;
        match &self.window {
            Some(window) if window.holds(pack, start) => {
                let from = (start - window.start) as usize;
                let count = (end - start).min((window.bytes.len() - from) as u64);
                Ok(window.bytes.slice(from..from + count as usize))
            }
            // Nobody asks out of order; whoever does gets what he asks for all the same.
            _ => self.pack(pack).bytes(start..end.min(start + SLICE_BYTES)),
        }
    }

    /// As [`Feed::bytes`], to look at: what is at the beginning of an entry.
    pub fn head(&mut self, extent: &Extent) -> Result<Head<'_>> {
        let Extent { pack, start, end, .. } = *extent;
        if !self.is_mapped(pack) {
            return self.bytes(pack, start, end).map(Head::Read);
        }
        match self.pack(pack).map() {
            Some(map) if end <= map.len() as u64 => {
                Ok(Head::Mapped(&map[start as usize..end as usize]))
            }
            _ => Err(self.pack(pack).corrupt("an offset points outside the pack")),
        }
    }

    fn is_mapped(&self, pack: u32) -> bool {
        self.pack(pack).map().is_some()
    }

    fn pull(&mut self) -> Result<Option<Extent>> {
        match self.held_back.take() {
            Some(extent) => Ok(Some(extent)),
            None => self.extents.next(&self.reached.send),
        }
    }

    /// Begins reads until as many are under way as may be.
    fn read_ahead(&mut self) -> Result<()> {
        while self.reads.len() < self.settings.ahead.max(1) {
            let Some((pack, start, end)) = self.next_range()? else { return Ok(()) };
            let handle = self.pack(pack).clone();
            let bytes = thread::Builder::new()
                .name("pack-read".into())
                .spawn(move || handle.read_directly(start..end))?;
            self.reads.push_back(Read { pack, start, end, bytes });
        }
        Ok(())
    }

    /// What is read next: parts that lie close together, or a piece of a long one.
    fn next_range(&mut self) -> Result<Option<(u32, u64, u64)>> {
        let most = self.settings.bytes.max(1);
        let (pack, start, mut end) = match self.rest.take() {
            Some(rest) => rest,
            None => {
                if self.ahead.back().is_some_and(|last| self.is_mapped(last.pack)) {
                    return Ok(None);
                }
                let Some(first) = self.pull()? else { return Ok(None) };
                self.ahead.push_back(first);
                if self.is_mapped(first.pack) {
                    return Ok(None);
                }
                (first.pack, first.start, first.end)
            }
        };
        if end - start > most {
            self.rest = Some((pack, start + most, end));
            return Ok(Some((pack, start, start + most)));
        }
        for _ in 1..PARTS_MAX {
            let Some(next) = self.pull()? else { break };
            let joins = next.pack == pack
                && next.start <= end + self.settings.gap_bytes
                && next.end - start <= most;
            if !joins {
                self.held_back = Some(next);
                break;
            }
            end = next.end;
            self.ahead.push_back(next);
        }
        Ok(Some((pack, start, end)))
    }

    /// Waits for the read that has these bytes; what was read before it is let go.
    fn turn_to(&mut self, pack: u32, start: u64) -> Result<()> {
        if self.holds(pack, start) {
            return Ok(());
        }
        let has_it = |read: &Read| read.pack == pack && (read.start..read.end).contains(&start);
        let Some(at) = self.reads.iter().position(has_it) else { return Ok(()) };
        self.window = None;
        self.reads.drain(..at);
        if let Some(Read { pack, start, bytes, .. }) = self.reads.pop_front() {
            let bytes = bytes.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            self.window = Some(Window { pack, start, bytes });
        }
        self.read_ahead()
    }
}

impl Window {
    fn holds(&self, pack: u32, start: u64) -> bool {
        let end = self.start + self.bytes.len() as u64;
        self.pack == pack && (self.start..end).contains(&start)
    }
}

/// Bytes to look at.
pub(super) enum Head<'f> {
    Mapped(&'f [u8]),
    Read(Bytes),
}

impl std::ops::Deref for Head<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Head::Mapped(bytes) => bytes,
            Head::Read(bytes) => bytes,
        }
    }
}
