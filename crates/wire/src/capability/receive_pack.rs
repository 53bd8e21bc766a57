//! What a receive-pack server offers, and its capabilities.

use bstr::BString;
use object::HashKind;

use super::{Capability, Offered, agent_word, nothing_to_accept};
use crate::Error;
use crate::push::PushParser;

/// What this server offers to those who push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivePackOffer {
    /// The hash of the repository.
    pub object_format: HashKind,
    /// The server's name and version: one word ([`agent_word`]).
    pub agent: BString,
    /// The id of this session where `transfer.advertiseSID` is set.
    pub session_id: Option<BString>,
    /// `receive.advertiseAtomic`.
    pub atomic: bool,
    /// `repack.useDeltaBaseOffset`: whether packs may name delta bases by offset.
    pub ofs_delta: bool,
    /// The nonce that signed pushes must carry; none, and they are not taken.
    pub push_cert_nonce: Option<BString>,
    /// `receive.advertisePushOptions`.
    pub push_options: bool,
}

impl ReceivePackOffer {
    /// What git offers when nothing is configured. The agent is made one word
    /// ([`agent_word`]).
    pub fn new(object_format: HashKind, agent: impl AsRef<[u8]>) -> Self {
        ReceivePackOffer {
            object_format,
            agent: agent_word(agent.as_ref()),
            session_id: None,
            atomic: true,
            ofs_delta: true,
            push_cert_nonce: None,
            push_options: false,
        }
    }

    /// The capability list, as it stands behind the NUL of the first ref line.
    pub fn capabilities(&self) -> BString {
        super::list(RECEIVE_PACK, self)
    }
}

type Row = Capability<ReceivePackOffer, PushParser>;

/// The capabilities of receive-pack (gitprotocol-capabilities).
pub(crate) const RECEIVE_PACK: &[Row] = &[
    always("report-status", |push, _| {
        push.request.report_status = true;
        Ok(())
    }),
    always("report-status-v2", |push, _| {
        push.request.report_status_v2 = true;
        Ok(())
    }),
    always("delete-refs", nothing_to_accept),
    always("side-band-64k", |push, _| {
        push.request.side_band_64k = true;
        Ok(())
    }),
    always("quiet", |push, _| {
        push.request.quiet = true;
        Ok(())
    }),
    Row {
        name: "atomic",
        offered: |offer| Offered::plain_if(offer.atomic),
        accept: |push, _| {
            push.request.atomic = true;
            Ok(())
        },
    },
    Row {
        name: "ofs-delta",
        offered: |offer| Offered::plain_if(offer.ofs_delta),
        accept: |push, _| {
            push.request.ofs_delta = true;
            Ok(())
        },
    },
    // A client takes it up with a `push-cert` line, not with a capability.
    Row { name: PUSH_CERT, offered: push_cert, accept: nothing_to_accept },
    Row {
        name: "push-options",
        offered: |offer| Offered::plain_if(offer.push_options),
        accept: |push, _| {
            push.request.uses_push_options = true;
            Ok(())
        },
    },
    Row {
        name: "session-id",
        offered: |offer| Offered::optional(offer.session_id.as_ref()),
        accept: |push, value| push.session_id(value),
    },
    Row {
        name: "object-format",
        offered: |offer| Offered::value(offer.object_format.name()),
        accept: |push, value| push.object_format(value),
    },
    Row {
        name: "agent",
        offered: |offer| Offered::value(offer.agent.clone()),
        accept: |push, value| push.agent(value),
    },
];

const PUSH_CERT: &str = "push-cert";

fn push_cert(offer: &ReceivePackOffer) -> Offered {
    Offered::optional(offer.push_cert_nonce.as_ref())
}

/// Whether a `push-cert` line may be taken: asks the row that advertises it.
pub(crate) fn push_cert_offered(offer: &ReceivePackOffer) -> bool {
    !matches!(push_cert(offer), Offered::No)
}

/// A row for what every server offers.
const fn always(
    name: &'static str,
    accept: fn(&mut PushParser, &[u8]) -> Result<(), Error>,
) -> Row {
    Row { name, offered: |_| Offered::Plain, accept }
}
