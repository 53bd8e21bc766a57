//! The host a client believes it talks to. It is the client's word, and may become part of a path.

use std::cell::OnceCell;

/// A host, as a client named it, without whatever could lead out of a directory.
#[derive(Debug, Default)]
pub(super) struct VirtualHost {
    /// Its name in small letters; empty when there is none.
    pub name: String,
    /// The port, as it was written.
    pub port: String,
    /// Its canonical name and its address, looked up when somebody wants to know.
    looked_up: OnceCell<(String, String)>,
}

impl VirtualHost {
    /// Reads `HOST`, `HOST:PORT` or `[HOST]:PORT`.
    ///
    /// # Errors
    /// In git's words.
    pub fn read(value: &[u8]) -> Result<Self, &'static str> {
        let value = String::from_utf8_lossy(value);
        let (name, port) = match value.strip_prefix('[') {
            Some(rest) => {
                let (name, behind) =
                    rest.split_once(']').ok_or("Invalid request ('[' without ']')")?;
                match behind.strip_prefix(':') {
                    Some(port) => (name, port),
                    None if behind.is_empty() => (name, ""),
                    None => return Err("Garbage after end of host part"),
                }
            }
            None => value.rsplit_once(':').unwrap_or((&value, "")),
        };
        let name = harmless(name).to_ascii_lowercase();
        Ok(VirtualHost { name, port: harmless(port), looked_up: OnceCell::new() })
    }

    /// The canonical name; empty when nobody knows it.
    pub fn canonical_name(&self) -> &str {
        &self.looked_up().0
    }

    /// The address; empty when nobody knows it.
    pub fn address(&self) -> &str {
        &self.looked_up().1
    }

    fn looked_up(&self) -> &(String, String) {
        self.looked_up.get_or_init(|| match self.name.is_empty() {
            true => Default::default(),
            false => look_up(&self.name).unwrap_or_default(),
        })
    }
}

/// Asks the system's resolver; waits as long as that does.
fn look_up(name: &str) -> Option<(String, String)> {
    /// Asks for the canonical name, too (`AI_CANONNAME` of getaddrinfo(3)).
    const CANONICAL_NAME: i32 = 2;
    let hints = dns_lookup::AddrInfoHints { flags: CANONICAL_NAME, ..Default::default() };
    let first = dns_lookup::getaddrinfo(Some(name), None, Some(hints)).ok()?.next()?.ok()?;
    let address = first.sockaddr.ip().to_string();
    let name = first.canonname.map_or_else(|| address.clone(), |name| harmless(&name));
    Some((name, address))
}

/// Without slashes, dots that follow each other, and dots at the ends.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        let is_bad_dot = letter == '.' && (out.is_empty() || out.ends_with('.'));
        if letter != '/' && letter != '\0' && !is_bad_dot {
            out.push(letter);
        }
    }
    out.truncate(out.trim_end_matches('.').len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_leads_nowhere() {
        for (value, name, port) in [
            ("", "", ""),
            ("Example.ORG:9418", "example.org", "9418"),
            ("[::1]:99", "::1", "99"),
            ("[::1]", "::1", ""),
            ("..", "", ""),
            ("../../etc", "etc", ""),
            (".a..b.", "a.b", ""),
            ("a/b:../..", "ab", ""),
            ("a.:.1.", "a", "1"),
        ] {
            let host = VirtualHost::read(value.as_bytes()).expect("a host");
            assert_eq!((host.name.as_str(), host.port.as_str()), (name, port), "{value}");
        }
        VirtualHost::read(b"[::1").expect_err("no end");
        VirtualHost::read(b"[::1]x").expect_err("something behind it");
        let none = VirtualHost::default();
        assert_eq!((none.canonical_name(), none.address()), ("", ""));
        let numbers = VirtualHost::read(b"127.0.0.1").expect("a host");
        assert_eq!(numbers.address(), "127.0.0.1");
    }
}
