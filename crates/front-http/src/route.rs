//! From a URL to a repository and a task.

use bytes::Bytes;
use host::{Exchange, RepositoryName, Task};
use hyper::{Method, Uri};
use wire::{Protocol, Service};

/// What a URL asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub repository: RepositoryName,
    pub task: Task,
}

/// Why a URL leads nowhere.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// It is the server itself that is asked for.
    Root,
    /// No repository's file has this URL.
    NotFound,
    /// The URL exists, for other methods.
    Method(&'static str),
    /// `service=` names no service.
    Service,
    /// `cursor=` is none.
    Cursor,
}

/// Finds out what a request line asks for.
pub(crate) fn route(method: &Method, uri: &Uri, protocol: Protocol) -> Result<Route, NoRoute> {
    let path = decode(uri.path()).ok_or(NoRoute::NotFound)?;
    let read = method == Method::GET || method == Method::HEAD;
    if *path == *b"/" {
        return Err(if read { NoRoute::Root } else { NoRoute::Method("GET, HEAD") });
    }
    for service in [Service::UploadPack, Service::ReceivePack, Service::UploadArchive] {
        let suffix = format!("/{}", service.name());
        if let Some(name) = path.strip_suffix(suffix.as_bytes()) {
            if method != Method::POST {
                return Err(NoRoute::Method("POST"));
            }
            return smart(name, service, Exchange::Round, protocol);
        }
    }
    if let Some(name) = path.strip_suffix(b"/info/refs") {
        if !read {
            return Err(NoRoute::Method("GET, HEAD"));
        }
        return match service_parameter(uri.query().unwrap_or_default()) {
            None => file(name, "info/refs"),
            Some(value) => {
                let service = Service::from_name(value.as_bytes()).ok_or(NoRoute::Service)?;
                // Archives are asked for without a word before.
                if service == Service::UploadArchive {
                    return Err(NoRoute::Service);
                }
                smart(name, service, Exchange::Advertise, protocol)
            }
        };
    }
    if let Some(name) = path.strip_suffix(b"/events") {
        return match method == Method::GET {
            true => watch(name, uri.query().unwrap_or_default()),
            false => Err(NoRoute::Method("GET")),
        };
    }
    let (name, path) = split_file(&path).ok_or(NoRoute::NotFound)?;
    match read {
        true => file(name, &path),
        false => Err(NoRoute::Method("GET, HEAD")),
    }
}

fn smart(
    name: &[u8],
    service: Service,
    exchange: Exchange,
    protocol: Protocol,
) -> Result<Route, NoRoute> {
    let repository = RepositoryName::new(name).map_err(|_| NoRoute::NotFound)?;
    let protocol = protocol.of_service(service);
    Ok(Route { repository, task: Task::Smart { service, exchange, protocol } })
}

/// `?prefix=NAME&prefix=NAME&cursor=CURSOR`, all of them optional.
fn watch(name: &[u8], query: &str) -> Result<Route, NoRoute> {
    let repository = RepositoryName::new(name).map_err(|_| NoRoute::NotFound)?;
    let value = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let values: Vec<_> =
            pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).collect();
        values.into_iter().filter_map(decode)
    };
    let since = match value("cursor").next() {
        Some(text) => {
            let cursor = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
            Some(cursor.ok_or(NoRoute::Cursor)?)
        }
        None => None,
    };
    let prefixes = value("prefix").map(|prefix| prefix.to_vec().into()).collect();
    Ok(Route { repository, task: Task::Watch { since, prefixes } })
}

fn file(name: &[u8], path: &str) -> Result<Route, NoRoute> {
    let repository = RepositoryName::new(name).map_err(|_| NoRoute::NotFound)?;
    Ok(Route { repository, task: Task::File { path: path.to_owned() } })
}

/// Splits `<name>/HEAD`, `<name>/objects/…`, and what git-annex asks for: `<name>/config` and
/// `<name>/annex/objects/…`.
fn split_file(path: &[u8]) -> Option<(&[u8], String)> {
    let text = std::str::from_utf8(path).ok()?;
    let suffix = ["/HEAD", "/config"].iter().find(|suffix| text.ends_with(*suffix));
    let at = match suffix {
        Some(suffix) => text.len() - suffix.len(),
        None => text.rfind("/annex/objects/").or_else(|| text.rfind("/objects/"))?,
    };
    Some((&path[..at], text[at + 1..].to_owned()))
}

/// The value of `service` in a query.
fn service_parameter(query: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let value = pair.strip_prefix("service=")?;
        String::from_utf8(decode(value)?.to_vec()).ok()
    })
}

/// Undoes percent-encoding; `None` for escapes that are none.
fn decode(text: &str) -> Option<Bytes> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digit = |byte: Option<u8>| (byte? as char).to_digit(16);
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                out.push(u8::try_from(high * 16 + low).ok()?);
            }
            _ => out.push(byte),
        }
    }
    Some(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(method: Method, uri: &str) -> Result<String, NoRoute> {
        let uri: Uri = uri.parse().expect("a URI");
        route(&method, &uri, Protocol::V2)
            .map(|route| format!("{} {:?}", route.repository, route.task))
    }

    #[test]
    fn smart_urls() {
        let advertise = routed(Method::GET, "/a/b.git/info/refs?service=git-upload-pack");
        assert_eq!(
            advertise.expect("a route"),
            "a/b.git Smart { service: UploadPack, exchange: Advertise, protocol: V2 }"
        );
        let post = routed(Method::POST, "/a%20b/git-receive-pack").expect("a route");
        assert!(post.starts_with("a b Smart { service: ReceivePack, exchange: Round"), "{post}");
        assert_eq!(routed(Method::GET, "/a/git-upload-pack"), Err(NoRoute::Method("POST")));
        assert_eq!(routed(Method::GET, "/a/info/refs?service=sh"), Err(NoRoute::Service));
    }

    #[test]
    fn dumb_urls() {
        let head = routed(Method::GET, "/a/HEAD").expect("a route");
        assert_eq!(head, "a File { path: \"HEAD\" }");
        let object = routed(Method::GET, "/a/objects/ab/cdef").expect("a route");
        assert_eq!(object, "a File { path: \"objects/ab/cdef\" }");
        let key = routed(Method::HEAD, "/x/a.git/annex/objects/f87/4d5/K/K").expect("a route");
        assert_eq!(key, "x/a.git File { path: \"annex/objects/f87/4d5/K/K\" }");
    }

    #[test]
    fn urls_of_events() {
        let all = routed(Method::GET, "/a/b.git/events").expect("a route");
        assert_eq!(all, "a/b.git Watch { since: None, prefixes: [] }");
        let cursor = "00000000000000000000000000000007";
        let query = format!("prefix=refs/heads/&cursor={cursor}&prefix=refs%2Ftags");
        let some = routed(Method::GET, &format!("/a/events?{query}")).expect("a route");
        assert_eq!(
            some,
            "a Watch { since: Some(Cursor(7)), prefixes: [\"refs/heads/\", \"refs/tags\"] }"
        );
        assert_eq!(routed(Method::GET, "/a/events?cursor=7"), Err(NoRoute::Cursor));
        assert_eq!(routed(Method::POST, "/a/events"), Err(NoRoute::Method("GET")));
    }

    #[test]
    fn nothing_leads_out_of_the_served_folder() {
        for uri in [
            "/../a/HEAD",
            "/a/../../b/info/refs",
            "/%2e%2e/a/HEAD",
            "/a/%2e%2e%2fb/info/refs?service=git-upload-pack",
            "/a%00b/HEAD",
            "/a/.git/HEAD",
            "/HEAD",
            "/%zz/HEAD",
            "/a%5c..%5cb/HEAD",
        ] {
            assert_eq!(routed(Method::GET, uri), Err(NoRoute::NotFound), "{uri}");
        }
    }
}
