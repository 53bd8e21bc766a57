//! The whole circle on one repository: everything a clone can become, and every kind of push,
//! with `git fsck` after each step.
//!
//! Runs on a generated history; `PACKHORSE_CIRCLE_REPO` names a real repository instead.

use std::path::{Path, PathBuf};

use testkit::{RealGit, Scenario};

use crate::serving::Serving;

/// A bare copy of the repository that the circle is run on.
fn origin(git: &RealGit) -> PathBuf {
    let origin = match std::env::var_os("PACKHORSE_CIRCLE_REPO") {
        Some(real) => git.clone(real, "srv/origin.git", &["--bare", "--no-local"]),
        None => Scenario::realistic(1500, 3).build(git, "srv/origin.git"),
    };
    git.ok(&origin, &["config", "uploadpack.allowFilter", "true"]);
    origin
}

/// Real histories hold objects that today's strict checks refuse: damage is what counts.
fn fsck(git: &RealGit, dir: &Path) {
    git.ok(dir, &["fsck", "--connectivity-only", "--no-dangling"]);
}

fn commits(git: &RealGit, dir: &Path) -> usize {
    git.ok(dir, &["rev-list", "--count", "HEAD"]).parse().expect("a number")
}

#[test]
fn fetches_of_every_kind() {
    let git = RealGit::new();
    let origin = origin(&git);
    let server = Serving::start(&git, git.path("srv"), &[]);
    let url = server.url("origin.git");
    let whole = commits(&git, &origin);

    let mirror = git.clone(&url, "mirror.git", &["--mirror"]);
    assert_eq!(git.refs(&mirror), git.refs(&origin));
    fsck(&git, &mirror);

    let shallow = git.clone(&url, "shallow", &["--depth=2"]);
    fsck(&git, &shallow);
    let before = commits(&git, &shallow);
    git.ok(&shallow, &["fetch", "-q", "--deepen=3"]);
    fsck(&git, &shallow);
    assert!(before < commits(&git, &shallow) && commits(&git, &shallow) <= whole);
    git.ok(&shallow, &["fetch", "-q", "--unshallow"]);
    fsck(&git, &shallow);
    assert_eq!(commits(&git, &shallow), whole);

    for filter in ["blob:none", "tree:0"] {
        // The checkout fetches what the filter left out.
        let option = format!("--filter={filter}");
        let partial = git.clone(&url, format!("partial-{}", &filter[..4]), &[option.as_str()]);
        assert_eq!(git.ok(&partial, &["status", "--porcelain"]), "");
        fsck(&git, &partial);
    }

    let old = git.rev_parse(&origin, "HEAD~4");
    let behind = git.init_bare("behind.git");
    git.ok(&behind, &["fetch", "-q", &url, &format!("{old}:refs/heads/here")]);
    git.ok(&behind, &["fetch", "-q", &url, "+HEAD:refs/heads/here"]);
    assert_eq!(git.rev_parse(&behind, "here"), git.rev_parse(&origin, "HEAD"));
    fsck(&git, &behind);
}

#[test]
fn pushes_of_every_kind() {
    let git = RealGit::new();
    let origin = origin(&git);
    let server = Serving::start(&git, git.path("srv"), &["--create-on-push"]);
    let url = server.url("new.git");

    git.ok(&origin, &["push", "-q", "--mirror", &url]);
    let new = git.path("srv/new.git");
    assert_eq!(git.refs(&new), git.refs(&origin));
    fsck(&git, &new);

    let work = git.clone(server.url("origin.git"), "work", &["--depth=20"]);
    git.ok(&work, &["fetch", "-q", "--unshallow"]);
    git.ok(&work, &["remote", "set-url", "origin", &url]);
    let branch = git.ok(&work, &["rev-parse", "--abbrev-ref", "HEAD"]);
    let one = git.commit_file(&work, "circle.txt", "one\n");
    git.ok(&work, &["push", "-q", "origin", "HEAD"]);
    assert_eq!(git.rev_parse(&new, &branch), one);

    git.ok(&work, &["commit", "-q", "--amend", "-m", "another"]);
    git.fail(&work, &["push", "-q", "origin", "HEAD"]);
    assert_eq!(git.rev_parse(&new, &branch), one);
    git.ok(&work, &["push", "-q", "--force", "origin", "HEAD"]);
    assert_eq!(git.rev_parse(&new, &branch), git.rev_parse(&work, "HEAD"));

    git.ok(&work, &["push", "-q", "origin", "HEAD:refs/heads/gone"]);
    git.ok(&work, &["push", "-q", "origin", ":gone"]);
    git.fail(&new, &["rev-parse", "--verify", "-q", "refs/heads/gone"]);

    let lines: String = (0..1000).map(|at| format!("create refs/heads/many/{at} HEAD\n")).collect();
    git.ok_with_input(&work, &["update-ref", "--stdin"], lines.as_bytes());
    let all = "refs/heads/many/*:refs/heads/many/*";
    git.ok(&work, &["push", "-q", "--atomic", "origin", all]);
    let many = git.ok(&new, &["for-each-ref", "refs/heads/many"]);
    assert_eq!(many.lines().count(), 1000);
    fsck(&git, &new);
}
