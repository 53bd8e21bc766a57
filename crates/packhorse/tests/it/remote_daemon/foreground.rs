//! The line protocol: what is told, what is obeyed, and what is neither.

use std::fs;
use std::time::Duration;

use testkit::{LineProcess, wait_until};

use super::Scene;

fn connected(daemon: &mut LineProcess) {
    daemon.expect("a connection", |line| line.contains(" connected to "));
}

#[test]
fn changes_are_told_and_what_was_missed_too() {
    let scene = Scene::new();
    scene.push("before", "two");
    let mut daemon = scene.foreground(&scene.away, &[]);
    assert_eq!(daemon.expect_start("CHANGED"), "CHANGED origin refs/heads/before");
    connected(&mut daemon);
    scene.push("main", "three");
    assert_eq!(daemon.expect_start("CHANGED"), "CHANGED origin refs/heads/main");
    // Nothing is done about it: whoever started the daemon does that.
    assert_eq!(scene.at(&scene.away, "refs/remotes/origin/before"), None);
    scene.git.ok(&scene.work, &["push", "-q", "origin", ":refs/heads/before"]);
    assert_eq!(daemon.expect_start("CHANGED"), "CHANGED origin refs/heads/before");
    // What is not fetched is not told.
    scene.git.ok(&scene.work, &["push", "-q", "origin", "HEAD:refs/notes/x", "HEAD:refs/heads/z"]);
    assert_eq!(daemon.expect_start("CHANGED"), "CHANGED origin refs/heads/z");
    daemon.close();
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn odd_names_are_quoted() {
    let scene = Scene::new();
    let url = scene.server.url("r.git");
    scene.git.ok(&scene.away, &["remote", "remove", "origin"]);
    let section = "remote.my \"other\" remote";
    scene.config(&scene.away, &format!("{section}.url"), &url);
    scene.config(&scene.away, &format!("{section}.fetch"), "+refs/heads/*:refs/remotes/other/*");
    let mut daemon = scene.foreground(&scene.away, &[]);
    let first = daemon.expect_start("CHANGED");
    assert_eq!(first, r#"CHANGED "my \"other\" remote" refs/heads/main"#);
    scene.git.commit_file(&scene.work, "file", "two");
    for name in ["a\"b", "ü"] {
        let to = format!("HEAD:refs/heads/{name}");
        scene.git.ok(&scene.work, &["push", "-q", "origin", &to]);
        let quoted = if name == "ü" { "refs/heads/ü" } else { r#""refs/heads/a\"b""# };
        let line = daemon.expect_start("CHANGED");
        assert_eq!(line, format!(r#"CHANGED "my \"other\" remote" {quoted}"#));
    }
    // And come back.
    scene.git.ok(&scene.away, &["checkout", "-q", "-b", "mine"]);
    scene.config(&scene.away, &format!("{section}.push"), "refs/heads/mine:refs/heads/theirs");
    daemon.say(r#"PUSH "my \"other\" remote""#);
    daemon.expect("a push", |line| line.starts_with(r#"STATUS "my \"other\" remote" pushed"#));
    assert!(scene.at(&scene.served, "refs/heads/theirs").is_some());
}

#[test]
fn it_pauses_goes_on_and_pushes_once() {
    let scene = Scene::new();
    let mut daemon = scene.foreground(&scene.away, &[]);
    connected(&mut daemon);
    daemon.say("PAUSE");
    assert_eq!(daemon.expect("a word", |_| true), "STATUS \"\" paused");
    daemon.expect("the end", |line| line.starts_with("STATUS origin disconnected from "));
    // Nothing listens any more.
    let two = scene.push("main", "two");
    scene.git.ok(&scene.away, &["checkout", "-q", "-b", "mine", "--track", "origin/main"]);
    scene.config(&scene.away, "branch.mine.merge", "refs/heads/mine");
    scene.config(&scene.away, "push.default", "current");
    scene.git.commit_file(&scene.away, "mine", "one");
    for _ in 0..20 {
        daemon.say("PUSH origin");
    }
    assert_eq!(daemon.next_within(Duration::from_millis(300)), None);
    assert_eq!(scene.at(&scene.served, "refs/heads/mine"), None);
    daemon.say("RESUME");
    let mut lines = Vec::new();
    while lines.iter().filter(|line: &&String| line.starts_with("CHANGED")).count() < 2 {
        lines.push(daemon.expect("what was missed", |_| true));
    }
    let all = lines.join("\n");
    assert!(all.contains("CHANGED origin refs/heads/main"), "{all}");
    assert!(all.contains("CHANGED origin refs/heads/mine"), "{all}");
    let mine = scene.at(&scene.away, "mine");
    wait_until("it is pushed", || scene.at(&scene.served, "refs/heads/mine") == mine);
    while let Some(line) = daemon.next_within(Duration::from_millis(300)) {
        lines.push(line);
    }
    let pushes = lines.iter().filter(|line| line.contains(" pushed")).count();
    assert_eq!(pushes, 1, "{lines:#?}");
    assert_eq!(scene.at(&scene.served, "refs/heads/main"), Some(two));
}

#[test]
fn bad_input_is_answered_and_survived() {
    let scene = Scene::new();
    let mut daemon = scene.foreground(&scene.away, &[]);
    connected(&mut daemon);
    for line in ["NONSENSE", "push origin", "PUSH", "PUSH \"origin", "PAUSE now"] {
        daemon.say(line);
        let error = daemon.expect_start("ERROR");
        assert!(error.starts_with("ERROR \"\" this is not known here: "), "{error}");
    }
    daemon.say("PUSH nothing");
    assert_eq!(daemon.expect_start("ERROR"), "ERROR nothing there is no such remote, or it is off");
    let long = vec![b'x'; 1 << 20];
    daemon.send(&[&long[..], b"\n"].concat());
    assert!(daemon.expect_start("ERROR").contains("more than 65536 bytes"));
    let binary: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    daemon.send(&[&binary[..], b"\n"].concat());
    daemon.expect_start("ERROR \"\" this is not known here: ");
    daemon.send(b"\n\r\n");
    // It goes on as before.
    scene.push("main", "two");
    assert_eq!(daemon.expect_start("CHANGED"), "CHANGED origin refs/heads/main");
    // Half a line is a line at the end.
    daemon.send(b"PAUSE");
    daemon.close();
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn remotes_come_and_go_with_the_configuration() {
    let scene = Scene::new();
    let mut daemon = scene.foreground(&scene.away, &[]);
    connected(&mut daemon);
    scene.config(&scene.away, "remote.origin.daemon", "sometimes");
    let error = daemon.expect_start("ERROR origin");
    assert!(error.contains("'sometimes' is none of off, notify"), "{error}");
    daemon.expect("the end", |line| line == "STATUS origin not listened to any more");
    scene.config(&scene.away, "remote.origin.daemon", "notify");
    connected(&mut daemon);
    scene.git.ok(&scene.away, &["remote", "rename", "origin", "other"]);
    daemon.expect("another name", |line| line.starts_with("STATUS other connected to "));
    scene.push("main", "two");
    assert_eq!(daemon.expect_start("CHANGED"), "CHANGED other refs/heads/main");
    scene.git.ok(&scene.away, &["remote", "remove", "other"]);
    daemon.expect("the end", |line| line == "STATUS other not listened to any more");
    // The repository itself goes.
    fs::remove_dir_all(&scene.away).expect("removed");
    assert_eq!(daemon.expect_start("ERROR"), "ERROR \"\" the repository is gone");
    assert_eq!(daemon.wait().code(), Some(128));
}

#[test]
fn one_that_fails_does_not_hurt_others() {
    let scene = Scene::new();
    let nobody = format!("http://127.0.0.1:{}/r.git", testkit::free_port());
    for (name, url) in [("gone", nobody.as_str()), ("bad", "http://"), ("odd", "foo::bar")] {
        scene.git.ok(&scene.away, &["remote", "add", name, url]);
    }
    // Somebody without a repository, and a folder that is none.
    scene.git.ok(&scene.away, &["remote", "add", "folder", "/nothing/there"]);
    let mut daemon = scene.foreground(&scene.away, &[]);
    let mut missing = vec!["ERROR gone", "ERROR bad", "ERROR odd", "ERROR folder", "STATUS origin"];
    while !missing.is_empty() {
        let line = daemon.expect("a word of each", |_| true);
        missing.retain(|start| !line.starts_with(start));
    }
    scene.push("main", "two");
    assert_eq!(daemon.expect_start("CHANGED"), "CHANGED origin refs/heads/main");
    let mut outside = scene.daemon(scene.git.root());
    let ran = outside.args(["-C", "/", "--foreground"]).output().expect("it runs");
    assert_eq!(ran.status.code(), Some(128));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("not a git repository"), "{ran:?}");
}

#[test]
fn as_git_annex_speaks() {
    let scene = Scene::new();
    let mut daemon = scene.foreground(&scene.away, &["--protocol", "annex"]);
    let url = scene.server.url("r.git");
    assert_eq!(daemon.expect_start("CONNECTED"), format!("CONNECTED {url}"));
    let two = scene.push("main", "two");
    daemon.expect_start("SYNCING origin");
    assert_eq!(daemon.expect_start("DONESYNCING"), "DONESYNCING origin 1");
    assert_eq!(scene.at(&scene.away, "refs/remotes/origin/main"), Some(two));
    daemon.say("LOSTNET");
    assert_eq!(daemon.expect_start("DISCONNECTED"), format!("DISCONNECTED {url}"));
    let three = scene.push("main", "three");
    daemon.say("CHANGED refs/heads/main");
    daemon.say("RESUME");
    assert_eq!(daemon.expect_start("DONESYNCING"), "DONESYNCING origin 1");
    assert_eq!(scene.at(&scene.away, "refs/remotes/origin/main"), Some(three));
    daemon.say("RELOAD");
    daemon.say("STOP");
    assert_eq!(daemon.wait().code(), Some(0));
    let mut daemon = scene.foreground(&scene.away, &["--protocol", "annex"]);
    daemon.say("NONSENSE");
    assert_ne!(daemon.wait().code(), Some(0));
}
