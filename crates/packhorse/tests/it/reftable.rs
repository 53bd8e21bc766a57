//! Repositories that keep their refs in reftables are served as any other.

use std::path::{Path, PathBuf};

use testkit::{RealGit, Scenario};

use crate::serving::{Serving, packhorse};

fn made(git: &RealGit, name: &str) -> PathBuf {
    let path = git.path("repos").join(name);
    let text = path.to_str().expect("text").to_owned();
    git.ok(git.root(), &["init", "-q", "--bare", "-b", "main", "--ref-format=reftable", &text]);
    path
}

fn serve(git: &RealGit) -> Serving {
    let mut command = packhorse(git);
    command.args(["serve", "--listen", "127.0.0.1:0"]).arg(git.path("repos"));
    Serving::spawn(git, command)
}

fn assert_whole(git: &RealGit, dir: &Path) {
    git.fsck_strict(dir);
    git.ok(dir, &["refs", "verify", "--strict"]);
}

#[test]
fn reftables_are_served_and_written() {
    let git = RealGit::new();
    let origin = Scenario::realistic(300, 71).build(&git, "origin.git");
    let stored = made(&git, "project.git");
    let server = serve(&git);
    let url = server.url("project.git");
    git.ok(&origin, &["push", "-q", "--mirror", &url]);
    assert_whole(&git, &stored);
    assert_eq!(git.refs(&origin), git.refs(&stored));
    let peeled = ["for-each-ref", "--format=%(refname) %(*objectname)"];
    assert_eq!(git.ok(&origin, &peeled), git.ok(&stored, &peeled));

    let mirror = git.clone(&url, "mirror.git", &["--mirror", "--quiet"]);
    assert_eq!(git.refs(&origin), git.refs(&mirror));
    let work = git.clone(&url, "work", &["--quiet"]);
    for number in 0..12 {
        git.commit_file(&work, "file.txt", format!("{number}\n"));
        git.ok(&work, &["push", "-q", "origin", "HEAD", &format!("HEAD:refs/heads/b/{number}")]);
    }
    git.ok(&work, &["commit", "-q", "--amend", "-m", "another"]);
    git.fail(&work, &["push", "-q", "origin", "HEAD"]);
    git.ok(&work, &["push", "-q", "--force", "origin", "HEAD"]);
    git.ok(&work, &["push", "-q", "origin", ":b/3", ":b/4"]);
    let told = git.fail(&work, &["push", "origin", "HEAD:refs/heads/b"]);
    assert!(told.contains("refs/heads/b"), "{told}");
    // git writes beside the server, and each sees the other's refs at once.
    git.ok(&stored, &["update-ref", "refs/heads/by-git", "refs/heads/b/1"]);
    let seen = git.ok(&work, &["ls-remote", "origin", "refs/heads/by-git"]);
    assert!(seen.contains("refs/heads/by-git"), "{seen}");
    git.ok(&work, &["push", "-q", "origin", ":by-git"]);
    assert_whole(&git, &stored);
    let last = git.clone(&url, "last.git", &["--mirror", "--quiet"]);
    assert_eq!(git.refs(&stored), git.refs(&last));
}

#[test]
fn reftables_are_maintained_and_copied() {
    let git = RealGit::new();
    let origin = Scenario::realistic(150, 72).build(&git, "origin.git");
    let stored = made(&git, "project.git");
    git.ok(&origin, &["push", "-q", "--mirror", stored.to_str().expect("text")]);
    let run = |args: &[&str]| {
        let mut command = packhorse(&git);
        let output = command.args(args).current_dir(git.root()).output().expect("it starts");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {told}");
    };
    let before = git.refs(&stored);
    run(&["maintain", "--full", "repos/project.git"]);
    assert_eq!(git.refs(&stored), before);
    assert_whole(&git, &stored);
    // Into the other format and back: what annotated tags lead to goes along.
    run(&["repo", "copy", "origin.git", "kv:repos.kv#one"]);
    run(&["repo", "copy", "--update", "kv:repos.kv#one", "repos/project.git"]);
    assert_eq!(git.refs(&stored), git.refs(&origin));
    let again = made(&git, "again.git");
    run(&["repo", "copy", "kv:repos.kv#one", "repos/again.git"]);
    let peeled = ["for-each-ref", "--format=%(refname) %(*objectname)"];
    assert_eq!(git.ok(&origin, &peeled), git.ok(&again, &peeled));
    assert_whole(&git, &again);
    // Out of reftables into a folder: the copy keeps its refs as files and does not say otherwise.
    run(&["repo", "copy", "repos/again.git", "files.git"]);
    let files = git.path("files.git");
    git.fsck_strict(&files);
    assert_eq!(git.refs(&files), git.refs(&again));
    assert_eq!(git.ok(&files, &["rev-parse", "--show-ref-format"]).trim(), "files");
}
