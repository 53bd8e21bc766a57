//! Clones and fetches over HTTP.

use testkit::{RealGit, Scenario};

use crate::serving::Serving;

const NONE: &[&str] = &[];

#[test]
fn every_protocol_clones_and_fetches() {
    for protocol in [0, 1, 2] {
        let git = RealGit::new().protocol(protocol);
        let origin = Scenario::branchy(40).build(&git, "srv/team/project.git");
        let server = Serving::start(&git, git.path("srv"), &[]);
        let clone = git.clone(server.url("team/project"), "clone", &["--mirror"]);
        assert_eq!(git.refs(&clone), git.refs(&origin), "protocol {protocol}");
        git.fsck_strict(&clone);

        let work = git.clone(&origin, "work", NONE);
        git.commit_file(&work, "new.txt", "new\n");
        git.ok(&work, &["push", "-q", "origin", "HEAD"]);
        git.ok(&clone, &["fetch", "-q"]);
        assert_eq!(git.reachable(&clone), git.reachable(&origin), "protocol {protocol}");
    }
}

#[test]
fn shallow_clones_grow() {
    for protocol in [0, 2] {
        let git = RealGit::new().protocol(protocol);
        let origin = Scenario::linear(30).build(&git, "srv/a.git");
        let server = Serving::start(&git, git.path("srv"), &[]);
        let clone = git.clone(server.url("a.git"), "clone", &["--bare", "--depth=3"]);
        let count = |clone| git.ok(clone, &["rev-list", "--count", "HEAD"]);
        assert_eq!(count(&clone), "3");
        git.ok(&clone, &["fetch", "-q", "--deepen=4", "origin", "HEAD"]);
        assert_eq!(count(&clone), "7");
        git.ok(&clone, &["fetch", "-q", "--unshallow", "origin", "HEAD"]);
        assert_eq!(count(&clone), git.ok(&origin, &["rev-list", "--count", "HEAD"]));
        git.fsck_strict(&clone);
    }
}

#[test]
fn partial_clones_fetch_what_they_need() {
    let git = RealGit::new();
    let origin = Scenario::linear(60).build(&git, "srv/a.git");
    git.ok(&origin, &["config", "uploadpack.allowFilter", "true"]);
    let server = Serving::start(&git, git.path("srv"), &[]);
    let clone = git.clone(server.url("a.git"), "clone", &["--filter=blob:none"]);
    let missing = git.ok(&clone, &["rev-list", "--objects", "--missing=print", "--all"]);
    assert!(missing.contains('?'), "the old blobs were left out: {missing}");
    git.ok(&clone, &["log", "-p", "--all", "--output=/dev/null"]);
    git.fsck_strict(&clone);
}

#[test]
fn many_haves_are_sent_compressed() {
    let git = RealGit::new().env("GIT_TRACE_CURL", "1");
    let origin = Scenario::linear(50).build(&git, "srv/a.git");
    let server = Serving::start(&git, git.path("srv"), &[]);
    // A history of its own whose commits the server does not know: all of them are offered.
    let clone = Scenario::octopus(1200).build(&git, "own.git");
    let url = server.url("a.git");
    let trace = git.run(&clone, &["fetch", "-q", &url, "main:got"]);
    let trace = trace.error_text();
    assert!(trace.contains("Content-Encoding: gzip"), "git compressed a request");
    assert_eq!(git.rev_parse(&clone, "got"), git.rev_parse(&origin, "main"));
    git.fsck_strict(&clone);
}

#[test]
fn sha256_repositories_are_served() {
    let git = RealGit::new();
    let origin = Scenario::tags_of_tags(3).sha256().build(&git, "srv/a.git");
    let server = Serving::start(&git, git.path("srv"), &[]);
    let clone = git.clone(server.url("a"), "clone", &["--mirror"]);
    assert_eq!(git.refs(&clone), git.refs(&origin));
    git.fsck_strict(&clone);
}

#[test]
fn an_empty_repository_is_cloned() {
    let git = RealGit::new();
    git.init_bare("srv/empty.git");
    let server = Serving::start(&git, git.path("srv"), &[]);
    let clone = git.clone(server.url("empty"), "clone", NONE);
    assert_eq!(git.ok(&clone, &["symbolic-ref", "HEAD"]), "refs/heads/main");
}
