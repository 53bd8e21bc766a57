//! Packets as they come from a stream.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use wire::Packet;
use wire::pktline::split_packet;

use crate::Error;

/// Bytes that are read at once, at least.
const READ_BYTES: usize = 4 << 10;
/// Room that is kept for a stream on which little comes.
const KEPT_BYTES: usize = 16 << 10;

/// A stream that can be read.
pub type BoxRead = Box<dyn AsyncRead + Send + Unpin>;

/// Reads packets from a stream.
pub(crate) struct Packets {
    stream: BoxRead,
    buffer: BytesMut,
    /// Bytes of the packet given last.
    given: usize,
    silence_max: Duration,
}

impl Packets {
    /// `silence_max` is how long the other end may say nothing.
    pub fn new(stream: BoxRead, silence_max: Duration) -> Self {
        Packets { stream, buffer: BytesMut::new(), given: 0, silence_max }
    }

    /// The next packet. Whoever stops waiting for it loses nothing.
    ///
    /// # Errors
    /// [`Error::Silent`]; [`Error::Io`]; of [`Error::Wire`] what is no packet, or is cut off.
    pub async fn next(&mut self) -> Result<Packet<'_>, Error> {
        self.buffer.advance(std::mem::take(&mut self.given));
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES {
            self.buffer = BytesMut::new();
        }
        while split_packet(&self.buffer)?.is_none() {
            self.buffer.reserve(READ_BYTES);
            let read =
                tokio::time::timeout(self.silence_max, self.stream.read_buf(&mut self.buffer));
            let count = read.await.map_err(|_| Error::Silent(self.silence_max))??;
            match (count, self.buffer.is_empty()) {
                (0, true) => return Ok(Packet::Eof),
                (0, false) => return Err(wire::Error::HungUp.into()),
                _ => {}
            }
        }
        match split_packet(&self.buffer)? {
            Some((packet, len)) => {
                self.given = len;
                Ok(packet)
            }
            None => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        }
    }

    /// The next packet as a line, without its newline; `ERR` is an error.
    pub async fn next_line(&mut self) -> Result<Packet<'_>, Error> {
        let packet = self.next().await?;
        match packet.text() {
            Some(line) => match line.strip_prefix(b"ERR ") {
                Some(words) => {
                    let words = String::from_utf8_lossy(words).into_owned();
                    Err(wire::Error::Remote(words).into())
                }
                None => Ok(Packet::Data(line)),
            },
            None => Ok(packet),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn packets_come_in_pieces() {
        let (mut one, other) = tokio::io::duplex(3);
        tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut one, b"0008abc\n00000006ab").await
        });
        let mut packets = Packets::new(Box::new(other), Duration::from_secs(60));
        assert_eq!(packets.next_line().await.expect("a packet"), Packet::Data(b"abc"));
        assert_eq!(packets.next().await.expect("a packet"), Packet::Flush);
        assert_eq!(packets.next().await.expect("a packet"), Packet::Data(b"ab"));
        assert_eq!(packets.next().await.expect("the end"), Packet::Eof);
        for (bytes, words) in [
            (&b"0008abc"[..], "hung up"),
            (b"zzzz", "bad line length"),
            (b"000aERR no", "remote error: no"),
        ] {
            let mut packets = Packets::new(Box::new(bytes), Duration::from_secs(60));
            let error = packets.next_line().await.expect_err("broken").to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends() {
        let (_one, other) = tokio::io::duplex(3);
        let mut packets = Packets::new(Box::new(other), Duration::from_secs(60));
        let error = packets.next().await.expect_err("nothing comes");
        assert_eq!(error.to_string(), "nothing was heard for 60 s");
    }
}
