//! Answers that are not a conversation: files, refusals, and the headers of all.

use bytes::Bytes;
use host::{DumbBody, DumbFile, Freshness, Refusal};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

use crate::body::ResponseBody;

/// A response of this server.
pub(crate) type Reply = Response<ResponseBody>;

/// A short text.
pub(crate) fn text(status: StatusCode, words: &str) -> Reply {
    let mut reply = Response::new(ResponseBody::from(Bytes::from(format!("{words}\n"))));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    no_cache(headers);
    reply
}

/// The answer to a request that was not let in.
pub(crate) fn refused(refusal: &Refusal) -> Reply {
    let status = match refusal {
        Refusal::NotFound { .. } => StatusCode::NOT_FOUND,
        Refusal::Forbidden { .. } => StatusCode::FORBIDDEN,
        Refusal::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut reply = text(status, &refusal.words_for_peer());
    if matches!(refusal, Refusal::Busy { .. }) {
        reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    reply
}

/// What must be asked for anew each time (git's http-backend says it in these three ways).
pub(crate) fn no_cache(headers: &mut HeaderMap) {
    let never = HeaderValue::from_static("Fri, 01 Jan 1980 00:00:00 GMT");
    headers.insert(header::EXPIRES, never);
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    let every_time = HeaderValue::from_static("no-cache, max-age=0, must-revalidate");
    headers.insert(header::CACHE_CONTROL, every_time);
}

/// A file, or the part of it a `Range` header asks for.
pub(crate) fn file(file: DumbFile, range: Option<&HeaderValue>) -> Reply {
    let DumbBody::Whole(whole) = file.body;
    let total = whole.len() as u64;
    let asked = range.map(|range| byte_range(range.as_bytes(), total));
    let (status, body) = match asked {
        None | Some(Asked::Everything) => (StatusCode::OK, whole),
        Some(Asked::Part(start, end)) => {
            (StatusCode::PARTIAL_CONTENT, whole.slice(start as usize..end as usize))
        }
        Some(Asked::Nothing) => (StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new()),
    };
    let mut reply = Response::new(ResponseBody::from(body));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.media_type));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let content_range = match asked {
        Some(Asked::Part(start, end)) => Some(format!("bytes {start}-{}/{total}", end - 1)),
        Some(Asked::Nothing) => Some(format!("bytes */{total}")),
        _ => None,
    };
    if let Some(value) = content_range.and_then(|value| HeaderValue::from_str(&value).ok()) {
        headers.insert(header::CONTENT_RANGE, value);
    }
    match file.freshness {
        Freshness::Changes => no_cache(headers),
        Freshness::Forever => {
            let year = HeaderValue::from_static("public, max-age=31536000, immutable");
            headers.insert(header::CACHE_CONTROL, year);
        }
    }
    reply
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
