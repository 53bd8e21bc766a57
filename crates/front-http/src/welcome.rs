//! The page at `/`: what this is, for somebody who came with a browser.

use std::fmt::Write as _;

use host::Caller;
use hyper::{Request, StatusCode, header};

use crate::reply::{Reply, refused, text};
use crate::server::{Front, Speech};

/// Repositories named on the page; of more, none is.
const NAMED_MAX: usize = 20;

/// What this server is and how to clone from it.
pub(crate) fn page<B>(front: &Front, caller: &Caller, request: &Request<B>) -> Reply {
    let host = &front.host;
    let (names, more) = match host.list(caller, NAMED_MAX) {
        Ok(listed) => listed,
        Err(refusal) => return refused(&refusal),
    };
    let scheme = if matches!(front.speech, Speech::Tls(_)) { "https" } else { "http" };
    let base = format!("{scheme}://{}", authority(request).unwrap_or("<this server>"));
    let mut page = format!("This is a Git server ({}).\n\n", host.agent());
    if more || names.is_empty() {
        let _ = write!(page, "  git clone {base}/<repository>.git");
    } else {
        for repository in names {
            let _ = writeln!(page, "  git clone {base}/{}", repository.url_path());
        }
    }
    text(StatusCode::OK, page.trim_end())
}

/// The server's name as the client knows it.
pub(crate) fn authority<B>(request: &Request<B>) -> Option<&str> {
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_[]".contains(&byte);
    request
        .uri()
        .authority()
        .map(|authority| authority.as_str())
        .or(named)
        .filter(|name| !name.is_empty() && name.bytes().all(plain))
}

/// A server's name without its port; an address of IPv6 keeps its brackets.
pub(crate) fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}
