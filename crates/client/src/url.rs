//! Where a repository is, as git's users write it (git-fetch(1), "Git URLs").

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::str::FromStr;

/// A repository's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteUrl {
    /// `http://` or `https://`.
    Http(HttpUrl),
    /// `ssh://`, or `host:path`.
    Ssh {
        /// Who logs in; ssh decides when it is not said.
        user: Option<String>,
        /// The host, as ssh is told.
        host: String,
        /// The port; ssh decides when it is not said.
        port: Option<u16>,
        /// The repository there.
        path: String,
    },
    /// `git://`.
    Git {
        /// The host.
        host: String,
        /// The port, 9418 unless said.
        port: Option<u16>,
        /// The repository there, with a slash in front.
        path: String,
    },
    /// A folder of this machine.
    Local(PathBuf),
    /// `NAME::ADDRESS`, or a scheme that a program `git-remote-NAME` knows (gitremote-helpers(7)).
    Helper {
        /// The program's name.
        name: String,
        /// What it is told.
        address: String,
    },
}

/// An address of HTTP.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl {
    /// Whether it is encrypted.
    pub is_tls: bool,
    /// The host: a name, an address, or an address of IPv6 in brackets.
    pub host: String,
    /// The port, where it is said.
    pub port: Option<u16>,
    /// The path, as it is sent, without a slash at its end.
    pub path: String,
    /// Who asks.
    pub user: Option<String>,
    /// What he knows.
    pub password: Option<String>,
}

/// Without the password.
impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Without user and password.
impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority(), self.path)
    }
}

impl HttpUrl {
    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.is_tls { "https" } else { "http" }
    }

    /// Host and port, as the header `Host` has them.
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// The port that is meant.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.is_tls { 443 } else { 80 })
    }

    /// The host without brackets, as resolvers and certificates have it.
    pub fn host_name(&self) -> &str {
        bare_host(&self.host)
    }
}

pub(crate) fn bare_host(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// What was to be an address is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{shown}' is no address of a repository: {why}")]
pub struct NoUrl {
    shown: String,
    why: &'static str,
}

impl FromStr for RemoteUrl {
    type Err = NoUrl;

    fn from_str(text: &str) -> Result<Self, NoUrl> {
        let no = |why| NoUrl { shown: without_password(text), why };
        if text.is_empty() {
            return Err(no("it is empty"));
        }
        if text.contains(['\0', '\n', '\r']) {
            return Err(no("it has a line end in it"));
        }
        if let Some((name, address)) = text.split_once("::").filter(|(name, _)| is_scheme(name)) {
            return Ok(RemoteUrl::Helper { name: name.into(), address: address.into() });
        }
        if let Some((scheme, rest)) = text.split_once("://").filter(|(name, _)| is_scheme(name)) {
            return match scheme {
                "http" | "https" => http(scheme == "https", rest).map_err(no).map(RemoteUrl::Http),
                "ssh" | "git+ssh" | "ssh+git" => ssh(rest).map_err(no),
                "git" => git(rest).map_err(no),
                "file" => Ok(RemoteUrl::Local(path(decoded(rest).map_err(no)?))),
                other => Ok(RemoteUrl::Helper { name: other.into(), address: text.into() }),
            };
        }
        Ok(match scp_like(text) {
            Some((host, path)) => {
                let (user, host, port) = user_host_port(host, false).map_err(no)?;
                RemoteUrl::Ssh { user, host, port, path: path.into() }
            }
            None => RemoteUrl::Local(path(text.as_bytes().to_vec())),
        })
    }
}

/// The address without a password.
impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_port = |port: &Option<u16>| port.map_or_else(String::new, |port| format!(":{port}"));
        match self {
            RemoteUrl::Http(url) => url.fmt(f),
            RemoteUrl::Ssh { user, host, port, path } => {
                let user = user.as_ref().map_or_else(String::new, |user| format!("{user}@"));
                let slash = if path.starts_with('/') { "" } else { "/" };
                write!(f, "ssh://{user}{host}{}{slash}{path}", at_port(port))
            }
            RemoteUrl::Git { host, port, path } => {
                write!(f, "git://{host}{}{path}", at_port(port))
            }
            RemoteUrl::Local(path) => path.display().fmt(f),
            RemoteUrl::Helper { name, address } if address.starts_with(&format!("{name}://")) => {
                without_password(address).fmt(f)
            }
            RemoteUrl::Helper { name, address } => write!(f, "{name}::{address}"),
        }
    }
}

/// A text that may be an address, fit to be shown: without what stands between `://` and `@`.
pub fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => text.to_owned(),
    }
}

fn is_scheme(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// `host:path`, when no slash comes before the first colon that is in no brackets.
fn scp_like(text: &str) -> Option<(&str, &str)> {
    let bracket = text.find('[').and_then(|open| Some(open + text[open..].find(']')?));
    let from = bracket.filter(|end| !text[..*end].contains('/')).unwrap_or(0);
    let colon = from + text[from..].find(':')?;
    (!text[..colon].contains('/') && colon > 0).then(|| (&text[..colon], &text[colon + 1..]))
}

fn path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

fn http(is_tls: bool, rest: &str) -> Result<HttpUrl, &'static str> {
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (login, place) = match authority.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, authority),
    };
    let text = |text: &str| String::from_utf8(decoded(text)?).map_err(|_| "its login is no UTF-8");
    let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        Some((user, "")) => (Some(text(user)?), None),
        Some((user, password)) => (Some(text(user)?), Some(text(password)?)),
        None => (None, None),
    };
    let (host, port) = host_port(place)?;
    if !host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@\\".contains(&byte)) {
        return Err("its host is no name");
    }
    let path = path.trim_end_matches('/');
    if path.contains('#') || !path.bytes().all(|byte| byte.is_ascii_graphic() || byte > 0x7f) {
        return Err("its path has to be written with %, where it is not plain");
    }
    let path = path.bytes().fold(String::new(), |mut path, byte| {
        match byte.is_ascii() {
            true => path.push(char::from(byte)),
            false => path.push_str(&format!("%{byte:02X}")),
        }
        path
    });
    Ok(HttpUrl { is_tls, host: host.to_owned(), port, path, user, password })
}

fn ssh(rest: &str) -> Result<RemoteUrl, &'static str> {
    let (place, path) = rest.split_at(rest.find('/').ok_or("it names no repository")?);
    let path = String::from_utf8(decoded(path)?).map_err(|_| "its path is no UTF-8")?;
    // `/~user/x` is below somebody's home.
    let path = match path.strip_prefix("/~") {
        Some(_) => path[1..].to_owned(),
        None => path,
    };
    let place = String::from_utf8(decoded(place)?).map_err(|_| "its host is no UTF-8")?;
    let (user, host, port) = user_host_port(&place, true)?;
    Ok(RemoteUrl::Ssh { user, host, port, path })
}

fn user_host_port(
    place: &str,
    may_have_port: bool,
) -> Result<(Option<String>, String, Option<u16>), &'static str> {
    let (user, place) = match place.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, place),
    };
    // `[host:port]:path` is how a port is written without a scheme.
    let inside = place.strip_prefix('[').and_then(|place| place.strip_suffix(']'));
    let (host, port) = match inside {
        Some(inside) if inside.matches(':').count() == 1 => host_port(inside)?,
        _ if may_have_port => host_port(place)?,
        _ => (place, None),
    };
    let host = bare_host(host);
    // Else it would be an option of ssh.
    if host.starts_with('-') || user.is_some_and(|user| user.starts_with('-')) || host.is_empty() {
        return Err("its host is no name");
    }
    Ok((user.filter(|user| !user.is_empty()).map(str::to_owned), host.to_owned(), port))
}

fn git(rest: &str) -> Result<RemoteUrl, &'static str> {
    let (place, path) = rest.split_at(rest.find('/').ok_or("it names no repository")?);
    let (host, port) = host_port(place)?;
    let path = String::from_utf8(decoded(path)?).map_err(|_| "its path is no UTF-8")?;
    Ok(RemoteUrl::Git { host: host.to_owned(), port, path })
}

fn host_port(place: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (place, ""),
    };
    if host.is_empty() {
        return Err("it has no host");
    }
    match port {
        "" => Ok((host, None)),
        port => Ok((host, Some(port.parse().map_err(|_| "its port is no number")?))),
    }
}

/// Takes `%` and two digits for a byte.
fn decoded(text: &str) -> Result<Vec<u8>, &'static str> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err("% is to be followed by two digits");
        };
        match (high << 4 | low) as u8 {
            0 | b'\n' | b'\r' => return Err("it has a line end in it"),
            byte => out.push(byte),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> RemoteUrl {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn ssh(user: Option<&str>, host: &str, port: Option<u16>, path: &str) -> RemoteUrl {
        let user = user.map(str::to_owned);
        RemoteUrl::Ssh { user, host: host.into(), port, path: path.into() }
    }

    #[test]
    fn addresses_are_read_as_git_reads_them() {
        for (text, expected) in [
            ("ssh://git@example.org/a/b.git", ssh(Some("git"), "example.org", None, "/a/b.git")),
            ("ssh://example.org:2222/~/a", ssh(None, "example.org", Some(2222), "~/a")),
            ("ssh://[::1]:22/a%20b", ssh(None, "::1", Some(22), "/a b")),
            ("git@example.org:a/b.git", ssh(Some("git"), "example.org", None, "a/b.git")),
            ("[::1]:a", ssh(None, "::1", None, "a")),
            ("u@[host:2222]:a", ssh(Some("u"), "host", Some(2222), "a")),
            ("host:/abs", ssh(None, "host", None, "/abs")),
            ("./a:b", RemoteUrl::Local("./a:b".into())),
            ("/srv/x", RemoteUrl::Local("/srv/x".into())),
            ("file:///srv/a%20b", RemoteUrl::Local("/srv/a b".into())),
            ("git://h:1/x", RemoteUrl::Git { host: "h".into(), port: Some(1), path: "/x".into() }),
            (
                "p2p-annex::iroh:x:y",
                RemoteUrl::Helper { name: "p2p-annex".into(), address: "iroh:x:y".into() },
            ),
            (
                "s3://bucket/x",
                RemoteUrl::Helper { name: "s3".into(), address: "s3://bucket/x".into() },
            ),
        ] {
            assert_eq!(url(text), expected, "{text}");
        }
        for bad in [
            "",
            "ssh://host",
            "ssh://-oProxyCommand=x/y",
            "-oProxyCommand=x:y",
            "ssh://host:port/x",
            "git://host",
            "http:///x",
            "http://ho st/x",
            "https://host/a b",
            "https://host/%zz\n",
            "ssh://host/%0ax",
            "ssh://host/%4",
        ] {
            bad.parse::<RemoteUrl>().expect_err(bad);
        }
    }

    #[test]
    fn logins_are_not_shown() {
        let text = "https://ann:se%40cret@example.org:8443/a/ü.git/";
        let RemoteUrl::Http(http) = url(text) else { panic!("{text}") };
        assert_eq!(http.user.as_deref(), Some("ann"));
        assert_eq!(http.password.as_deref(), Some("se@cret"));
        assert_eq!(http.to_string(), "https://example.org:8443/a/%C3%BC.git");
        assert_eq!(format!("{:?}", url(text)), "Http(https://example.org:8443/a/%C3%BC.git)");
        assert_eq!(http.port(), 8443);
        let RemoteUrl::Http(http) = url("http://[::1]/x") else { panic!() };
        assert_eq!((http.host_name(), http.port()), ("::1", 80));
        for (text, shown) in [
            ("ssh://git@h:1/~/x", "ssh://git@h:1/~/x"),
            ("h:x", "ssh://h/x"),
            ("git://h/x", "git://h/x"),
            ("foo::bar", "foo::bar"),
            ("foo://u:p@h/x", "foo://h/x"),
        ] {
            assert_eq!(url(text).to_string(), shown);
        }
        let error = "https://u:secret@h:x/".parse::<RemoteUrl>().expect_err("no port");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
