//! What `.gitmodules` may say: names that stay in their directory, URLs that carry no option and
//! no second line into a helper program (CVE-2018-11235, CVE-2018-17456, CVE-2020-5260,
//! CVE-2020-11008).

use super::url;

/// Whether no component of the name is `..`, and the name is not empty.
pub(super) fn is_safe_name(name: &[u8]) -> bool {
    let is_separator = |byte: &u8| matches!(byte, b'/' | b'\\');
    !name.is_empty() && !name.split(is_separator).any(|component| component == b"..")
}

/// Whether a program would take the value for an option.
pub(super) fn looks_like_option(value: &[u8]) -> bool {
    value.starts_with(b"-")
}

/// Whether the URL can be handed to a transport.
pub(super) fn is_safe_url(url: &[u8]) -> bool {
    if looks_like_option(url) {
        return false;
    }
    if is_relative(url) || url.starts_with(b"git://") {
        // Appended to the URL of the repository above, it may end up with a helper, too.
        return !url::decode(url).contains(&b'\n') && !escapes_host(url);
    }
    match for_curl(url) {
        Some(url) => url::normalize(url).is_some_and(|url| !url::decode(&url).contains(&b'\n')),
        None => true,
    }
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

/// What is behind `./`, if that is how the URL begins.
fn strip_dot(url: &[u8]) -> Option<&[u8]> {
    match url {
        [b'.', byte, rest @ ..] if is_separator(*byte) => Some(rest),
        _ => None,
    }
}

/// What is behind `../`, if that is how the URL begins.
fn strip_dot_dot(url: &[u8]) -> Option<&[u8]> {
    match url {
        [b'.', b'.', byte, rest @ ..] if is_separator(*byte) => Some(rest),
        _ => None,
    }
}

fn is_relative(url: &[u8]) -> bool {
    strip_dot(url).is_some() || strip_dot_dot(url).is_some()
}

/// Whether leading `../` would put something else in place of the host.
fn escapes_host(mut url: &[u8]) -> bool {
    let mut climbs = false;
    loop {
        if let Some(rest) = strip_dot_dot(url) {
            climbs = true;
            url = rest;
        } else if let Some(rest) = strip_dot(url) {
            url = rest;
        } else {
            return climbs && matches!(url.first(), Some(b':' | b'/'));
        }
    }
}

/// The URL that `git-remote-curl` would see, when the transport is its own.
fn for_curl(url: &[u8]) -> Option<&[u8]> {
    const HELPERS: [&[u8]; 4] = [b"http::", b"https::", b"ftp::", b"ftps::"];
    const SCHEMES: [&[u8]; 4] = [b"http://", b"https://", b"ftp://", b"ftps://"];
    HELPERS
        .iter()
        .find_map(|helper| url.strip_prefix(*helper))
        .or_else(|| SCHEMES.iter().any(|scheme| url.starts_with(scheme)).then_some(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_names() {
        for name in ["a", "a/b", "..a", "a..", "a...b", "..."] {
            assert!(is_safe_name(name.as_bytes()), "{name}");
        }
        for name in ["", "..", "../a", "a/..", "a\\..\\b", "a/../b"] {
            assert!(!is_safe_name(name.as_bytes()), "{name}");
        }
    }

    // From git's t7450-bad-git-dotfiles.sh and t7416-submodule-dash-url.sh.
    #[test]
    fn judges_urls() {
        for url in [
            "./foo",
            "../foo",
            "../../:80/x/..y",
            "git://example.com/x",
            "foo:bar",
            "/a/b",
            "https://example.com/foo/bar.git",
            "http::https://user:pw@h:8080/x%20y?q#f",
            "https://example.com/a%0a/../b",
        ] {
            let safe = url != "../../:80/x/..y";
            assert_eq!(is_safe_url(url.as_bytes()), safe, "{url}");
        }
        for url in [
            "-u./payload",
            "./%0ahost=x",
            "git://x/%0ahost=y",
            "https://example.com/%0ax",
            "https://",
            "https:///x",
            "http::example.com/x",
            "https:://example.com/x",
            "../.././/:x",
            "../../../:x",
            "..\\../:x",
            "https://example.com/%zz",
            "https://h:0/",
            "https://h:99999/",
            "https://h/..",
            "https://a\nb/",
            "http::ftp://one.example.com/%0ahost=two",
            "ftp://a b/",
        ] {
            assert!(!is_safe_url(url.as_bytes()), "{url:?}");
        }
    }
}
