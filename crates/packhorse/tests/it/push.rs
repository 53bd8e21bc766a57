//! Pushes over HTTP: who may, to what, and what comes of it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use testkit::{RealGit, Scenario};

use crate::raw;
use crate::serving::{Serving, files, packhorse};

const NONE: &[&str] = &[];

#[test]
fn every_protocol_pushes_forces_and_deletes() {
    for protocol in [0, 1, 2] {
        let git = RealGit::new().protocol(protocol);
        let origin = git.init_bare("srv/a.git");
        let server = Serving::start(&git, git.path("srv"), &[]);
        let source = Scenario::branchy(30).build(&git, "source.git");
        let url = server.url("a.git");
        git.ok(&source, &["push", "-q", "--mirror", &url]);
        assert_eq!(git.refs(&origin), git.refs(&source), "protocol {protocol}");
        git.fsck_strict(&origin);

        let work = git.clone(&url, "work", NONE);
        let tip = git.commit_file(&work, "one.txt", "one\n");
        git.ok(&work, &["push", "-q", "origin", "HEAD:main"]);
        assert_eq!(git.rev_parse(&origin, "main"), tip);
        git.ok(&work, &["commit", "-q", "--amend", "-m", "Another"]);
        let words = git.fail(&work, &["push", "origin", "HEAD:main"]);
        assert!(words.contains("rejected"), "{words}");
        git.ok(&work, &["push", "-q", "--force", "origin", "HEAD:main", "HEAD:gone"]);
        git.ok(&work, &["push", "-q", "origin", ":gone"]);
        assert_eq!(git.rev_parse(&origin, "main"), git.rev_parse(&work, "HEAD"));
        assert!(!git.refs(&origin).contains("gone"));
        git.fsck_strict(&origin);
    }
}

#[test]
fn atomic_pushes_move_all_refs_or_none() {
    let git = RealGit::new();
    let origin = Scenario::linear(3).build(&git, "srv/a.git");
    let server = Serving::start(&git, git.path("srv"), &[]);
    let work = git.clone(server.url("a.git"), "work", NONE);
    git.commit_file(&work, "one.txt", "one\n");
    let mut lines = String::new();
    for number in 0..1000 {
        lines.push_str(&format!("create refs/heads/many/{number} HEAD\n"));
    }
    git.ok_with_input(&work, &["update-ref", "--stdin"], lines.as_bytes());
    git.ok(&work, &["push", "-q", "--atomic", "origin", "refs/heads/many/*"]);
    assert_eq!(git.refs(&origin).lines().filter(|line| line.contains("/many/")).count(), 1000);

    let before = git.refs(&origin);
    git.ok(&work, &["commit", "-q", "--amend", "-m", "Another"]);
    // One of the two is no fast-forward, and the server forbids those.
    git.ok(&origin, &["config", "receive.denyNonFastForwards", "true"]);
    let refs = ["push", "--atomic", "origin", "+HEAD:refs/heads/many/1", "HEAD:refs/heads/new"];
    let words = git.fail(&work, &refs);
    assert!(words.contains("atomic"), "{words}");
    assert_eq!(git.refs(&origin), before);
    git.fsck_strict(&origin);
}

#[test]
fn small_post_buffers_push_in_chunks() {
    let git = RealGit::new();
    let origin = git.init_bare("srv/a.git");
    let server = Serving::start(&git, git.path("srv"), &[]);
    let source = Scenario::big_blob(3 << 20).build(&git, "source.git");
    let url = server.url("a.git");
    git.ok(&source, &["-c", "http.postBuffer=1024", "push", "-q", &url, "main"]);
    assert_eq!(git.reachable(&origin), git.reachable(&source));
    git.fsck_strict(&origin);
}

#[test]
fn pushing_to_a_new_name_makes_a_repository_when_asked_to() {
    let git = RealGit::new();
    let source = Scenario::linear(3).build(&git, "source.git");
    std::fs::create_dir(git.path("srv")).expect("a folder");
    let refuses = Serving::start(&git, git.path("srv"), &[]);
    let words = git.fail(&source, &["push", &refuses.url("team/new"), "main"]);
    assert!(words.contains("not found"), "{words}");
    drop(refuses);

    let server = Serving::start(&git, git.path("srv"), &["--create-on-push"]);
    let looked = server.get("/team/new/info/refs?service=git-receive-pack", &[]);
    assert_eq!(looked.status, 200, "{}", looked.text());
    assert!(!git.path("srv/team").exists(), "looking makes nothing");
    git.ok(&source, &["push", "-q", &server.url("team/new"), "main"]);
    let made = git.path("srv/team/new.git");
    assert_eq!(git.reachable(&made), git.reachable(&source));
    git.fsck_strict(&made);
    let clone = git.clone(server.url("team/new.git"), "clone", NONE);
    assert_eq!(git.rev_parse(clone, "HEAD"), git.rev_parse(&source, "main"));

    let before = files(git.path("srv"));
    for name in ["../out", "team/new.git/inner", "team/new/objects/inner", ".hidden", "a%00b"] {
        let reply = server.push(name, b"0000");
        assert_eq!(reply.status, 404, "{name}: {}", reply.text());
    }
    std::os::unix::fs::symlink(git.root(), git.path("srv/link")).expect("a link");
    assert_eq!(server.push("link/outside", b"0000").status, 404);
    std::fs::remove_file(git.path("srv/link")).expect("remove the link");
    assert_eq!(files(git.path("srv")), before);
    assert!(!git.path("outside.git").exists());
}

#[test]
fn pushes_are_refused_in_words_where_they_are_off() {
    let git = RealGit::new();
    let origin = Scenario::linear(3).build(&git, "srv/a.git");
    let work = git.clone(&origin, "work", NONE);
    git.commit_file(&work, "one.txt", "one\n");
    let before = files(&origin);

    let server = Serving::start(&git, git.path("srv"), &["--read-only"]);
    let words = git.fail(&work, &["push", &server.url("a.git"), "HEAD:main"]);
    assert!(words.contains("this server is read-only"), "{words}");
    drop(server);

    // Later options win over the harness' own address.
    let everywhere = |more: &[&str]| {
        let mut command = packhorse(&git);
        command.arg("serve").arg(git.path("srv")).args(["--listen", "0.0.0.0:0"]).args(more);
        Serving::spawn(&git, command)
    };
    let mut server = everywhere(&[]);
    let words = git.fail(&work, &["push", &server.url("a.git"), "HEAD:main"]);
    assert!(words.contains("--allow-anonymous-push"), "{words}");
    let printed = server.process().printed();
    git.clone(server.url("a.git"), "clone", NONE);
    drop(server);
    assert!(printed.contains("0.0.0.0"), "{printed}");
    assert_eq!(files(&origin), before);

    let server = everywhere(&["--allow-anonymous-push"]);
    git.ok(&work, &["push", "-q", &server.url("a.git"), "HEAD:main"]);
    drop(server);

    git.ok(&origin, &["config", "http.uploadpack", "false"]);
    let server = Serving::start(&git, git.path("srv"), &[]);
    git.ok(&work, &["push", "-q", &server.url("a.git"), "HEAD:third"]);
    let words = git.fail(&work, &["fetch", &server.url("a.git")]);
    assert!(words.contains("http.uploadpack"), "{words}");
    drop(server);

    git.ok(&origin, &["config", "http.receivepack", "false"]);
    let server = Serving::start(&git, git.path("srv"), &[]);
    let words = git.fail(&work, &["push", &server.url("a.git"), "HEAD:other"]);
    assert!(words.contains("http.receivepack"), "{words}");
}

#[test]
fn web_pages_do_not_push() {
    let git = RealGit::new();
    git.init_bare("srv/a.git");
    let server = Serving::start(&git, git.path("srv"), &[]);
    let origin = [("Origin", "http://evil.example")];
    let reply = server.post("a.git", "git-receive-pack", &origin, b"0000");
    assert_eq!(reply.status, 403, "{}", reply.text());
    let type_of_forms = raw::head("POST", "/a.git/git-receive-pack", &[], Some(4));
    assert_eq!(raw::send(server.authority(), &type_of_forms, b"0000").status, 415);
}

/// A served repository with a pre-receive hook, and a clone with a commit to push.
fn hooked(script: &str, options: &[&str]) -> (RealGit, PathBuf, Serving, PathBuf) {
    let git = RealGit::new();
    let origin = Scenario::linear(2).build(&git, "srv/a.git");
    let hook = origin.join("hooks/pre-receive");
    std::fs::create_dir_all(origin.join("hooks")).expect("a folder");
    std::fs::write(&hook, format!("#!/bin/sh\n{script}\n")).expect("a hook");
    std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).expect("executable");
    let server = Serving::start(&git, git.path("srv"), options);
    let work = git.clone(server.url("a.git"), "work", NONE);
    git.commit_file(&work, "one.txt", "one\n");
    (git, origin, server, work)
}

#[test]
fn hooks_run_and_speak_over_http() {
    let (git, origin, _server, work) = hooked("echo not on a Friday\nexit 1", &[]);
    let before = files(&origin);
    let words = git.fail(&work, &["push", "origin", "HEAD:main"]);
    assert!(words.contains("remote: not on a Friday"), "{words}");
    assert!(words.contains("pre-receive hook declined"), "{words}");
    assert_eq!(files(&origin), before);
}

#[test]
fn what_a_hook_says_is_heard_while_it_runs() {
    let script = "echo waiting for you\nfor i in $(seq 2000); do\ntest -e go && break\nsleep 0.05\ndone\necho went on";
    let (git, origin, _server, work) = hooked(script, &[]);
    let mut push = git.command(&work);
    push.args(["push", "origin", "HEAD:main"]).stderr(Stdio::piped());
    let mut push = push.spawn().expect("git runs");
    let mut lines = BufReader::new(push.stderr.take().expect("a pipe")).lines();
    let mut hears = |words: &str| {
        let heard = lines.any(|line| line.expect("UTF-8").contains(words));
        assert!(heard, "never said: {words}");
    };
    hears("remote: waiting for you");
    std::fs::write(origin.join("go"), "").expect("a file");
    hears("remote: went on");
    lines.for_each(drop);
    push.wait().expect("git ends");
    assert_eq!(git.rev_parse(&origin, "main"), git.rev_parse(&work, "HEAD"));
}

#[test]
fn a_hook_has_as_long_as_the_configuration_says() {
    let git = RealGit::new();
    let file = git.path("limits.toml");
    std::fs::write(&file, "[limits]\nhook_timeout_ms = 200\n").expect("a file");
    let options = ["--config", file.to_str().expect("a path in UTF-8")];
    let (git, _, _server, work) = hooked("sleep 1000", &options);
    let words = git.fail(&work, &["push", "origin", "HEAD:main"]);
    assert!(words.contains("the pre-receive hook was killed after 200 ms"), "{words}");
}
