//! The other end of the wire: what refs a server has, what becomes of them, packs from it and pushes to it.
//!
//! A [`Connection`] leads to one service of one repository: over HTTP or HTTPS, SSH (by the user's own program, so that
//! his configuration holds), git://, a program's standard streams, or any stream of both directions
//! ([`Connection::over`]). Requests and answers are those of [`wire::client`]. Whoever drops what he waits for
//! has cancelled it: connections are closed, and programs end.
//!
//! Everything runs on tokio, and one thread is enough for many connections.

mod annex;
mod backoff;
mod connection;
mod credentials;
mod error;
mod fetch;
mod options;
mod packets;
mod push;
mod road;
mod shell;
mod url;
mod watch;

pub use annex::{AnnexKey, AnnexStore, NoAnnexKey, annex_folder};
pub use backoff::Backoff;
pub use connection::Connection;
pub use credentials::{Credentials, GitCredentials, Login, NoCredentials, Pending, Verdict};
pub use error::Error;
pub use fetch::{Fetched, Haves, NoHaves, PackPart, PackReader};
pub use options::{Http, Options, Ssh, SshVariant};
pub use packets::BoxRead;
pub use road::{BoxWrite, Posted, post, shell_quoted};
pub use shell::Shell;
pub use url::{HttpUrl, NoUrl, RemoteUrl, without_password};
pub use watch::{RefMove, Watch, WatchEvent};
pub use wire::client::{Advertised, RemoteRef};
