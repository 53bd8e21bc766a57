//! The client's side: what a server says, and requests as bytes.
//!
//! Everything takes one packet, or line, at a time, so that it does not matter how they come. Requests are the
//! types that servers read ([`crate::LsRefsRequest`], [`crate::FetchRequest`], [`crate::PushRequest`]), and what is
//! not offered is not asked for.

mod advertised;
mod capabilities;
mod fetch;
mod ls_refs;
mod push;
mod watch;

use bstr::ByteSlice as _;

use crate::Error;
use crate::pktline::{DELIM, FLUSH, HEADER_LEN, LARGE_PACKET_DATA_MAX, header};
use crate::quote::quote;

pub use advertised::{Advertised, AdvertisedReader, RemoteRef};
pub use capabilities::Capabilities;
pub use fetch::{FetchLine, FetchReader, fetch_request};
pub use ls_refs::{ls_refs_line, ls_refs_request};
pub use push::{PushTerms, ReportReader, push_request};
pub use watch::{WatchLine, watch_line, watch_request};

/// Appends a packet with a line, its newline included.
///
/// # Errors
/// [`Error::Refused`] for what fits into no packet.
fn line(out: &mut Vec<u8>, parts: &[&[u8]]) -> Result<(), Error> {
    let len = parts.iter().map(|part| part.len()).sum::<usize>() + b"\n".len();
    if len > LARGE_PACKET_DATA_MAX {
        return Err(Error::Refused("this does not fit into a packet".to_owned()));
    }
    out.extend_from_slice(&header(HEADER_LEN + len));
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.push(b'\n');
    Ok(())
}

/// Begins a command of protocol version 2; its arguments follow.
fn begin_command(
    out: &mut Vec<u8>,
    name: &str,
    capabilities: &Capabilities,
    agent: &str,
    server_options: &[bstr::BString],
) -> Result<(), Error> {
    if !capabilities.has(name) {
        return Err(not_offered(name));
    }
    line(out, &[b"command=", name.as_bytes()])?;
    if capabilities.has("agent") {
        line(out, &[b"agent=", agent.as_bytes()])?;
    }
    if let Some(format) = capabilities.value("object-format") {
        line(out, &[b"object-format=", format])?;
    }
    if !server_options.is_empty() && !capabilities.has("server-option") {
        return Err(not_offered("server-option"));
    }
    for option in server_options {
        line(out, &[b"server-option=", option])?;
    }
    out.extend_from_slice(DELIM);
    Ok(())
}

fn end_command(out: &mut Vec<u8>) {
    out.extend_from_slice(FLUSH);
}

fn not_offered(what: &str) -> Error {
    Error::Refused(format!("the server does not offer '{what}'"))
}

fn unexpected(line: &[u8]) -> Error {
    let shown = quote(&line[..line.len().min(200)]);
    Error::Malformed(format!("the server sent an unexpected line: '{shown}'"))
}

/// Words of a line.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split_str(" ")
}

#[cfg(test)]
mod tests;
