//! Side-band: data, progress and errors on one stream (gitprotocol-pack, "Packfile Data").

use std::io;

use bytes::Bytes;

use crate::pktline::{DEFAULT_PACKET_MAX, FLUSH, HEADER_LEN, LARGE_PACKET_MAX, header};
use crate::sink::Sink;

/// How data is framed for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Band {
    /// Not at all: data goes raw, progress and errors have no way.
    #[default]
    None,
    /// `side-band`: frames of up to 995 bytes.
    Small,
    /// `side-band-64k`: frames of up to 65515 bytes.
    Large,
}

impl Band {
    /// The most data bytes in one frame; `None` without side-band.
    pub const fn frame_bytes_max(self) -> Option<usize> {
        match self {
            Band::None => None,
            Band::Small => Some(DEFAULT_PACKET_MAX - FRAME_HEADER_LEN),
            Band::Large => Some(LARGE_PACKET_MAX - FRAME_HEADER_LEN),
        }
    }
}

/// A packet header and the band's number.
const FRAME_HEADER_LEN: usize = HEADER_LEN + 1;
pub(crate) const DATA: u8 = 1;
pub(crate) const PROGRESS: u8 = 2;
pub(crate) const ERROR: u8 = 3;
/// The header of a data frame that is as long as `side-band-64k` allows.
const FULL_DATA_HEADER: &[u8; FRAME_HEADER_LEN] = b"fff0\x01";
/// An empty data frame: says that the server is still there.
const KEEPALIVE: &[u8; FRAME_HEADER_LEN] = b"0005\x01";

/// Writes the bands of one answer to a sink.
pub struct Sideband<'s> {
    sink: &'s mut dyn Sink,
    band: Band,
}

impl<'s> Sideband<'s> {
    /// A writer of the given framing.
    pub fn new(sink: &'s mut dyn Sink, band: Band) -> Self {
        Sideband { sink, band }
    }

    /// The framing in use.
    pub fn band(&self) -> Band {
        self.band
    }

    /// Sends data, cut into frames; its bytes are not copied.
    pub fn data(&mut self, mut data: Bytes) -> io::Result<()> {
        let Some(frame_max) = self.band.frame_bytes_max() else {
            return self.sink.send(data);
        };
        while !data.is_empty() {
            let frame = data.split_to(data.len().min(frame_max));
            self.sink.send(data_header(frame.len()))?;
            self.sink.send(frame)?;
        }
        Ok(())
    }

    /// Sends words for the user's terminal. Without side-band they are dropped.
    pub fn progress(&mut self, words: &[u8]) -> io::Result<()> {
        self.words(PROGRESS, words)
    }

    /// Sends the words with which the answer fails; the client stops reading at them.
    /// Without side-band they are dropped.
    pub fn error(&mut self, words: &[u8]) -> io::Result<()> {
        self.words(ERROR, words)
    }

    /// Sends an empty data frame and flushes. Without side-band nothing can be sent.
    pub fn keepalive(&mut self) -> io::Result<()> {
        if self.band != Band::None {
            self.sink.send(Bytes::from_static(KEEPALIVE))?;
        }
        self.sink.flush()
    }

    /// Hands what has been sent to the transport.
    pub fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }

    /// Ends the answer: a flush packet where there is side-band, and the sink is flushed.
    pub fn finish(self) -> io::Result<()> {
        if self.band != Band::None {
            self.sink.send(Bytes::from_static(FLUSH))?;
        }
        self.sink.flush()
    }

    fn words(&mut self, band: u8, words: &[u8]) -> io::Result<()> {
        let Some(frame_max) = self.band.frame_bytes_max() else {
            return Ok(());
        };
        for piece in words.chunks(frame_max) {
            let mut frame = Vec::with_capacity(FRAME_HEADER_LEN + piece.len());
            frame.extend_from_slice(&header(FRAME_HEADER_LEN + piece.len()));
            frame.push(band);
            frame.extend_from_slice(piece);
            self.sink.send(Bytes::from(frame))?;
        }
        Ok(())
    }
}

fn data_header(data_len: usize) -> Bytes {
    let len = FRAME_HEADER_LEN + data_len;
    if len == LARGE_PACKET_MAX {
        return Bytes::from_static(FULL_DATA_HEADER);
    }
    let [a, b, c, d] = header(len);
    Bytes::copy_from_slice(&[a, b, c, d, DATA])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Pieces(Vec<Bytes>);

    impl Sink for Pieces {
        fn send(&mut self, bytes: Bytes) -> io::Result<()> {
            self.0.push(bytes);
            Ok(())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn data_frames_are_slices_of_what_was_given() {
        let data = Bytes::from(vec![7u8; 65515 * 2 + 10]);
        let mut sink = Pieces::default();
        Sideband::new(&mut sink, Band::Large).data(data.clone()).unwrap();
        let lens: Vec<usize> = sink.0.iter().map(Bytes::len).collect();
        assert_eq!(lens, [5, 65515, 5, 65515, 5, 10]);
        assert_eq!(&sink.0[0][..], b"fff0\x01");
        assert_eq!(&sink.0[4][..], b"000f\x01");
        assert_eq!(sink.0[3].as_ptr(), data[65515..].as_ptr());
    }

    #[test]
    fn small_frames_and_the_other_bands() {
        let mut out = Vec::new();
        let mut band = Sideband::new(&mut out, Band::Small);
        band.data(Bytes::from(vec![b'x'; 996])).unwrap();
        band.progress(b"50%\r").unwrap();
        band.error(b"gone").unwrap();
        band.keepalive().unwrap();
        band.finish().unwrap();
        assert_eq!(&out[..5], b"03e8\x01");
        assert_eq!(&out[1000..], b"0006\x01x0009\x0250%\r0009\x03gone0005\x010000");
    }

    #[test]
    fn without_side_band_only_data_goes() {
        let mut out = Vec::new();
        let mut band = Sideband::new(&mut out, Band::None);
        band.progress(b"50%\r").unwrap();
        band.data(Bytes::from_static(b"PACK")).unwrap();
        band.error(b"gone").unwrap();
        band.keepalive().unwrap();
        band.finish().unwrap();
        assert_eq!(out, b"PACK");
    }
}
