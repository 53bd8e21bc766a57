//! Short answers, refusals among them, and headers that several answers share.

use bytes::Bytes;
use host::Refusal;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

use crate::response_body::ResponseBody;

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

/// The one answer for all that is not there, or that the client may not know of: what is in it
/// must not tell one case from the other.
pub(crate) fn not_found() -> Reply {
    text(StatusCode::NOT_FOUND, "repository or file not found")
}

/// The answer to a request that was not let in.
pub(crate) fn refused(refusal: &Refusal) -> Reply {
    let status = match refusal {
        Refusal::NotFound { .. } => StatusCode::NOT_FOUND,
        Refusal::Forbidden { .. } => StatusCode::FORBIDDEN,
        Refusal::Unauthenticated { .. } => StatusCode::UNAUTHORIZED,
        Refusal::TooManyAttempts { .. } => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Busy { .. } | Refusal::Crowded { .. } | Refusal::NoAccounts => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut reply = match status {
        StatusCode::NOT_FOUND => not_found(),
        _ => text(status, &refusal.words_for_peer()),
    };
    let headers = reply.headers_mut();
    match refusal {
        Refusal::Unauthenticated { .. } => {
            let asks = HeaderValue::from_static("Basic realm=\"Git\", charset=\"UTF-8\"");
            headers.insert(header::WWW_AUTHENTICATE, asks);
        }
        Refusal::TooManyAttempts { wait } => {
            headers.insert(header::RETRY_AFTER, (wait.as_secs() + 1).into());
        }
        Refusal::Busy { .. } | Refusal::Crowded { .. } => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
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

/// Sends the client to another address, from now on.
pub(crate) fn moved_for_good(address: &str) -> Option<Reply> {
    let location = HeaderValue::from_str(address).ok()?;
    let mut reply = text(StatusCode::PERMANENT_REDIRECT, "It is there");
    reply.headers_mut().insert(header::LOCATION, location);
    Some(reply)
}

/// Sends the client to another address, this once.
pub(crate) fn moved(address: &str) -> Option<Reply> {
    let location = HeaderValue::from_str(address).ok()?;
    let mut reply = text(StatusCode::TEMPORARY_REDIRECT, "It is there");
    reply.headers_mut().insert(header::LOCATION, location);
    no_cache(reply.headers_mut());
    Some(reply)
}
