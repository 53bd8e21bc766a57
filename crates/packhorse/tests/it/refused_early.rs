//! Big pushes that are refused before all of them is read: git still shows why.

use std::path::PathBuf;

use testkit::{RealGit, Scenario};

use crate::raw;
use crate::serving::{Serving, files};

const BIG: usize = 50 << 20;

fn big_push_to(setting: &[&str], options: &[&str]) -> (RealGit, PathBuf, PathBuf, Serving) {
    let git = RealGit::new();
    let source = Scenario::big_blob(BIG).build(&git, "source.git");
    let origin = git.init_bare("srv/a.git");
    if !setting.is_empty() {
        git.ok(&origin, &[&["config"], setting].concat());
    }
    let server = Serving::start(&git, git.path("srv"), options);
    (git, source, origin, server)
}

fn push_fails(setting: &[&str], options: &[&str], refspec: &str, words: &str) {
    let (git, source, origin, server) = big_push_to(setting, options);
    let before = (files(&origin), server.open_files());
    let said = git.fail(&source, &["push", &server.url("a.git"), refspec]);
    assert!(said.contains(words), "{setting:?}: {said}");
    for broken in ["RPC failed", "hung up", "Broken pipe", "unexpected disconnect"] {
        assert!(!said.contains(broken), "{setting:?}: {said}");
    }
    server.settle(before.1);
    assert_eq!(files(&origin), before.0);
}

#[test]
fn by_a_read_only_server() {
    push_fails(&[], &["--read-only"], "main", "read-only");
}

#[test]
fn to_a_hidden_ref() {
    push_fails(&["transfer.hideRefs", "refs/secret"], &[], "main:refs/secret/x", "hidden ref");
}

#[test]
fn because_it_is_too_large() {
    push_fails(&["receive.maxInputSize", "1m"], &[], "main", "maximum allowed size");
}

#[test]
fn because_of_an_unknown_method_or_type() {
    let (_git, _source, _origin, server) = big_push_to(&[], &[]);
    let body = vec![b'x'; 8 << 20];
    let head = raw::head("POST", "/a.git/git-receive-pack", &[], Some(body.len()));
    assert_eq!(raw::send(server.authority(), &head, &body).status, 415);
    let head = raw::head("PUT", "/a.git/git-receive-pack", &[], Some(body.len()));
    assert_eq!(raw::send(server.authority(), &head, &body).status, 405);
    let reply = server.push("none.git", &body);
    assert_eq!(reply.status, 404);
    let reply = server.push("a.git", &body);
    assert!(reply.text().contains("ERR "), "{}", reply.text());
}

#[test]
fn a_client_that_never_ends_is_cut_off() {
    let git = RealGit::new();
    git.init_bare("srv/a.git");
    let file = git.path("packhorse.toml");
    std::fs::write(&file, "[limits]\ndiscarded_bytes_max = 65536\n").expect("a file");
    let options = ["--config", file.to_str().expect("UTF-8")];
    let server = Serving::start(&git, git.path("srv"), &options);
    let before = server.open_files();
    let head = raw::head("POST", "/a.git/git-receive-pack", &[], Some(1 << 40));
    let endless = [head.into_bytes(), vec![b'x'; 64 << 20]].concat();
    let mut stream = std::net::TcpStream::connect(server.authority()).expect("the server listens");
    let sent = std::io::Write::write_all(&mut stream, &endless);
    assert!(sent.is_err(), "the server closes the connection before it took everything");
    drop(stream);
    server.settle(before);
}
