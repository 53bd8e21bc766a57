//! Help, completions, and the parts that can be run on their own.

use std::io::Write as _;
use std::process::{Output, Stdio};

use testkit::{RealGit, Scenario};

use crate::serving::{pack_of, packhorse};

fn run(git: &RealGit, args: &[&str]) -> Output {
    packhorse(git).args(args).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_is_there_at_every_level() {
    let git = RealGit::new();
    for (args, words) in [
        (["--help"].as_slice(), ["packhorse serve ~/repos", "completions"].as_slice()),
        (&["serve", "--help"], &["--create-on-push", "--allow-anonymous-push", "PACKHORSE_LOG"]),
        (&["upload-pack", "--help"], &["Usage: packhorse upload-pack", "--strict", "--timeout"]),
        (&["receive-pack", "--help"], &["--stateless-rpc", "--http-backend-info-refs"]),
        (&["completions", "--help"], &["bash", "zsh", "fish"]),
        (&["dev", "index-pack", "--help"], &["--threads"]),
    ] {
        let output = run(&git, args);
        assert!(output.status.success(), "{args:?}");
        let help = text(&output.stdout);
        for word in words {
            assert!(help.contains(word), "{args:?} says nothing of {word}:\n{help}");
        }
        assert!(help.lines().all(|line| line.len() <= 120), "{help}");
    }
    let nothing = run(&git, &[]);
    assert!(text(&nothing.stderr).contains("Usage:"), "{nothing:?}");
    let typo = run(&git, &["serv"]);
    assert!(text(&typo.stderr).contains("serve"), "a hint: {typo:?}");
    assert!(!run(&git, &["--help"]).stdout.is_empty());
    assert!(text(&run(&git, &["--version"]).stdout).starts_with("packhorse "));
}

#[test]
fn completions_exist_for_the_usual_shells() {
    let git = RealGit::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&git, &["completions", shell]);
        let script = text(&output.stdout);
        assert!(output.status.success() && script.contains("create-on-push"), "{shell}: {script}");
    }
}

#[test]
fn a_pack_is_taken_in_without_a_push() {
    let git = RealGit::new();
    let source = Scenario::branchy(30).build(&git, "source.git");
    let pack = pack_of(&git, &source, "main\n");
    for threads in ["1", "4"] {
        let target = git.init_bare(format!("target-{threads}.git"));
        let mut child = packhorse(&git)
            .args(["dev", "index-pack", "--threads", threads])
            .arg(&target)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let sent = child.stdin.take().expect("a pipe").write_all(&pack);
        sent.expect("the program reads");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success());
        let checksum = text(&output.stdout).trim().to_owned();
        let stored = target.join(format!("objects/pack/pack-{checksum}.pack"));
        assert_eq!(std::fs::read(stored).expect("the pack"), pack);
        let tip = git.rev_parse(&source, "main").to_string();
        git.ok(&target, &["update-ref", "refs/heads/main", &tip]);
        git.fsck_strict(&target);
    }
    let output = run(&git, &["dev", "index-pack", "/no/such/folder"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/no/such/folder"), "{output:?}");
}
