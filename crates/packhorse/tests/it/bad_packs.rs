//! Packs that are broken or built to hurt: refused in words, nothing kept, no memory lost.

use testkit::{RealGit, Scenario};

use crate::raw::{self, BLOB, PackBuilder, REF_DELTA, deflate};
use crate::serving::{Serving, files, pack_of};

const OFS_DELTA: u8 = 6;
/// Memory the server may ever have while it refuses everything here, kilobytes.
const PEAK_KB_MAX: u64 = 160 << 10;

/// Sends packs that must all be refused, and looks for traces.
fn all_refused(packs: Vec<(&str, Vec<u8>)>) {
    let git = RealGit::new();
    let origin = Scenario::linear(3).build(&git, "srv/a.git");
    let server = Serving::start_small(&git, git.path("srv"));
    let tip = git.rev_parse(&origin, "main").to_string();
    let warm = server.push("a.git", &raw::push_body("refs/heads/warm", &tip, &empty_pack()));
    assert!(warm.text().contains("ok refs/heads/warm"), "{}", warm.text());
    let before = (files(&origin), server.open_files());
    for (what, pack) in packs {
        let reply = server.push("a.git", &raw::push_body("refs/heads/new", &tip, &pack));
        let text = reply.text();
        assert_eq!(reply.status, 200, "{what}: {text}");
        let told = text.contains("unpack ") && text.contains("ng refs/heads/new");
        assert!(told || text.contains("ERR "), "{what}: {text}");
        assert!(!text.contains("unpack ok"), "{what}: {text}");
        assert!(!text.contains("panic"), "{what}: {text}");
        assert_eq!(files(&origin), before.0, "{what} left something behind");
    }
    server.settle(before.1);
    let peak = server.peak_kb();
    println!("peak: {peak} kB");
    assert!(peak <= PEAK_KB_MAX, "{peak} kB");
    git.fsck_strict(&origin);
}

fn empty_pack() -> Vec<u8> {
    PackBuilder::new(0).finish()
}

#[test]
fn truncated_and_corrupt_packs() {
    let git = RealGit::new();
    let source = Scenario::linear(8).repacked().build(&git, "source.git");
    let pack = pack_of(&git, &source, "main\n");
    let changed = |at: usize| {
        let mut pack = pack.clone();
        pack[at] ^= 0x55;
        pack
    };
    let middle = pack.len() / 2;
    all_refused(vec![
        ("nothing", Vec::new()),
        ("half a header", pack[..7].to_vec()),
        ("no entries", pack[..12].to_vec()),
        ("half a pack", pack[..middle].to_vec()),
        ("no checksum", pack[..pack.len() - 20].to_vec()),
        ("half a checksum", pack[..pack.len() - 10].to_vec()),
        ("no signature", changed(0)),
        ("another version", changed(7)),
        ("too many entries", changed(11)),
        ("a changed entry header", changed(12)),
        ("changed content", changed(middle)),
        ("another checksum", changed(pack.len() - 1)),
        ("text", b"this is not a pack at all, is it?".to_vec()),
    ]);
}

#[test]
fn entries_that_lie() {
    let blob = deflate(b"content");
    let lost = [0x12; 20];
    all_refused(vec![
        ("a longer object", PackBuilder::new(1).entry(BLOB, 9, &blob).finish()),
        ("a shorter object", PackBuilder::new(1).entry(BLOB, 3, &blob).finish()),
        ("kind 0", PackBuilder::new(1).entry(0, 7, &blob).finish()),
        ("kind 5", PackBuilder::new(1).entry(5, 7, &blob).finish()),
        ("no zlib", PackBuilder::new(1).entry(BLOB, 7, b"plainly not zlib data").finish()),
        (
            "a delta of an object nobody has",
            PackBuilder::new(1)
                .entry(REF_DELTA, 4, &[lost.as_slice(), &deflate(&[7, 1, 1, b'x'])].concat())
                .finish(),
        ),
        (
            "a delta of something before the pack",
            PackBuilder::new(1)
                .entry(OFS_DELTA, 4, &[[0x7f].as_slice(), &deflate(&[7, 1, 1, b'x'])].concat())
                .finish(),
        ),
        ("fewer entries than follow", PackBuilder::new(1).blob(b"a").blob(b"b").finish()),
        ("four billion entries", PackBuilder::new(u32::MAX).blob(b"a").finish()),
    ]);
}

/// A delta's instructions: `times` copies of the first `length` bytes of a base of that length.
fn copies(length: u64, times: u64) -> Vec<u8> {
    let mut delta = Vec::new();
    for mut size in [length, length * times] {
        while size >= 0x80 {
            delta.push((size & 0x7f) as u8 | 0x80);
            size >>= 7;
        }
        delta.push(size as u8);
    }
    for _ in 0..times {
        let size = length.to_le_bytes();
        delta.extend_from_slice(&[0b1111_0000, size[0], size[1], size[2]]);
    }
    delta
}

#[test]
fn bombs() {
    // One delta makes 8 GiB of 8 MiB that were 8 KiB in the pack.
    let base = vec![0; 8 << 20];
    let stored = deflate(&base);
    let delta = copies(base.len() as u64, 1024);
    let bomb = PackBuilder::new(2).entry(BLOB, base.len() as u64, &stored);
    let back = offset(bomb.len() - PackBuilder::new(2).len());
    let bomb = bomb.entry(OFS_DELTA, delta.len() as u64, &[back, deflate(&delta)].concat());
    let zlib_bomb = deflate(&vec![0; 256 << 20]);
    all_refused(vec![
        ("a delta bomb", bomb.finish()),
        ("a zlib bomb", PackBuilder::new(1).entry(BLOB, 10, &zlib_bomb).finish()),
        ("10 GiB, it says", PackBuilder::new(1).entry(BLOB, 10 << 30, &deflate(b"no")).finish()),
        ("10 GiB of tree", PackBuilder::new(1).entry(2, 10 << 30, &zlib_bomb).finish()),
        ("16 EiB, it says", PackBuilder::new(1).entry(BLOB, u64::MAX, &deflate(b"no")).finish()),
    ]);
}

/// The distance back to a base, as packs write it.
fn offset(mut distance: usize) -> Vec<u8> {
    let mut bytes = vec![(distance & 0x7f) as u8];
    while distance >= 0x80 {
        distance = (distance >> 7) - 1;
        bytes.push((distance & 0x7f) as u8 | 0x80);
    }
    bytes.reverse();
    bytes
}

#[test]
fn an_object_twice_is_kept_once_or_refused() {
    let git = RealGit::new();
    let origin = Scenario::linear(3).build(&git, "srv/a.git");
    let server = Serving::start(&git, git.path("srv"), &[]);
    let tip = git.rev_parse(&origin, "main").to_string();
    let before = files(&origin);
    let pack = PackBuilder::new(3).blob(b"twice").blob(b"once").blob(b"twice").finish();
    let text = server.push("a.git", &raw::push_body("refs/heads/new", &tip, &pack)).text();
    if !text.contains("unpack ok") {
        assert!(text.contains("ng refs/heads/new"), "{text}");
        assert_eq!(files(&origin), before);
    }
    git.fsck_strict(&origin);
}

#[test]
fn objects_that_miss_others() {
    let git = RealGit::new();
    let origin = Scenario::linear(3).build(&git, "srv/a.git");
    let server = Serving::start(&git, git.path("srv"), &[]);
    let work = git.clone(&origin, "work", &["--quiet"]);
    git.commit_file(&work, "one.txt", "one\n");
    let tip = git.commit_file(&work, "two.txt", "two\n").to_string();
    let before = files(&origin);
    // The commit between is left out.
    let pack = pack_of(&git, &work, "HEAD\n^HEAD~1\n");
    let text = server.push("a.git", &raw::push_body("refs/heads/new", &tip, &pack)).text();
    assert!(text.contains("ng refs/heads/new missing necessary objects"), "{text}");
    // No pack at all, and an object nobody has.
    let lost = "1234567890123456789012345678901234567890";
    let text = server.push("a.git", &raw::push_body("refs/heads/new", lost, &empty_pack())).text();
    assert!(text.contains("ng refs/heads/new"), "{text}");
    assert_eq!(files(&origin), before);
}
