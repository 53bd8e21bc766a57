//! What one fetch may cost, and what all of them together may.

use std::fs;

use testkit::{RealGit, Scenario};

use crate::serving::Serving;

/// A server with these limits over a history of 60 commits.
fn limited(git: &RealGit, limits: &str) -> Serving {
    Scenario::linear(60).build(git, "srv/a.git");
    let file = git.path("limits.toml");
    fs::write(&file, format!("[limits]\n{limits}\n")).expect("a file");
    Serving::start(git, git.path("srv"), &["--config", file.to_str().expect("a path in UTF-8")])
}

/// Clones in every version of the protocol; what git says is the same in all.
fn clone_fails_with(limits: &str, words: &str) {
    for protocol in [0, 2] {
        let git = RealGit::new().protocol(protocol);
        let server = limited(&git, limits);
        let url = server.url("a");
        let said = git.fail(git.root(), &["clone", "--bare", &url, "copy.git"]);
        assert!(said.contains(words), "{said}");
        // The server goes on: a smaller request is answered.
        assert!(!git.ok(git.root(), &["ls-remote", &url]).is_empty());
    }
}

#[test]
fn a_fetch_of_too_many_objects_is_refused_in_words() {
    clone_fails_with("fetch_objects_max = 20", "more than 20 objects (limits.fetch_objects_max)");
}

#[test]
fn a_fetch_of_too_many_bytes_is_refused_in_words() {
    clone_fails_with("fetch_bytes_max = 900", "more than 900 bytes (limits.fetch_bytes_max)");
}

#[test]
fn a_fetch_that_takes_too_long_is_refused_in_words() {
    clone_fails_with("fetch_work_ms_max = 0", "more than 0 seconds of work");
}

#[test]
fn a_fetch_that_needs_too_much_memory_is_refused_in_words() {
    clone_fails_with("memory = 100000", "all fetches together may have 100000 (limits.memory)");
}

#[test]
fn what_is_within_the_bounds_is_answered() {
    let git = RealGit::new();
    let server = limited(
        &git,
        "fetch_objects_max = 100\nfetch_bytes_max = 100000\nmemory = 8000000\n\
         concurrent_fetches = 1\nfetch_wait_ms = 1000",
    );
    let options = ["--bare", "--depth=2", "--single-branch"];
    let copy = git.clone(server.url("a"), "copy", &options);
    assert_eq!(git.ok(&copy, &["rev-list", "--count", "HEAD"]), "2");
    git.fsck_strict(&copy);
}
