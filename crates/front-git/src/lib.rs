//! git://, as git-daemon(1) speaks it: one request on a connection, and nobody is asked who he is.
//!
//! Floor 7: sees `host` and `wire`. Connections are waited for without a thread until they have said what they
//! want; then each has one, and a socket that blocks, with a time limit for every read and write.

mod connection;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use host::Host;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

/// Settings of this front.
#[derive(Debug, Clone)]
pub struct GitSettings {
    /// Whether pushes are taken; whoever reaches the port is anybody.
    pub receive_pack: bool,
    /// Whether archives are made (`git archive --remote`).
    pub upload_archive: bool,
    /// How long a client may take to say what it wants.
    pub header_timeout: Duration,
    /// Silence in the middle of a conversation after which a client is let go.
    pub idle_timeout: Duration,
    /// How long running requests may take to end when the server stops.
    pub drain_timeout: Duration,
    /// Connections that are open at the same time.
    pub connections_max: usize,
}

impl Default for GitSettings {
    fn default() -> Self {
        GitSettings {
            receive_pack: false,
            upload_archive: false,
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(120),
            drain_timeout: Duration::from_secs(30),
            connections_max: 1024,
        }
    }
}

/// A server of git:// over a host.
pub struct Server {
    host: Arc<Host>,
    settings: GitSettings,
}

/// What connections share.
pub(crate) struct Front {
    pub host: Arc<Host>,
    pub settings: GitSettings,
    /// Closed when the last of them is done.
    _alive: mpsc::Sender<Infallible>,
}

impl Server {
    /// A server that asks `host` about every request.
    pub fn new(host: Arc<Host>, settings: GitSettings) -> Self {
        Server { host, settings }
    }

    /// Accepts connections until `stop` is ready, then lets running requests end. Returns whether all of them
    /// did within the drain timeout.
    pub async fn run(&self, listener: TcpListener, stop: impl Future<Output = ()>) -> bool {
        let (alive, mut all_done) = mpsc::channel(1);
        let front = Arc::new(Front {
            host: self.host.clone(),
            settings: self.settings.clone(),
            _alive: alive,
        });
        tokio::select! {
            never = accept_all(&front, &listener) => match never {},
            () = stop => {}
        }
        drop((listener, front));
        tokio::time::timeout(self.settings.drain_timeout, all_done.recv()).await.is_ok()
    }
}

async fn accept_all(front: &Arc<Front>, listener: &TcpListener) -> Infallible {
    let places = Arc::new(Semaphore::new(front.settings.connections_max));
    loop {
        let place = places.clone().acquire_owned().await;
        match listener.accept().await {
            Ok((stream, peer)) => {
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
