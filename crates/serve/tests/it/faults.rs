//! Pushes into storage that fails, at every write there is: what is told is what happened.

use std::io::ErrorKind;
use std::sync::Arc;

use storage::faulty::{Fault, Faults, FaultyBlobs, FaultyRefs};
use wire::Protocol;

use crate::bridge::{Scene, parts_of, receive_into};
use crate::cut::pack;

/// Seeds tried for reads that come back short.
const SEEDS: u64 = 60;

/// A push that moves `main` and creates `new`.
struct Push {
    scene: Scene,
    old: String,
    new: String,
    bytes: Vec<u8>,
}

impl Push {
    fn new(atomic: bool) -> Self {
        let scene = Scene::new();
        let old = scene.git.rev_parse(&scene.work, "main").to_string();
        scene.commit("two\n");
        scene.commit("three\n");
        let new = scene.git.rev_parse(&scene.work, "main").to_string();
        let null = "0".repeat(40);
        let atomic = if atomic { " atomic" } else { "" };
        let lines = [
            format!("{old} {new} refs/heads/main\0 report-status{atomic} object-format=sha1"),
            format!("{null} {new} refs/heads/new"),
        ];
        let mut bytes = Vec::new();
        for line in lines {
            bytes.extend(format!("{:04x}{line}", line.len() + 4).into_bytes());
        }
        bytes.extend(b"0000");
        bytes.extend(pack(&scene, &format!("{new}\n^{old}\n")));
        Push { scene, old, new, bytes }
    }

    /// Pushes with these faults; which of the two refs moved, after a look that the client was
    /// told so, and that nothing is broken.
    fn under(&self, faults: &Arc<Faults>) -> [bool; 2] {
        let git = &self.scene.git;
        let served = &self.scene.served;
        let mut parts = parts_of(served).expect("a repository");
        parts.blobs = Arc::new(FaultyBlobs::new(parts.blobs, faults.clone()));
        parts.refs = Arc::new(FaultyRefs::new(parts.refs, faults.clone()));
        let mut output = Vec::new();
        // How it ended is in what was told.
        let _ = receive_into(parts, Protocol::V0, &|_| {}, &mut &self.bytes[..], &mut output);
        let told = String::from_utf8_lossy(&output);
        let moved = ["main", "new"].map(|name| {
            let refs = git.refs(served);
            let moved = refs.contains(&format!("{} refs/heads/{name}", self.new))
                || refs.contains(&format!("{} commit\trefs/heads/{name}", self.new));
            let told = told.contains(&format!("ok refs/heads/{name}\n"));
            assert_eq!(told, moved, "{name}, {faults:?}: {refs}");
            moved
        });
        let left = self.scene.everything();
        assert!(!left.iter().any(|file| file.contains("tmp_objdir")), "{faults:?}: {left:?}");
        git.fsck_strict(served);
        git.ok(served, &["update-ref", "refs/heads/main", &self.old]);
        git.run(served, &["update-ref", "-d", "refs/heads/new"]);
        moved
    }
}

#[test]
fn every_write_may_fail_or_be_the_last() {
    for atomic in [false, true] {
        let push = Push::new(atomic);
        let count = Faults::new(Fault::None);
        assert_eq!(push.under(&count), [true, true]);
        assert!(count.writes() > 4, "a pack, its index, publishing, refs: {}", count.writes());
        let mut none = 0;
        for number in 1..=count.writes() {
            for fault in [
                Fault::FailWrite(number, ErrorKind::StorageFull),
                Fault::FailWrite(number, ErrorKind::Other),
                Fault::CrashAtWrite(number),
            ] {
                match push.under(&Faults::new(fault)) {
                    [false, false] => none += 1,
                    moved => assert!(!atomic && number > 4, "{moved:?} at {fault:?}"),
                }
            }
        }
        assert!(none > 0, "no write was needed");
    }
}

#[test]
fn reads_may_come_back_short() {
    let push = Push::new(true);
    let (mut none, mut both) = (0, 0);
    for seed in 0..SEEDS {
        let faults = Faults::with_short_reads(Fault::None, 2 + seed % 20, seed);
        match push.under(&faults) {
            [false, false] => none += 1,
            [true, true] => both += 1,
            moved => panic!("half of an atomic push: {moved:?}"),
        }
    }
    assert!(none > 0 && both > 0, "{none} failed and {both} succeeded");
}
