//! Ctrl-C and SIGTERM: running requests end well, nothing new begins.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use testkit::{RealGit, Scenario, wait_until};

use crate::raw;
use crate::serving::Serving;

/// A push whose end is held back, and whose beginning the server has read.
fn half_a_push(git: &RealGit, server: &Serving) -> (TcpStream, Vec<u8>) {
    let source = Scenario::linear(3).build(git, "source.git");
    let tip = git.rev_parse(&source, "main").to_string();
    let pack = crate::serving::pack_of(git, &source, "main\n");
    let body = raw::push_body("refs/heads/main", &tip, &pack);
    let (now, later) = body.split_at(body.len() / 2);
    let headers =
        [("Content-Type", "application/x-git-receive-pack-request"), ("Expect", "100-continue")];
    let head = raw::head("POST", "/a.git/git-receive-pack", &headers, Some(body.len()));
    let mut stream = TcpStream::connect(server.authority()).expect("the server listens");
    stream.write_all(head.as_bytes()).expect("the server reads");
    // The server asks for the body once the request is let in: from here on it runs.
    let mut line = String::new();
    let mut byte = [0];
    while !line.ends_with("\r\n\r\n") {
        stream.read_exact(&mut byte).expect("100 Continue");
        line.push(char::from(byte[0]));
    }
    assert!(line.starts_with("HTTP/1.1 100"), "{line}");
    stream.write_all(now).expect("the server reads");
    (stream, later.to_vec())
}

#[test]
fn running_requests_are_finished_first() {
    for interrupt in [false, true] {
        let git = RealGit::new();
        let origin = git.init_bare("srv/a.git");
        let mut server = Serving::start(&git, git.path("srv"), &[]);
        let (mut stream, later) = half_a_push(&git, &server);
        let idle = TcpStream::connect(server.authority()).expect("the server listens");
        match interrupt {
            true => server.process().interrupt(),
            false => server.process().terminate(),
        }
        wait_until("the server says that it stops", || server.log().contains("stopping"));
        let authority = server.authority().to_owned();
        wait_until("nobody new is let in", || TcpStream::connect(&authority).is_err());
        stream.write_all(&later).expect("the server still reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server still answers");
        assert!(answer.contains("ok refs/heads/main"), "{answer}");
        assert!(server.process().wait().success(), "all requests ended in time");
        drop(idle);
        git.fsck_strict(&origin);
        assert!(git.refs(&origin).contains("refs/heads/main"));
    }
}

#[test]
fn requests_that_do_not_end_are_cut_off() {
    let git = RealGit::new();
    let origin = git.init_bare("srv/a.git");
    let file = git.path("packhorse.toml");
    std::fs::write(&file, "[limits]\ndrain_timeout_ms = 50\n").expect("a file");
    let options = ["--config", file.to_str().expect("UTF-8")];
    let mut server = Serving::start(&git, git.path("srv"), &options);
    let (stream, _later) = half_a_push(&git, &server);
    server.process().terminate();
    assert_eq!(server.process().wait().code(), Some(1));
    assert!(server.log().contains("cut off"), "{}", server.log());
    assert!(BufReader::new(stream).lines().next().is_none_or(|line| line.is_err()));
    assert!(git.refs(&origin).is_empty());
    git.fsck_strict(&origin);
}

#[test]
fn clients_that_read_nothing_do_not_hold_the_end_up() {
    let git = RealGit::new();
    let origin = Scenario::big_blob(32 << 20).build(&git, "srv/a.git");
    let file = git.path("packhorse.toml");
    std::fs::write(&file, "[limits]\ndrain_timeout_ms = 50\n").expect("a file");
    let options = ["--config", file.to_str().expect("UTF-8")];
    let mut server = Serving::start(&git, git.path("srv"), &options);
    let tip = git.rev_parse(&origin, "main");
    let body = [raw::packet(format!("want {tip}\n")), b"0000".to_vec(), raw::packet("done\n")];
    let headers = [("Content-Type", "application/x-git-upload-pack-request")];
    let body = body.concat();
    let head = raw::head("POST", "/a.git/git-upload-pack", &headers, Some(body.len()));
    let mut stream = TcpStream::connect(server.authority()).expect("the server listens");
    stream.write_all(&[head.as_bytes(), &body].concat()).expect("the server reads");
    stream.read_exact(&mut [0; 1000]).expect("the clone begins");
    server.process().terminate();
    assert_eq!(server.process().wait().code(), Some(1));
    assert!(server.log().contains("cut off"), "{}", server.log());
}

#[test]
fn silent_clients_are_let_go() {
    let git = RealGit::new();
    git.init_bare("srv/a.git");
    let file = git.path("packhorse.toml");
    let text = "[limits]\nidle_timeout_ms = 100\nheader_timeout_ms = 100\n";
    std::fs::write(&file, text).expect("a file");
    let options = ["--config", file.to_str().expect("UTF-8")];
    let server = Serving::start(&git, git.path("srv"), &options);
    let before = server.open_files();
    for said in ["", "PRI * HT", "GET /a.git/HEAD HTTP/1.1\r\nHost:"] {
        let mut stream = TcpStream::connect(server.authority()).expect("the server listens");
        stream.write_all(said.as_bytes()).expect("the server reads");
        let _ = stream.read_to_end(&mut Vec::new());
    }
    // In the middle of a request: it is over, and the quarantine is gone.
    let (mut stream, _later) = half_a_push(&git, &server);
    let _ = stream.read_to_end(&mut Vec::new());
    drop(stream);
    server.settle(before);
}
