//! SSH: accounts log in with their keys and run git's services; there is no shell, no forwarding and
//! no file transfer (RFC 4251 to 4254).
//!
//! Floor 7: sees `host` and `wire`. The protocol and its cryptography are `russh`; what is here is who
//! may log in, what a session may ask for, and the way between a session's packets and the thread that
//! answers.

mod connection;
mod greeting;
mod host_key;
mod session;
mod stream;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use host::Host;
use russh::{cipher, compression, kex, mac};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

pub use host_key::{HostKey, HostKeyError};

/// Settings of this front.
#[derive(Debug, Clone)]
pub struct SshSettings {
    /// How long a client may take to log in.
    pub login_timeout: Duration,
    /// Wrong keys after which a connection is closed.
    pub attempts_max: usize,
    /// Silence in the middle of a conversation, or of what is to be taken, after which it is ended.
    pub idle_timeout: Duration,
    /// Silence after which a client is asked whether it is there; three times, then it is not.
    pub keepalive: Duration,
    /// How long a connection on which nothing runs stays open.
    pub unused_timeout: Duration,
    /// Sessions at the same time on one connection.
    pub sessions_max: usize,
    /// How long running requests may take to end when the server stops.
    pub drain_timeout: Duration,
    /// Connections that are open at the same time.
    pub connections_max: usize,
    /// Bytes after which keys are exchanged anew, each way (RFC 4253 section 9: at most 1 GiB).
    pub rekey_bytes: usize,
    /// Silence after which whoever watches is told that the connection is alive.
    pub heartbeat: Duration,
}

impl Default for SshSettings {
    fn default() -> Self {
        SshSettings {
            login_timeout: Duration::from_secs(30),
            attempts_max: 8,
            idle_timeout: Duration::from_secs(120),
            keepalive: Duration::from_secs(30),
            unused_timeout: Duration::from_secs(3600),
            sessions_max: 16,
            drain_timeout: Duration::from_secs(30),
            connections_max: 1024,
            rekey_bytes: 1 << 30,
            heartbeat: Duration::from_secs(30),
        }
    }
}

/// A server of SSH over a host.
pub struct Server {
    host: Arc<Host>,
    settings: SshSettings,
    protocol: Arc<russh::server::Config>,
}

/// What connections share.
pub(crate) struct Front {
    pub host: Arc<Host>,
    pub settings: SshSettings,
    pub protocol: Arc<russh::server::Config>,
    /// Turns true when the server stops.
    pub stopping: watch::Receiver<bool>,
    /// Closed when the last of them is done.
    _alive: mpsc::Sender<Infallible>,
}

/// Key exchanges, best first. Those over large prime fields cost a server more than a client.
const EXCHANGES: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// Ciphers that prove by themselves that nothing was changed.
const CIPHERS: &[cipher::Name] =
    &[cipher::AES_256_GCM, cipher::AES_128_GCM, cipher::CHACHA20_POLY1305];

/// Not used with these ciphers; a client wants to agree on one all the same.
const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM];

/// Packs are compressed.
const COMPRESSIONS: &[compression::Name] = &[compression::NONE];

/// Packets that wait to be encrypted, and messages that wait to be read, for each connection.
const WAITING: usize = 32;

fn protocol(settings: &SshSettings, key: HostKey) -> russh::server::Config {
    let mut methods = russh::MethodSet::empty();
    methods.push(russh::MethodKind::PublicKey);
    let default = russh::server::Config::default();
    let software = concat!("SSH-2.0-packhorse_", env!("CARGO_PKG_VERSION"));
    russh::server::Config {
        server_id: russh::SshId::Standard(software.into()),
        methods,
        // Nobody finds a key by trying, and `Host` knows who fails too often.
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: settings.attempts_max,
        keys: vec![key.into_inner()],
        limits: russh::Limits::new(settings.rekey_bytes, settings.rekey_bytes, REKEY_TIME),
        preferred: russh::Preferred {
            kex: EXCHANGES.into(),
            cipher: CIPHERS.into(),
            mac: MACS.into(),
            compression: COMPRESSIONS.into(),
            ..russh::Preferred::default()
        },
        inactivity_timeout: None,
        keepalive_interval: Some(settings.keepalive),
        keepalive_max: 3,
        channel_buffer_size: WAITING,
        event_buffer_size: WAITING,
        ..default
    }
}

/// How long keys are used (RFC 4253 section 9 recommends an hour).
const REKEY_TIME: Duration = Duration::from_secs(3600);

impl Server {
    /// A server that asks `host` about every login and request, and shows itself by `key`.
    pub fn new(host: Arc<Host>, settings: SshSettings, key: HostKey) -> Self {
        let protocol = Arc::new(protocol(&settings, key));
        Server { host, settings, protocol }
    }

    /// Accepts connections until `stop` is ready, then lets running requests end. Returns whether all of
    /// them did within the drain timeout.
    pub async fn run(&self, listener: TcpListener, stop: impl Future<Output = ()>) -> bool {
        let (alive, mut all_done) = mpsc::channel(1);
        let (stop_all, stopping) = watch::channel(false);
        let front = Arc::new(Front {
            host: self.host.clone(),
            settings: self.settings.clone(),
            protocol: self.protocol.clone(),
            stopping,
            _alive: alive,
        });
        tokio::select! {
            never = accept_all(&front, &listener) => match never {},
            () = stop => {}
        }
        drop((listener, front));
        self.host.end_watching();
        // Connections are gone already if nobody listens.
        let _ = stop_all.send(true);
        tokio::time::timeout(self.settings.drain_timeout, all_done.recv()).await.is_ok()
    }
}

async fn accept_all(front: &Arc<Front>, listener: &TcpListener) -> Infallible {
    let places = Arc::new(Semaphore::new(front.settings.connections_max));
    loop {
        let place = places.clone().acquire_owned().await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                // A handshake costs more than anything else that somebody unknown can ask for.
                if front.host.is_barred(peer.ip()) {
                    tracing::debug!(%peer, "too many failed logins from there");
                    continue;
                }
                let Some(connected) = front.host.connect(peer.ip()) else {
                    tracing::info!(%peer, "as many connections as are allowed from there");
                    continue;
                };
                let front = front.clone();
                tokio::spawn(async move {
                    connection::serve(front, stream, peer).await;
                    drop((place, connected));
                });
            }
            Err(error) => {
                // Out of file descriptors or memory: waiting a little lets other connections end.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
