//! What systemd, or whatever stands in its place, has to do with a server: sockets that are open already
//! (sd_listen_fds(3)), and words about how it is (sd_notify(3)).

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Sockets that were opened for this server, by what is to be spoken there.
#[derive(Default)]
pub(super) struct Given(BTreeMap<String, TcpListener>);

/// What sockets are for, by the names systemd gives them (`FileDescriptorName=`).
const NAMES: [&str; 4] = ["http", "https", "git", "ssh"];

impl Given {
    /// Takes what there is. A socket without one of these names is for HTTP.
    pub(super) fn take() -> Result<Self, String> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut sockets = listenfd::ListenFd::from_env();
        let mut given = BTreeMap::new();
        for at in 0..sockets.len() {
            let name = names.next().unwrap_or_default();
            let name = if NAMES.contains(&name) { name } else { NAMES[0] };
            let socket = sockets.take_tcp_listener(at);
            let socket = socket.map_err(|error| format!("socket {at} that was given: {error}"))?;
            let Some(socket) = socket else { continue };
            if given.insert(name.to_owned(), socket).is_some() {
                return Err(format!("two sockets for {name} were given"));
            }
        }
        Ok(Given(given))
    }

    /// The socket for something.
    pub(super) fn socket(&mut self, name: &str) -> Option<TcpListener> {
        self.0.remove(name)
    }

    /// Whether there is one.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// Says how the server is, to whoever wants to know.
pub(super) fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = || {
        let socket = UnixDatagram::unbound()?;
        let address = match path.as_bytes().strip_prefix(b"@") {
            Some(name) => abstract_address(name)?,
            None => SocketAddr::from_pathname(&path)?,
        };
        socket.send_to_addr(state.as_bytes(), &address)
    };
    if let Err(error) = sent() {
        tracing::warn!(%error, state, "cannot tell the service manager");
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> std::io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_name: &[u8]) -> std::io::Result<SocketAddr> {
    Err(std::io::ErrorKind::Unsupported.into())
}
