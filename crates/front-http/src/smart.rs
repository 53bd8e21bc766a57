//! Conversations: advertisements and requests of the smart protocol.

use std::io::{self, BufRead, BufReader, Write as _};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use host::{Admitted, EventForm, Exchange, ServeError, Task};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use wire::{Protocol, Service, Sink};

use crate::events;
use crate::reply::{Reply, no_cache, text};
use crate::request_body::request_queue;
use crate::response_body::{Responder, ResponseBody};
use crate::server::HttpSettings;

/// Bytes of an inflated request read at a time.
const INFLATED_BYTES: usize = 64 << 10;

/// The version a client asks for.
pub(crate) fn protocol(headers: &HeaderMap) -> Protocol {
    headers
        .get("git-protocol")
        .map_or(Protocol::V0, |value| Protocol::from_git_protocol(value.as_bytes()))
}

/// The answer to a request whose headers no Git client would send, before anything is looked up.
pub(crate) fn unacceptable(task: &Task, headers: &HeaderMap) -> Option<Reply> {
    let Task::Smart { service, exchange: Exchange::Round, .. } = *task else { return None };
    let (status, words) = if !has_type(headers, &media_type(service, "request")) {
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Content-Type")
    } else if gzipped(headers).is_none() {
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Content-Encoding")
    } else if service == Service::ReceivePack && headers.contains_key(header::ORIGIN) {
        // Browsers name the page a request comes from. None may push with the rights of
        // whoever looks at it, which on loopback are those of this machine's user.
        (StatusCode::FORBIDDEN, "web pages may not push")
    } else {
        return None;
    };
    Some(text(status, words))
}

/// Whether the body is compressed; `None` for a way nobody here understands.
fn gzipped(headers: &HeaderMap) -> Option<bool> {
    match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"" | b"identity") => Some(false),
        Some(b"gzip" | b"x-gzip") => Some(true),
        Some(_) => None,
    }
}

/// Answers with what [`converse`] would send first.
pub(crate) fn head(admitted: &Admitted, responder: Responder) {
    if let Task::Smart { service, exchange, .. } = admitted.request().task {
        responder.reply(reply_head(service, exchange));
    }
}

/// Runs an admitted conversation to its end, on a thread that may wait.
pub(crate) fn converse(
    admitted: Admitted,
    headers: &HeaderMap,
    body: Incoming,
    settings: &HttpSettings,
    responder: Responder,
) {
    let Task::Smart { service, exchange, protocol } = admitted.request().task else { return };
    let mut sink = responder.stream(reply_head(service, exchange));
    let mut input: Box<dyn BufRead> = match (exchange, gzipped(headers)) {
        (Exchange::Advertise, _) => Box::new(io::empty()),
        (_, Some(true)) => {
            let inflated = MultiGzDecoder::new(request_queue(body, settings));
            Box::new(BufReader::with_capacity(INFLATED_BYTES, inflated))
        }
        (_, _) => Box::new(request_queue(body, settings)),
    };
    let result = match exchange == Exchange::Advertise && protocol != Protocol::V2 {
        true => service_header(service, &mut sink).map_err(ServeError::output),
        false => Ok(()),
    };
    match result.and_then(|()| admitted.converse(&mut *input, &mut sink)) {
        Ok(None) => sink.finish(),
        // Nothing has been answered so far.
        Ok(Some(watched)) => {
            let mut reply = reply_head(service, exchange);
            *reply.body_mut() = events::body(watched, EventForm::PACKETS, settings.heartbeat);
            events::do_not_gather(&mut reply);
            sink.finish_with(reply);
        }
        // Dropping the sink cuts the response short, should anybody still read it.
        Err(ServeError::Output(_)) => {}
        Err(error) => {
            let words = error.words_for_peer();
            sink.finish_with(text(StatusCode::INTERNAL_SERVER_ERROR, &words));
        }
    }
}

fn reply_head(service: Service, exchange: Exchange) -> Reply {
    let mut reply = Response::new(ResponseBody::from(Bytes::new()));
    let what = if exchange == Exchange::Advertise { "advertisement" } else { "result" };
    let headers = reply.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&media_type(service, what)) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    no_cache(headers);
    reply
}

fn media_type(service: Service, what: &str) -> String {
    format!("application/x-{}-{what}", service.name())
}

fn has_type(headers: &HeaderMap, wanted: &str) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes() == wanted.as_bytes())
}

/// The line in front of a v0 or v1 advertisement (gitprotocol-http).
fn service_header(service: Service, sink: &mut dyn Sink) -> io::Result<()> {
    let line = format!("# service={}\n", service.name());
    let mut packet = Vec::with_capacity(line.len() + 8);
    write!(packet, "{:04x}{line}0000", line.len() + 4)?;
    sink.send(Bytes::from(packet))
}
