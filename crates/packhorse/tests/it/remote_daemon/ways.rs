//! Each way to hear of changes, and what arrives by it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::{LineProcess, Sshd, free_port, installed_programs, wait_until};

use super::Scene;

/// Listens to one address, by this way; each push arrives by itself.
fn arrives(scene: &Scene, url: &str, way: &str, settings: &[(&str, &str)]) {
    let name = format!("by {way}").replace(' ', "-");
    let remote = |key: &str| format!("remote.{name}.{key}");
    let folder = scene.git.clone(&scene.served, &name, &["-q", "-o", &name]);
    scene.config(&folder, &remote("url"), url);
    scene.config(&folder, &remote("daemon"), "pull");
    for (key, value) in settings {
        scene.config(&folder, key, value);
    }
    let mut daemon = scene.foreground(&folder, &["--act"]);
    let end = format!(" ({way})");
    daemon.expect("a connection", |line| line.contains(" connected to ") && line.ends_with(&end));
    for text in ["this", "that"] {
        let id = scene.push("main", &format!("{text} {way}"));
        wait_for(scene, &mut daemon, &folder, &id);
    }
    daemon.close();
    assert_eq!(daemon.wait().code(), Some(0));
}

fn wait_for(scene: &Scene, daemon: &mut LineProcess, folder: &Path, id: &str) {
    while scene.at(folder, "HEAD").as_deref() != Some(id) {
        daemon.expect("it arrives", |line| line.contains(" pulled main"));
    }
    assert_eq!(scene.git.ok(folder, &["status", "--porcelain"]), "");
}

#[test]
fn servers_that_tell() {
    let scene = Scene::new();
    for url in scene.urls() {
        arrives(&scene, &url, "packhorse-watch", &[]);
        fs::remove_dir_all(scene.git.path("by-packhorse-watch")).expect("removed");
    }
}

#[test]
fn folders_of_this_machine() {
    let scene = Scene::new();
    let path = scene.served.display().to_string();
    arrives(&scene, &path, "files", &[]);
}

#[test]
fn servers_that_have_to_be_asked() {
    let scene = Scene::new();
    let git = &scene.git;
    let port = free_port();
    let mut stock =
        Command::new(Path::new(&git.ok(git.root(), &["--exec-path"])).join("git-daemon"));
    git.isolate(&mut stock);
    stock.args(["--export-all", "--listen=127.0.0.1", &format!("--port={port}")]);
    stock.arg(format!("--base-path={}", git.path("srv").display()));
    let mut stock = stock.spawn().expect("git has a daemon");
    wait_until("git-daemon", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let url = format!("git://127.0.0.1:{port}/r.git");
    arrives(&scene, &url, "polling", &[("remoteDaemon.interval", "0.05")]);
    // What is only for git is asked by git.
    let settings = [("remoteDaemon.interval", "0.05"), ("core.gitProxy", "none for 127.0.0.1")];
    arrives(&scene, &url, "polling with git", &settings);
    stock.kill().and_then(|()| stock.wait()).expect("it ran");
}

#[test]
fn hosts_with_git_annex_and_without() {
    let programs = installed_programs();
    let scene = Scene::new();
    let path = std::env::var("PATH").expect("a path");
    let with = format!("{}:{path}", programs.display());
    let key = scene.ssh.public_key();
    let sshd = Sshd::start(&scene.git.path("sshd"), &key, &with);
    scene.config(&scene.served, "annex.uuid", "6e3ee9c6-1a33-4b5b-9d4e-8f9c1b2a3d4e");
    scene.config(&scene.served, "annex.version", "10");
    arrives(&scene, &sshd.url(&scene.served), "git-annex-shell", &[]);
    let sshd = Sshd::start(&scene.git.path("sshd-without"), &key, &path);
    let settings = [("remoteDaemon.interval", "0.2")];
    arrives(&scene, &sshd.url(&scene.served), "polling", &settings);
}

#[test]
fn a_remote_may_be_in_several_places() {
    let scene = Scene::new();
    let away = &scene.away;
    // Two roads to the same, and one to nobody.
    scene.git.ok(away, &["remote", "set-url", "--add", "origin", &scene.urls()[1]]);
    let nobody = format!("http://127.0.0.1:{}/r.git", free_port());
    scene.git.ok(away, &["remote", "set-url", "--add", "origin", &nobody]);
    let mut daemon = scene.foreground(away, &[]);
    let mut missing =
        vec!["connected to http:", "connected to ssh:", "cannot connect to 127.0.0.1"];
    while !missing.is_empty() {
        let line = daemon.expect("all of them", |_| true);
        missing.retain(|part| !line.contains(part));
    }
    scene.push("main", "two");
    assert_eq!(daemon.expect_start("CHANGED"), "CHANGED origin refs/heads/main");
    // Once, though two have said so.
    while let Some(line) = daemon.next_within(Duration::from_millis(500)) {
        assert!(!line.starts_with("CHANGED"), "{line}");
    }
}

/// Gerrit speaks ssh at a port of its own, and says what happens in all its projects.
#[test]
fn hosts_that_are_gerrit() {
    let scene = Scene::new();
    let git = &scene.git;
    let events = git.path("events");
    fs::write(
        &events,
        "{\"type\":\"ref-updated\",\"refUpdate\":{\"project\":\"other\"}}\nno JSON\n",
    )
    .expect("a file");
    // What ssh is asked for comes last.
    let script = format!(
        "#!/bin/sh\nfor asked; do :; done\ncase $asked in\n\
         *stream-events*) exec tail -n +1 -f '{}' ;;\n\
         git-upload-pack*) exec git upload-pack '{}' ;;\n\
         *) echo 'no such command' >&2; exit 127 ;;\nesac\n",
        events.display(),
        scene.served.display()
    );
    let ssh = git.path("fake-ssh");
    fs::write(&ssh, script).expect("a file");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("a file");
    let folder = git.clone(&scene.served, "gerrit", &["-q"]);
    scene.config(&folder, "remote.origin.url", "ssh://ann@gerrit.example.org:29418/team/project");
    scene.config(&folder, "remote.origin.daemon", "notify");
    let mut daemon = scene.daemon(&folder);
    daemon.env("GIT_SSH_COMMAND", &ssh).arg("--foreground");
    let mut daemon = LineProcess::spawn(daemon);
    daemon.expect("a connection", |line| line.ends_with(" (gerrit stream-events)"));
    let tell = |project: &str| {
        let text = format!(
            "{{\"type\":\"ref-updated\",\"refUpdate\":{{\"project\":\"{project}\",\"refName\":\"main\"}}}}\n"
        );
        let mut file = fs::OpenOptions::new().append(true).open(&events).expect("a file");
        file.write_all(text.as_bytes()).expect("written");
    };
    scene.push("main", "two");
    tell("team/other");
    assert_eq!(daemon.next_within(Duration::from_millis(500)), None);
    tell("team/project");
    assert_eq!(daemon.expect_start("CHANGED"), "CHANGED origin refs/heads/main");
}
