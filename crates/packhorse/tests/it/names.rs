//! Names that must not get through: of refs, and of repositories.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use testkit::{RealGit, Scenario};

use crate::raw;
use crate::serving::{Serving, files, pack_of};

#[test]
fn ref_names_git_would_not_take() {
    let git = RealGit::new();
    let origin = Scenario::linear(3).build(&git, "srv/a.git");
    let server = Serving::start(&git, git.path("srv"), &[]);
    let tip = git.rev_parse(&origin, "main").to_string();
    let pack = pack_of(&git, &origin, "");
    let before = (files(&origin), server.open_files());
    for name in [
        "refs/heads/../../../escape",
        "refs/heads/a..b",
        "refs/heads/a\x01b",
        "refs/heads/a\x7fb",
        "refs/heads/a b",
        "refs/heads/a~1",
        "refs/heads/a.lock",
        "refs/heads/.a",
        "refs/heads/a//b",
        "refs/heads/a/",
        "refs/heads/@{",
        "HEAD",
        "config",
        "../config",
        "/etc/passwd",
        "refs/",
        "objects/pack/x",
    ] {
        let reply = server.push("a.git", &raw::push_body(name, &tip, &pack));
        let text = reply.text();
        assert!(text.contains("ng ") || text.contains("ERR "), "{name:?}: {text}");
        assert!(!text.contains("\nok "), "{name:?}: {text}");
    }
    server.settle(before.1);
    assert_eq!(files(git.path("srv/a.git")), before.0);
}

#[test]
fn a_ref_cannot_be_a_folder_too() {
    let git = RealGit::new();
    let origin = Scenario::linear(3).build(&git, "srv/a.git");
    let server = Serving::start(&git, git.path("srv"), &[]);
    let work = git.clone(server.url("a.git"), "work", &["--quiet"]);
    git.ok(&work, &["push", "-q", "origin", "HEAD:refs/heads/topic/one", "HEAD:refs/heads/flat"]);
    for packed in [false, true] {
        if packed {
            git.ok(&origin, &["pack-refs", "--all", "--prune"]);
        }
        let before = files(&origin);
        // The server does not have this commit: it must not be kept either.
        git.commit_file(&work, "new", format!("packed: {packed}"));
        for name in ["refs/heads/topic", "refs/heads/topic/one/more", "refs/heads/flat/x"] {
            for atomic in ["--atomic", "--no-atomic"] {
                let words = git.fail(&work, &["push", atomic, "origin", &format!("HEAD:{name}")]);
                assert!(words.contains("remote rejected"), "packed {packed}, {name}: {words}");
                assert!(words.contains(&format!("cannot create '{name}'")), "{words}");
            }
        }
        assert_eq!(files(&origin), before, "packed: {packed}");
    }
    // What goes with the same push makes room.
    git.ok(&work, &["push", "-q", "origin", ":refs/heads/flat", "HEAD:refs/heads/flat/x"]);
    git.fsck_strict(&origin);
}

#[test]
fn urls_do_not_lead_out_of_the_folder() {
    let git = RealGit::new();
    Scenario::linear(1).build(&git, "secret.git");
    Scenario::linear(1).build(&git, "srv/a.git");
    std::fs::write(git.path("secret"), "secret").expect("a file");
    let server = Serving::start(&git, git.path("srv"), &[]);
    for path in [
        "/../secret.git/HEAD",
        "/a.git/../../secret.git/HEAD",
        "/%2e%2e/secret.git/HEAD",
        "/%2E%2E%2Fsecret.git/HEAD",
        "/..%2fsecret.git/HEAD",
        "/..%5csecret.git/HEAD",
        "/..\\secret.git/HEAD",
        "/a.git/..%252f..%252fsecret.git/HEAD",
        "/%c0%ae%c0%ae/secret.git/HEAD",
        "/%00/../secret.git/HEAD",
        "/./a.git/HEAD",
        "//a.git//../secret.git/HEAD",
        "/.../HEAD",
        "/a.git/objects/../../../secret",
        "/a.git/objects/..%2f..%2f..%2fsecret",
        "/a.git/objects/pack/%2e%2e/%2e%2e/config",
        "/a.git/info/../HEAD/HEAD",
        "/../secret.git/info/refs?service=git-upload-pack",
        "/%2e%2e/secret.git/info/refs?service=git-receive-pack",
        "/a.git/.git/HEAD",
        "/%zz/HEAD",
        "/%2/HEAD",
    ] {
        // By hand: no client in between that cleans the path.
        let mut stream = TcpStream::connect(server.authority()).expect("the server listens");
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("the server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server answers");
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(matches!(status, "404" | "400"), "{path}: {answer}");
        assert!(!answer.contains("secret\n") && !answer.contains("refs/heads"), "{path}: {answer}");
    }
    let long = format!("/{}/HEAD", "a/".repeat(2000));
    assert_eq!(server.get(&long, &[]).status, 404);
    let endless = format!("/{}/HEAD", "a".repeat(300_000));
    assert!(matches!(server.get(&endless, &[]).status, 404 | 414 | 431));
}
