//! Blobs as files: modes, quarantine, loose objects, alternates.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use storage::BlobStore as _;
use storage_disk::DiskBlobs;
use testkit::RealGit;

use crate::support::{self, open};

#[test]
fn staged_loose_objects_become_gits_objects() {
    let git = RealGit::new();
    let source = git.init_bare("source.git");
    let hex = git.ok_with_input(&source, &["hash-object", "-w", "--stdin"], b"hello").text();
    let hex = hex.trim();
    let name = format!("{}/{}", &hex[..2], &hex[2..]);
    let bytes = fs::read(source.join("objects").join(&name)).expect("a loose object");
    let bare = git.init_bare("r.git");
    git.ok(&bare, &["config", "core.sharedRepository", "group"]);
    let parts = open(&bare);
    let mut stage = parts.blobs.stage().expect("a stage");
    let quarantine = stage.local_dir().expect("a directory").to_owned();
    let base = quarantine.file_name().expect("a name").to_str().expect("ASCII").to_owned();
    assert!(base.starts_with("tmp_objdir-incoming-"), "{base}");
    let mut writer = stage.create(&name).expect("new");
    writer.write_all(&bytes).expect("written");
    writer.finish().expect("finished");
    // As a hook sees it.
    let mut cat = git.command(&bare);
    cat.env("GIT_OBJECT_DIRECTORY", &quarantine).args(["cat-file", "-p", hex.trim()]);
    assert_eq!(cat.output().expect("git runs").stdout, b"hello");
    assert!(!git.run(&bare, &["cat-file", "-e", hex.trim()]).status.success());
    stage.publish().expect("published");
    assert_eq!(git.ok(&bare, &["cat-file", "-p", hex.trim()]), "hello");
    assert!(!quarantine.exists());
    let mode = |path| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
    assert_eq!(mode(bare.join("objects").join(&name)), 0o444);
    assert_eq!(mode(bare.join("objects").join(&hex[..2])) & 0o2070, 0o2070);
}

#[test]
fn git_prune_removes_what_a_killed_process_left() {
    let git = RealGit::new();
    let bare = git.init_bare("r.git");
    let mut stage = open(&bare).blobs.stage().expect("a stage");
    stage.create("pack/x.pack").expect("new").finish().expect("finished");
    let quarantine = stage.local_dir().expect("a directory").to_owned();
    std::mem::forget(stage);
    git.ok(&bare, &["prune", "--expire=now"]);
    assert!(!quarantine.exists());
}

#[test]
fn a_graph_is_replaced_under_gits_lock() {
    let git = RealGit::new();
    git.ok(git.root(), &["init", "--quiet", "-b", "main", "work"]);
    let work = git.path("work");
    git.commit_file(&work, "file", "content");
    let blobs = open(&work.join(".git")).blobs;
    let write = ["commit-graph", "write", "--reachable"];
    git.ok(&work, &write);
    let graph = work.join(".git/objects/info/commit-graph");
    let old = fs::read(&graph).expect("a graph");

    let mut stage = blobs.stage().expect("a stage");
    stage.replace("info/commit-graph").expect("free");
    let refused = git.run(&work, &write);
    assert!(!refused.status.success());
    assert!(refused.error_text().contains("commit-graph.lock': File exists"));
    drop(stage);
    git.ok(&work, &write);

    let lock = work.join(".git/objects/info/commit-graph.lock");
    fs::write(&lock, "").expect("locked as git does");
    let mut stage = blobs.stage().expect("a stage");
    let told = stage.replace("info/commit-graph").expect_err("git holds it").to_string();
    assert!(told.contains("commit-graph.lock exists"), "{told}");
    fs::remove_file(&lock).expect("unlocked");
    stage.replace("info/commit-graph").expect("free");
    let mut writer = stage.create("info/commit-graph").expect("new");
    writer.write_all(&old).expect("written");
    writer.finish().expect("finished");
    stage.publish().expect("published");
    assert!(!lock.exists());
    assert_eq!(fs::metadata(&graph).expect("there").permissions().mode() & 0o777, 0o444);
    git.ok(&work, &["commit-graph", "verify"]);
}

#[test]
fn packs_are_mapped_and_other_files_are_not() {
    let git = RealGit::new();
    let bare = git.init_bare("r.git");
    fs::write(bare.join("objects/pack/pack-1.pack"), "mapped").expect("written");
    fs::write(bare.join("objects/info/packs"), "P pack-1.pack\n").expect("written");
    let blobs = open(&bare).blobs;
    let mapped = blobs.map("pack/pack-1.pack").expect("fine").expect("mapped");
    fs::remove_file(bare.join("objects/pack/pack-1.pack")).expect("removed");
    assert_eq!(mapped, "mapped");
    assert_eq!(blobs.map("info/packs").expect("fine"), None);
    assert_eq!(blobs.read("info/packs", 2..8).expect("there"), "pack-1");
}

#[test]
fn alternates_bring_their_blobs_and_refs() {
    let git = RealGit::new();
    let base = git.init_bare("base.git");
    let tree = git.ok_with_input(&base, &["mktree"], b"").text();
    let id = git.ok(&base, &["commit-tree", "-m", "one", tree.trim()]);
    git.ok(&base, &["update-ref", "refs/heads/main", &id]);
    let fork = git.clone("base.git", "fork.git", &["--bare", "--shared"]);
    let parts = open(&fork);
    assert_eq!(parts.alternates.len(), 1);
    let name = format!("{}/{}", &id[..2], &id[2..]);
    assert!(parts.blobs.stat(&name).expect("fine").is_none());
    assert!(parts.alternates[0].stat(&name).expect("fine").is_some());
    assert_eq!(support::scan(&*parts.alternate_refs[0], ""), [format!("{id} refs/heads/main")]);
}

#[test]
fn a_mapped_file_that_is_cut_reads_as_zeros_and_is_told() {
    const CUT_TO: usize = 128 << 10;
    maps::guard_maps().expect("a handler");
    let git = RealGit::new();
    let objects = git.init_bare("r.git").join("objects");
    let path = objects.join("pack/pack-1.pack");
    fs::write(&path, vec![b'x'; 2 * CUT_TO]).expect("written");
    let (store, other) = (DiskBlobs::new(&objects), DiskBlobs::new(&objects));
    let map = |store: &DiskBlobs| store.map("pack/pack-1.pack").expect("mapped").expect("there");
    let (before, of_other) = (map(&store), map(&other));
    File::options().write(true).open(&path).expect("there").set_len(CUT_TO as u64).expect("cut");
    assert!(before[..CUT_TO].iter().all(|byte| *byte == b'x'));
    assert_eq!(store.faults(), 0, "what is left of the file is still mapped");
    assert!(before[CUT_TO..].iter().all(|byte| *byte == 0));
    assert_eq!((store.faults(), other.faults()), (1, 0));
    drop(before);
    assert_eq!(store.faults(), 1, "nothing is forgotten with the map");
    assert_eq!(map(&store).len(), CUT_TO);
    drop(of_other);
    // Many maps at once, so that the table grows.
    let many: Vec<_> = (0..600).map(|_| map(&other)).collect();
    File::options().write(true).open(&path).expect("there").set_len(0).expect("cut");
    assert!(many.iter().all(|map| map.iter().all(|byte| *byte == 0)));
    assert_eq!((store.faults(), other.faults()), (1, 600));
}
