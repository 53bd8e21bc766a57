//! Clients that break the protocol: they are told so, and nothing is left behind.

use std::io::{Read as _, Write as _};

use testkit::{RealGit, Scenario};

use crate::raw::{self, packet};
use crate::serving::{Serving, files, pack_of};

fn served() -> (RealGit, std::path::PathBuf, Serving) {
    let git = RealGit::new();
    let origin = Scenario::linear(5).build(&git, "srv/a.git");
    let server = Serving::start_small(&git, git.path("srv"));
    (git, origin, server)
}

#[test]
fn malformed_and_oversized_packets() {
    let (_git, origin, server) = served();
    let before = (files(&origin), server.open_files());
    for service in ["git-upload-pack", "git-receive-pack"] {
        for body in [
            b"zzzz".as_slice(),
            b"0003",
            b"-004",
            b"+00a",
            b"ffffshort",
            b"fff1",
            b"00",
            b"0010half",
            b"\0\0\0\0\0\0\0\0",
            b"PACK\0\0\0\x02\0\0\0\x01",
            b"0009hello0000",
        ] {
            for protocol in ["version=0", "version=1", "version=2"] {
                let headers = [("Git-Protocol", protocol)];
                let reply = server.post("a.git", service, &headers, body);
                let text = reply.text();
                let words = text.contains("ERR ") || reply.status >= 400;
                assert!(words, "{service} {protocol} {body:?}: {} {text:?}", reply.status);
            }
        }
    }
    server.settle(before.1);
    assert_eq!(files(&origin), before.0);
    assert_eq!(server.get("/a.git/HEAD", &[]).status, 200, "no request is left over");
}

/// A megabyte that unpacks to hundreds of them is read no further than a request may be long.
#[test]
fn compressed_requests_that_never_end() {
    let (_git, origin, server) = served();
    let before = (files(&origin), server.open_files());
    let have = packet("have 1234567890123456789012345678901234567890\n");
    let many = have.repeat(4 << 20);
    for (service, start) in [
        ("git-upload-pack", [packet("command=fetch"), b"0001".to_vec()].concat()),
        ("git-upload-pack", [packet("command=ls-refs"), b"0001".to_vec()].concat()),
        ("git-receive-pack", packet("0".repeat(3000))),
    ] {
        let body = raw::gzip(&[start, many.clone()].concat());
        let headers = [("Git-Protocol", "version=2"), ("Content-Encoding", "gzip")];
        let reply = server.post("a.git", service, &headers, &body);
        let text = reply.text();
        assert!(text.contains("ERR ") || reply.status >= 400, "{service}: {}", reply.status);
    }
    server.settle(before.1);
    assert_eq!(files(&origin), before.0);
    let peak = server.peak_kb();
    assert!(peak < 96 << 10, "{peak} KiB for requests of {} KiB", have.len() << 12);
}

#[test]
fn unknown_commands_and_arguments() {
    let (_git, origin, server) = served();
    let before = files(&origin);
    let command = |name: &str, arguments: &[&str]| {
        let mut body = packet(format!("command={name}\n"));
        body.extend_from_slice(b"0001");
        arguments.iter().for_each(|argument| body.extend_from_slice(&packet(argument)));
        body.extend_from_slice(b"0000");
        server.fetch_v2("a.git", &body).text()
    };
    for (answer, words) in [
        (command("launch-missiles", &[]), "launch-missiles"),
        (command("ls-refs", &["rm -rf /\n"]), "rm -rf /"),
        (command("fetch", &["want 1234\n"]), "1234"),
        (command("fetch", &["filter nonsense\n", "done\n"]), "filter"),
        (command("fetch", &["deepen -1\n", "done\n"]), "deepen"),
        (command("fetch", &["deepen x\n", "done\n"]), "deepen"),
    ] {
        assert!(answer.contains("ERR ") && answer.contains(words), "{words}: {answer}");
    }
    assert_eq!(files(&origin), before);
}

#[test]
fn wants_that_are_not_advertised_or_not_there() {
    let (git, origin, server) = served();
    // Not a tip, and no tip reaches it. (What a tip reaches may be asked for over HTTP, as in
    // git: the tip may have moved on between two requests.)
    let tree = git.rev_parse(&origin, "main^{tree}").to_string();
    let hidden = git.ok(&origin, &["commit-tree", "-m", "hidden", &tree]);
    let lost = "1234567890123456789012345678901234567890";
    for want in [hidden.as_str(), lost, &tree] {
        let body =
            [packet(format!("want {want} side-band-64k\n")), b"0000".to_vec(), packet("done\n")]
                .concat();
        let text = server.post("a.git", "git-upload-pack", &[], &body).text();
        assert!(text.contains("ERR ") && text.contains(want), "v0 {want}: {text}");
    }
    let text = server.fetch_v2("a.git", &raw::fetch_body(lost, &[])).text();
    assert!(text.contains("ERR ") && text.contains(lost), "v2: {text}");
}

#[test]
fn pushes_cut_anywhere_leave_nothing() {
    let (git, origin, server) = served();
    let work = git.clone(&origin, "work", &["--quiet"]);
    let tip = git.commit_file(&work, "new.txt", "new\n").to_string();
    let pack = pack_of(&git, &work, "HEAD\n^HEAD~1\n");
    let body = raw::push_body("refs/heads/new", &tip, &pack);
    let headers = [("Content-Type", "application/x-git-receive-pack-request")];
    let head = raw::head("POST", "/a.git/git-receive-pack", &headers, Some(body.len()));
    let whole = [head.as_bytes(), &body].concat();
    let before = (files(&origin), server.open_files());
    let samples = (0..whole.len()).step_by(whole.len() / 60);
    for cut in samples.chain([head.len() + 1, whole.len() - 20, whole.len() - 1]) {
        raw::send_and_cut(server.authority(), &whole[..cut]);
        server.settle(before.1);
        assert_eq!(files(&origin), before.0, "cut at {cut} of {}", whole.len());
    }
    // The same push, whole.
    let reply = raw::send(server.authority(), &head, &body);
    assert!(reply.text().contains("ok refs/heads/new"), "{}", reply.text());
    git.fsck_strict(&origin);
}

#[test]
fn clients_that_leave_in_the_middle_of_a_clone() {
    let git = RealGit::new();
    Scenario::big_blob(8 << 20).build(&git, "srv/a.git");
    let server = Serving::start(&git, git.path("srv"), &[]);
    let tip = git.rev_parse(git.path("srv/a.git"), "main");
    let body = [packet(format!("want {tip}\n")), b"0000".to_vec(), packet("done\n")].concat();
    let headers = [("Content-Type", "application/x-git-upload-pack-request")];
    let head = raw::head("POST", "/a.git/git-upload-pack", &headers, Some(body.len()));
    let before = server.open_files();
    for _ in 0..20 {
        let mut stream =
            std::net::TcpStream::connect(server.authority()).expect("the server listens");
        stream.write_all(&[head.as_bytes(), &body].concat()).expect("the server reads");
        stream.read_exact(&mut [0; 1000]).expect("the clone begins");
    }
    server.settle(before);
    git.clone(server.url("a"), "clone", &["--quiet"]);
}
