//! pkt-line: the framing under everything (gitprotocol-common, "pkt-line Format").
//!
//! A packet is four hexadecimal digits of its whole length and then its data;
//! the lengths 0, 1 and 2 are the flush, delimiter and response-end packets.

mod reader;
mod writer;

pub use reader::{Packet, PacketReader, split_packet};
pub use writer::PacketWriter;

/// The longest packet, header included.
pub const LARGE_PACKET_MAX: usize = 65520;
/// The most data one packet carries.
pub const LARGE_PACKET_DATA_MAX: usize = LARGE_PACKET_MAX - HEADER_LEN;
/// The longest packet of the old `side-band` capability, header included.
pub const DEFAULT_PACKET_MAX: usize = 1000;

/// Bytes of a packet's header.
pub(crate) const HEADER_LEN: usize = 4;

/// A flush packet.
pub(crate) const FLUSH: &[u8; 4] = b"0000";
/// A delimiter packet (v2).
pub(crate) const DELIM: &[u8; 4] = b"0001";
/// A response-end packet (v2, stateless).
pub(crate) const RESPONSE_END: &[u8; 4] = b"0002";

/// The header of a packet of `len` bytes, itself included.
pub(crate) fn header(len: usize) -> [u8; HEADER_LEN] {
    debug_assert!((HEADER_LEN..=LARGE_PACKET_MAX).contains(&len));
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |shift: usize| DIGITS[len >> shift & 15];
    [digit(12), digit(8), digit(4), digit(0)]
}
