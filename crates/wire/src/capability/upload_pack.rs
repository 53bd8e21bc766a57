//! What an upload-pack server offers, and its v0 and v1 capabilities.

use bstr::BString;
use object::HashKind;

use super::{Capability, Offered, agent_word, nothing_to_accept};
use crate::Error;
use crate::fetch::{FetchParser, MultiAck};
use crate::filter::FilterRules;
use crate::sideband::Band;
use crate::v2::PromisorRemote;

/// What `lsrefs.unborn` says about a HEAD whose branch does not exist yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unborn {
    /// `ignore`: the argument `unborn` is taken and has no effect.
    Ignore,
    /// `allow`: it works, but is not advertised.
    Allow,
    /// `advertise`: it works and is advertised.
    #[default]
    Advertise,
}

/// What this server offers to those who fetch, in every version of the protocol.
///
/// The same value serves the advertisement and the reading of the request; a
/// stateless server makes it anew for each request, from the same configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadPackOffer {
    /// The hash of the repository.
    pub object_format: HashKind,
    /// The server's name and version: one word ([`agent_word`]).
    pub agent: BString,
    /// The id of this session where `transfer.advertiseSID` is set.
    pub session_id: Option<BString>,
    /// Symbolic refs of the advertisement and their targets, `HEAD` above all (v0, v1).
    pub symrefs: Vec<(BString, BString)>,
    /// `uploadpack.allowTipSHA1InWant`, or any wider permission (v0, v1).
    pub allow_tip_sha1_in_want: bool,
    /// `uploadpack.allowReachableSHA1InWant`, or any wider permission (v0, v1).
    pub allow_reachable_sha1_in_want: bool,
    /// Whether the exchange is stateless: only there a client may leave `done` out (v0, v1).
    pub no_done: bool,
    /// `uploadpack.allowFilter`, and which filters are allowed.
    pub filter: Option<FilterRules>,
    /// `lsrefs.unborn` (v2).
    pub unborn: Unborn,
    /// `uploadpack.allowRefInWant` (v2).
    pub ref_in_want: bool,
    /// `uploadpack.allowSidebandAll` (v2).
    pub sideband_all: bool,
    /// `transfer.advertiseObjectInfo` (v2).
    pub object_info: bool,
    /// v2: where bundles are is told (`uploadpack.advertiseBundleURIs`).
    pub bundle_uri: bool,
    /// v2: remotes that have what this one leaves out (`promisor.advertise`).
    pub promisor_remotes: Vec<PromisorRemote>,
    /// v2: who asks is told what becomes of refs (`packhorse-watch`).
    pub watch: bool,
}

impl UploadPackOffer {
    /// What git offers when nothing is configured. The agent is made one word
    /// ([`agent_word`]).
    pub fn new(object_format: HashKind, agent: impl AsRef<[u8]>) -> Self {
        UploadPackOffer {
            object_format,
            agent: agent_word(agent.as_ref()),
            session_id: None,
            symrefs: Vec::new(),
            allow_tip_sha1_in_want: false,
            allow_reachable_sha1_in_want: false,
            no_done: false,
            filter: None,
            unborn: Unborn::default(),
            ref_in_want: false,
            sideband_all: false,
            object_info: false,
            bundle_uri: false,
            promisor_remotes: Vec::new(),
            watch: false,
        }
    }

    /// The v0 and v1 capability list, as it stands behind the NUL of the first ref line.
    pub fn capabilities(&self) -> BString {
        super::list(UPLOAD_PACK, self)
    }
}

type Row = Capability<UploadPackOffer, FetchParser>;

/// The v0 and v1 capabilities of upload-pack (gitprotocol-capabilities).
pub(crate) const UPLOAD_PACK: &[Row] = &[
    always("multi_ack", |fetch, _| {
        fetch.request.multi_ack = fetch.request.multi_ack.max(MultiAck::Basic);
        Ok(())
    }),
    always("thin-pack", |fetch, _| {
        fetch.request.thin_pack = true;
        Ok(())
    }),
    always("side-band", |fetch, _| {
        fetch.request.side_band = fetch.request.side_band.max(Band::Small);
        Ok(())
    }),
    always("side-band-64k", |fetch, _| {
        fetch.request.side_band = Band::Large;
        Ok(())
    }),
    always("ofs-delta", |fetch, _| {
        fetch.request.ofs_delta = true;
        Ok(())
    }),
    always("shallow", nothing_to_accept),
    always("deepen-since", nothing_to_accept),
    always("deepen-not", nothing_to_accept),
    always("deepen-relative", |fetch, _| {
        fetch.request.deepen_relative = true;
        Ok(())
    }),
    always("no-progress", |fetch, _| {
        fetch.request.no_progress = true;
        Ok(())
    }),
    always("include-tag", |fetch, _| {
        fetch.request.include_tag = true;
        Ok(())
    }),
    always("multi_ack_detailed", |fetch, _| {
        fetch.request.multi_ack = MultiAck::Detailed;
        Ok(())
    }),
    Row {
        name: "allow-tip-sha1-in-want",
        offered: |offer| Offered::plain_if(offer.allow_tip_sha1_in_want),
        accept: nothing_to_accept,
    },
    Row {
        name: "allow-reachable-sha1-in-want",
        offered: |offer| Offered::plain_if(offer.allow_reachable_sha1_in_want),
        accept: nothing_to_accept,
    },
    Row {
        name: "no-done",
        offered: |offer| Offered::plain_if(offer.no_done),
        accept: |fetch, _| {
            fetch.request.no_done = true;
            Ok(())
        },
    },
    Row { name: "symref", offered: symrefs, accept: nothing_to_accept },
    Row {
        name: "filter",
        offered: |offer| Offered::plain_if(offer.filter.is_some()),
        accept: |fetch, _| {
            fetch.filter_negotiated = true;
            Ok(())
        },
    },
    Row {
        name: "session-id",
        offered: |offer| Offered::optional(offer.session_id.as_ref()),
        accept: |fetch, value| fetch.session_id(value),
    },
    Row {
        name: "object-format",
        offered: |offer| Offered::value(offer.object_format.name()),
        accept: |fetch, value| fetch.object_format(value),
    },
    Row {
        name: "agent",
        offered: |offer| Offered::value(offer.agent.clone()),
        accept: |fetch, value| fetch.agent(value),
    },
];

/// A row for what every server offers.
const fn always(
    name: &'static str,
    accept: fn(&mut FetchParser, &[u8]) -> Result<(), Error>,
) -> Row {
    Row { name, offered: |_| Offered::Plain, accept }
}

fn symrefs(offer: &UploadPackOffer) -> Offered {
    if offer.symrefs.is_empty() {
        return Offered::No;
    }
    let value = |(name, target): &(BString, BString)| {
        BString::from([name.as_slice(), b":", target.as_slice()].concat())
    };
    Offered::Values(offer.symrefs.iter().map(value).collect())
}
