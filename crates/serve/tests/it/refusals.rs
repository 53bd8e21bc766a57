//! Pushes that are refused, in git's words, without a trace.

use serve::Exchange;

use crate::bridge::Scene;
use crate::stateless::round;

fn refused(settings: &[(&str, &str)], args: &[&str], words: &[&str]) {
    let scene = Scene::new();
    scene.commit("two\n");
    scene.push_ok(&["main:topic"]);
    scene.commit("three\n");
    for (key, value) in settings {
        scene.config(key, value);
    }
    let said = scene.push_fails(args);
    for word in words {
        assert!(said.contains(word), "{word:?} is missing in:\n{said}");
    }
}

#[test]
fn settings_refuse_in_gits_words() {
    refused(
        &[("receive.denyDeletes", "true")],
        &[":topic"],
        &["(deletion prohibited)", "denying ref deletion for refs/heads/topic"],
    );
    refused(
        &[("receive.denyNonFastForwards", "true")],
        &["+main~2:topic"],
        &["(non-fast-forward)", "denying non-fast-forward refs/heads/topic"],
    );
    refused(
        &[],
        &[":main"],
        &["(deletion of the current branch prohibited)", "By default, deleting the current"],
    );
    refused(
        &[("transfer.hideRefs", "refs/hidden"), ("receive.hideRefs", "!refs/hidden/not")],
        &["main:refs/hidden/a"],
        &["(deny updating a hidden ref)"],
    );
    refused(&[], &["main:refs/funny"], &["(funny refname)", "refusing to update funny ref"]);
    refused(&[("receive.maxInputSize", "10")], &["main"], &["unpacker error"]);
    refused(&[], &["main~1:refs/heads/topic/below"], &["(refname conflict)"]);
    refused(&[], &["main^{tree}:refs/heads/tree"], &["(invalid new value provided)"]);
}

#[test]
fn a_checked_out_branch_stays() {
    let scene = Scene::new();
    scene.config("core.bare", "false");
    scene.config("core.worktree", scene.git.path("checkout").to_str().expect("UTF-8"));
    std::fs::create_dir(scene.git.path("checkout")).expect("work tree");
    scene.commit("two\n");
    let words = scene.push_fails(&["main"]);
    assert!(words.contains("(branch is currently checked out)"), "{words}");
    assert!(words.contains("remote: error: By default, updating the current branch"), "{words}");
    scene.config("receive.denyCurrentBranch", "warn");
    let words = scene.push_ok(&["main"]);
    assert!(words.contains("warning: updating the current branch"), "{words}");
    scene.commit("three\n");
    scene.config("receive.denyCurrentBranch", "refuse");
    let words = scene.push_fails(&["main"]);
    assert!(words.contains("(branch is currently checked out)"), "{words}");
    assert!(!words.contains("By default"), "who chose this knows: {words}");
    scene.config("receive.denyCurrentBranch", "ignore");
    let words = scene.push_ok(&["main"]);
    assert!(!words.contains("warning"), "{words}");
}

#[test]
fn the_current_branch_may_go_when_that_is_allowed() {
    for (value, warns) in [("warn", true), ("ignore", false)] {
        let scene = Scene::new();
        scene.push_ok(&["main:topic"]);
        scene.config("receive.denyDeleteCurrent", "refuse");
        let words = scene.push_fails(&[":main"]);
        assert!(words.contains("(deletion of the current branch prohibited)"), "{words}");
        scene.config("receive.denyDeleteCurrent", value);
        let words = scene.push(&[":main"]).error_text();
        assert_eq!(words.contains("warning: deleting the current branch"), warns, "{words}");
        assert!(!scene.refs().contains("refs/heads/main"), "{words}");
    }
}

#[test]
fn what_is_switched_off_is_not_offered() {
    let scene = Scene::new();
    let offered = |scene: &Scene| {
        let advertised = round(scene, Exchange::Advertise, 0, b"");
        String::from_utf8_lossy(&advertised).lines().next().expect("a line").to_owned()
    };
    let line = offered(&scene);
    let is_in = |line: &str, name: &str| line.split([' ', '\0']).any(|word| word == name);
    assert!(is_in(&line, "atomic") && is_in(&line, "ofs-delta"), "{line}");
    assert!(!is_in(&line, "push-options"), "{line}");
    scene.config("receive.advertiseAtomic", "false");
    scene.config("repack.useDeltaBaseOffset", "false");
    scene.config("receive.advertisePushOptions", "true");
    let line = offered(&scene);
    assert!(!is_in(&line, "atomic") && !is_in(&line, "ofs-delta"), "{line}");
    assert!(is_in(&line, "push-options"), "{line}");
    let words = scene.push_fails(&["--atomic", "main:x"]);
    assert!(words.contains("does not support --atomic"), "{words}");
    scene.commit("two\n");
    scene.push_ok(&["main"]);
}

#[test]
fn progress_is_shown_to_those_who_want_it() {
    let scene = Scene::new();
    let text: String = (0..4000).map(|line| format!("line {line}\n")).collect();
    scene.commit(&text);
    scene.commit(&format!("{text}more\n"));
    let words = scene.push_ok(&["--progress", "main"]);
    assert!(words.contains("remote: Resolving deltas: 100% (1/1), done."), "{words}");
    scene.commit(&format!("{text}more and more\n"));
    let words = scene.push_ok(&["--quiet", "main"]);
    assert_eq!(words, "");
}

#[test]
fn one_refusal_stops_an_atomic_push() {
    let scene = Scene::new();
    scene.commit("two\n");
    scene.config("receive.denyDeletes", "true");
    scene.push_ok(&["main:topic"]);
    let before = scene.refs();
    let words = scene.push(&["--atomic", "main", ":topic"]).error_text();
    assert!(words.contains("(atomic push failure)"), "{words}");
    assert_eq!(scene.refs(), before);
    let words = scene.push(&["main", ":topic"]).error_text();
    assert!(words.contains("main -> main"), "{words}");
    assert!(words.contains("(deletion prohibited)"), "{words}");
}

#[test]
fn fsck_findings_reach_the_pusher() {
    let scene = Scene::new();
    let tree = scene.git.ok(&scene.work, &["rev-parse", "main^{tree}"]);
    let commit = format!("tree {tree}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 01 +0000\n\nx\n");
    let id = scene.git.ok_with_input(
        &scene.work,
        &["hash-object", "-t", "commit", "-w", "--literally", "--stdin"],
        commit.as_bytes(),
    );
    let id = id.text();
    scene.config("transfer.fsckObjects", "true");
    let words = scene.push_fails(&[&format!("{id}:refs/heads/bad")]);
    assert!(words.contains("zeroPaddedDate"), "{words}");
    assert!(words.contains("unpacker error"), "{words}");
    scene.config("receive.fsck.zeroPaddedDate", "ignore");
    let output = scene.push(&[&format!("{id}:refs/heads/bad")]);
    assert!(output.status.success(), "{}", output.error_text());
}

#[test]
fn a_bad_setting_is_named() {
    let scene = Scene::new();
    scene.config("receive.denyDeletes", "perhaps");
    assert!(!scene.push(&["main:x"]).status.success());
    assert!(!scene.refs().contains("refs/heads/x"));
}

#[test]
fn a_skip_list_that_cannot_be_read_stops_the_push() {
    let scene = Scene::new();
    scene.commit("two\n");
    scene.config("receive.fsckObjects", "true");
    scene.config("receive.fsck.unheardOf", "error");
    let words = scene.push_ok(&["main"]);
    assert!(words.contains("warning: skipping unknown msg id 'unheardof'"), "{words}");
    scene.commit("three\n");
    scene.config("receive.fsck.skipList", "not-there");
    let words = scene.push_fails(&["main"]);
    assert!(words.contains("could not open object name list: not-there"), "{words}");
    assert!(words.contains("(unpacker error)"), "{words}");
    scene.config("receive.fsck.skipList", "HEAD");
    let words = scene.push_fails(&["main"]);
    assert!(words.contains("invalid object name: ref: refs/heads/main"), "{words}");
}
