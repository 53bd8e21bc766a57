//! HTTP facts turned into requests: Git's smart protocol over HTTP/1.1 and HTTP/2, and the
//! plain files old clients read.
//!
//! Floor 6: sees `host` and `wire`, nothing below. Connections are asynchronous; a request
//! that was let in runs on a thread of its own and is joined to its connection by two short
//! queues, so that a slow client slows its own request down and holds little memory.

mod answer;
mod challenges;
mod download;
mod events;
mod login;
mod reply;
mod request_body;
mod response_body;
mod rope;
mod route;
mod server;
mod smart;
mod stream;
mod tls;
mod welcome;

pub use challenges::Challenges;
pub use server::{HttpSettings, Server, Speech};
pub use tls::{CertificateFiles, Tls, TlsError};
