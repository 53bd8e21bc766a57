//! A disk that is full, and has room again.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use testkit::wait_until;

use super::Scene;
use crate::no_room::{INSIDE, may_mount};

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_finds_no_room_is_fetched_when_there_is_some() {
    if !may_mount() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.git.path("small")).expect("a folder");
    let script = "mount -t tmpfs -o size=16m none small; cp -R away small/; \
        head -c 14000000 /dev/zero > small/filler; exec \"$0\" -C small/away run";
    let mut command = Command::new("unshare");
    scene.git.isolate(&mut command);
    command.current_dir(scene.git.root()).args(INSIDE).args(["sh", "-e", "-c", script]);
    command.arg(scene.daemon(&scene.away).get_program()).stderr(Stdio::null());
    let daemon = Ended(command.spawn().expect("it starts"));
    let root = scene.git.path("small");
    let inside = root.strip_prefix("/").expect("an absolute path");
    let seen = Path::new("/proc").join(daemon.0.id().to_string()).join("root").join(inside);
    let log = seen.join("away/.git/remote-daemon/log");
    let says = |words: &str| fs::read_to_string(&log).is_ok_and(|log| log.contains(words));
    wait_until("it listens", || says("connected to "));
    // What does not compress, and is more than there is room for.
    let big: String =
        (0..400_000_u64).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let two = scene.push("main", &big);
    wait_until("it says that there is no room", || says("No space left") || says("write error"));
    // Somebody else's change meanwhile is told, as far as there is room to tell it.
    let three = scene.push("other", "small");
    fs::remove_file(seen.join("filler")).expect("removed");
    let kept = seen.join("away/.git/refs/remotes/origin");
    let is =
        |name: &str, id: &str| fs::read_to_string(kept.join(name)).is_ok_and(|at| at.trim() == id);
    wait_until("it is fetched", || is("main", &two));
    wait_until("so is the other", || is("other", &three));
    // Git does not work where a path leads through another process' root.
    let copied =
        Command::new("cp").arg("-R").arg(seen.join("away")).arg(scene.git.path("copy")).status();
    assert!(copied.expect("cp is there").success());
    scene.git.ok(scene.git.path("copy"), &["fsck", "--strict"]);
}
