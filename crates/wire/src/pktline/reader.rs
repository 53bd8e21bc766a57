//! Reading packets, without copying those that lie whole in the stream's buffer.

use std::io::{self, BufRead};

use super::{HEADER_LEN, LARGE_PACKET_DATA_MAX};
use crate::Error;
use crate::quote::quote;

/// One packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Data; may be empty (`0004`).
    Data(&'a [u8]),
    /// `0000`: the end of a message.
    Flush,
    /// `0001`: the end of a section (v2).
    Delim,
    /// `0002`: the end of a stateless response (v2).
    ResponseEnd,
    /// The stream ended between two packets.
    Eof,
}

impl<'a> Packet<'a> {
    /// The packet as a line of text: data without one trailing newline, `None` for the others.
    pub fn text(self) -> Option<&'a [u8]> {
        match self {
            Packet::Data(data) => Some(data.strip_suffix(b"\n").unwrap_or(data)),
            _ => None,
        }
    }
}

/// Reads packets from a stream, and never a byte beyond the packet it returns:
/// raw data such as a pack may follow on the same stream ([`PacketReader::inner_mut`]).
#[derive(Debug)]
pub struct PacketReader<R: BufRead> {
    inner: R,
    /// Bytes of the packet last returned that are still in the stream's buffer.
    returned: usize,
    /// Holds a packet that lay across the end of the stream's buffer.
    spill: Vec<u8>,
    data_max: usize,
}

impl<R: BufRead> PacketReader<R> {
    /// A reader of packets up to the length the format allows.
    pub fn new(inner: R) -> Self {
        Self::with_line_bytes_max(inner, LARGE_PACKET_DATA_MAX)
    }

    /// A reader that refuses packets with more than `line_bytes_max` data bytes
    /// ([`Limits::line_bytes_max`](crate::Limits)).
    pub fn with_line_bytes_max(inner: R, line_bytes_max: usize) -> Self {
        let data_max = line_bytes_max.min(LARGE_PACKET_DATA_MAX);
        PacketReader { inner, returned: 0, spill: Vec::new(), data_max }
    }

    /// Reads the next packet.
    ///
    /// # Errors
    /// [`Error::HungUp`] when the stream ends inside a packet, [`Error::Malformed`]
    /// for a header that is none or a length that is too large.
    #[allow(clippy::should_implement_trait)] // a lending iterator, which `Iterator` cannot be
    pub fn next(&mut self) -> Result<Packet<'_>, Error> {
        self.release();
        let (header, buffered) = match self.header()? {
            Some(found) => found,
            None => return Ok(Packet::Eof),
        };
        let data_len = match length(header)? {
            0 => return Ok(self.special(buffered, Packet::Flush)),
            1 => return Ok(self.special(buffered, Packet::Delim)),
            2 => return Ok(self.special(buffered, Packet::ResponseEnd)),
            3 => return Err(bad_length(3)),
            len => len - HEADER_LEN,
        };
        if data_len > self.data_max {
            return Err(bad_length(data_len));
        }
        if buffered >= HEADER_LEN + data_len {
            self.returned = HEADER_LEN + data_len;
            // The buffer is not empty, so this neither reads nor blocks.
            let buffer = self.inner.fill_buf()?;
            return Ok(Packet::Data(&buffer[HEADER_LEN..HEADER_LEN + data_len]));
        }
        if buffered > 0 {
            self.inner.consume(HEADER_LEN);
        }
        self.spill(data_len)?;
        Ok(Packet::Data(&self.spill))
    }

    /// Reads the next packet as a line: data loses one trailing newline, and a line
    /// `ERR …`, by which a peer gives up, becomes [`Error::Remote`].
    pub fn next_line(&mut self) -> Result<Packet<'_>, Error> {
        let packet = self.next()?;
        match packet.text() {
            Some(line) => match line.strip_prefix(b"ERR ") {
                Some(words) => Err(Error::Remote(quote(words))),
                None => Ok(Packet::Data(line)),
            },
            None => Ok(packet),
        }
    }

    /// The stream, standing exactly behind the packet last returned.
    pub fn inner_mut(&mut self) -> &mut R {
        self.release();
        &mut self.inner
    }

    /// Gives the stream back, standing exactly behind the packet last returned.
    pub fn into_inner(mut self) -> R {
        self.release();
        self.inner
    }

    /// Passes over the packet that the caller has finished with.
    fn release(&mut self) {
        if self.returned > 0 {
            self.inner.consume(self.returned);
            self.returned = 0;
        }
    }

    /// The next header, and how many bytes the stream's buffer holds from the header on:
    /// 0 when the header lay across its end and is consumed already. `None` at a clean end.
    fn header(&mut self) -> Result<Option<([u8; HEADER_LEN], usize)>, Error> {
        let mut header = [0; HEADER_LEN];
        let buffered = self.fill()?;
        if buffered >= HEADER_LEN {
            header.copy_from_slice(&self.inner.fill_buf()?[..HEADER_LEN]);
            return Ok(Some((header, buffered)));
        }
        let mut filled = 0;
        while filled < HEADER_LEN {
            let available = self.fill()?;
            if available == 0 {
                return if filled == 0 { Ok(None) } else { Err(Error::HungUp) };
            }
            let taken = available.min(HEADER_LEN - filled);
            header[filled..filled + taken].copy_from_slice(&self.inner.fill_buf()?[..taken]);
            self.inner.consume(taken);
            filled += taken;
        }
        Ok(Some((header, 0)))
    }

    /// Makes the buffer hold something, and says how much: 0 at the end of the stream.
    fn fill(&mut self) -> Result<usize, Error> {
        loop {
            match self.inner.fill_buf() {
                Ok(buffer) => return Ok(buffer.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn special(&mut self, buffered: usize, packet: Packet<'static>) -> Packet<'static> {
        if buffered > 0 {
            self.inner.consume(HEADER_LEN);
        }
        packet
    }

    /// Copies a packet's data out of the stream; `len` has been checked.
    fn spill(&mut self, len: usize) -> Result<(), Error> {
        self.spill.clear();
        while self.spill.len() < len {
            let available = self.fill()?;
            if available == 0 {
                return Err(Error::HungUp);
            }
            let taken = available.min(len - self.spill.len());
            self.spill.extend_from_slice(&self.inner.fill_buf()?[..taken]);
            self.inner.consume(taken);
        }
        Ok(())
    }
}

/// The packet that bytes begin with, and how many of them it takes; `None` while it is not whole. For those who
/// get bytes as they come.
///
/// # Errors
/// [`Error::Malformed`], as [`PacketReader::next`].
pub fn split_packet(bytes: &[u8]) -> Result<Option<(Packet<'_>, usize)>, Error> {
    let Some((&header, rest)) = bytes.split_first_chunk() else { return Ok(None) };
    let special = match length(header)? {
        0 => Packet::Flush,
        1 => Packet::Delim,
        2 => Packet::ResponseEnd,
        3 => return Err(bad_length(3)),
        len if len > LARGE_PACKET_DATA_MAX + HEADER_LEN => {
            return Err(bad_length(len - HEADER_LEN));
        }
        len => return Ok(rest.get(..len - HEADER_LEN).map(|data| (Packet::Data(data), len))),
    };
    Ok(Some((special, HEADER_LEN)))
}

fn length(header: [u8; HEADER_LEN]) -> Result<usize, Error> {
    header
        .iter()
        .try_fold(0, |length, &digit| Some(length << 4 | (digit as char).to_digit(16)? as usize))
        .ok_or_else(|| {
            let found = quote(&header);
            Error::Malformed(format!("protocol error: bad line length character: {found}"))
        })
}

/// Git counts the data alone in this message, but for lengths too short to hold any.
fn bad_length(length: usize) -> Error {
    Error::Malformed(format!("protocol error: bad line length {length}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Read as _};

    fn failure(bytes: &[u8]) -> String {
        PacketReader::new(bytes).next().expect_err("broken").to_string()
    }

    #[test]
    fn reads_data_and_special_packets() {
        let mut reader = PacketReader::new(&b"0008abc\n0004000100020000"[..]);
        let packet = reader.next().unwrap();
        assert_eq!(packet, Packet::Data(b"abc\n"));
        assert_eq!(packet.text(), Some(&b"abc"[..]));
        assert_eq!(reader.next().unwrap(), Packet::Data(b""));
        assert_eq!(reader.next().unwrap(), Packet::Delim);
        assert_eq!(reader.next().unwrap(), Packet::ResponseEnd);
        assert_eq!(reader.next().unwrap(), Packet::Flush);
        assert_eq!(reader.next().unwrap(), Packet::Eof);
    }

    #[test]
    fn leaves_the_raw_bytes_that_follow() {
        for capacity in [1, 3, 4, 5, 8, 100] {
            let stream = BufReader::with_capacity(capacity, &b"0007abc0000PACK"[..]);
            let mut reader = PacketReader::new(stream);
            assert_eq!(reader.next().unwrap(), Packet::Data(b"abc"));
            assert_eq!(reader.next().unwrap(), Packet::Flush);
            let mut rest = String::new();
            reader.inner_mut().read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "PACK", "buffer of {capacity}");
        }
        let mut reader = PacketReader::new(&b"0007abcPACK"[..]);
        reader.next().unwrap();
        assert_eq!(reader.into_inner(), b"PACK");
    }

    #[test]
    fn words_for_broken_headers_are_gits() {
        assert_eq!(failure(b"zzzz"), "protocol error: bad line length character: zzzz");
        assert_eq!(failure(b"00\x01f"), "protocol error: bad line length character: 00?f");
        assert_eq!(failure(b"0003"), "protocol error: bad line length 3");
        assert_eq!(failure(b"ffff"), "protocol error: bad line length 65531");
        assert_eq!(failure(b"fff1"), "protocol error: bad line length 65517");
        assert_eq!(failure(b"000"), "the remote end hung up unexpectedly");
        assert_eq!(failure(b"0006a"), "the remote end hung up unexpectedly");
        assert_eq!(failure(b"fff0"), "the remote end hung up unexpectedly");
    }

    #[test]
    fn a_length_alone_allocates_nothing() {
        let mut reader = PacketReader::new(&b"fff0"[..]);
        reader.next().expect_err("no data");
        assert_eq!(reader.spill.capacity(), 0);
        let mut reader = PacketReader::new(&b"fff0some"[..]);
        reader.next().expect_err("little data");
        assert!(reader.spill.capacity() < 100);
    }

    #[test]
    fn a_lower_line_limit_holds() {
        let mut reader = PacketReader::with_line_bytes_max(&b"0008abcd0009abcde"[..], 4);
        assert_eq!(reader.next().unwrap(), Packet::Data(b"abcd"));
        assert_eq!(
            reader.next().expect_err("too long").to_string(),
            "protocol error: bad line length 5"
        );
    }

    #[test]
    fn an_err_line_is_the_peers_error() {
        let mut reader = PacketReader::new(&b"000fERR no more"[..]);
        assert_eq!(reader.next_line().expect_err("ERR").to_string(), "remote error: no more");
    }
}
