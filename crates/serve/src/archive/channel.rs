//! The one stream to the client, which data and words share.

use std::cell::RefCell;
use std::io::{self, Write};

use bytes::BytesMut;
use wire::{Band, Sideband, Sink};

/// Takes words for the user's terminal.
pub(super) trait Words {
    /// Says a line, which needs no end.
    fn say(&self, line: &[u8]) -> io::Result<()>;
}

/// The side-band to the client.
pub(super) struct Channel<'s>(RefCell<Sideband<'s>>);

impl<'s> Channel<'s> {
    pub fn new(sink: &'s mut dyn Sink) -> Self {
        Channel(RefCell::new(Sideband::new(sink, Band::Large)))
    }

    /// Sends bytes of the archive.
    pub fn data(&self, bytes: bytes::Bytes) -> io::Result<()> {
        self.0.borrow_mut().data(bytes)
    }

    /// Says that the server is still there, and finds out whether the client is.
    pub fn keepalive(&self) -> io::Result<()> {
        self.0.borrow_mut().keepalive()
    }

    /// Ends the answer; what follows on the client's side is an error unless this was said.
    pub fn finish(self) -> io::Result<()> {
        self.0.into_inner().finish()
    }

    /// Ends the answer as git's program does that failed.
    pub fn fail(&self, words: &str) -> io::Result<()> {
        self.say(format!("fatal: {words}").as_bytes())?;
        let mut band = self.0.borrow_mut();
        band.error(b"git upload-archive: archiver died with error")?;
        band.flush()
    }
}

impl Words for Channel<'_> {
    fn say(&self, line: &[u8]) -> io::Result<()> {
        self.0.borrow_mut().progress(&[line, b"\n"].concat())
    }
}

/// Writes data to a channel, in frames that are as long as they may be.
pub(super) struct DataWriter<'c, 's> {
    channel: &'c Channel<'s>,
    frame: BytesMut,
}

/// Data bytes in a frame.
const FRAME_BYTES: usize = Band::Large.frame_bytes_max().expect("side-band has frames");

impl<'c, 's> DataWriter<'c, 's> {
    pub fn new(channel: &'c Channel<'s>) -> Self {
        DataWriter { channel, frame: BytesMut::with_capacity(FRAME_BYTES) }
    }
}

impl Write for DataWriter<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(FRAME_BYTES - self.frame.len());
        self.frame.extend_from_slice(&bytes[..count]);
        if self.frame.len() == FRAME_BYTES {
            self.flush()?;
        }
        Ok(count)
    }

    /// Sends what there is, be it little.
    fn flush(&mut self) -> io::Result<()> {
        if !self.frame.is_empty() {
            self.channel.data(self.frame.split().freeze())?;
            self.frame.reserve(FRAME_BYTES);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_goes_in_full_frames_and_words_in_between() {
        let mut sink = Vec::new();
        let channel = Channel::new(&mut sink);
        let mut writer = DataWriter::new(&channel);
        writer.write_all(&[7; FRAME_BYTES - 1]).unwrap();
        channel.say(b"first").unwrap();
        writer.write_all(&[8; 3]).unwrap();
        writer.flush().unwrap();
        drop(writer);
        channel.finish().unwrap();
        assert!(sink.starts_with(b"000b\x02first\nfff0\x01\x07"));
        assert!(sink.ends_with(b"\x07\x080007\x01\x08\x080000"));
    }
}
