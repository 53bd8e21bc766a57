//! Words for the person who pushes: side-band 2, or the server's own terminal when the
//! client has no side-band.

use std::io::{self, Write};

use bytes::Bytes;
use wire::{Band, PacketWriter, Sideband, Sink};

use crate::hooks::Relay;

/// The way from this server to the pusher, after the request has been read.
///
/// Words are a courtesy: when the connection breaks they are dropped, and
/// [`Messages::is_broken`] tells those who are about to make something visible.
pub(super) struct Messages<'a> {
    sink: &'a mut dyn Sink,
    band: Band,
    console: Option<&'a mut (dyn Write + 'a)>,
    quiet: bool,
    broken: bool,
}

impl<'a> Messages<'a> {
    pub fn new(
        sink: &'a mut dyn Sink,
        band: Band,
        console: Option<&'a mut (dyn Write + 'a)>,
        quiet: bool,
    ) -> Self {
        Messages { sink, band, console, quiet, broken: false }
    }

    /// Whether progress is wanted and can be shown.
    pub fn shows_progress(&self) -> bool {
        !self.quiet && self.band != Band::None
    }

    /// Whether the client is known to be gone.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// `warning: …`
    pub fn warning(&mut self, words: impl AsRef<[u8]>) {
        self.line(b"warning: ", words.as_ref());
    }

    /// `error: …`
    pub fn error(&mut self, words: impl AsRef<[u8]>) {
        self.line(b"error: ", words.as_ref());
    }

    /// Passes words on as they are, at once.
    pub fn raw(&mut self, words: &[u8]) {
        let sent = match (self.band, &mut self.console) {
            (Band::None, None) => return,
            (Band::None, Some(console)) => {
                // The server's own terminal: whether it still listens says nothing of the client.
                let _ = console.write_all(words).and_then(|()| console.flush());
                return;
            }
            _ if self.broken => return,
            _ => send(self.sink, self.band, words),
        };
        self.broken |= sent.is_err();
    }

    /// Sends the report, framed where there is side-band. What it says has happened, whether
    /// or not the client still hears it.
    pub fn report(&mut self, report: Bytes) {
        let mut band = Sideband::new(self.sink, self.band);
        self.broken |= band.data(report).and_then(|()| band.flush()).is_err();
    }

    /// Ends the answer with the words of a failure.
    pub fn fail(self, words: &str) -> io::Result<()> {
        if self.band == Band::None {
            let mut writer = PacketWriter::new(self.sink);
            writer.err(words)?;
            return writer.flush();
        }
        let mut band = Sideband::new(self.sink, self.band);
        band.error(format!("{words}\n").as_bytes())?;
        band.finish()
    }

    /// Ends the answer.
    pub fn finish(self) -> io::Result<()> {
        Sideband::new(self.sink, self.band).finish()
    }

    fn line(&mut self, prefix: &[u8], words: &[u8]) {
        let mut line = Vec::with_capacity(prefix.len() + words.len() + 1);
        line.extend_from_slice(prefix);
        line.extend_from_slice(words);
        line.push(b'\n');
        self.raw(&line);
    }
}

fn send(sink: &mut dyn Sink, band: Band, words: &[u8]) -> io::Result<()> {
    let mut band = Sideband::new(sink, band);
    band.progress(words)?;
    band.flush()
}

impl Relay for Messages<'_> {
    fn output(&mut self, bytes: &[u8]) {
        self.raw(bytes);
    }

    fn idle(&mut self) {
        if !self.broken && self.band != Band::None {
            self.broken = Sideband::new(self.sink, self.band).keepalive().is_err();
        }
    }
}
