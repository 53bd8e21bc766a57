//! Who watches refs on a disk hears of changes of this process, of others, and of stock git.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use object::{HashKind, RefName};
use storage::{Moved, RefStore, Target, Watching, conformance};
use storage_disk::OpenOptions;
use testkit::{RealGit, TempDir};

use crate::support;

/// Long enough for every machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// One repository by two paths: what is done by one of them, this process tells by that one only.
fn twice(git: &RealGit, root: &TempDir, hash: HashKind, format: &str) -> (PathBuf, PathBuf) {
    let (dir, other) = (root.join("r.git"), root.join("other.git"));
    let hash = format!("--object-format={}", hash.name());
    let format = format!("--ref-format={format}");
    git.ok(root.path(), &["init", "-q", "--bare", "-b", "main", &hash, &format, "r.git"]);
    std::os::unix::fs::symlink(&dir, &other).expect("linked");
    (dir, other)
}

fn conform(format: &str, options: &OpenOptions, by_the_same_path: bool) {
    let git = RealGit::new();
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let kept = Mutex::new(Vec::new());
        conformance::watch::run(hash, &|| {
            let root = TempDir::new();
            let (dir, other) = twice(&git, &root, hash, format);
            kept.lock().expect("not poisoned").push(root);
            let other = if by_the_same_path { &dir } else { &other };
            let open = |dir: &Path| storage_disk::open(dir, options).expect("opens").refs;
            (open(&dir), open(other))
        });
    }
}

#[test]
fn changes_by_this_process_are_heard() {
    conform("files", &support::options(), true);
    conform("reftable", &support::options(), true);
}

#[test]
fn changes_by_others_are_heard() {
    for packed_refs_min in [1, 50] {
        conform("files", &OpenOptions { packed_refs_min, ..support::options() }, false);
    }
    conform("reftable", &support::options(), false);
}

/// Refs as somebody knows them who looks when he is told to.
struct Follower {
    refs: Arc<dyn RefStore>,
    told: Receiver<()>,
    _watching: Watching,
}

impl Follower {
    fn new(git_dir: &Path) -> Self {
        let refs = support::open(git_dir).refs;
        let (tell, told) = channel();
        let watching = refs.watch(Arc::new(move |_| tell.send(()).unwrap_or_default()));
        Follower { refs, told, _watching: watching.expect("watched") }
    }

    fn now(&self) -> BTreeMap<String, Target> {
        let snapshot = self.refs.snapshot().expect("a snapshot");
        let mut all = BTreeMap::new();
        let mut visit = |view: storage::RefView<'_>| {
            all.insert(view.name.to_string(), view.target.to_target());
            ControlFlow::Continue(())
        };
        snapshot.scan("".into(), &mut visit).expect("a scan");
        let head = snapshot.get("HEAD".into()).expect("readable").expect("there");
        all.insert("HEAD".to_owned(), head.target);
        all
    }

    /// Looks when it is told to, until it finds what git says.
    #[track_caller]
    fn until(&self, title: &str, is_there: impl Fn(&BTreeMap<String, Target>) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            assert!(self.told.recv_timeout(left).is_ok(), "{title}: not heard");
            if is_there(&self.now()) {
                return;
            }
        }
    }
}

#[test]
fn every_name_of_a_repository_is_told_by_itself() {
    let git = RealGit::new();
    let root = TempDir::new();
    let (dir, other) = twice(&git, &root, HashKind::Sha1, "files");
    let tree = git.ok(&dir, &["mktree", "--missing"]);
    let commit = git.ok(&dir, &["commit-tree", tree.trim(), "-m", "one"]).trim().to_owned();
    let names = |path: &Path| {
        let (tell, told) = channel();
        let refs = support::open(path).refs;
        let watching = refs.watch(Arc::new(move |moved| {
            // Whoever only looks from time to time knows no names.
            if let Moved::Names(names) = moved {
                names.iter().for_each(|name| tell.send(name.to_string()).unwrap_or_default());
            }
        }));
        (told, watching.expect("watched"))
    };
    let all = [&dir, &other].map(|path| names(path));
    let heard = |number: usize, name: &str| {
        while all[number].0.recv_timeout(PATIENCE).expect("it is told") != name {}
    };
    for name in ["refs/heads/a", "refs/heads/new/b", "refs/heads/new/c"] {
        git.ok(&dir, &["update-ref", name, &commit]);
        if !name.ends_with('b') {
            [0, 1].into_iter().for_each(|number| heard(number, name));
        }
    }
    // One that goes leaves the other his.
    let [kept, (told, watching)] = all;
    drop((told, watching));
    git.ok(&dir, &["update-ref", "refs/heads/d", &commit]);
    while kept.0.recv_timeout(PATIENCE).expect("it is told") != "refs/heads/d" {}
}

#[test]
fn changes_by_git_are_heard() {
    for format in ["files", "reftable"] {
        let git = RealGit::new();
        let root = TempDir::new();
        let (dir, _) = twice(&git, &root, HashKind::Sha1, format);
        let tree = git.ok(&dir, &["mktree", "--missing"]);
        let commit = git.ok(&dir, &["commit-tree", tree.trim(), "-m", "one"]).trim().to_owned();
        let other = git.ok(&dir, &["commit-tree", tree.trim(), "-m", "two"]).trim().to_owned();
        let id =
            |text: &str| Target::Id(object::ObjectId::from_hex(text.as_bytes()).expect("an id"));
        let follower = Follower::new(&dir);
        git.ok(&dir, &["update-ref", "refs/heads/a/b/c", &commit]);
        follower.until("created", |refs| refs.get("refs/heads/a/b/c") == Some(&id(&commit)));
        // In a directory that came a moment ago.
        git.ok(&dir, &["update-ref", "refs/heads/a/b/d", &other]);
        follower.until("beside it", |refs| refs.get("refs/heads/a/b/d") == Some(&id(&other)));
        git.ok(&dir, &["update-ref", "refs/heads/a/b/c", &other]);
        follower.until("moved", |refs| refs.get("refs/heads/a/b/c") == Some(&id(&other)));
        git.ok(&dir, &["pack-refs", "--all", "--prune"]);
        assert_eq!(follower.now().len(), 3);
        git.ok(&dir, &["update-ref", "-d", "refs/heads/a/b/c"]);
        follower.until("deleted", |refs| !refs.contains_key("refs/heads/a/b/c"));
        git.ok(&dir, &["update-ref", "-d", "refs/heads/a/b/d"]);
        git.ok(&dir, &["update-ref", "refs/heads/a", &commit]);
        follower.until("in the place of a directory", |refs| {
            refs.get("refs/heads/a") == Some(&id(&commit))
        });
        git.ok(&dir, &["update-ref", "-d", "refs/heads/a"]);
        git.ok(&dir, &["update-ref", "refs/heads/a/b/c", &commit]);
        follower.until("the directory again", |refs| {
            refs.get("refs/heads/a/b/c") == Some(&id(&commit))
        });
        git.ok(&dir, &["update-ref", "refs/heads/a/b/c", &other]);
        follower.until("and in it", |refs| refs.get("refs/heads/a/b/c") == Some(&id(&other)));
        git.ok(&dir, &["symbolic-ref", "HEAD", "refs/heads/a/b/c"]);
        let branch = RefName::new("refs/heads/a/b/c").expect("a name");
        follower.until("HEAD", |refs| refs["HEAD"] == Target::Symbolic(branch.clone()));
    }
}

/// As on a disk of the network, where nothing is told.
#[test]
fn who_is_not_told_looks_from_time_to_time() {
    let git = RealGit::new();
    let root = TempDir::new();
    let (dir, _) = twice(&git, &root, HashKind::Sha1, "files");
    let options = OpenOptions { watch_poll: Duration::from_millis(50), ..support::options() };
    let refs = storage_disk::open(&dir, &options).expect("opens").refs;
    let (tell, told) = channel();
    let watching = refs.watch(Arc::new(move |moved| {
        tell.send(moved == storage::Moved::Somehow).unwrap_or_default();
    }));
    for _ in 0..3 {
        assert!(told.recv_timeout(PATIENCE).expect("reminded"));
    }
    drop(watching);
    while told.recv_timeout(PATIENCE).is_ok() {}
}
