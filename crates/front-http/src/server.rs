//! Connections: accepting them, speaking HTTP on them, ending them in good order.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use host::{Caller, Host, Request as HostRequest, Task};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};

use crate::body::ResponseBody;
use crate::reply::{Reply, file, refused, text};
use crate::route::{NoRoute, Route, route};
use crate::smart;

/// Settings of the HTTP front.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Silence of a client in the middle of its request after which it is let go.
    pub idle_timeout: Duration,
    /// How long a client may take over the head of a request.
    pub header_timeout: Duration,
    /// How long running requests may take to end when the server stops.
    pub drain_timeout: Duration,
    /// Connections that are open at the same time.
    pub connections_max: usize,
    /// Requests at the same time on one HTTP/2 connection.
    pub streams_per_connection_max: u32,
}

impl Default for HttpSettings {
    fn default() -> Self {
        HttpSettings {
            idle_timeout: Duration::from_secs(120),
            header_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
            connections_max: 1024,
            streams_per_connection_max: 32,
        }
    }
}

/// An HTTP server over a host.
pub struct Server {
    host: Arc<Host>,
    settings: Arc<HttpSettings>,
}

impl Server {
    /// A server that asks `host` about every request.
    pub fn new(host: Arc<Host>, settings: HttpSettings) -> Self {
        Server { host, settings: Arc::new(settings) }
    }

    /// Accepts connections until `stop` is ready, then lets running requests end.
    /// Returns whether all of them did within the drain timeout.
    pub async fn run(&self, listener: TcpListener, stop: impl Future<Output = ()>) -> bool {
        let graceful = GracefulShutdown::new();
        let places = Arc::new(tokio::sync::Semaphore::new(self.settings.connections_max));
        tokio::pin!(stop);
        loop {
            let place = tokio::select! {
                place = places.clone().acquire_owned() => place,
                () = &mut stop => break,
            };
            let (stream, peer) = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        accept_failed(&error).await;
                        continue;
                    }
                },
                () = &mut stop => break,
            };
            let connection = self.connection(stream, peer, &graceful);
            tokio::spawn(async move {
                connection.await;
                drop(place);
            });
        }
        drop(listener);
        tokio::time::timeout(self.settings.drain_timeout, graceful.shutdown()).await.is_ok()
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        graceful: &GracefulShutdown,
    ) -> impl Future<Output = ()> + use<> {
        let _ = stream.set_nodelay(true);
        let (host, settings) = (self.host.clone(), self.settings.clone());
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(settings.header_timeout)
            .half_close(true)
            .writev(true);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(settings.streams_per_connection_max)
            .adaptive_window(true);
        let service = service_fn(move |request: Request<Incoming>| {
            let reply = answer(&host, &settings, peer, request);
            async move { Ok::<_, Infallible>(reply) }
        });
        let connection = http.serve_connection(TokioIo::new(stream), service).into_owned();
        let watched = graceful.watch(connection);
        async move {
            if let Err(error) = watched.await {
                tracing::debug!(%peer, %error, "connection ended");
            }
        }
    }
}

/// Out of file descriptors or memory: waiting a little lets other connections end.
async fn accept_failed(error: &std::io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn answer(
    host: &Host,
    settings: &HttpSettings,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Reply {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let protocol = smart::protocol(request.headers());
    let mut reply = match route(&method, request.uri(), protocol) {
        Ok(route) => admit(host, settings, peer, route, request),
        Err(NoRoute::NotFound) => text(StatusCode::NOT_FOUND, "not found"),
        Err(NoRoute::Service) => text(StatusCode::FORBIDDEN, "Unsupported service"),
        Err(NoRoute::Method(allowed)) => {
            let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
            reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
            reply
        }
    };
    if method == Method::HEAD {
        let length = hyper::body::Body::size_hint(reply.body()).exact();
        *reply.body_mut() = ResponseBody::Whole(None);
        if let Some(length) = length {
            reply.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        }
    }
    tracing::info!(%peer, %method, path, status = reply.status().as_u16(), "request");
    reply
}

fn admit(
    host: &Host,
    settings: &HttpSettings,
    peer: SocketAddr,
    route: Route,
    request: Request<Incoming>,
) -> Reply {
    let Route { repository, task } = route;
    let is_file = matches!(task, Task::File { .. });
    let caller = Caller { name: None, address: Some(peer.ip()) };
    let admitted = match host.admit(HostRequest { repository, task, caller }) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            tracing::info!(%peer, %refusal, "refused");
            return refused(&refusal);
        }
    };
    if !is_file {
        let (head, body) = request.into_parts();
        return smart::answer(admitted, &head.headers, body, settings);
    }
    match admitted.file() {
        Ok(found) => file(found, request.headers().get(header::RANGE)),
        Err(refusal) => refused(&refusal),
    }
}
