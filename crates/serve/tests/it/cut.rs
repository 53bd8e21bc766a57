//! A connection that ends at any byte of a push leaves the repository as it was.

use wire::Protocol;

use crate::bridge::{Scene, receive};

/// Everything a client sends to create `refs/heads/new` at `main`.
pub fn whole_push(scene: &Scene) -> Vec<u8> {
    scene.commit("two\n");
    let new = scene.git.rev_parse(&scene.work, "main");
    let line = format!(
        "{} {new} refs/heads/new\0 report-status side-band-64k object-format=sha1",
        "0".repeat(40)
    );
    let mut bytes = format!("{:04x}{line}0000", line.len() + 4).into_bytes();
    bytes.extend(pack(scene, &format!("{new}\n^{new}~1\n")));
    bytes
}

/// The pack of some revisions.
pub fn pack(scene: &Scene, revisions: &str) -> Vec<u8> {
    let pack = scene
        .git
        .command(&scene.work)
        .args(["pack-objects", "--stdout", "--revs", "-q"])
        .stdin(input_file(scene, revisions))
        .output()
        .expect("pack-objects");
    pack.stdout
}

fn input_file(scene: &Scene, text: &str) -> std::fs::File {
    let path = scene.git.path("revs");
    std::fs::write(&path, text).expect("a file");
    std::fs::File::open(path).expect("a file")
}

#[test]
fn a_cut_push_leaves_no_trace() {
    let scene = Scene::new();
    let bytes = whole_push(&scene);
    let before = scene.everything();
    for end in 0..bytes.len() {
        let mut output = Vec::new();
        let outcome =
            receive(&scene.served, Protocol::V0, &|_| {}, &mut &bytes[..end], &mut output);
        if let Ok(outcome) = outcome {
            assert!(outcome.updated.is_empty(), "cut at {end}");
        }
        assert_eq!(scene.everything(), before, "cut at {end}");
    }
    let mut output = Vec::new();
    let outcome = receive(&scene.served, Protocol::V0, &|_| {}, &mut &bytes[..], &mut output)
        .expect("a whole push");
    assert_eq!(outcome.updated.len(), 1);
    scene.git.fsck_strict(&scene.served);
}

#[test]
fn a_damaged_pack_leaves_no_trace() {
    let scene = Scene::new();
    let bytes = whole_push(&scene);
    let before = scene.everything();
    let pack_at = bytes.windows(4).position(|window| window == b"PACK").expect("a pack");
    for at in pack_at..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x20;
        let mut output = Vec::new();
        let outcome = receive(&scene.served, Protocol::V0, &|_| {}, &mut &damaged[..], &mut output);
        assert!(outcome.is_err() || outcome.is_ok_and(|outcome| outcome.updated.is_empty()));
        assert_eq!(scene.everything(), before, "damaged at {at}");
    }
}
