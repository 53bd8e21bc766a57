//! The command `ls-refs` of version 2.

use object::{HashKind, ObjectId};

use super::{Capabilities, RemoteRef, begin_command, end_command, line, unexpected, words};
use crate::{Error, LsRefsRequest};

/// A request for refs.
///
/// # Errors
/// [`Error::Refused`] when the server has no such command, or something does not fit into a packet.
pub fn ls_refs_request(
    request: &LsRefsRequest,
    capabilities: &Capabilities,
    agent: &str,
) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    begin_command(&mut out, "ls-refs", capabilities, agent, &request.server_options)?;
    let unborn = request.unborn && capabilities.has_feature("ls-refs", "unborn");
    for (asked, word) in [(request.peel, "peel"), (request.symrefs, "symrefs"), (unborn, "unborn")]
    {
        if asked {
            line(&mut out, &[word.as_bytes()])?;
        }
    }
    for prefix in &request.prefixes {
        line(&mut out, &[b"ref-prefix ", prefix])?;
    }
    end_command(&mut out);
    Ok(out)
}

/// A line of the answer, which ends with a flush packet.
///
/// # Errors
/// [`Error::Malformed`].
pub fn ls_refs_line(line: &[u8], hash: HashKind) -> Result<RemoteRef, Error> {
    let read = || {
        let mut words = words(line);
        let id = match words.next()? {
            b"unborn" => None,
            hex => Some(ObjectId::from_hex_of(hex, hash)?),
        };
        let name = words.next().filter(|name| !name.is_empty())?;
        let mut one = RemoteRef { name: name.into(), id, target: None, peeled: None };
        for attribute in words {
            if let Some(target) = attribute.strip_prefix(b"symref-target:") {
                one.target = Some(target.into());
            } else if let Some(hex) = attribute.strip_prefix(b"peeled:") {
                one.peeled = Some(ObjectId::from_hex_of(hex, hash)?);
            }
        }
        Some(one)
    };
    read().ok_or_else(|| unexpected(line))
}
