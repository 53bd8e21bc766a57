//! The command `ls-refs`.

use std::io::BufRead;

use bstr::BString;

use super::{Arguments, Keys, Offered, unexpected_line};
use crate::Error;
use crate::capability::{Unborn, UploadPackOffer};
use crate::limits::Limits;

/// Which refs a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LsRefsRequest {
    /// Whether the answer says what annotated tags point to.
    pub peel: bool,
    /// Whether the answer says where symbolic refs point.
    pub symrefs: bool,
    /// Whether the answer names the branch of a HEAD that has no commit yet.
    /// False where the server does not allow it.
    pub unborn: bool,
    /// Only refs whose full name starts with one of these; all when there is none.
    pub prefixes: Vec<BString>,
    /// The client's name and version.
    pub agent: Option<BString>,
    /// The client's session, for logs.
    pub session_id: Option<BString>,
    /// Values of `server-option`.
    pub server_options: Vec<BString>,
}

pub(super) fn offered(offer: &UploadPackOffer) -> Offered {
    match offer.unborn {
        Unborn::Advertise => Offered::Value("unborn".into()),
        Unborn::Allow | Unborn::Ignore => Offered::Plain,
    }
}

pub(super) fn read<R: BufRead>(
    arguments: &mut Arguments<'_, R>,
    mut keys: Keys,
    limits: &Limits,
    offer: &UploadPackOffer,
) -> Result<LsRefsRequest, Error> {
    let mut request = LsRefsRequest::default();
    let mut prefixes = Some(Vec::new());
    while let Some(line) = arguments.next("expected flush after ls-refs arguments")? {
        if line == b"peel" {
            request.peel = true;
        } else if line == b"symrefs" {
            request.symrefs = true;
        } else if line == b"unborn" {
            request.unborn = offer.unborn != Unborn::Ignore;
        } else if let Some(prefix) = line.strip_prefix(b"ref-prefix ") {
            add_prefix(&mut prefixes, prefix, &mut keys, limits);
        } else {
            return Err(unexpected_line(line));
        }
    }
    request.prefixes = prefixes.unwrap_or_default();
    request.agent = keys.agent;
    request.session_id = keys.session_id;
    request.server_options = keys.server_options;
    Ok(request)
}

/// Prefixes only save work. So of a list that is too long none is kept, and the answer
/// has all refs, as git's has.
pub(super) fn add_prefix(
    prefixes: &mut Option<Vec<BString>>,
    prefix: &[u8],
    keys: &mut Keys,
    limits: &Limits,
) {
    let Some(list) = prefixes else {
        return;
    };
    match keys.text.keep(prefix) {
        Ok(prefix) if list.len() + 1 < limits.prefixes_max => list.push(prefix),
        _ => *prefixes = None,
    }
}
