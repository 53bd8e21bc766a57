//! The drop-ins for git's server programs.

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Stdio;

use testkit::{RealGit, Scenario, Transcript};

use crate::raw::{fetch_body, push_body};
use crate::serving::{pack_of, packhorse};

const PROGRAM: &str = env!("CARGO_BIN_EXE_packhorse");

/// Links named like git's programs.
fn links(git: &RealGit) -> (PathBuf, PathBuf) {
    let links = ["git-upload-pack", "git-receive-pack"].map(|name| {
        let link = git.path(name);
        symlink(PROGRAM, &link).expect("a link");
        link
    });
    let [upload, receive] = links;
    (upload, receive)
}

#[test]
fn clones_and_pushes_through_options_and_links() {
    for protocol in [0, 1, 2] {
        let git = RealGit::new().protocol(protocol);
        let origin = Scenario::branchy(30).build(&git, "origin.git");
        let (upload, receive) = links(&git);
        let programs = [format!("{PROGRAM} upload-pack"), upload.display().to_string()];
        for (at, program) in programs.iter().enumerate() {
            let name = format!("clone-{at}");
            let option = format!("--upload-pack={program}");
            let url = format!("file://{}", origin.display());
            let clone = git.clone(&url, &name, &["--mirror", &option]);
            assert_eq!(git.refs(&clone), git.refs(&origin), "protocol {protocol}");
            git.fsck_strict(&clone);
        }
        let work = git.clone(&origin, "work", &["--no-local"]);
        let programs = [format!("{PROGRAM} receive-pack"), receive.display().to_string()];
        for (at, program) in programs.iter().enumerate() {
            let tip = git.commit_file(&work, &format!("{at}.txt"), "new\n");
            let option = format!("--receive-pack={program}");
            git.ok(&work, &["push", "-q", &option, "origin", "HEAD:main"]);
            assert_eq!(git.rev_parse(&origin, "main"), tip);
            git.fsck_strict(&origin);
        }
    }
}

#[test]
fn shallow_partial_and_atomic_work_over_pipes_too() {
    let git = RealGit::new();
    let origin = Scenario::linear(20).build(&git, "origin.git");
    git.ok(&origin, &["config", "uploadpack.allowFilter", "true"]);
    let url = format!("file://{}", origin.display());
    let upload = format!("--upload-pack={PROGRAM} upload-pack");
    let receive = format!("--receive-pack={PROGRAM} receive-pack");
    let clone = git.clone(&url, "clone", &["--depth=2", "--filter=blob:none", &upload]);
    assert_eq!(git.ok(&clone, &["rev-list", "--count", "HEAD"]), "2");
    git.ok(&clone, &["fetch", "-q", &upload, "--unshallow"]);
    git.commit_file(&clone, "new.txt", "new\n");
    let push = ["push", "-q", "--atomic", &receive, "origin", "HEAD:main", "HEAD:refs/tags/v1"];
    git.ok(&clone, &push);
    assert_eq!(git.rev_parse(&origin, "v1"), git.rev_parse(&clone, "HEAD"));
    git.fsck_strict(&origin);
}

#[test]
fn paths_are_found_as_git_finds_them() {
    let git = RealGit::new();
    let bare = Scenario::linear(2).build(&git, "bare.git");
    let tree = git.clone(&bare, "tree", &["--quiet"]);
    let separate = git.clone(&bare, "file", &["--separate-git-dir", "elsewhere.git"]);
    let home = git.home().join("mine.git");
    std::fs::rename(git.clone(&bare, "mine.git", &["--bare"]), &home).expect("move it");
    let found = |args: &[&str]| {
        let mut command = packhorse(&git);
        command.current_dir(git.root()).arg("upload-pack").arg("--advertise-refs").args(args);
        command.output().expect("the program runs")
    };
    let (tree, separate) = (tree.display().to_string(), separate.display().to_string());
    for path in
        ["bare.git", "bare.git/", "bare", "tree", "tree/.git", "~/mine.git", &tree, &separate]
    {
        let output = found(&[path]);
        assert!(output.status.success(), "{path}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("refs/heads/main"), "{path}");
    }
    assert!(found(&["--strict", "bare.git"]).status.success());
    assert!(found(&["--strict", "--timeout=9", "bare.git"]).status.success());
    for args in [["--strict", "bare"], ["--strict", "tree"], ["--no-strict", "none"]] {
        let output = found(&args);
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(128), "{args:?}");
        assert!(words.contains("does not appear to be a git repository"), "{words}");
    }
}

#[test]
fn arguments_that_are_wrong_end_as_with_git() {
    let git = RealGit::new();
    let (upload, receive) = links(&git);
    for program in [upload, receive] {
        for args in [["--no-such-option", "."].as_slice(), &[]] {
            let output = std::process::Command::new(&program).args(args).output();
            let output = output.expect("the program runs");
            assert_eq!(output.status.code(), Some(129), "{output:?}");
            assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{output:?}");
        }
    }
}

#[test]
fn stateless_rounds_are_answered_without_an_advertisement() {
    let git = RealGit::new();
    let origin = Scenario::linear(2).build(&git, "origin.git");
    let mut command = packhorse(&git);
    command.args(["upload-pack", "--stateless-rpc"]).arg(&origin).env("GIT_PROTOCOL", "version=2");
    let session = Transcript::new(
        "
        > command=ls-refs
        > 0001
        > symrefs
        > ref-prefix HEAD
        > 0000
        < {main} HEAD symref-target:refs/heads/main
        < 0000
        ",
    );
    let status = session.name("main", git.rev_parse(&origin, "main")).check_process(command);
    assert!(status.success());

    let advertised = |service: &str, protocol: &str| {
        let mut command = packhorse(&git);
        command.arg(service).arg("--http-backend-info-refs").arg(&origin).stdin(Stdio::null());
        let output = command.env("GIT_PROTOCOL", protocol).output().expect("the program runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for service in ["upload-pack", "receive-pack"] {
        let text = advertised(service, "");
        assert!(text.contains("refs/heads/main") && text.ends_with("0000"), "{service}: {text}");
    }
    let text = advertised("upload-pack", "version=2");
    assert!(text.starts_with("000eversion 2\n") && text.contains("ls-refs"), "{text}");
    assert!(!text.contains("refs/heads/main") && text.ends_with("0000"), "{text}");
}

#[test]
fn a_silent_client_is_let_go_after_the_timeout() {
    let git = RealGit::new();
    let origin = Scenario::linear(2).build(&git, "origin.git");
    let mut child = packhorse(&git)
        .args(["upload-pack", "--timeout=1"])
        .arg(&origin)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let held = child.stdin.take();
    let output = child.wait_with_output().expect("it ends by itself");
    drop(held);
    assert_eq!(output.status.code(), Some(128));
    assert!(String::from_utf8_lossy(&output.stderr).contains("timed out"), "{output:?}");
}

#[test]
fn a_client_that_stops_reading_is_let_go_after_the_timeout() {
    let git = RealGit::new();
    let origin = Scenario::big_blob(1 << 20).build(&git, "origin.git");
    let body = fetch_body(&git.rev_parse(&origin, "main").to_string(), &[]);
    let mut child = packhorse(&git)
        .args(["upload-pack", "--stateless-rpc", "--timeout=1"])
        .arg(&origin)
        .env("GIT_PROTOCOL", "version=2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(&body).expect("it reads");
    // Nobody reads what a pipe does not hold.
    let held = child.stdout.take();
    let output = child.wait_with_output().expect("it ends by itself");
    drop((held, input));
    assert_eq!(output.status.code(), Some(128));
    assert!(String::from_utf8_lossy(&output.stderr).contains("timed out"), "{output:?}");
}

#[test]
fn a_stateless_push_is_one_round() {
    let git = RealGit::new();
    let origin = git.init_bare("origin.git");
    let source = Scenario::linear(3).build(&git, "source.git");
    let tip = git.rev_parse(&source, "main").to_string();
    let pack = pack_of(&git, &source, "main\n");
    let mut command = packhorse(&git);
    command.args(["receive-pack", "--stateless-rpc"]).arg(&origin);
    let body = push_body("refs/heads/main", &tip, &pack);
    std::fs::write(git.path("request"), body).expect("a file");
    command.stdin(std::fs::File::open(git.path("request")).expect("a file"));
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("unpack ok") && text.contains("ok refs/heads/main"), "{text}");
    assert!(!text.contains("capabilities"), "nothing is advertised: {text}");
    assert_eq!(git.rev_parse(&origin, "main").to_string(), tip);
    git.fsck_strict(&origin);
}

#[test]
fn stores_that_cannot_be_used_are_named() {
    let git = RealGit::new();
    let fails = |arguments: &[&str]| {
        let mut command = packhorse(&git);
        let output = command.args(arguments).stdin(Stdio::null()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(128), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let file = |text: &str| {
        let file = git.path("packhorse.toml");
        std::fs::write(&file, text).expect("a file");
        file.display().to_string()
    };
    assert!(fails(&["upload-pack", "--store", "nosql:x", "a"]).contains("'nosql:x' is no store"));
    assert!(fails(&["receive-pack", "--create-on-push", "a"]).contains("needs a store"));
    assert!(fails(&["upload-pack", "--config", &file(""), "a"]).contains("names no store"));
    let both = file("store = 'kv:all.kv'\nrefs = 'kv:refs.kv'\n");
    assert!(fails(&["upload-pack", "--config", &both, "a"]).contains("a store is named"));
    let good = file("store = 'kv:all.kv'\n[kv]\nopen_wait_ms = 0\n");
    assert!(fails(&["upload-pack", "--config", &good, "a"]).contains("not found"));
    assert!(fails(&["upload-pack", "--config", &good, "../a"]).contains("begins with a dot"));
    let mut serve = packhorse(&git);
    serve.args(["serve", "--listen", "127.0.0.1:0", "--config", &good]);
    let _server = crate::serving::Serving::spawn(&git, serve);
    assert!(fails(&["upload-pack", "--config", &good, "a"]).contains("has the file open"));
}
