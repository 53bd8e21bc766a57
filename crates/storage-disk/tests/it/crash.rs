//! A crash between any two writes: at every step the repository is copied as it is, and every
//! copy must satisfy `git fsck` and hold each ref's old or new value.
//!
//! And a power failure after the last one: what was acknowledged must have been synced.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use storage::Parts;
use storage_disk::OpenOptions;
use testkit::RealGit;

use crate::support::{self, commit, edit, scan};

/// Runs `change` and returns a copy of the repository for every step it took.
fn copies(git: &RealGit, bare: &Path, change: impl Fn(&Parts)) -> Vec<PathBuf> {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let (root, from, list) = (git.root().to_owned(), bare.to_owned(), Arc::clone(&taken));
    let options = OpenOptions {
        before_change: Some(Arc::new(move |_, _| {
            let mut list = list.lock().expect("not poisoned");
            let to = root.join(format!("copy-{}.git", list.len()));
            copy(&from, &to);
            list.push(to);
            Ok(())
        })),
        durability: Some(storage_disk::Durability::Fsync),
        ..support::options()
    };
    change(&storage_disk::open(bare, &options).expect("opens"));
    let mut taken = taken.lock().expect("not poisoned");
    let last = git.path("copy-last.git");
    copy(bare, &last);
    taken.push(last);
    std::mem::take(&mut *taken)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(std::fs::copy(&path, &target).expect("copied")),
        }
    }
}

/// Runs `change` and returns every step it took, in order.
fn steps(bare: &Path, change: impl Fn(&Parts)) -> Vec<(&'static str, PathBuf)> {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&taken);
    let options = OpenOptions {
        before_change: Some(Arc::new(move |step, path| {
            list.lock().expect("not poisoned").push((step, path.to_owned()));
            Ok(())
        })),
        durability: Some(storage_disk::Durability::Fsync),
        ..support::options()
    };
    change(&storage_disk::open(bare, &options).expect("opens"));
    std::mem::take(&mut *taken.lock().expect("not poisoned"))
}

/// What a power failure after these steps could still take back: files of which bytes were not
/// synced before they got their names, and names in directories that were not synced later.
fn could_be_lost(steps: &[(&'static str, PathBuf)]) -> Vec<String> {
    let mut unsynced_files: BTreeSet<&OsStr> = BTreeSet::new();
    let mut unsynced_names: BTreeSet<&Path> = BTreeSet::new();
    let mut lost = Vec::new();
    for (step, path) in steps {
        let name = path.file_name().expect("a path of a file");
        match *step {
            // Reflogs are no part of the promise: git does not sync them either.
            _ if path.to_string_lossy().contains("/logs/") => {}
            "write" | "append" => drop(unsynced_files.insert(name)),
            "sync" => drop(unsynced_files.remove(name)),
            // Staged files keep their names, others lose `.lock` or `.new`.
            "rename" => {
                for suffix in ["", ".lock", ".new"] {
                    let mut written = name.to_owned();
                    written.push(suffix);
                    if unsynced_files.contains(&*written) {
                        lost.push(format!("bytes of {}", path.display()));
                    }
                }
                unsynced_names.insert(path);
            }
            "create directory" => drop(unsynced_names.insert(path)),
            // The name of a lock that was made and removed again is nobody's loss.
            "remove" if path.extension() != Some("lock".as_ref()) => {
                unsynced_names.insert(path);
            }
            // With its directory goes every name in it.
            "remove directory" => {
                unsynced_names.retain(|name| !name.starts_with(path));
                unsynced_names.insert(path);
            }
            "sync directory" => unsynced_names.retain(|name| name.parent() != Some(path)),
            _ => {}
        }
    }
    lost.extend(unsynced_names.iter().map(|path| format!("the name {}", path.display())));
    lost
}

#[test]
fn acknowledged_refs_survive_a_power_failure() {
    let git = RealGit::new();
    let bare = git.init_bare("r.git");
    let tree = git.ok_with_input(&bare, &["mktree"], b"").text();
    let hex = git.ok(&bare, &["commit-tree", "-m", "one", tree.trim()]);
    let one = object::ObjectId::from_hex(hex.as_bytes()).expect("hex");
    git.ok(&bare, &["update-ref", "refs/heads/packed", &one.to_hex()]);
    git.ok(&bare, &["pack-refs", "--all"]);
    git.ok(&bare, &["update-ref", "refs/heads/loose", &one.to_hex()]);
    git.ok(&bare, &["update-ref", "refs/heads/deep/loose", &one.to_hex()]);
    let changes = [
        edit("refs/heads/new", None, Some(one)),
        edit("refs/heads/deeper/and/new", None, Some(one)),
        edit("refs/heads/packed", Some(one), None),
        edit("refs/heads/loose", Some(one), None),
        edit("refs/heads/deep/loose", Some(one), None),
    ];
    for change in changes {
        let steps = steps(&bare, |parts| {
            commit(&*parts.refs, vec![change.clone()]).expect("fine");
        });
        let touched = steps.iter().any(|(step, _)| ["rename", "remove"].contains(step));
        assert!(touched, "{steps:?}");
        assert_eq!(could_be_lost(&steps), Vec::<String>::new(), "{steps:#?}");
    }
}

#[test]
fn acknowledged_blobs_survive_a_power_failure() {
    let git = RealGit::new();
    let bare = git.init_bare("r.git");
    let names =
        ["pack/pack-1.pack", "pack/pack-1.idx", "pack/pack-1.rev", "ab/cdef", "info/commit-graph"];
    let steps = steps(&bare, |parts| {
        let mut stage = parts.blobs.stage().expect("a stage");
        for name in names {
            let mut writer = stage.create(name).expect("new");
            writer.write_all(name.as_bytes()).expect("written");
            writer.finish().expect("finished");
        }
        stage.publish().expect("published");
    });
    let renamed = steps.iter().filter(|(step, _)| *step == "rename").count();
    assert!(renamed >= names.len(), "{steps:?}");
    let objects = bare.join("objects");
    // What happens inside the quarantine is nobody's promise once it is gone.
    let inside: Vec<PathBuf> = steps
        .iter()
        .filter(|(step, path)| *step == "create directory" && path.parent() == Some(&objects))
        .map(|(_, path)| path.clone())
        .filter(|path| path.to_string_lossy().contains("tmp_objdir"))
        .collect();
    let lost: Vec<String> = could_be_lost(&steps)
        .into_iter()
        .filter(|lost| !inside.iter().any(|stage| lost.contains(&*stage.to_string_lossy())))
        .collect();
    assert_eq!(lost, Vec::<String>::new(), "{steps:#?}");
}

#[test]
fn a_ref_transaction_may_stop_anywhere() {
    let git = RealGit::new();
    let bare = git.init_bare("r.git");
    let tree = git.ok_with_input(&bare, &["mktree"], b"").text();
    let id = |text: &str| {
        let hex = git.ok(&bare, &["commit-tree", "-m", text, tree.trim()]);
        object::ObjectId::from_hex(hex.as_bytes()).expect("hex")
    };
    let (one, two) = (id("one"), id("two"));
    git.ok(&bare, &["config", "core.logAllRefUpdates", "true"]);
    for name in ["refs/heads/main", "refs/heads/gone", "refs/heads/both"] {
        git.ok(&bare, &["update-ref", name, &one.to_hex()]);
    }
    git.ok(&bare, &["pack-refs", "--all"]);
    git.ok(&bare, &["update-ref", "refs/heads/both", &two.to_hex()]);
    let copies = copies(&git, &bare, |parts| {
        let edits = vec![
            edit("refs/heads/main", Some(one), Some(two)),
            edit("refs/heads/new/deep", None, Some(two)),
            edit("refs/heads/gone", Some(one), None),
            edit("refs/heads/both", Some(two), None),
        ];
        commit(&*parts.refs, edits).expect("fine");
    });
    assert!(copies.len() > 20, "only {} steps", copies.len());
    for copy in &copies {
        git.fsck_strict(copy);
        for line in scan(&*support::open(copy).refs, "") {
            let allowed = [
                format!("{one} refs/heads/main"),
                format!("{two} refs/heads/main"),
                format!("{two} refs/heads/new/deep"),
                format!("{one} refs/heads/gone"),
                // Never its older, packed value.
                format!("{two} refs/heads/both"),
            ];
            assert!(allowed.contains(&line), "{line} in {}", copy.display());
        }
    }
    let end = scan(&*support::open(&bare).refs, "");
    assert_eq!(end, [format!("{two} refs/heads/main"), format!("{two} refs/heads/new/deep")]);
}

#[test]
fn a_transaction_of_tables_may_stop_anywhere() {
    let git = RealGit::new();
    let init = ["init", "-q", "--bare", "-b", "main", "--ref-format=reftable", "r.git"];
    git.ok(git.root(), &init);
    let bare = git.path("r.git");
    let tree = git.ok_with_input(&bare, &["mktree"], b"").text();
    let id = |text: &str| {
        let hex = git.ok(&bare, &["commit-tree", "-m", text, tree.trim()]);
        object::ObjectId::from_hex(hex.as_bytes()).expect("hex")
    };
    let (one, two) = (id("one"), id("two"));
    git.ok(&bare, &["config", "core.logAllRefUpdates", "true"]);
    for name in ["refs/heads/main", "refs/heads/gone"] {
        git.ok(&bare, &["update-ref", name, &one.to_hex()]);
    }
    let change = |parts: &Parts| {
        let edits = vec![
            edit("refs/heads/main", Some(one), Some(two)),
            edit("refs/heads/new/deep", None, Some(two)),
            edit("refs/heads/gone", Some(one), None),
        ];
        commit(&*parts.refs, edits).expect("fine");
    };
    let (old, new) = (
        [format!("{one} refs/heads/gone"), format!("{one} refs/heads/main")],
        [format!("{two} refs/heads/main"), format!("{two} refs/heads/new/deep")],
    );
    let copies = copies(&git, &bare, change);
    assert!(copies.len() > 12, "only {} steps", copies.len());
    for copy in &copies {
        git.fsck_strict(copy);
        // All of it or nothing, whatever of the compaction behind it was done.
        let found = scan(&*support::open(copy).refs, "");
        assert!(found == old || found == new, "{found:?} in {}", copy.display());
    }
    assert_eq!(scan(&*support::open(&bare).refs, ""), new);

    for number in 0..5 {
        let steps = steps(&bare, |parts| {
            let name = format!("refs/heads/more/{number}");
            commit(&*parts.refs, vec![edit(&name, None, Some(one))]).expect("fine");
        });
        // A table that is in no list may come back: nobody reads it, and git removes it.
        let mut lost = could_be_lost(&steps);
        let gone = |path: &PathBuf| format!("the name {}", path.display());
        let removed: Vec<_> =
            steps.iter().filter(|(s, _)| *s == "remove").map(|(_, path)| gone(path)).collect();
        lost.retain(|name| !removed.contains(name));
        assert_eq!(lost, Vec::<String>::new(), "{steps:#?}");
    }
}

#[test]
fn replacing_a_blob_may_stop_anywhere() {
    let git = RealGit::new();
    git.ok(git.root(), &["init", "--quiet", "-b", "main", "work"]);
    let work = git.path("work");
    let graph = work.join(".git/objects/info/commit-graph");
    let write = ["commit-graph", "write", "--reachable"];
    let mut graphs = Vec::new();
    for text in ["one", "two"] {
        git.commit_file(&work, "file", text);
        git.ok(&work, &write);
        graphs.push(std::fs::read(&graph).expect("git's graph"));
    }
    let new = graphs.pop().expect("two of them");
    std::fs::remove_file(&graph).expect("removed");
    std::fs::write(&graph, &graphs[0]).expect("written");
    let copies = copies(&git, &work.join(".git"), |parts| {
        let mut stage = parts.blobs.stage().expect("a stage");
        stage.replace("info/commit-graph").expect("free");
        let mut writer = stage.create("info/commit-graph").expect("new");
        writer.write_all(&new).expect("written");
        writer.finish().expect("finished");
        stage.publish().expect("published");
    });
    for copy in &copies {
        git.fsck_strict(copy);
        let found = std::fs::read(copy.join("objects/info/commit-graph")).expect("never gone");
        assert!(found == graphs[0] || found == new, "{}", copy.display());
    }
    assert_eq!(std::fs::read(&graph).expect("there"), new);
}

#[test]
fn publishing_blobs_may_stop_anywhere() {
    let git = RealGit::new();
    git.ok(git.root(), &["init", "--quiet", "-b", "main", "work"]);
    let work = git.path("work");
    git.commit_file(&work, "file", "content");
    git.ok(&work, &["repack", "--quiet", "-ad"]);
    let source = work.join(".git/objects/pack");
    let bare = git.init_bare("r.git");
    let copies = copies(&git, &bare, |parts| {
        let mut stage = parts.blobs.stage().expect("a stage");
        for file in std::fs::read_dir(&source).expect("a directory") {
            let path = file.expect("an entry").path();
            let name =
                format!("pack/{}", path.file_name().expect("a name").to_str().expect("ASCII"));
            let mut writer = stage.create(&name).expect("new");
            for part in std::fs::read(&path).expect("read").chunks(100) {
                writer.write_all(part).expect("written");
            }
            writer.finish().expect("finished");
        }
        stage.publish().expect("published");
    });
    for copy in &copies {
        git.fsck_strict(copy);
        let packs = copy.join("objects/pack");
        for name in support::tree(&packs) {
            if let Some(stem) = name.strip_suffix(".idx") {
                assert!(packs.join(format!("{stem}.pack")).exists(), "{}", copy.display());
            }
        }
    }
    let head = git.rev_parse(&work, "HEAD");
    git.ok(&bare, &["update-ref", "refs/heads/main", &head.to_hex()]);
    git.fsck_strict(&bare);
}
