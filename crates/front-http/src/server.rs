//! Connections: accepting them, speaking HTTP on them, ending them in good order.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use host::Host;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::answer::answer;
use crate::challenges::{ACME_TLS, Challenges};
use crate::stream::TimedStream;
use crate::tls::Tls;

/// Settings of the HTTP front.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Silence of a client in the middle of its request, or of the response it asked for, after
    /// which it is let go.
    pub idle_timeout: Duration,
    /// How long a client may take over the head of a request.
    pub header_timeout: Duration,
    /// How long running requests may take to end when the server stops.
    pub drain_timeout: Duration,
    /// Connections that are open at the same time.
    pub connections_max: usize,
    /// Requests at the same time on one HTTP/2 connection.
    pub streams_per_connection_max: u32,
    /// Bytes of a request that are taken in although the answer is known, so that the client
    /// comes to read it. A client that sends more finds the connection closed.
    pub discarded_bytes_max: u64,
    /// Silence after which whoever watches is told that the connection is alive.
    pub heartbeat: Duration,
    /// What certificate authorities find by HTTP.
    pub challenges: Arc<Challenges>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        HttpSettings {
            idle_timeout: Duration::from_secs(120),
            header_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
            connections_max: 1024,
            streams_per_connection_max: 32,
            discarded_bytes_max: 1 << 30,
            heartbeat: Duration::from_secs(30),
            challenges: Arc::default(),
        }
    }
}

/// What is spoken at a door.
#[derive(Clone)]
pub enum Speech {
    /// HTTP.
    Plain,
    /// HTTPS.
    Tls(Tls),
    /// HTTP, to say that it is HTTPS one has to come by.
    Redirect {
        /// The port of HTTPS.
        port: u16,
    },
}

/// An HTTP server over a host.
pub struct Server {
    host: Arc<Host>,
    settings: HttpSettings,
}

/// What connections and the threads that answer their requests share.
pub(crate) struct Front {
    pub host: Arc<Host>,
    pub settings: HttpSettings,
    pub speech: Speech,
    /// Turns true when the server stops.
    stopping: watch::Receiver<bool>,
    /// Closed when the last of them is done.
    _alive: mpsc::Sender<Infallible>,
}

impl Server {
    /// Threads that the runtime must lend out at the same time, beside one for each request
    /// the host lets run: they tell the others that the server is busy.
    pub const SPARE_THREADS: usize = 16;

    /// A server that asks `host` about every request.
    pub fn new(host: Arc<Host>, settings: HttpSettings) -> Self {
        Server { host, settings }
    }

    /// Accepts connections until `stop` is ready, then lets running requests end.
    /// Returns whether all of them did within the drain timeout.
    pub async fn run(
        &self,
        listener: TcpListener,
        speech: Speech,
        stop: impl Future<Output = ()>,
    ) -> bool {
        let (alive, mut all_done) = mpsc::channel(1);
        let (stop_all, stopping) = watch::channel(false);
        let front = Arc::new(Front {
            host: self.host.clone(),
            settings: self.settings.clone(),
            speech,
            stopping,
            _alive: alive,
        });
        let graceful = GracefulShutdown::new();
        tokio::select! {
            never = accept_all(&front, &listener, &graceful) => match never {},
            () = stop => {}
        }
        drop(listener);
        drop(front);
        // Nobody may be there to hear it.
        let _ = stop_all.send(true);
        self.host.end_watching();
        let drained = async {
            graceful.shutdown().await;
            // Requests whose client is gone: a push may be about to move refs.
            all_done.recv().await;
        };
        tokio::time::timeout(self.settings.drain_timeout, drained).await.is_ok()
    }
}

async fn accept_all(
    front: &Arc<Front>,
    listener: &TcpListener,
    graceful: &GracefulShutdown,
) -> Infallible {
    let places = Arc::new(Semaphore::new(front.settings.connections_max));
    loop {
        let place = places.clone().acquire_owned().await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some(connected) = front.host.connect(peer.ip()) else {
                    tracing::info!(%peer, "as many connections as are allowed from there");
                    continue;
                };
                // Without it small answers wait for the network; a stream that cannot have it still
                // works.
                let _ = stream.set_nodelay(true);
                let (front, watcher) = (front.clone(), graceful.watcher());
                tokio::spawn(async move {
                    connection(front, stream, peer, watcher).await;
                    drop((place, connected));
                });
            }
            Err(error) => accept_failed(&error).await,
        }
    }
}

/// Out of file descriptors or memory: waiting a little lets other connections end.
async fn accept_failed(error: &std::io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Serves one connection to its end.
async fn connection(front: Arc<Front>, stream: TcpStream, peer: SocketAddr, watcher: Watcher) {
    let Speech::Tls(tls) = &front.speech else {
        return Box::pin(speak(front, stream, peer, watcher)).await;
    };
    let handshake = tls.acceptor.accept(stream);
    let handshake = tokio::time::timeout(front.settings.header_timeout, handshake);
    let mut stopping = front.stopping.clone();
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        _ = async { stopping.wait_for(|stops| *stops).await.is_ok() } => return,
    };
    match shaken {
        // An authority has seen what it came for.
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(ACME_TLS) => {}
        Ok(Ok(stream)) => Box::pin(speak(front, stream, peer, watcher)).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS"),
        Err(_) => tracing::debug!(%peer, "the client says nothing"),
    }
}

async fn speak<S>(front: Arc<Front>, stream: S, peer: SocketAddr, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (header_timeout, idle_timeout) =
        (front.settings.header_timeout, front.settings.idle_timeout);
    let streams_max = front.settings.streams_per_connection_max;
    let mut stopping = front.stopping.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let front = front.clone();
        // hyper keeps room for one as long as the connection lives.
        Box::pin(async move { Ok::<_, Infallible>(answer(front, peer, request).await) })
    });
    let mut stream = TimedStream::new(stream, idle_timeout);
    let opened = tokio::select! {
        opened = stream.opens_http2(header_timeout) => opened,
        // Whoever has asked for nothing is not waited for.
        _ = async { stopping.wait_for(|stops| *stops).await.is_ok() } => return,
    };
    let stream = TokioIo::new(stream);
    let ended = match opened {
        Ok(false) => {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(header_timeout);
            http.half_close(true).writev(true);
            watcher.watch(http.serve_connection(stream, service)).await
        }
        Ok(true) => {
            let mut http = http2::Builder::new(TokioExecutor::new());
            http.timer(TokioTimer::new())
                .max_concurrent_streams(streams_max)
                .keep_alive_interval(header_timeout)
                .keep_alive_timeout(header_timeout)
                .adaptive_window(true);
            // It is larger than one of HTTP/1.1, of which there are more.
            Box::pin(watcher.watch(http.serve_connection(stream, service))).await
        }
        Err(error) => return tracing::debug!(%peer, %error, "connection ended"),
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}
