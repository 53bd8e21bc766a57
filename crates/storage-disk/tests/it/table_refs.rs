//! Refs in reftables: the suite every store runs, and stock git at work on the same stack.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use object::{HashKind, ObjectId};
use storage::{CommitError, Peeled, RefStore, RefTransaction, Target, conformance};
use testkit::RealGit;

use crate::support::{self, commit, edit, get, scan};

fn made(git: &RealGit, name: &str, hash: HashKind) -> PathBuf {
    let format = format!("--object-format={}", hash.name());
    let init = ["init", "-q", "--bare", "-b", "main", "--ref-format=reftable", &format, name];
    git.ok(git.root(), &init);
    git.path(name)
}

fn commits(git: &RealGit, dir: &PathBuf, count: usize) -> Vec<ObjectId> {
    let tree = git.ok_with_input(dir, &["mktree"], b"").text();
    let made = |n: usize| git.ok(dir, &["commit-tree", "-m", &n.to_string(), &tree]);
    let id = |hex: String| ObjectId::from_hex(hex.trim().as_bytes()).expect("an id");
    (0..count).map(|n| id(made(n))).collect()
}

fn listed(dir: &std::path::Path) -> Vec<String> {
    let list = fs::read_to_string(dir.join("reftable/tables.list")).expect("a list");
    list.lines().map(str::to_owned).collect()
}

/// As `git for-each-ref` tells it, symbolic refs unresolved.
fn theirs(git: &RealGit, dir: &PathBuf) -> Vec<String> {
    let format = "%(if)%(symref)%(then)ref: %(symref)%(else)%(objectname)%(end) %(refname)";
    let shown = git.ok(dir, &["for-each-ref", &format!("--format={format}")]);
    shown.lines().map(str::to_owned).collect()
}

#[test]
fn tables_conform() {
    let git = RealGit::new();
    let count = Mutex::new(0);
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        conformance::refs::run(hash, &|| -> Arc<dyn RefStore> {
            let mut count = count.lock().expect("not poisoned");
            *count += 1;
            support::open(&made(&git, &format!("r{count}.git"), hash)).refs
        });
    }
}

#[test]
fn git_and_we_write_in_turn() {
    let git = RealGit::new();
    let dir = made(&git, "r.git", HashKind::Sha1);
    git.ok(&dir, &["config", "core.logAllRefUpdates", "true"]);
    let ids = commits(&git, &dir, 3);
    let refs = support::open(&dir).refs;
    commit(&*refs, vec![edit("refs/heads/main", None, Some(ids[0]))]).expect("fine");
    for number in 0..40 {
        let name = format!("refs/heads/ours/{number}");
        commit(&*refs, vec![edit(&name, None, Some(ids[1]))]).expect("fine");
        let name = format!("refs/heads/theirs/{number}");
        git.ok(&dir, &["update-ref", &name, &ids[2].to_hex()]);
        if number % 10 == 0 {
            assert_eq!(scan(&*refs, ""), theirs(&git, &dir));
        }
    }
    commit(&*refs, vec![edit("refs/heads/theirs/7", Some(ids[2]), None)]).expect("fine");
    git.ok(&dir, &["update-ref", "-d", "refs/heads/ours/7"]);
    let tag = git.ok(&dir, &["tag", "-a", "-m", "tag", "v1", "main"]);
    assert_eq!(tag, "");
    let found = get(&*refs, "refs/tags/v1").expect("git's tag");
    assert_eq!(found.peeled, Peeled::To(ids[0]));
    assert_eq!(scan(&*refs, ""), theirs(&git, &dir));
    assert!(listed(&dir).len() < 10, "{:?}", listed(&dir));
    git.fsck_strict(&dir);

    // Our tag is as git's own, and both reflogs are.
    let mut ours = edit("refs/tags/v2", None, found.target.id());
    ours.peeled = found.peeled;
    commit(&*refs, vec![ours]).expect("fine");
    let shown = git.ok(&dir, &["for-each-ref", "--format=%(*objectname)", "refs/tags/v2"]);
    assert_eq!(shown.trim(), ids[0].to_hex());
    commit(&*refs, vec![edit("refs/heads/main", Some(ids[0]), Some(ids[1]))]).expect("fine");
    for name in ["refs/heads/main", "HEAD"] {
        let log = git.ok(&dir, &["log", "-g", "--format=%H %gs %gn <%ge>", name]);
        let line = |id: &ObjectId| format!("{id} push C O Mitter <committer@example.com>");
        assert_eq!(log.lines().collect::<Vec<_>>(), [line(&ids[1]), line(&ids[0])], "{name}");
    }
    let date = git.ok(&dir, &["log", "-g", "-1", "--date=raw", "--format=%gd", "refs/heads/main"]);
    assert_eq!(date.trim(), "main@{1700000000 +0100}");
    // What a reflog alone keeps is known, and goes with its ref.
    let kept = |refs: &dyn RefStore| {
        let mut ids = Vec::new();
        let snapshot = refs.snapshot().expect("a snapshot");
        snapshot.scan_kept(&mut |id| ids.push(id)).expect("readable");
        ids
    };
    assert!(kept(&*refs).contains(&ids[0]));
    commit(&*refs, vec![edit("refs/heads/main", Some(ids[1]), None)]).expect("fine");
    git.fail(&dir, &["reflog", "exists", "refs/heads/main"]);
    git.ok(&dir, &["update-ref", "refs/heads/main", &ids[2].to_hex()]);
    let log = git.ok(&dir, &["log", "-g", "--format=%H", "refs/heads/main"]);
    assert_eq!(log.trim(), ids[2].to_hex());
}

#[test]
fn a_snapshot_stays_and_a_lock_is_respected() {
    let git = RealGit::new();
    let dir = made(&git, "r.git", HashKind::Sha1);
    let ids = commits(&git, &dir, 2);
    let refs = support::open(&dir).refs;
    commit(&*refs, vec![edit("refs/heads/a", None, Some(ids[0]))]).expect("fine");
    let before = refs.snapshot().expect("a snapshot");
    for number in 0..30 {
        git.ok(&dir, &["update-ref", &format!("refs/heads/b{number}"), &ids[1].to_hex()]);
    }
    git.ok(&dir, &["update-ref", "-d", "refs/heads/a"]);
    git.ok(&dir, &["pack-refs", "--all"]);
    let found = before.get("refs/heads/a".into()).expect("readable").expect("still there");
    assert_eq!(found.target, Target::Id(ids[0]));
    assert!(before.get("refs/heads/b1".into()).expect("readable").is_none());
    assert!(get(&*refs, "refs/heads/a").is_none());

    let lock = dir.join("reftable/tables.list.lock");
    fs::write(&lock, "").expect("written");
    let refused = commit(&*refs, vec![edit("refs/heads/c", None, Some(ids[0]))]);
    match refused.expect_err("locked") {
        CommitError::Storage(storage::Error::Locked { lock: named, .. }) => {
            assert_eq!(named, lock.display().to_string());
        }
        other => panic!("{other:?}"),
    }
    fs::remove_file(&lock).expect("removed");
    commit(&*refs, vec![edit("refs/heads/c", None, Some(ids[0]))]).expect("free again");
    // A prepared transaction leaves nothing when it is dropped. It keeps others of this process out;
    // when git was faster, that is found out before anything is written.
    let names = listed(&dir);
    let prepare = || {
        let edits = vec![edit("refs/heads/d", None, Some(ids[0]))];
        refs.prepare(RefTransaction { edits, ..Default::default() })
    };
    let prepared = prepare().expect("fine");
    assert!(matches!(prepare().err(), Some(CommitError::Locked { .. })));
    drop(prepared);
    assert_eq!(listed(&dir), names);
    let prepared = prepare().expect("free again");
    git.ok(&dir, &["update-ref", "refs/heads/d", &ids[1].to_hex()]);
    let names = listed(&dir);
    match prepared.commit().expect_err("it is another one") {
        CommitError::Lost { found, .. } => assert_eq!(found, Some(Target::Id(ids[1]))),
        other => panic!("{other:?}"),
    }
    assert_eq!(listed(&dir), names);
    let files = fs::read_dir(dir.join("reftable")).expect("a directory").count();
    assert_eq!(files, names.len() + 1);
}

#[test]
fn many_writers_of_both_kinds_lose_nothing() {
    let git = RealGit::new();
    let dir = made(&git, "r.git", HashKind::Sha1);
    git.ok(&dir, &["config", "reftable.lockTimeout", "60000"]);
    let id = commits(&git, &dir, 1)[0];
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let (git, dir) = (&git, &dir);
            scope.spawn(move || {
                let refs = support::open(dir).refs;
                for number in 0..25 {
                    let name = format!("refs/heads/ours/{writer}/{number}");
                    commit(&*refs, vec![edit(&name, None, Some(id))]).expect("fine");
                }
            });
            scope.spawn(move || {
                for number in 0..15 {
                    let name = format!("refs/heads/theirs/{writer}/{number}");
                    git.ok(dir, &["update-ref", &name, &id.to_hex()]);
                }
            });
            scope.spawn(move || {
                let refs = support::open(dir).refs;
                let mut seen = 0;
                for _ in 0..50 {
                    let now = scan(&*refs, "").len();
                    assert!(now >= seen, "{now} after {seen}");
                    seen = now;
                }
            });
        }
    });
    let refs = support::open(&dir).refs;
    assert_eq!(scan(&*refs, "").len(), 3 * (25 + 15));
    assert_eq!(scan(&*refs, ""), theirs(&git, &dir));
    git.fsck_strict(&dir);
    let left = fs::read_dir(dir.join("reftable")).expect("a directory");
    let left = left.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    let mut left: Vec<_> = left.filter(|name| name != "tables.list").collect();
    left.sort();
    assert_eq!(left, listed(&dir), "nothing is left behind");
}

/// The lock's own wait is for others: however many of one process write, each has its turn.
#[test]
fn many_writers_of_one_process_stand_in_line() {
    let git = RealGit::new();
    let dir = made(&git, "r.git", HashKind::Sha1);
    git.ok(&dir, &["config", "reftable.lockTimeout", "0"]);
    let ids = commits(&git, &dir, 2);
    let refs = support::open(&dir).refs;
    std::thread::scope(|scope| {
        for writer in 0..24 {
            let (refs, ids) = (&refs, &ids);
            scope.spawn(move || {
                let name = format!("refs/heads/{writer}");
                for round in 0..6 {
                    let old = (round > 0).then(|| ids[(round + 1) % 2]);
                    let one = vec![edit(&name, old, Some(ids[round % 2]))];
                    commit(&**refs, one).expect("nobody else is there");
                }
            });
        }
    });
    assert_eq!(theirs(&git, &dir).len(), 24);
    assert!(listed(&dir).len() < 20, "{:?}", listed(&dir));
}
