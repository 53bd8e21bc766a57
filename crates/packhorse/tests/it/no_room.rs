//! Disks that are full, cannot be written, or let no file grow.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{RealGit, Scenario};

use crate::serving::{Serving, files, packhorse};

/// `unshare` with a mount namespace of its own.
pub const INSIDE: [&str; 2] = ["--map-root-user", "--mount"];

/// Whether this machine lets us mount something there; says so where it does not.
pub fn may_mount() -> bool {
    let mount = ["mount", "-t", "tmpfs", "none", "/mnt"];
    let allowed = Command::new("unshare").args(INSIDE).args(mount).output();
    let allowed = allowed.is_ok_and(|output| output.status.success());
    if !allowed {
        println!("skipped: this user may not mount anything in a namespace of its own");
    }
    allowed
}

/// A server in a mount namespace of its own, after a shell prepared the folder `srv` for it.
/// `None`, and said so, where this machine does not let us.
fn prepared(git: &RealGit, prepare: &str) -> Option<Serving> {
    if !may_mount() {
        return None;
    }
    let mut command = Command::new("unshare");
    git.isolate(&mut command);
    let server = packhorse(git).get_program().to_owned();
    command
        .current_dir(git.root())
        .args(INSIDE)
        .args(["sh", "-e", "-c", &format!("{prepare}; exec \"$0\" serve srv --listen 127.0.0.1:0")])
        .arg(server);
    Some(Serving::spawn(git, command))
}

/// A path as the server sees it.
fn seen_by(server: &Serving, path: &Path) -> PathBuf {
    let inside = path.strip_prefix("/").expect("an absolute path");
    Path::new("/proc").join(server.pid().to_string()).join("root").join(inside)
}

/// Pushes what there is no room for, then sees that nothing is left and fetches still work.
fn refuses_but_serves(git: &RealGit, server: &Serving, origin: &Path) {
    let source = Scenario::big_blob(6 << 20).build(git, "source.git");
    let (before, open_files) = (files(origin), server.open_files());
    let words = git.fail(&source, &["push", &server.url("a.git"), "main:refs/heads/new"]);
    let told = words.contains("remote rejected") || words.contains("remote: ");
    assert!(told, "{words}");
    assert!(!words.contains("RPC failed") && !words.contains("hung up"), "{words}");
    let root = git.root().display().to_string();
    assert!(!words.contains(&root), "the inside of the server stays inside: {words}");
    server.settle(open_files);
    assert_eq!(files(origin), before);
    let clone = git.clone(server.url("a.git"), "clone", &["--quiet"]);
    git.fsck_strict(clone);
}

#[test]
fn a_full_disk() {
    let git = RealGit::new();
    Scenario::linear(3).build(&git, "orig/a.git");
    std::fs::create_dir(git.path("srv")).expect("a folder");
    let prepare = "mount -t tmpfs -o size=2m none srv; cp -R orig/a.git srv/";
    let Some(server) = prepared(&git, prepare) else { return };
    let origin = seen_by(&server, &git.path("srv/a.git"));
    refuses_but_serves(&git, &server, &origin);
    // What fits is taken.
    let work = git.clone(server.url("a.git"), "work", &["--quiet"]);
    git.commit_file(&work, "small.txt", "small\n");
    git.ok(&work, &["push", "-q", "origin", "HEAD:main"]);
}

#[test]
fn a_read_only_disk() {
    let git = RealGit::new();
    let origin = Scenario::linear(3).build(&git, "srv/a.git");
    let prepare = "mount --bind srv srv; mount -o remount,ro,bind srv";
    let Some(server) = prepared(&git, prepare) else { return };
    refuses_but_serves(&git, &server, &origin);
    let work = git.clone(server.url("a.git"), "work", &["--quiet"]);
    // Without new objects the refs are what cannot be written.
    let words = git.fail(&work, &["push", "origin", "HEAD:other", "HEAD~1:refs/heads/more"]);
    assert!(words.contains("remote rejected"), "{words}");
    let words = git.fail(&work, &["push", "origin", ":main"]);
    assert!(words.contains("remote rejected"), "{words}");
    git.fsck_strict(&origin);
}

#[test]
fn files_that_may_not_grow() {
    let git = RealGit::new();
    let origin = Scenario::linear(3).build(&git, "srv/a.git");
    let mut command = Command::new("sh");
    git.isolate(&mut command);
    let server = packhorse(&git).get_program().to_owned();
    // 2,048 blocks of 512 bytes; without the trap the kernel would end the process.
    let script = "trap '' XFSZ; ulimit -f 2048; exec \"$0\" serve srv --listen 127.0.0.1:0";
    command.current_dir(git.root()).args(["-c", script]).arg(server);
    let server = Serving::spawn(&git, command);
    refuses_but_serves(&git, &server, &origin);
    git.fsck_strict(&origin);
}
