//! Contents of git-annex over the line protocol, to and from a real git-annex.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use testkit::{LineProcess, Sshd, installed_programs};

use super::Scene;

/// A repository that git-annex knows at each end, and a daemon at one.
struct Annexed {
    scene: Scene,
    /// The other end.
    there: PathBuf,
    _sshd: Sshd,
}

/// The key of `hello\n`.
const HELLO: &str =
    "SHA256E-s6--5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03.txt";

impl Annexed {
    fn new() -> Self {
        let programs = installed_programs();
        let scene = Scene::with_path(programs.to_str().expect("UTF-8"));
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("a path"));
        let sshd = Sshd::start(&scene.git.path("sshd"), &scene.ssh.public_key(), &path);
        let there = scene.git.clone(&scene.served, "there", &["-q"]);
        for folder in [&there, &scene.away] {
            scene.git.ok(folder, &["annex", "init", "-q"]);
        }
        scene.config(&scene.away, "remote.origin.url", &sshd.url(&there));
        Annexed { scene, there, _sshd: sshd }
    }

    fn daemon(&self) -> LineProcess {
        let mut daemon = self.scene.foreground(&self.scene.away, &[]);
        daemon.say("EXTENSIONS ANNEX NONSENSE");
        daemon.expect("it knows them", |line| line == "EXTENSIONS ANNEX");
        daemon
    }

    /// The file of a content at the other end.
    fn content(&self, key: &str) -> Option<PathBuf> {
        let ran = self.scene.git.run(&self.there, &["annex", "contentlocation", key]);
        ran.status.success().then(|| self.there.join(ran.text()))
    }

    fn uuid(&self) -> String {
        self.scene.git.ok(&self.there, &["config", "annex.uuid"])
    }
}

#[test]
fn contents_come_and_go() {
    let annexed = Annexed::new();
    let scene = &annexed.scene;
    let mut daemon = annexed.daemon();
    let here = scene.git.path("it's here.txt");
    fs::write(&here, "hello\n").expect("a file");
    let quoted = format!("\"{}\"", here.display());
    daemon.say(&format!("CHECKPRESENT origin {HELLO}"));
    let says = |daemon: &mut LineProcess, expected: &str| {
        let first = expected.split(' ').next().unwrap_or_default();
        assert_eq!(daemon.expect_start(first), expected);
    };
    says(&mut daemon, &format!("CHECKPRESENT-FAILURE origin {HELLO}"));
    daemon.say(&format!("TRANSFER STORE origin {HELLO} {quoted}"));
    says(&mut daemon, &format!("TRANSFER-SUCCESS STORE origin {HELLO}"));
    let content = annexed.content(HELLO).expect("it is there");
    assert_eq!(fs::read_to_string(content).expect("a file"), "hello\n");
    daemon.say(&format!("CHECKPRESENT origin {HELLO}"));
    says(&mut daemon, &format!("CHECKPRESENT-SUCCESS origin {HELLO}"));
    // What is there already in part is not sent again.
    let back = scene.git.path("back");
    fs::write(&back, "hel").expect("a file");
    daemon.say(&format!("TRANSFER RETRIEVE origin {HELLO} {}", back.display()));
    says(&mut daemon, &format!("TRANSFER-SUCCESS RETRIEVE origin {HELLO}"));
    assert_eq!(fs::read_to_string(&back).expect("a file"), "hello\n");
    // Another beginning makes it another content.
    fs::write(&back, "HEL").expect("a file");
    daemon.say(&format!("TRANSFER RETRIEVE origin {HELLO} {}", back.display()));
    let line = daemon.expect_start("TRANSFER-FAILURE RETRIEVE");
    assert!(line.ends_with("what came is not what the key says") && !back.exists(), "{line}");
    let absent = HELLO.replace("5891", "5892");
    daemon.say(&format!("TRANSFER RETRIEVE origin {absent} {}", back.display()));
    let line = daemon.expect_start("TRANSFER-FAILURE RETRIEVE");
    assert!(line.ends_with("the content is not there"), "{line}");
    let nowhere = scene.git.path("nowhere");
    daemon.say(&format!("TRANSFER STORE origin {absent} {}", nowhere.display()));
    let line = daemon.expect_start("TRANSFER-FAILURE STORE");
    assert!(line.contains("No such file"), "{line}");
    // Wrong contents are not taken, and it goes on.
    daemon.say(&format!("TRANSFER STORE origin {absent} {quoted}"));
    let line = daemon.expect_start("TRANSFER-FAILURE STORE");
    assert!(line.ends_with("the content is not taken"), "{line}");
    daemon.say(&format!("CHECKPRESENT origin {absent}"));
    says(&mut daemon, &format!("CHECKPRESENT-FAILURE origin {absent}"));
}

#[test]
fn progress_is_told_and_a_pause_is_waited_for() {
    let annexed = Annexed::new();
    let scene = &annexed.scene;
    let mut daemon = annexed.daemon();
    let big = scene.git.path("big");
    fs::write(&big, vec![7; 64 << 20]).expect("a file");
    let key = scene.git.ok(&scene.away, &["annex", "calckey", big.to_str().expect("UTF-8")]);
    let store = format!("TRANSFER STORE origin {key} {}", big.display());
    // Said twice, it is done once; nothing happens while it pauses.
    daemon.say("PAUSE");
    daemon.expect("it pauses", |line| line == "STATUS \"\" paused");
    daemon.say(&store);
    daemon.say(&store);
    while let Some(line) = daemon.next_within(Duration::from_millis(300)) {
        assert!(line.starts_with("STATUS origin disconnected"), "{line}");
    }
    daemon.say("RESUME");
    let is_progress = |line: &str| {
        let bytes = line.strip_prefix(&format!("PROGRESS origin {key} "));
        bytes.is_some_and(|bytes| bytes.parse::<u64>().is_ok_and(|bytes| bytes <= 64 << 20))
    };
    daemon.expect("progress", is_progress);
    // In the middle of it.
    daemon.say("PAUSE");
    daemon.expect("it pauses", |line| line == "STATUS \"\" paused");
    daemon.say("RESUME");
    daemon.expect("it is there", |line| line == format!("TRANSFER-SUCCESS STORE origin {key}"));
    assert!(annexed.content(&key).is_some());
    while let Some(line) = daemon.next_within(Duration::from_millis(300)) {
        assert!(!line.starts_with("TRANSFER"), "twice: {line}");
    }
}

#[test]
fn a_remote_that_goes_or_moves_leaves_no_transfer_without_an_answer() {
    let annexed = Annexed::new();
    let scene = &annexed.scene;
    // Somebody who lets everybody in and never says anything.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("it has one").port();
    let nowhere = format!("ssh://git@127.0.0.1:{port}/r.git");
    scene.config(&scene.away, "remote.origin.url", &nowhere);
    scene.git.ok(&scene.away, &["remote", "add", "other", &nowhere]);
    let here = scene.git.path("hello");
    fs::write(&here, "hello\n").expect("a file");
    let mut daemon = annexed.daemon();
    for remote in ["origin", "other"] {
        daemon.say(&format!("TRANSFER STORE {remote} {HELLO} {}", here.display()));
        daemon.say(&format!("CHECKPRESENT {remote} {HELLO}"));
    }
    scene.config(&scene.away, "remote.other.daemon", "off");
    let why = "there is no such remote, or it is off";
    let failure = format!("TRANSFER-FAILURE STORE other {HELLO} {why}");
    assert_eq!(daemon.expect_start("TRANSFER"), failure);
    let unknown = format!("CHECKPRESENT-UNKNOWN other {HELLO} {why}");
    assert_eq!(daemon.expect_start("CHECKPRESENT"), unknown);
    assert!(annexed.content(HELLO).is_none());
    let there = annexed.there.to_str().expect("UTF-8");
    scene.config(&scene.away, "remote.origin.url", there);
    let success = format!("TRANSFER-SUCCESS STORE origin {HELLO}");
    assert_eq!(daemon.expect_start("TRANSFER"), success);
    assert!(annexed.content(HELLO).is_some());
    let present = format!("CHECKPRESENT-SUCCESS origin {HELLO}");
    assert_eq!(daemon.expect_start("CHECKPRESENT"), present);
}

#[test]
fn the_first_place_that_can_is_used_and_a_plain_caller_sees_nothing() {
    let annexed = Annexed::new();
    let scene = &annexed.scene;
    let here = scene.git.path("hello");
    fs::write(&here, "hello\n").expect("a file");
    let store = format!("TRANSFER STORE origin {HELLO} {}", here.display());
    // Whoever has not asked for it.
    let mut plain = scene.foreground(&scene.away, &[]);
    plain.say(&store);
    let line = plain.expect_start("ERROR \"\"");
    assert!(line.contains("this is not known here: TRANSFER STORE"), "{line}");
    plain.say("EXTENSIONS NONSENSE");
    plain.expect("none is known", |line| line == "EXTENSIONS");
    drop(plain);
    // A server without git-annex, then a folder.
    let first = scene.server.url("r.git");
    scene.config(&scene.away, "remote.origin.url", &first);
    let there = annexed.there.to_str().expect("UTF-8");
    scene.git.ok(&scene.away, &["remote", "set-url", "--add", "origin", &scene.urls()[1]]);
    scene.git.ok(&scene.away, &["remote", "set-url", "--add", "origin", there]);
    let mut daemon = annexed.daemon();
    daemon.say(&store);
    let line = daemon.expect("which it is", |line| line.contains("contents by"));
    assert_eq!(line, format!("STATUS origin contents by {there} ({})", annexed.uuid()));
    daemon.expect("it is there", |line| line.starts_with("TRANSFER-SUCCESS STORE"));
    drop(daemon);
    // One that is not meant.
    scene.config(&scene.away, "remote.origin.annex-uuid", "6e3ee9c6-1a33-4b5b-9d4e-8f9c1b2a3d4e");
    let mut daemon = annexed.daemon();
    daemon.say(&format!("CHECKPRESENT origin {HELLO}"));
    let line = daemon.expect_start("CHECKPRESENT-UNKNOWN");
    assert!(line.contains("is none that remote.NAME.annex-uuid names"), "{line}");
    for bad in
        ["TRANSFER STORE origin nonsense file", "TRANSFER STORE origin", "CHECKPRESENT origin"]
    {
        daemon.say(bad);
        daemon.expect_start("ERROR \"\"");
    }
    daemon.say(&format!("CHECKPRESENT nobody {HELLO}"));
    let line = daemon.expect_start("CHECKPRESENT-UNKNOWN nobody");
    assert!(line.ends_with("there is no such remote, or it is off"), "{line}");
}
