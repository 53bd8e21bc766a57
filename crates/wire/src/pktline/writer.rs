//! Writing packets: small ones are gathered into one slice before they reach the sink.

use std::io;

use bytes::Bytes;

use super::{DELIM, FLUSH, HEADER_LEN, LARGE_PACKET_MAX, RESPONSE_END, header};
use crate::sink::Sink;

/// Bytes gathered before they are handed to the sink without a flush.
const GATHER_BYTES_MAX: usize = 32 * 1024;
/// Room behind them for the packet that reaches the mark: most are short lines.
const LAST_PACKET_BYTES: usize = 1024;

/// Writes packets to a sink.
///
/// Packets reach the sink when enough have gathered, at [`PacketWriter::flush`] and,
/// without a word about errors, when the writer is dropped.
pub struct PacketWriter<'s> {
    sink: &'s mut dyn Sink,
    gathered: Vec<u8>,
    sideband_all: bool,
}

impl<'s> PacketWriter<'s> {
    /// A writer of plain packets.
    pub fn new(sink: &'s mut dyn Sink) -> Self {
        PacketWriter { sink, gathered: Vec::new(), sideband_all: false }
    }

    /// Puts every data packet on side-band 1 from now on, and errors on side-band 3
    /// (the v2 fetch argument `sideband-all`).
    pub fn set_sideband_all(&mut self, on: bool) {
        self.sideband_all = on;
    }

    /// Writes a packet with exactly these bytes.
    pub fn data(&mut self, data: &[u8]) -> io::Result<()> {
        self.packet(|packet| packet.extend_from_slice(data))
    }

    /// Writes a line: the text and a newline.
    pub fn text(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        self.packet(|packet| {
            packet.extend_from_slice(text.as_ref());
            packet.extend_from_slice(b"\n");
        })
    }

    /// Writes a packet whose data `write` appends.
    ///
    /// # Errors
    /// `InvalidInput` when the data does not fit one packet; nothing of it is written.
    pub fn packet(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let prefix: &[u8] = if self.sideband_all { b"\x01" } else { b"" };
        self.prefixed(prefix, write)
    }

    /// Writes the words with which a conversation fails: `ERR …`, or side-band 3
    /// under `sideband-all`.
    pub fn err(&mut self, words: impl AsRef<[u8]>) -> io::Result<()> {
        let prefix: &[u8] = if self.sideband_all { b"\x03" } else { b"ERR " };
        self.prefixed(prefix, |packet| packet.extend_from_slice(words.as_ref()))
    }

    /// Writes a flush packet; does not flush the sink.
    pub fn flush_pkt(&mut self) -> io::Result<()> {
        self.special(FLUSH)
    }

    /// Writes a delimiter packet.
    pub fn delim(&mut self) -> io::Result<()> {
        self.special(DELIM)
    }

    /// Writes a response-end packet.
    pub fn response_end(&mut self) -> io::Result<()> {
        self.special(RESPONSE_END)
    }

    /// Hands everything to the sink and flushes it.
    pub fn flush(&mut self) -> io::Result<()> {
        self.hand_over()?;
        self.sink.flush()
    }

    /// Hands everything to the sink and gives it, for what follows outside of packets.
    pub fn sink(&mut self) -> io::Result<&mut dyn Sink> {
        self.hand_over()?;
        Ok(&mut *self.sink)
    }

    fn special(&mut self, packet: &[u8; HEADER_LEN]) -> io::Result<()> {
        self.gathered.extend_from_slice(packet);
        self.relieve()
    }

    fn prefixed(&mut self, prefix: &[u8], write: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let start = self.gathered.len();
        self.gathered.extend_from_slice(&[0; HEADER_LEN]);
        self.gathered.extend_from_slice(prefix);
        write(&mut self.gathered);
        let len = self.gathered.len() - start;
        if len > LARGE_PACKET_MAX {
            self.gathered.truncate(start);
            let words = "protocol error: impossibly long line";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
        }
        self.gathered[start..start + HEADER_LEN].copy_from_slice(&header(len));
        self.relieve()
    }

    fn relieve(&mut self) -> io::Result<()> {
        if self.gathered.len() < GATHER_BYTES_MAX {
            return Ok(());
        }
        self.hand_over()?;
        // Who has written this much will write more.
        self.gathered.reserve(GATHER_BYTES_MAX + LAST_PACKET_BYTES);
        Ok(())
    }

    fn hand_over(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.sink.send(Bytes::from(std::mem::take(&mut self.gathered)))
    }
}

impl Drop for PacketWriter<'_> {
    /// On the way out of a failed exchange the words already written still leave.
    fn drop(&mut self) {
        let _ = self.hand_over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut PacketWriter<'_>) -> io::Result<()>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = PacketWriter::new(&mut out);
        write(&mut writer).unwrap();
        writer.flush().unwrap();
        drop(writer);
        out
    }

    #[test]
    fn frames_every_form() {
        let out = written(|w| {
            w.data(b"")?;
            w.text("hello")?;
            w.err("no")?;
            w.delim()?;
            w.response_end()?;
            w.flush_pkt()
        });
        assert_eq!(out, b"0004000ahello\n000aERR no000100020000");
    }

    #[test]
    fn sideband_all_prefixes_data_but_not_special_packets() {
        let out = written(|w| {
            w.set_sideband_all(true);
            w.text("hi")?;
            w.delim()?;
            w.err("no")?;
            w.flush_pkt()
        });
        assert_eq!(out, b"0008\x01hi\n00010007\x03no0000");
    }

    #[test]
    fn the_longest_packet_fits_and_one_more_byte_does_not() {
        let out = written(|w| w.data(&[b'x'; LARGE_PACKET_MAX - 4]));
        assert_eq!(&out[..4], b"fff0");
        assert_eq!(out.len(), LARGE_PACKET_MAX);

        let mut out = Vec::new();
        let mut writer = PacketWriter::new(&mut out);
        writer.text("before").unwrap();
        writer.data(&[b'x'; LARGE_PACKET_MAX - 3]).expect_err("too long");
        drop(writer);
        assert_eq!(out, b"000bbefore\n");
    }
}
