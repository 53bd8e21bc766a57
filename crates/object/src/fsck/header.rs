//! The header of a commit or tag as a whole, and its id lines.

use std::ops::ControlFlow;

use super::{MsgId, Report};
use crate::{HashKind, ObjectId};

/// The header ends with an empty line, or the object with a newline; no NUL stands before that.
pub(super) fn check_ends(bytes: &[u8], report: &mut Report<'_>) -> ControlFlow<()> {
    let header_end = memchr::memmem::find(bytes, b"\n\n");
    // The first newline of an empty line ends the header.
    let header = &bytes[..header_end.unwrap_or(bytes.len())];
    if let Some(offset) = memchr::memchr(0, header) {
        let message = format!("unterminated header: NUL at offset {offset}");
        return report.say(MsgId::NulInHeader, message);
    }
    if header_end.is_none() && !bytes.ends_with(b"\n") {
        return report.say(MsgId::UnterminatedHeader, "unterminated header");
    }
    ControlFlow::Continue(())
}

/// Takes an id and its newline off the front, and says whether both were there. Where that is
/// tolerated, git goes on behind whatever byte follows the id; a line without an id is skipped.
pub(super) fn take_id(bytes: &[u8], hash: HashKind) -> (bool, &[u8]) {
    let id = bytes.get(..hash.hex_len()).and_then(ObjectId::from_hex);
    match (id, bytes.get(hash.hex_len())) {
        (Some(_), Some(byte)) => (*byte == b'\n', &bytes[hash.hex_len() + 1..]),
        _ => (false, crate::header::line(bytes).map_or(&[], |(_, rest)| rest)),
    }
}
