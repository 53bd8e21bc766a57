//! What a Git server answers: advertisements, ls-refs, fetches, pushes, object-info, archives.
//!
//! Floor 4: turns the messages of `wire` into work of `repository` and `storage`.
//! Knows nothing of transports or callers: whoever runs an executor has already
//! been let in, and hands over a reader, a [`wire::Sink`] and facts about the session.

pub mod archive;
mod checkout;
mod error;
mod hidden_refs;
pub mod hooks;
mod namespace;
pub mod receive;
pub mod upload;

pub use error::Error;
pub use hidden_refs::HiddenRefs;
pub use namespace::Namespace;

use bstr::BString;

/// How far one exchange with a client goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// Only the advertisement (`GET info/refs`, `--http-backend-info-refs`).
    Advertise,
    /// One request and its answer, without an advertisement (`POST`, `--stateless-rpc`).
    Round,
    /// The advertisement, then everything else over one connection.
    Conversation,
}

/// What the server says about itself.
#[derive(Debug, Clone)]
pub struct ServerInfo {
    /// The `agent` capability, for example `packhorse/0.1.0`.
    pub agent: BString,
    /// This session's name for `session-id`; sent only when `transfer.advertiseSID` is set.
    pub session_id: BString,
    /// Offer `sideband-all` whatever the repository says (`GIT_TEST_SIDEBAND_ALL`).
    pub sideband_all: bool,
}
