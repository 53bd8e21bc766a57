//! HTTP itself: methods, types, encodings, versions.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use testkit::{RealGit, Scenario};

use crate::raw;
use crate::serving::Serving;

fn served() -> (RealGit, Serving) {
    let git = RealGit::new();
    Scenario::linear(3).build(&git, "srv/a.git");
    let server = Serving::start(&git, git.path("srv"), &[]);
    (git, server)
}

/// `ls-refs` of everything, in protocol v2.
fn ls_refs() -> Vec<u8> {
    [raw::packet("command=ls-refs\n"), b"0001".to_vec(), raw::packet("peel\n"), b"0000".to_vec()]
        .concat()
}

#[test]
fn methods_and_types_that_are_wrong_are_told_so() {
    let (_git, server) = served();
    for (method, path, allowed) in [
        ("GET", "/a.git/git-upload-pack", "POST"),
        ("PUT", "/a.git/git-receive-pack", "POST"),
        ("OPTIONS", "/a.git/git-receive-pack", "POST"),
        ("POST", "/a.git/info/refs", "GET, HEAD"),
        ("DELETE", "/a.git/HEAD", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
    ] {
        let reply = server.request(method, path, &[]);
        assert_eq!(reply.status, 405, "{method} {path}");
        assert_eq!(reply.header("allow"), Some(allowed), "{method} {path}");
    }
    for headers in [
        vec![("Content-Type", "text/plain")],
        vec![("Content-Type", "application/x-git-receive-pack-request")],
        vec![("Content-Type", "application/x-git-upload-pack-request"), ("Content-Encoding", "br")],
        vec![],
    ] {
        let head = raw::head("POST", "/a.git/git-upload-pack", &headers, Some(4));
        assert_eq!(raw::send(server.authority(), &head, b"0000").status, 415, "{headers:?}");
    }
    let wrong = server.get("/a.git/info/refs?service=git-upload-archive", &[]);
    assert_eq!(wrong.status, 403, "{}", wrong.text());
}

#[test]
fn head_requests_have_no_body() {
    let (_git, server) = served();
    for path in ["/", "/a.git/HEAD", "/a.git/info/refs?service=git-upload-pack", "/none/HEAD"] {
        let (get, head) = (server.get(path, &[]), server.request("HEAD", path, &[]));
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}

#[test]
fn request_bodies_may_be_compressed() {
    let (_git, server) = served();
    let plain = server.fetch_v2("a.git", &ls_refs());
    assert_eq!(plain.status, 200);
    assert!(plain.text().contains("refs/heads/main"), "{}", plain.text());
    let headers = [("Git-Protocol", "version=2"), ("Content-Encoding", "gzip")];
    let zipped = server.post("a.git", "git-upload-pack", &headers, &raw::gzip(&ls_refs()));
    assert_eq!(zipped.body, plain.body);

    let mut broken = raw::gzip(&ls_refs());
    broken.truncate(broken.len() / 2);
    for body in [broken.as_slice(), b"this is not gzip", b""] {
        let reply = server.post("a.git", "git-upload-pack", &headers, body);
        assert!(!reply.text().contains("refs/heads/main"), "{}", reply.text());
        assert!(reply.status >= 400 || reply.text().contains("ERR "), "{}", reply.text());
    }
}

#[test]
fn request_bodies_may_come_in_chunks() {
    let (_git, server) = served();
    let headers = [
        ("Content-Type", "application/x-git-upload-pack-request"),
        ("Git-Protocol", "version=2"),
        ("Transfer-Encoding", "chunked"),
    ];
    let mut body = Vec::new();
    for byte in ls_refs() {
        body.extend_from_slice(&[b'1', b'\r', b'\n', byte, b'\r', b'\n']);
    }
    body.extend_from_slice(b"0\r\n\r\n");
    let head = raw::head("POST", "/a.git/git-upload-pack", &headers, None);
    let reply = raw::send(server.authority(), &head, &body);
    assert!(reply.text().contains("refs/heads/main"), "{}", reply.text());
}

#[test]
fn clients_that_wait_to_be_asked_are_asked_or_refused() {
    let (_git, server) = served();
    let line_after = |path: &str, content_type: &str| {
        let headers = [
            ("Content-Type", content_type),
            ("Git-Protocol", "version=2"),
            ("Expect", "100-continue"),
        ];
        let head = raw::head("POST", path, &headers, Some(ls_refs().len()));
        let mut stream = TcpStream::connect(server.authority()).expect("the server listens");
        stream.write_all(head.as_bytes()).expect("the server reads");
        let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
        (lines.next().expect("an answer").expect("a line"), stream, lines)
    };
    let content_type = "application/x-git-upload-pack-request";
    let (line, mut stream, lines) = line_after("/a.git/git-upload-pack", content_type);
    assert_eq!(line, "HTTP/1.1 100 Continue");
    stream.write_all(&ls_refs()).expect("the server reads");
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert!(rest.iter().any(|line| line.contains("refs/heads/main")), "{rest:?}");

    let (line, ..) = line_after("/none.git/git-upload-pack", content_type);
    assert_eq!(line, "HTTP/1.1 404 Not Found", "nothing was asked for in vain");
    let (line, ..) = line_after("/a.git/git-upload-pack", "text/plain");
    assert_eq!(line, "HTTP/1.1 415 Unsupported Media Type");
}

#[test]
fn the_first_page_tells_how_to_clone() {
    let (git, server) = served();
    let page = server.get("/", &[("X", "y")]);
    assert_eq!(page.status, 200);
    assert!(page.text().contains("git clone http://test/a.git"), "{}", page.text());
    assert!(page.header("content-type").expect("a type").starts_with("text/plain"));
    for number in 0..30 {
        git.init_bare(format!("srv/many/{number}.git"));
    }
    let page = server.get("/", &[]).text();
    assert!(page.contains("<repository>.git") && !page.contains("many"), "{page}");
}

#[test]
fn every_session_has_a_name_of_its_own() {
    let (git, server) = served();
    git.ok(git.path("srv/a.git"), &["config", "transfer.advertiseSID", "true"]);
    let session = || {
        let v2 = [("Git-Protocol", "version=2")];
        let text = server.get("/a.git/info/refs?service=git-upload-pack", &v2).text();
        let line = text.lines().find_map(|line| Some(line.split_once("session-id=")?.1.to_owned()));
        line.expect("a session id")
    };
    let (one, other) = (session(), session());
    assert!(one.starts_with("packhorse-"), "{one}");
    assert_ne!(one, other);
}
