//! git://: what goes wrong before anybody is let in. What goes well is in the table of scenarios.

use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::time::Duration;

use testkit::{RealGit, wait_until};

use crate::raw::{git_head, send_and_end};
use crate::serving::Serving;

fn serve(git: &RealGit, config: &str) -> Serving {
    let dir = git.path("srv");
    if !dir.exists() {
        let source = git.init_bare("srv/r.git");
        let work = git.clone(source, "work", &["-q"]);
        git.commit_file(&work, "file", "one");
        git.ok(&work, &["push", "-q", "origin", "HEAD:refs/heads/main"]);
    }
    let file = git.path("server.toml");
    fs::write(&file, config).expect("a file");
    let options = ["--git", "127.0.0.1:0", "--config", file.to_str().expect("text")];
    Serving::start(git, dir, &options)
}

fn pkt(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

#[test]
fn every_version_is_spoken() {
    let git = RealGit::new();
    let server = serve(&git, "");
    for version in ["0", "1", "2"] {
        let name = format!("clone-{version}.git");
        let option = format!("protocol.version={version}");
        let url = server.git_url("r.git");
        git.ok(git.root(), &["-c", &option, "clone", "-q", "--mirror", &url, &name]);
        git.fsck_strict(git.path(&name));
    }
    // A name without its ending, and one with more of slashes.
    git.ok(git.root(), &["ls-remote", &server.git_url("r")]);
    git.ok(git.root(), &["ls-remote", &server.git_url("/r.git/")]);
}

#[test]
fn pushes_are_off_unless_turned_on() {
    let git = RealGit::new();
    let work = git.path("work");
    let server = serve(&git, "");
    let push = |server: &Serving| {
        git.run(&work, &["push", &server.git_url("r.git"), "HEAD:refs/heads/new"])
    };
    let refused = push(&server);
    assert!(!refused.status.success());
    assert!(refused.error_text().contains("service not enabled"), "{}", refused.error_text());
    drop(server);
    let server = serve(&git, "[git]\nreceive_pack = true\n");
    assert!(push(&server).status.success());
    // A repository may say no for itself.
    git.ok(git.path("srv/r.git"), &["config", "daemon.receivepack", "false"]);
    let refused = push(&server);
    assert!(refused.error_text().contains("daemon.receivepack"), "{}", refused.error_text());
    git.ok(git.root(), &["ls-remote", &server.git_url("r.git")]);
    git.ok(git.path("srv/r.git"), &["config", "daemon.uploadpack", "false"]);
    let words = git.fail(git.root(), &["ls-remote", &server.git_url("r.git")]);
    assert!(words.contains("daemon.uploadpack"), "{words}");
    // Over HTTP it is another matter.
    git.ok(git.root(), &["ls-remote", &server.url("r.git")]);
}

#[test]
fn what_is_no_request_is_refused() {
    let git = RealGit::new();
    let server = serve(&git, "");
    let authority = server.git_authority();
    let told =
        |bytes: &[u8]| String::from_utf8_lossy(&send_and_end(&authority, bytes)).into_owned();
    // Nobody who speaks like this would understand an answer.
    for garbage in
        ["GET / HTTP/1.1\r\n\r\n", "SSH-2.0-x\r\n", "\0\0\0\0", "zzzz", "0003", "ffff", "+01f", ""]
    {
        assert_eq!(told(garbage.as_bytes()), "", "{garbage:?}");
    }
    let long = pkt(&format!("git-upload-pack /{}\0", "x".repeat(9000)));
    assert_eq!(told(long.as_bytes()), "");
    for (head, words) in [
        (pkt("git-upload-archive /r.git\0host=x\0"), "service not enabled"),
        (pkt("sh -c 'true'\0"), "service not enabled"),
        (pkt("git-upload-pack\0"), "names no path"),
        (pkt("git-upload-pack r.git\0"), "does not begin with"),
        (git_head("upload-pack", "none.git"), "repository 'none.git' not found"),
        (git_head("upload-pack", "../srv/r.git"), "no part that begins with a dot"),
        (git_head("upload-pack", "./r.git"), "no part that begins with a dot"),
        (git_head("upload-pack", "r.git/../r.git"), "no part that begins with a dot"),
        (git_head("upload-pack", "/etc/passwd"), "not found"),
        (git_head("upload-pack", "~root/r.git"), "not found"),
        (git_head("upload-pack", "r.git\\..\\r.git"), "no control characters"),
        (git_head("upload-pack", ""), "no repository is named"),
    ] {
        let answer = told(head.as_bytes());
        let told = answer.get(4..8) == Some("ERR ") && answer.contains(words);
        assert!(told, "{head:?}: {answer:?}");
        let length = usize::from_str_radix(&answer[..4], 16).expect("a length");
        assert_eq!(length, answer.len(), "{answer:?}");
    }
    // A host that is somebody else's means nothing.
    let head = pkt("git-upload-pack /r.git\0host=../../etc:99999\0\0version=1\0evil=%s\0");
    assert!(told(head.as_bytes()).starts_with("000eversion 1\n"));
    git.ok(git.root(), &["ls-remote", &server.git_url("r.git")]);
}

#[test]
fn who_says_nothing_is_let_go_and_keeps_nobody_out() {
    let git = RealGit::new();
    let server =
        serve(&git, "[limits]\nheader_timeout_ms = 300\nidle_timeout_ms = 300\nrequests_max = 4\n");
    let authority = server.git_authority();
    let before = server.open_files();
    let connect = || TcpStream::connect(&authority).expect("it listens");
    let mut silent: Vec<TcpStream> = (0..40).map(|_| connect()).collect();
    for (number, stream) in silent.iter_mut().enumerate() {
        use std::io::Write as _;
        // Some of them begin.
        let head = git_head("upload-pack", "r.git");
        stream.write_all(&head.as_bytes()[..number % 30]).expect("sent");
    }
    git.ok(git.root(), &["ls-remote", &server.git_url("r.git")]);
    for stream in &mut silent {
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty());
    }
    // Who falls silent in the middle, too.
    let mut stream = connect();
    {
        use std::io::Write as _;
        stream.write_all(git_head("upload-pack", "r.git").as_bytes()).expect("sent");
    }
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.is_empty());
    drop((silent, stream));
    wait_until("all are gone", || server.open_files() <= before);
}

#[test]
fn a_server_that_stops_lets_requests_end() {
    let git = RealGit::new();
    let mut server = serve(&git, "[limits]\ndrain_timeout_ms = 60000\n");
    let mut stream = TcpStream::connect(server.git_authority()).expect("it listens");
    {
        use std::io::Write as _;
        stream.write_all(git_head("upload-pack", "r.git").as_bytes()).expect("sent");
    }
    let mut first = [0; 4];
    stream.read_exact(&mut first).expect("it has begun");
    server.process().terminate();
    wait_until("nobody else is let in", || TcpStream::connect(server.git_authority()).is_err());
    {
        use std::io::Write as _;
        stream.write_all(b"0000").expect("sent");
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the end of the answer");
    assert!(rest.ends_with(b"0000"));
    assert!(server.process().wait().success());
}
