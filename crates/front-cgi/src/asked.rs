//! From the environment to what is asked for (RFC 3875, section 4; git-http-backend(1)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use wire::Service;

use crate::query::parameter;
use crate::text;

/// Looks up a variable of the environment.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A request that leads somewhere.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The path of the repository, as it was said.
    pub directory: Vec<u8>,
    pub what: What,
}

/// What is asked of a repository.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A file, by its path in the repository.
    File { path: String, kind: FileKind },
    /// What a service would say first.
    Advertisement(Service),
    /// One round of a conversation.
    Round(Service),
    /// A service that is not there: its name, as it was given.
    NoService(String),
}

/// How a file is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// What HEAD names; nothing is said about how long that holds.
    Head,
    /// It may change at any moment.
    Text(&'static str),
    /// It is named by its content.
    Forever(&'static str),
}

/// Why a request leads nowhere.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoWay {
    /// The web server did not say what it has to; words for its log.
    Server(String),
    /// Nothing of a repository has this path.
    NotFound(String),
    /// It has, for other methods.
    Method { allowed: &'static str },
}

const PACK: &str = "application/x-git-packed-objects";
const INDEX: &str = "application/x-git-packed-objects-toc";
const LOOSE: &str = "application/x-git-loose-object";
const PLAIN: &str = "text/plain";
const PLAIN_UTF8: &str = "text/plain; charset=utf-8";

/// Finds out what is asked for.
pub(crate) fn asked(variables: Variables<'_>) -> Result<Asked, NoWay> {
    let method = variables("REQUEST_METHOD")
        .ok_or_else(|| NoWay::Server("No REQUEST_METHOD from server".to_owned()))?;
    let path = path(variables)?;
    let (at, method_of_it, what) = split(&path, variables)
        .ok_or_else(|| NoWay::NotFound(String::from_utf8_lossy(&path).into_owned()))?;
    let fits = match method_of_it {
        "GET" => method == "GET" || method == "HEAD",
        other => method == other,
    };
    if !fits {
        let allowed = if method_of_it == "GET" { "GET, HEAD" } else { "POST" };
        return Err(NoWay::Method { allowed });
    }
    Ok(Asked { directory: path[..at].to_vec(), what })
}

/// The path of this machine a request is about.
fn path(variables: Variables<'_>) -> Result<Vec<u8>, NoWay> {
    let given =
        |name: &str| variables(name).map(OsString::into_vec).filter(|value| !value.is_empty());
    match (given("GIT_PROJECT_ROOT"), given("PATH_INFO"), given("PATH_TRANSLATED")) {
        (Some(mut root), Some(info), _) => {
            if host::is_aliased(&info) {
                let info = String::from_utf8_lossy(&info).into_owned();
                return Err(NoWay::Server(format!("'{info}': aliased")));
            }
            if !root.ends_with(b"/") {
                root.push(b'/');
            }
            root.extend_from_slice(info.strip_prefix(b"/").unwrap_or(&info));
            Ok(root)
        }
        (Some(_), None, _) => {
            Err(NoWay::Server("GIT_PROJECT_ROOT is set but PATH_INFO is not".to_owned()))
        }
        (None, _, Some(translated)) => Ok(translated),
        (None, _, None) => {
            Err(NoWay::Server("No GIT_PROJECT_ROOT or PATH_TRANSLATED from server".to_owned()))
        }
    }
}

/// Where the repository's path ends, the method, and what is asked for.
fn split(path: &[u8], variables: Variables<'_>) -> Option<(usize, &'static str, What)> {
    let file = |name: &str, kind| {
        let stem = path.strip_suffix(name.as_bytes())?.strip_suffix(b"/")?;
        Some((stem.len(), "GET", What::File { path: name.to_owned(), kind }))
    };
    for service in [Service::UploadPack, Service::ReceivePack, Service::UploadArchive] {
        let name = service.name().as_bytes();
        let stem = path.strip_suffix(name).and_then(|path| path.strip_suffix(b"/"));
        if let Some(stem) = stem {
            return Some((stem.len(), "POST", What::Round(service)));
        }
    }
    if let Some((at, method, plain)) = file("info/refs", FileKind::Text(PLAIN)) {
        let query = variables("QUERY_STRING").map(OsString::into_vec).unwrap_or_default();
        let what = match parameter(&query, b"service") {
            None => plain,
            Some(name) => Service::from_name(&name).map_or_else(
                || What::NoService(String::from_utf8_lossy(&name).into_owned()),
                What::Advertisement,
            ),
        };
        return Some((at, method, what));
    }
    file("HEAD", FileKind::Head)
        .or_else(|| file("objects/info/alternates", FileKind::Text(PLAIN)))
        .or_else(|| file("objects/info/http-alternates", FileKind::Text(PLAIN)))
        .or_else(|| file("objects/info/packs", FileKind::Text(PLAIN_UTF8)))
        .or_else(|| {
            let (name, kind) = object_file(path)?;
            file(&name, kind)
        })
}

/// The path from `objects/` on, of an object, a pack or an index.
fn object_file(path: &[u8]) -> Option<(String, FileKind)> {
    let text = |part: &[u8]| String::from_utf8(part.to_vec()).ok();
    let mut parts = path.rsplitn(4, |byte| *byte == b'/');
    let (name, folder, objects) = (text(parts.next()?)?, text(parts.next()?)?, parts.next()?);
    if objects != b"objects" {
        return None;
    }
    let hex = |text: &str, lengths: [usize; 2]| {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        lengths.contains(&text.len()) && text.bytes().all(digit)
    };
    let kind = match folder.as_str() {
        "pack" => {
            let (stem, ending) = name.strip_prefix("pack-")?.split_once('.')?;
            match ending {
                "pack" if hex(stem, [40, 64]) => FileKind::Forever(PACK),
                "idx" if hex(stem, [40, 64]) => FileKind::Forever(INDEX),
                _ => return None,
            }
        }
        folder if hex(folder, [2, 2]) && hex(&name, [38, 62]) => FileKind::Forever(LOOSE),
        _ => return None,
    };
    Some((format!("objects/{folder}/{name}"), kind))
}

/// Words about a method that does not fit: the status, by what the client speaks.
pub(crate) fn method_status(variables: Variables<'_>) -> (u16, &'static str) {
    match text(variables("SERVER_PROTOCOL")).as_str() {
        "HTTP/1.1" => (405, "Method Not Allowed"),
        _ => (400, "Bad Request"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(set: &[(&str, &str)]) -> Result<Asked, NoWay> {
        asked(&|name| {
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    fn told(method: &str, path: &str, query: &str) -> String {
        let set = [
            ("REQUEST_METHOD", method),
            ("GIT_PROJECT_ROOT", "/srv"),
            ("PATH_INFO", path),
            ("QUERY_STRING", query),
        ];
        match of(&set) {
            Ok(asked) => {
                format!("{} {:?}", String::from_utf8_lossy(&asked.directory), asked.what)
            }
            Err(no) => format!("{no:?}"),
        }
    }

    #[test]
    fn what_there_is_to_ask_for() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let object = format!("/a.git/objects/01/{}", &id[2..]);
        assert!(told("GET", &object, "").contains("/srv/a.git File { path: \"objects/01/2345"));
        let pack = format!("/a/b.git/objects/pack/pack-{id}.idx");
        assert!(told("HEAD", &pack, "").contains("packed-objects-toc"));
        for (method, path, query, answer) in [
            ("GET", "/a/HEAD", "", "/srv/a File { path: \"HEAD\", kind: Head }"),
            ("HEAD", "a/HEAD", "", "'a/HEAD': aliased"),
            ("GET", "/HEAD", "", "/srv File { path: \"HEAD\", kind: Head }"),
            ("GET", "/a/info/refs", "x=y", "Text(\"text/plain\")"),
            ("GET", "/a/info/refs", "service=git-upload-pack", "Advertisement(UploadPack)"),
            ("GET", "/a/info/refs", "service=upload-pack", "NoService(\"upload-pack\")"),
            ("POST", "/a/git-receive-pack", "", "/srv/a Round(ReceivePack)"),
            ("POST", "/a/git-upload-archive", "", "/srv/a Round(UploadArchive)"),
            ("GET", "/a/git-upload-pack", "", "Method { allowed: \"POST\" }"),
            ("PUT", "/a/HEAD", "", "Method { allowed: \"GET, HEAD\" }"),
            ("POST", "/a/info/refs", "", "Method { allowed: \"GET, HEAD\" }"),
            ("GET", "/a/refs/heads/main", "", "NotFound(\"/srv/a/refs/heads/main\")"),
            ("GET", "/a/objects/01/23", "", "NotFound"),
            ("GET", "/a/config", "", "NotFound"),
            ("GET", "/a/../b/HEAD", "", "aliased"),
            ("GET", "/a/./HEAD", "", "aliased"),
            ("GET", "/a//HEAD", "", "aliased"),
            ("GET", "//a/HEAD", "", "aliased"),
            ("GET", "", "", "GIT_PROJECT_ROOT is set but PATH_INFO is not"),
        ] {
            let told = told(method, path, query);
            assert!(told.contains(answer), "{method} {path} {query}: {told}");
        }
        let upper = object.replace("cd", "CD");
        assert!(told("GET", &upper, "").contains("NotFound"));
    }

    #[test]
    fn where_the_path_comes_from() {
        let translated = [("REQUEST_METHOD", "GET"), ("PATH_TRANSLATED", "/x/../y/HEAD")];
        assert_eq!(of(&translated).expect("a request").directory, b"/x/../y");
        let none = of(&[("REQUEST_METHOD", "GET")]);
        assert!(matches!(none, Err(NoWay::Server(words)) if words.contains("PATH_TRANSLATED")));
        let none = of(&[("PATH_TRANSLATED", "/x/HEAD")]);
        assert!(matches!(none, Err(NoWay::Server(words)) if words.contains("REQUEST_METHOD")));
    }
}
