//! Who a request is from: HTTP's `Authorization` (RFC 7617, RFC 6750).

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use host::{Caller, Host, Proof, Refusal, Road};
use hyper::header::{self, HeaderMap};

/// Longest value of the header that is looked at, bytes.
const VALUE_BYTES_MAX: usize = 4096;

/// The caller, as the headers show him.
///
/// # Errors
/// Whoever says who he is and is not is refused, even where nobody has to say it.
pub(crate) fn caller(
    host: &Host,
    headers: &HeaderMap,
    peer: SocketAddr,
) -> Result<Caller, Refusal> {
    let mut caller = Caller { identity: None, address: Some(peer.ip()) };
    let Some(value) = headers.get(header::AUTHORIZATION).filter(|_| host.has_accounts()) else {
        return Ok(caller);
    };
    let (user, secret) = value.to_str().ok().and_then(credentials).unwrap_or_default();
    let proof = Proof::Password { user: &user, secret: &secret };
    caller.identity = host.identify(&proof, peer.ip(), Road::Http)?;
    Ok(caller)
}

/// A name, which may be empty, and a secret.
fn credentials(value: &str) -> Option<(String, String)> {
    let (scheme, value) = value.split_once(' ').filter(|_| value.len() <= VALUE_BYTES_MAX)?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some((String::new(), value.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    let (user, secret) = text.split_once(':')?;
    // A token alone may stand in the place of the name, as in `https://TOKEN@host/`.
    match secret {
        "" => Some((String::new(), user.to_owned())),
        secret => Some((user.to_owned(), secret.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read() {
        let pair = |user: &str, secret: &str| Some((user.to_owned(), secret.to_owned()));
        let basic = |text: &str| credentials(&format!("Basic {}", STANDARD.encode(text)));
        assert_eq!(basic("ann:a:b"), pair("ann", "a:b"));
        assert_eq!(basic("token:"), pair("", "token"));
        assert_eq!(basic("token"), None);
        assert_eq!(credentials("bearer  x"), pair("", "x"));
        for bad in ["", "Basic", "Basic !!", "Digest x", &format!("Basic {}", "a".repeat(5000))] {
            assert_eq!(credentials(bad), None, "{bad}");
        }
    }
}
