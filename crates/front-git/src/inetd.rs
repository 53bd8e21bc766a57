//! One client on standard input and output, as inetd(8) starts a program for each.

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use host::Host;

use crate::GitSettings;
use crate::connection::{Ended, head_bytes, refuse};
use crate::daemon::{self, Client, DaemonSettings, Importance};
use crate::streams::Stream;

/// Serves one client on two streams, which may be the same socket, to its end.
///
/// # Errors
/// When the streams fail before the client has said what it wants.
pub fn serve_streams(
    host: &Host,
    settings: &GitSettings,
    rules: &DaemonSettings,
    (input, output): (OwnedFd, OwnedFd),
    peer: Option<SocketAddr>,
) -> io::Result<()> {
    let client = Client { host, rules, peer };
    client.connected();
    let (mut input, mut output) = (Stream::new(input), Stream::new(output));
    let limit = settings.header_timeout;
    input.timeout = (limit != Duration::MAX).then_some(limit);
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let mut message = vec![0; head_bytes(length)?];
    input.read_exact(&mut message)?;
    let timeout = daemon::idle_timeout(&message, settings.idle_timeout);
    (input.timeout, output.timeout) = (timeout, timeout);
    let mut refusal = output.try_clone()?;
    match client.answer(&message, Box::new(input), Box::new(output)) {
        Ended::Done | Ended::Told => Ok(()),
        Ended::Refused(words) => refuse(&mut refusal, &words).inspect_err(|error| {
            (rules.log)(Importance::Error, &error.to_string());
        }),
    }
}
