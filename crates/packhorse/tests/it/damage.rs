//! Repositories that are damaged on disk: clients are told, others are served as before.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use testkit::{RealGit, Scenario};

use crate::raw;
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

/// Cuts a file the server may have mapped.
fn cut(path: &Path, to: impl Fn(u64) -> u64) {
    fs::set_permissions(path, PermissionsExt::from_mode(0o644)).expect("permissions");
    let file = File::options().write(true).open(path).expect("a file");
    file.set_len(to(file.metadata().expect("a size").len())).expect("a shorter file");
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
fn files_cut_between_requests() {
    for ending in ["pack", "idx", "rev", "bitmap"] {
        for to in [0, 2] {
            told_and_survived(|git, dir| {
                if ending == "bitmap" {
                    git.ok(dir, &["repack", "-adbq"]);
                }
                cut(&only(dir, ending), |len| len * to / 3);
            });
        }
    }
}

/// The client has read the beginning of a large answer when the pack behind it is cut.
#[test]
fn a_pack_cut_while_it_is_sent() {
    const BLOB_BYTES: usize = 20 << 20;
    let git = RealGit::new();
    let bad = Scenario::big_blob(BLOB_BYTES).repacked().build(&git, "srv/bad.git");
    Scenario::linear(3).build(&git, "srv/good.git");
    let server = Serving::start_small(&git, git.path("srv"));
    let body = raw::fetch_body(&git.rev_parse(&bad, "main").to_string(), &[]);
    let headers =
        [("Content-Type", "application/x-git-upload-pack-request"), ("Git-Protocol", "version=2")];
    let head = raw::head("POST", "/bad/git-upload-pack", &headers, Some(body.len()));
    let open_files = server.open_files();
    let mut stream = TcpStream::connect(server.authority()).expect("the server listens");
    stream.write_all(&[head.as_bytes(), &body].concat()).expect("sent");
    let mut answer = vec![0; 100_000];
    stream.read_exact(&mut answer).expect("the beginning of the answer");
    cut(&only(&bad, "pack"), |len| len / 2);
    // Cut off, or told in words: what is on its way when the file is cut cannot be finished.
    let _ = stream.read_to_end(&mut answer);
    let ended = answer.ends_with(b"0\r\n\r\n");
    let told = String::from_utf8_lossy(&answer).contains("the server's storage failed");
    assert!(!ended || told, "{} bytes of a pack that is not there", answer.len());
    git.clone(server.url("good"), "good", &["--quiet"]);
    server.settle(open_files + 8);
    let words = git.fail(git.root(), &["clone", &server.url("bad"), "late"]);
    assert!(words.contains("fatal: "), "{words}");
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
