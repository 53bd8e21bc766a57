//! Git's wire protocol as bytes and messages: pkt-line, side-band, capabilities, commands.
//!
//! Everything here turns bytes into requests and answers into bytes, over the
//! traits of `std::io` and nothing else: no sockets, no async, no clock, no
//! storage. Parsers never allocate from a length they have not checked against
//! [`Limits`], and every capability is advertised and accepted by one table
//! (see [`capability`]).
//!
//! The sources are git's own documents: gitprotocol-common, gitprotocol-pack,
//! gitprotocol-v2 and gitprotocol-capabilities.

pub mod advertise;
pub mod archive;
pub mod capability;
pub mod client;
pub mod daemon;
mod error;
pub mod fetch;
mod filter;
mod limits;
mod number;
pub mod pktline;
mod protocol;
pub mod push;
mod quote;
pub mod reply;
pub mod report;
pub mod sideband;
mod sink;
pub mod ssh_command;
pub mod v0;
pub mod v2;

pub use capability::{ReceivePackOffer, Unborn, UploadPackOffer};
pub use error::Error;
pub use fetch::{Depth, FetchRequest, MultiAck};
pub use filter::{Filter, FilterRules};
pub use limits::Limits;
pub use pktline::{
    DEFAULT_PACKET_MAX, LARGE_PACKET_DATA_MAX, LARGE_PACKET_MAX, Packet, PacketReader, PacketWriter,
};
pub use protocol::{Protocol, Service};
pub use push::{PushCert, PushCommand, PushRequest};
pub use report::{PushReport, RefOutcome, RefReport, ReportOptions, ReportStatus};
pub use sideband::{Band, Sideband};
pub use sink::{Sink, WriteSink};
pub use v2::{Command, LsRefsRequest, ObjectInfoRequest};
