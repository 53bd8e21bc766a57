//! The command `object-info`.

use std::io::BufRead;

use bstr::BString;
use object::ObjectId;

use super::{Arguments, Keys};
use crate::Error;
use crate::capability::UploadPackOffer;
use crate::limits::{Limits, push_within};
use crate::quote::quote;

/// What a client asks about objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectInfoRequest {
    /// Whether their sizes are asked for.
    pub size: bool,
    /// The objects, in the client's order.
    pub ids: Vec<ObjectId>,
    /// The client's name and version.
    pub agent: Option<BString>,
    /// The client's session, for logs.
    pub session_id: Option<BString>,
    /// Values of `server-option`.
    pub server_options: Vec<BString>,
}

pub(super) fn read<R: BufRead>(
    arguments: &mut Arguments<'_, R>,
    keys: Keys,
    limits: &Limits,
    offer: &UploadPackOffer,
) -> Result<ObjectInfoRequest, Error> {
    let mut request = ObjectInfoRequest {
        agent: keys.agent,
        session_id: keys.session_id,
        server_options: keys.server_options,
        ..ObjectInfoRequest::default()
    };
    while let Some(line) = arguments.next("object-info: expected flush after arguments")? {
        if line == b"size" {
            request.size = true;
        } else if let Some(hex) = line.strip_prefix(b"oid ") {
            let id = ObjectId::from_hex_of(hex, offer.object_format).ok_or_else(|| {
                Error::Malformed(format!(
                    "object-info: protocol error, expected to get oid, not '{}'",
                    quote(hex)
                ))
            })?;
            let max = limits.object_info_max;
            push_within(&mut request.ids, id, max, "objects asked about", "object_info_max")?;
        } else {
            let words = format!("object-info: unexpected line: '{}'", quote(line));
            return Err(Error::Refused(words));
        }
    }
    Ok(request)
}
