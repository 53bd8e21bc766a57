//! Repositories that are damaged on disk: clients are told, others are served as before.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::{RealGit, Scenario};

use crate::serving::Serving;

fn only(dir: &Path, extension: &str) -> PathBuf {
    let found = fs::read_dir(dir.join("objects/pack")).expect("the packs").flatten();
    let mut found = found
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|found| found == extension));
    found.next().unwrap_or_else(|| panic!("a .{extension} file"))
}

fn write(path: &Path, bytes: &[u8]) {
    // git's packs are read-only files.
    fs::remove_file(path).expect("there was a file");
    fs::write(path, bytes).expect("a damaged file");
}

fn truncate(path: &Path, to: impl Fn(u64) -> u64) {
    let bytes = fs::read(path).expect("a file");
    write(path, &bytes[..to(bytes.len() as u64) as usize]);
}

/// Clones, fetches and pushes must fail in words or work; the server and its other
/// repository must not notice.
fn told_and_survived(damage: impl Fn(&RealGit, &Path)) {
    for opened_before in [false, true] {
        let git = RealGit::new();
        let origin = Scenario::branchy(40).repacked().build(&git, "srv/bad.git");
        Scenario::linear(3).build(&git, "srv/good.git");
        let work = git.clone(&origin, "work", &["--quiet"]);
        git.commit_file(&work, "new.txt", "new\n");
        let server = Serving::start_small(&git, git.path("srv"));
        if opened_before {
            git.clone(server.url("bad"), "early", &["--quiet"]);
        }
        let open_files = server.open_files();
        damage(&git, &origin);
        for protocol in ["protocol.version=0", "protocol.version=2"] {
            let target = git.path(protocol).display().to_string();
            let url = server.url("bad");
            let cloned = git.run(git.root(), &["-c", protocol, "clone", "--bare", &url, &target]);
            let pushed = git.run(&work, &["-c", protocol, "push", &url, "HEAD:refs/heads/new"]);
            for output in [cloned, pushed] {
                let words = output.error_text();
                assert!(output.status.code().is_some(), "{words}");
                assert!(!words.contains("bytes remaining"), "cut off without a word: {words}");
            }
        }
        for path in ["/bad/HEAD", "/bad/info/refs", "/bad/objects/info/packs"] {
            let reply = server.get(path, &[]);
            assert!([200, 404, 500].contains(&reply.status), "{path}: {}", reply.status);
            let home = git.root().display().to_string();
            assert!(!reply.text().contains(&home), "the inside of the server stays inside");
        }
        let name = format!("good-{opened_before}");
        git.clone(server.url("good"), name, &["--quiet"]);
        // A damaged repository may have been opened meanwhile; nothing else may stay open.
        server.settle(open_files + 8);
    }
}

#[test]
fn a_truncated_pack() {
    told_and_survived(|_, dir| truncate(&only(dir, "pack"), |len| len / 2));
    told_and_survived(|_, dir| truncate(&only(dir, "pack"), |_| 5));
    told_and_survived(|_, dir| truncate(&only(dir, "pack"), |_| 0));
}

#[test]
fn a_broken_index() {
    told_and_survived(|_, dir| {
        let idx = only(dir, "idx");
        let len = fs::metadata(&idx).expect("an index").len();
        write(&idx, &vec![0; len as usize]);
    });
    told_and_survived(|_, dir| truncate(&only(dir, "idx"), |len| len / 2));
    told_and_survived(|_, dir| {
        let idx = only(dir, "idx");
        let mut bytes = fs::read(&idx).expect("an index");
        bytes[8..1032].fill(0xff);
        write(&idx, &bytes);
    });
}

#[test]
fn a_pack_of_other_bytes() {
    told_and_survived(|_, dir| {
        let pack = only(dir, "pack");
        let mut bytes = fs::read(&pack).expect("a pack");
        let len = bytes.len();
        bytes[12..len - 20].iter_mut().for_each(|byte| *byte ^= 0x5a);
        write(&pack, &bytes);
    });
}

#[test]
fn missing_objects() {
    told_and_survived(|_, dir| {
        fs::remove_file(only(dir, "pack")).expect("remove the pack");
    });
    told_and_survived(|git, dir| {
        let tree = git.rev_parse(dir, "main^{tree}").to_string();
        let pack = only(dir, "pack");
        let bytes = fs::read(&pack).expect("a pack");
        for extension in ["pack", "idx", "rev"] {
            let _ = fs::remove_file(pack.with_extension(extension));
        }
        git.ok_with_input(dir, &["unpack-objects", "-q"], &bytes);
        let loose = dir.join("objects").join(&tree[..2]).join(&tree[2..]);
        fs::remove_file(loose).expect("remove a tree");
    });
}

#[test]
fn garbage_where_refs_and_settings_are() {
    let garbage = b"\0\xff\x01 garbage\n[[[ not = this\n".as_slice();
    for name in ["HEAD", "packed-refs", "config", "shallow", "objects/info/alternates"] {
        told_and_survived(|git, dir| {
            git.ok(dir, &["pack-refs", "--all"]);
            fs::write(dir.join(name), garbage).expect("a damaged file");
        });
    }
    told_and_survived(|git, dir| {
        git.ok(dir, &["pack-refs", "--all"]);
        let file = dir.join("packed-refs");
        let text = fs::read_to_string(&file).expect("packed refs");
        fs::write(&file, &text[..text.len() - 30]).expect("a damaged file");
    });
    told_and_survived(|_, dir| {
        fs::write(dir.join("refs/heads/main"), "").expect("an empty ref");
    });
    told_and_survived(|_, dir| {
        let lost = "1234567890123456789012345678901234567890\n";
        fs::write(dir.join("refs/heads/main"), lost).expect("a ref to nothing");
    });
}

#[test]
fn broken_helpers_of_the_object_store() {
    told_and_survived(|git, dir| {
        git.ok(dir, &["repack", "-adbq"]);
        let bitmap = only(dir, "bitmap");
        truncate(&bitmap, |len| len / 2);
    });
    told_and_survived(|git, dir| {
        git.ok(dir, &["commit-graph", "write", "--reachable", "--no-progress"]);
        let graph = dir.join("objects/info/commit-graph");
        truncate(&graph, |len| len / 2);
    });
    told_and_survived(|git, dir| {
        git.ok(dir, &["multi-pack-index", "write"]);
        let midx = dir.join("objects/pack/multi-pack-index");
        let len = fs::metadata(&midx).expect("a midx").len();
        write(&midx, &vec![0x7f; len as usize]);
    });
    told_and_survived(|_, dir| write(&only(dir, "rev"), b"RIDX"));
}
