//! Files for clients that only know GET, whole or in part.

use bytes::Bytes;
use host::{DumbFile, Freshness};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use wire::Sink;

use crate::reply::{Reply, no_cache};
use crate::response_body::{Responder, ResponseBody};

/// Answers with a file, or with the part of it a `Range` header asks for. Runs on a thread that
/// may wait.
pub(crate) fn answer(file: &DumbFile, range: Option<&HeaderValue>, responder: Responder) {
    let total = file.len();
    let asked = range.map_or(Asked::Everything, |range| byte_range(range.as_bytes(), total));
    let (start, end) = match asked {
        Asked::Everything => (0, total),
        Asked::Part(start, end) => (start, end),
        Asked::Nothing => (0, 0),
    };
    let head = head(file, asked);
    match file.whole() {
        Some(whole) => {
            let part = whole.slice(start as usize..end as usize);
            responder.reply(head.map(|_| ResponseBody::from(part)));
        }
        None => send_pieces(file, start, end, head, responder),
    }
}

fn send_pieces(file: &DumbFile, start: u64, end: u64, mut head: Reply, responder: Responder) {
    head.headers_mut().insert(header::CONTENT_LENGTH, (end - start).into());
    let mut sink = responder.stream(head);
    let mut at = start;
    while at < end {
        let sent = file.read(at, end).and_then(|piece| {
            at += piece.len() as u64;
            sink.send(piece)
        });
        if let Err(error) = sent {
            // Dropping the sink tells the client that this is not all.
            tracing::info!(%error, "a download ended early");
            return;
        }
    }
    sink.finish();
}

fn head(file: &DumbFile, asked: Asked) -> Reply {
    let mut head = Response::new(ResponseBody::from(Bytes::new()));
    let total = file.len();
    let (status, content_range) = match asked {
        Asked::Everything => (StatusCode::OK, None),
        Asked::Part(start, end) => {
            (StatusCode::PARTIAL_CONTENT, Some(format!("bytes {start}-{}/{total}", end - 1)))
        }
        Asked::Nothing => (StatusCode::RANGE_NOT_SATISFIABLE, Some(format!("bytes */{total}"))),
    };
    *head.status_mut() = status;
    let headers = head.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.media_type));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(value) = content_range.and_then(|value| HeaderValue::from_str(&value).ok()) {
        headers.insert(header::CONTENT_RANGE, value);
    }
    freshness(headers, file.freshness);
    head
}

fn freshness(headers: &mut HeaderMap, freshness: Freshness) {
    match freshness {
        Freshness::Changes => no_cache(headers),
        Freshness::Forever => {
            let year = HeaderValue::from_static("public, max-age=31536000, immutable");
            headers.insert(header::CACHE_CONTROL, year);
        }
    }
}

/// What a `Range` header asks for (RFC 9110, section 14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// It is not understood, and so does not count.
    Everything,
    /// First and past-the-end byte.
    Part(u64, u64),
    /// It lies past the end.
    Nothing,
}

fn byte_range(value: &[u8], total: u64) -> Asked {
    let parsed = std::str::from_utf8(value)
        .ok()
        .and_then(|value| value.strip_prefix("bytes="))
        .filter(|range| !range.contains(','))
        .and_then(|range| range.split_once('-'));
    match parsed.map(|(start, end)| (start.trim().parse::<u64>(), end.trim(), start.trim())) {
        Some((Ok(start), "", _)) if start < total => Asked::Part(start, total),
        Some((Ok(start), end, _)) if !end.is_empty() => match end.parse::<u64>() {
            Ok(end) if start <= end && start < total => {
                Asked::Part(start, end.saturating_add(1).min(total))
            }
            Ok(end) if start <= end => Asked::Nothing,
            _ => Asked::Everything,
        },
        Some((Ok(_), ..)) => Asked::Nothing,
        Some((Err(_), last, "")) => match last.parse::<u64>() {
            Ok(last) if last > 0 && total > 0 => Asked::Part(total.saturating_sub(last), total),
            Ok(_) => Asked::Nothing,
            Err(_) => Asked::Everything,
        },
        _ => Asked::Everything,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_the_rfc_has_them() {
        for (header, asked) in [
            ("bytes=0-", Asked::Part(0, 10)),
            ("bytes=3-4", Asked::Part(3, 5)),
            ("bytes=3-99", Asked::Part(3, 10)),
            ("bytes=-4", Asked::Part(6, 10)),
            ("bytes=10-", Asked::Nothing),
            ("bytes=12-13", Asked::Nothing),
            ("bytes=4-3", Asked::Everything),
            ("bytes=1-2,4-5", Asked::Everything),
            ("lines=1-2", Asked::Everything),
        ] {
            assert_eq!(byte_range(header.as_bytes(), 10), asked, "{header}");
        }
    }
}
