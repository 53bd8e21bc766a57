//! Fetches and pushes without git, and when git does them all the same.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use testkit::{LineProcess, wait_until};

use super::Scene;

/// A daemon that does what is configured.
fn acting(scene: &Scene, folder: &Path, action: &str) -> LineProcess {
    scene.config(folder, "remote.origin.daemon", action);
    let mut daemon = scene.foreground(folder, &["--act"]);
    daemon.expect("it listens", |line| line.contains(" connected to "));
    daemon
}

fn hook(folder: &Path, name: &str, text: &str) {
    let path = folder.join("hooks").join(name);
    fs::create_dir_all(folder.join("hooks")).expect("a folder");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("allowed");
}

#[test]
fn refs_and_their_tags_are_fetched_by_every_road() {
    let scene = Scene::new();
    let (git, work) = (&scene.git, &scene.work);
    let local = scene.served.to_str().expect("UTF-8").to_owned();
    for (number, url) in scene.urls().into_iter().enumerate() {
        let away = git.clone(&url, format!("away-{number}"), &["-q"]);
        let mut daemon = acting(&scene, &away, "fetch");
        let known = |words: &str| words == format!("STATUS origin fetched (client, {url})");
        // A tag of what comes, one of what was there, one that is only a name, and one of what nobody fetches.
        let tag = |name: &str| format!("{name}-{number}");
        git.ok(work, &["tag", "-a", "-m", "old", &tag("old"), "HEAD"]);
        git.commit_file(work, "file", format!("new {number}"));
        git.ok(work, &["tag", "-a", "-m", "new", &tag("new"), "HEAD"]);
        git.ok(work, &["tag", &tag("light"), "HEAD"]);
        // Nobody listens to tags: they come with branches.
        git.ok(work, &["push", "-q", "origin", "--tags"]);
        git.ok(work, &["push", "-q", "-f", "origin", "HEAD:refs/heads/main"]);
        daemon.expect("it is fetched", known);
        for name in ["old", "new", "light"] {
            let name = format!("refs/tags/{}", tag(name));
            assert_eq!(scene.at(&away, &name), scene.at(work, &name), "{name}");
        }
        // Another history, and a branch more.
        git.ok(work, &["checkout", "-q", "--orphan", &tag("orphan")]);
        git.commit_file(work, "file", format!("forced {number}"));
        git.ok(work, &["push", "-q", "-f", "origin", "HEAD:refs/heads/more", "HEAD:main"]);
        daemon.expect("it is fetched", known);
        let head = scene.at(work, "HEAD");
        wait_until("it is here", || scene.at(&away, "origin/main") == head);
        wait_until("so is the other", || scene.at(&away, "origin/more") == head);
        git.fsck_strict(&away);
        let reflog = git.ok(&away, &["reflog", "-2", "--format=%gs", "origin/main"]);
        assert_eq!(reflog, "fetch origin: forced-update\nfetch origin: fast-forward");
        drop(daemon);
        git.ok(work, &["push", "-q", "origin", ":refs/heads/more"]);
    }
    assert!(scene.at(&scene.away, "origin/more").is_none());
    let away = git.clone(&local, "away-local", &["-q"]);
    let mut daemon = acting(&scene, &away, "fetch");
    let two = scene.push("main", "two");
    daemon.expect_start("STATUS origin fetched (client, ");
    assert_eq!(scene.at(&away, "origin/main"), Some(two));
}

#[test]
fn commits_are_not_lost_without_a_plus() {
    let scene = Scene::new();
    let (git, away) = (&scene.git, &scene.away);
    scene.config(away, "remote.origin.fetch", "refs/heads/*:refs/remotes/origin/*");
    let two = scene.push("main", "two");
    git.ok(away, &["fetch", "-q"]);
    let mut daemon = acting(&scene, away, "fetch");
    git.ok(&scene.work, &["checkout", "-q", "--orphan", "another"]);
    git.commit_file(&scene.work, "file", "another history");
    git.ok(&scene.work, &["push", "-q", "--atomic", "-f", "origin", "HEAD:main", "HEAD:more"]);
    let line = daemon.expect("it is fetched", |line| line.contains(" fetched "));
    let rejected = "refs/remotes/origin/main: [rejected] (non-fast-forward)";
    assert!(line.starts_with("STATUS origin fetched (client, "), "{line}");
    assert!(line.ends_with(&format!("; {rejected}")), "{line}");
    assert_eq!(scene.at(away, "origin/main"), Some(two));
    assert_eq!(scene.at(away, "origin/more"), scene.at(&scene.work, "HEAD"));
    // As git does.
    let fetched = git.run(away, &["fetch", "--dry-run"]);
    assert!(fetched.error_text().contains("(non-fast-forward)"), "{}", fetched.error_text());
    assert!(!fetched.status.success());
}

#[test]
fn what_git_alone_knows_is_git_s() {
    let scene = Scene::new();
    let away = &scene.away;
    let expect = |branch: &str, why: &str| {
        let mut daemon = acting(&scene, away, "fetch");
        let id = scene.push(branch, why);
        let line = daemon.expect("it is fetched", |line| line.starts_with("STATUS origin fetched"));
        assert_eq!(line, format!("STATUS origin fetched (git: {why})"));
        assert_eq!(scene.at(away, &format!("origin/{branch}")), Some(id));
    };
    scene.config(away, "fetch.prune", "true");
    expect("pruned", "fetch.prune is set");
    scene.git.ok(away, &["config", "--unset", "fetch.prune"]);
    scene.config(away, "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*");
    scene.git.ok(away, &["config", "--add", "remote.origin.fetch", "+refs/notes/*:refs/notes/*"]);
    expect("noted", "remote.NAME.fetch is not the usual one");
    scene.git.ok(away, &["config", "--unset", "remote.origin.fetch", "notes"]);
    hook(&away.join(".git"), "reference-transaction", "exit 0");
    expect("hooked", "there is a hook 'reference-transaction'");
    fs::remove_file(away.join(".git/hooks/reference-transaction")).expect("removed");
    fs::write(away.join(".gitmodules"), "").expect("a file");
    expect("modules", "there are submodules");
}

#[test]
fn branches_that_are_ahead_are_pushed_without_git() {
    let scene = Scene::new();
    let git = &scene.git;
    for (number, url) in scene.urls().into_iter().enumerate() {
        let away = git.clone(&url, format!("away-{number}"), &["-q", "-b", "main"]);
        let mut daemon = acting(&scene, &away, "push");
        git.commit_file(&away, "file", format!("from {number}"));
        let line = daemon.expect("it is pushed", |line| line.starts_with("STATUS origin pushed"));
        assert_eq!(line, format!("STATUS origin pushed main (client, {url})"));
        let head = scene.at(&away, "HEAD");
        assert_eq!(scene.at(&scene.served, "main"), head);
        assert_eq!(scene.at(&away, "origin/main"), head);
        let reflog = git.ok(&away, &["reflog", "-1", "--format=%gs", "origin/main"]);
        assert_eq!(reflog, "update by push");
        git.fsck_strict(&scene.served);
        // A server that does not want it.
        hook(&scene.served, "update", "echo no >&2; exit 1");
        git.commit_file(&away, "file", "unwanted");
        let line = daemon.expect("it is refused", |line| line.contains("not pushed"));
        assert_eq!(line, "STATUS origin not pushed: main: [remote rejected] (hook declined)");
        fs::remove_file(scene.served.join("hooks/update")).expect("removed");
        drop(daemon);
        // Somebody was faster, of which nothing is known here.
        let away = git.clone(&url, format!("late-{number}"), &["-q", "-b", "main"]);
        let faster = git.clone(&url, format!("fast-{number}"), &["-q", "-b", "main"]);
        git.commit_file(&faster, "file", "faster");
        git.ok(&faster, &["push", "-q"]);
        git.commit_file(&away, "file", "late");
        scene.config(&away, "remote.origin.daemon", "push");
        let mut daemon = scene.foreground(&away, &["--act"]);
        let line = daemon.expect("it is refused", |line| line.contains("not pushed"));
        assert_eq!(line, "STATUS origin not pushed: main: [rejected] (fetch first)");
        assert_eq!(scene.at(&scene.served, "main"), scene.at(&faster, "HEAD"));
    }
    // A hook of git's has a say.
    let away = git.clone(scene.server.url("r.git"), "hooked", &["-q", "-b", "main"]);
    hook(&away.join(".git"), "pre-push", "exit 0");
    let mut daemon = acting(&scene, &away, "push");
    git.commit_file(&away, "file", "hooked");
    let line = daemon.expect("it is pushed", |line| line.starts_with("STATUS origin pushed"));
    assert_eq!(line, "STATUS origin pushed main (git: there is a hook 'pre-push')");
}
