//! Conversations: advertisements and requests of the smart protocol.

use std::io::{BufRead, BufReader, Write as _};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use host::{Admitted, Exchange, Task};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use wire::{Protocol, Service, Sink};

use crate::body::{request_queue, response_queue};
use crate::reply::{Reply, no_cache, text};
use crate::server::HttpSettings;

/// The version a client asks for.
pub(crate) fn protocol(headers: &HeaderMap) -> Protocol {
    headers
        .get("git-protocol")
        .map_or(Protocol::V0, |value| Protocol::from_git_protocol(value.as_bytes()))
}

/// Answers an admitted smart request: the head at once, the body as a thread writes it.
pub(crate) fn answer(
    admitted: Admitted,
    headers: &HeaderMap,
    body: Incoming,
    settings: &HttpSettings,
) -> Reply {
    let Task::Smart { service, exchange, protocol } = admitted.request().task else {
        return text(StatusCode::NOT_FOUND, "not found");
    };
    let advertise = exchange == Exchange::Advertise;
    if !advertise && !has_type(headers, &media_type(service, "request")) {
        return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Content-Type");
    }
    let gzip = match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"" | b"identity") => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(_) => return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Content-Encoding"),
    };
    let (mut sink, response) = response_queue();
    let reader = request_queue(body, settings.idle_timeout);
    tokio::task::spawn_blocking(move || {
        let mut input: Box<dyn BufRead> = match gzip {
            true => Box::new(BufReader::with_capacity(64 << 10, MultiGzDecoder::new(reader))),
            false => Box::new(reader),
        };
        if advertise && protocol != Protocol::V2 && service_header(service, &mut sink).is_err() {
            return;
        }
        // The host has logged an error, and the client has been told what can be told.
        let _ = admitted.run(&mut *input, &mut sink);
        let _ = sink.flush();
    });
    let mut reply = Response::new(response);
    let what = if advertise { "advertisement" } else { "result" };
    let headers = reply.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&media_type(service, what)) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    no_cache(headers);
    reply
}

fn media_type(service: Service, what: &str) -> String {
    format!("application/x-git-{}-{what}", service.name().trim_start_matches("git-"))
}

fn has_type(headers: &HeaderMap, wanted: &str) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes() == wanted.as_bytes())
}

/// The line in front of a v0 or v1 advertisement (gitprotocol-http).
fn service_header(service: Service, sink: &mut dyn Sink) -> std::io::Result<()> {
    let line = format!("# service=git-{}\n", service.name().trim_start_matches("git-"));
    let mut packet = Vec::with_capacity(line.len() + 8);
    write!(packet, "{:04x}{line}0000", line.len() + 4)?;
    sink.send(Bytes::from(packet))
}
