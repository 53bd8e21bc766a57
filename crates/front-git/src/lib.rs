//! git://, as git-daemon(1) speaks it: one request on a connection, and nobody is asked who he is.
//!
//! Repositories are asked for by their names in the host's catalogue, or, with [`DaemonSettings`], by paths and
//! under the rules of git's own program.
//!
//! Floor 7: sees `host` and `wire`. Connections are waited for without a thread until they have said what they
//! want; then each has one, and a socket that blocks, with a time limit for every read and write.

mod connection;
mod crowd;
mod daemon;
mod inetd;
mod streams;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use host::{Connected, Host};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use crowd::{Crowd, Ticket};
pub use daemon::{DaemonSettings, Importance, Log, PathSettings};
pub use inetd::serve_streams;

/// Settings of this front.
#[derive(Debug, Clone)]
pub struct GitSettings {
    /// Whether pushes are taken; whoever reaches the port is anybody.
    pub receive_pack: bool,
    /// Whether archives are made (`git archive --remote`).
    pub upload_archive: bool,
    /// How long a client may take to say what it wants; [`Duration::MAX`] is for ever.
    pub header_timeout: Duration,
    /// Silence in the middle of a conversation after which a client is let go. With [`DaemonSettings`] of
    /// fetches only, and [`Duration::MAX`] is for ever.
    pub idle_timeout: Duration,
    /// How long running requests may take to end when the server stops.
    pub drain_timeout: Duration,
    /// Connections that are open at the same time. Others wait until one ends; with [`DaemonSettings`] they
    /// are turned away.
    pub connections_max: usize,
    /// Silence after which whoever watches is told that the connection is alive.
    pub heartbeat: Duration,
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
            heartbeat: Duration::from_secs(30),
        }
    }
}

/// A server of git:// over a host.
pub struct Server {
    host: Arc<Host>,
    settings: GitSettings,
    daemon: Option<DaemonSettings>,
}

/// What connections share.
pub(crate) struct Front {
    pub host: Arc<Host>,
    pub settings: GitSettings,
    /// The rules, where paths are asked for.
    pub daemon: Option<DaemonSettings>,
    /// Closed when the last of them is done.
    _alive: mpsc::Sender<Infallible>,
}

/// A place among the connections.
pub(crate) enum Place {
    /// Everybody waits for one.
    Waited(#[allow(dead_code)] OwnedSemaphorePermit),
    /// Who has none is turned away; what tells him to go after all.
    InCrowd(Ticket, oneshot::Receiver<()>),
}

/// Where places come from.
#[derive(Clone)]
enum Places {
    Waiting(Arc<Semaphore>),
    Crowd(Arc<Crowd>),
}

impl Server {
    /// A server that asks `host` about every request.
    pub fn new(host: Arc<Host>, settings: GitSettings) -> Self {
        Server { host, settings, daemon: None }
    }

    /// A server of paths, by the rules of git-daemon(1).
    pub fn of_paths(host: Arc<Host>, settings: GitSettings, rules: DaemonSettings) -> Self {
        Server { host, settings, daemon: Some(rules) }
    }

    /// Accepts connections until `stop` is ready, then lets running requests end. Returns whether all of them
    /// did within the drain timeout.
    pub async fn run(&self, listener: TcpListener, stop: impl Future<Output = ()>) -> bool {
        self.run_all(vec![listener], stop).await
    }

    /// [`Server::run`] on several sockets at once.
    pub async fn run_all(
        &self,
        listeners: Vec<TcpListener>,
        stop: impl Future<Output = ()>,
    ) -> bool {
        let (alive, mut all_done) = mpsc::channel(1);
        let front = Arc::new(Front {
            host: self.host.clone(),
            settings: self.settings.clone(),
            daemon: self.daemon.clone(),
            _alive: alive,
        });
        let most = self.settings.connections_max;
        let places = match self.daemon {
            Some(_) => Places::Crowd(Arc::new(Crowd::new(most))),
            None => Places::Waiting(Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))),
        };
        let mut accepting = JoinSet::new();
        for listener in listeners {
            accepting.spawn(accept_all(front.clone(), listener, places.clone()));
        }
        stop.await;
        accepting.shutdown().await;
        self.host.end_watching();
        drop(front);
        tokio::time::timeout(self.settings.drain_timeout, all_done.recv()).await.is_ok()
    }
}

async fn accept_all(front: Arc<Front>, listener: TcpListener, places: Places) -> Infallible {
    loop {
        let permit = match &places {
            Places::Waiting(places) => places.clone().acquire_owned().await.ok(),
            Places::Crowd(_) => None,
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors or memory: waiting a little lets other connections end.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(connected) = front.host.connect(peer.ip()) else {
            tracing::info!(%peer, "as many connections as are allowed from there");
            continue;
        };
        let place = match (&places, permit) {
            (Places::Crowd(crowd), _) => {
                let entered = crowd.enter(peer.ip()).await;
                entered.map(|(ticket, go)| Place::InCrowd(ticket, go))
            }
            (Places::Waiting(_), permit) => permit.map(Place::Waited),
        };
        match place {
            Some(place) => {
                drop(tokio::spawn(served(front.clone(), stream, peer, place, connected)))
            }
            None => front.tell(Importance::Error, "Too many children, dropping connection"),
        }
    }
}

/// Serves one connection to its end, and gives its place back.
async fn served(
    front: Arc<Front>,
    stream: tokio::net::TcpStream,
    peer: std::net::SocketAddr,
    place: Place,
    connected: Connected,
) {
    connection::serve(front.clone(), stream, peer, place).await;
    front.tell(Importance::Info, &format!("[{peer}] Disconnected"));
    drop(connected);
}

impl Front {
    fn tell(&self, importance: Importance, words: &str) {
        if let Some(rules) = &self.daemon {
            (rules.log)(importance, words);
        }
    }
}
