//! One request, from its head to the head of its answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use host::{Admitted, NoCursor, Refusal, Request as HostRequest, Road, Task};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};

use crate::reply::{Reply, not_found, refused, text};
use crate::request_body::discard;
use crate::response_body::{Responder, ResponseBody, responder};
use crate::route::{NoRoute, Route, route};
use crate::server::{Front, Speech};
use crate::{download, events, login, reply, smart, welcome};

/// Answers one request, and logs it. Credentials and queries stay out of the log.
pub(crate) async fn answer(
    front: Arc<Front>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Reply {
    let begun = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let version = request.version();
    let mut reply = match &front.speech {
        Speech::Redirect { .. } | Speech::Plain
            if let Some(reply) = front.settings.challenges.reply(&path) =>
        {
            reply
        }
        Speech::Redirect { port } => secured(*port, &request),
        Speech::Plain => dispatch(front, peer, request).await,
        Speech::Tls(tls) => {
            let hsts = tls.hsts_max_age.map(|seconds| format!("max-age={seconds}"));
            let mut reply = dispatch(front, peer, request).await;
            if let Some(value) = hsts.and_then(|value| HeaderValue::from_str(&value).ok()) {
                reply.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, value);
            }
            reply
        }
    };
    if method == Method::HEAD {
        keep_head_only(&mut reply);
    }
    tracing::info!(
        %peer,
        %method,
        path,
        ?version,
        status = reply.status().as_u16(),
        took_ms = begun.elapsed().as_millis() as u64,
        "request"
    );
    reply
}

/// Sends a client to where the same is encrypted.
fn secured<B>(port: u16, request: &Request<B>) -> Reply {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let host = welcome::authority(request).map(welcome::without_port);
    let location = host.map(|host| match port {
        443 => format!("https://{host}{path}"),
        port => format!("https://{host}:{port}{path}"),
    });
    location
        .and_then(|location| reply::moved_for_good(&location))
        .unwrap_or_else(|| text(StatusCode::BAD_REQUEST, "this is served over HTTPS only"))
}

fn keep_head_only(reply: &mut Reply) {
    if let Some(length) = reply.body().size_hint().exact() {
        reply.headers_mut().entry(header::CONTENT_LENGTH).or_insert(length.into());
    }
    *reply.body_mut() = ResponseBody::Whole(None);
}

async fn dispatch(front: Arc<Front>, peer: SocketAddr, request: Request<Incoming>) -> Reply {
    let protocol = smart::protocol(request.headers());
    let reply = match route(request.method(), request.uri(), protocol) {
        Ok(route) => match smart::unacceptable(&route.task, request.headers()) {
            Some(reply) => reply,
            None => {
                let idle_timeout = front.settings.idle_timeout;
                let work = move |responder| run(&front, peer, route, request, responder);
                return on_thread(idle_timeout, work).await;
            }
        },
        Err(NoRoute::Root) => {
            let idle_timeout = front.settings.idle_timeout;
            let page = move |responder: Responder| {
                let reply = match login::caller(&front.host, request.headers(), peer) {
                    Ok(caller) => welcome::page(&front, &caller, &request),
                    Err(refusal) => refused(&refusal),
                };
                responder.reply(reply);
            };
            return on_thread(idle_timeout, page).await;
        }
        Err(NoRoute::NotFound) => not_found(),
        Err(NoRoute::Cursor) => text(StatusCode::BAD_REQUEST, &NoCursor.to_string()),
        Err(NoRoute::Service) => text(StatusCode::FORBIDDEN, "Unsupported service"),
        Err(NoRoute::Method(allowed)) => {
            let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
            reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
            reply
        }
    };
    let (head, body) = request.into_parts();
    leave_unread(&front, &head.headers, body);
    reply
}

/// Lets a thread that may wait answer; ready with the head of its answer.
async fn on_thread(idle_timeout: Duration, work: impl FnOnce(Responder) + Send + 'static) -> Reply {
    let (responder, arrives) = responder(idle_timeout);
    tokio::task::spawn_blocking(move || work(responder));
    let failed = || text(StatusCode::INTERNAL_SERVER_ERROR, "the server failed; its log says why");
    arrives.await.unwrap_or_else(|_| failed())
}

/// Asks the host, and does what is asked for; on a thread that may wait.
fn run(
    front: &Front,
    peer: SocketAddr,
    route: Route,
    request: Request<Incoming>,
    responder: Responder,
) {
    let Route { repository, task } = route;
    let (head, body) = request.into_parts();
    let Ok(task) = resumed(task, &head.headers) else {
        return responder.reply(text(StatusCode::BAD_REQUEST, &NoCursor.to_string()));
    };
    let admitted = login::caller(&front.host, &head.headers, peer).and_then(|caller| {
        front.host.admit(HostRequest { repository, task, caller, road: Road::Http })
    });
    let admitted = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => {
            match refusal {
                Refusal::Unavailable { .. } => tracing::warn!(%peer, %refusal, "cannot serve"),
                _ => tracing::info!(%peer, %refusal, "refused"),
            }
            leave_unread(front, &head.headers, body);
            return responder.reply(refused(&refusal));
        }
    };
    match admitted.request().task {
        Task::File { .. } => send_file(&admitted, head.headers.get(header::RANGE), responder),
        Task::Watch { .. } => match admitted.watch() {
            Ok(watched) => responder.reply(events::reply(watched, front.settings.heartbeat)),
            Err(refusal) => responder.reply(refused(&refusal)),
        },
        Task::Smart { .. } if head.method == Method::HEAD => smart::head(&admitted, responder),
        Task::Smart { .. } => {
            smart::converse(admitted, &head.headers, body, &front.settings, responder);
        }
    }
}

/// A task of somebody who may come back, and says where he was.
fn resumed(task: Task, headers: &HeaderMap) -> Result<Task, NoCursor> {
    let Some(last) = headers.get("last-event-id") else { return Ok(task) };
    match task {
        Task::Watch { prefixes, .. } => {
            let since = last.to_str().map_err(|_| NoCursor)?.parse()?;
            Ok(Task::Watch { since: Some(since), prefixes })
        }
        other => Ok(other),
    }
}

fn send_file(admitted: &Admitted, range: Option<&HeaderValue>, responder: Responder) {
    match admitted.file() {
        Ok(file) => match file.elsewhere.as_deref().and_then(reply::moved) {
            Some(reply) => responder.reply(reply),
            None => download::answer(&file, range, responder),
        },
        Err(refusal) => responder.reply(refused(&refusal)),
    }
}

/// Takes the rest of a refused request in, unless the client waits to be asked for it.
fn leave_unread(front: &Front, headers: &HeaderMap, body: Incoming) {
    if !body.is_end_stream() && !headers.contains_key(header::EXPECT) {
        let settings = front.settings.clone();
        tokio::spawn(async move { discard(body, &settings).await });
    }
}
