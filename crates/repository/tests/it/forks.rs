//! Forks borrow, and nobody takes away what they borrowed.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use object::{HashKind, ObjectId, RefName};
use repository::maintenance::upkeep::{Expire, UpkeepOptions, UpkeepReport, upkeep};
use repository::{Error, Repository, Settings, Silent, forks, transfer};
use storage::{
    Change, Expected, MemoryRepositories, NewRepository, Peeled, RefEdit, RefTransaction,
    RepositoryStore, Target,
};
use testkit::{RealGit, Scenario};

use crate::bare::Bare;
use crate::upkeep::grow;

const WAIT: Duration = Duration::from_secs(60);

/// Repositories in memory, as those of a database are.
struct Scene {
    git: RealGit,
    store: Arc<MemoryRepositories>,
}

impl Scene {
    /// With one called `lender`: a copy of the one git made.
    fn new() -> Self {
        let git = RealGit::new();
        let dir = Scenario::realistic(120, 91).build(&git, "origin.git");
        grow(&git, &dir, "ours", 3);
        let scene = Scene { git, store: Arc::default() };
        let head = RefName::new("refs/heads/main").expect("a name");
        let new =
            NewRepository { hash: HashKind::Sha1, head, config: b"[gc]\n\tpruneExpire = now\n" };
        assert!(scene.store.create("group/lender", &new).expect("made"));
        scene.copy(&Bare::open(&dir).repository, "group/lender");
        scene
    }

    fn open(&self, name: &str) -> Repository {
        let parts = self.store.parts(name).expect("readable").expect("there");
        Repository::open(parts, Settings::default())
    }

    fn copy(&self, from: &Repository, name: &str) {
        transfer::copy(from, &self.open(name), &mut Silent).expect("copied");
    }

    fn tip(&self, name: &str, branch: &str) -> Option<ObjectId> {
        let snapshot = self.open(name).refs().snapshot().expect("a snapshot");
        snapshot.get(branch.into()).expect("readable")?.target.id()
    }

    fn delete(&self, name: &str, branch: &str) {
        let tip = self.tip(name, branch).expect("there");
        let edit = RefEdit {
            name: RefName::new(branch).expect("a name"),
            expected: Expected::MustExistAndMatch(Target::Id(tip)),
            change: Change::Delete,
            peeled: Peeled::Unknown,
            reflog: None,
        };
        let tx = RefTransaction { edits: vec![edit], ..RefTransaction::default() };
        self.open(name).refs().commit(tx).expect("fine");
    }

    /// A whole round that keeps nothing it need not keep.
    fn maintain(&self, name: &str) -> UpkeepReport {
        let repository = self.open(name);
        let full = UpkeepOptions::from_config(repository.config()).expect("fine");
        let options = UpkeepOptions {
            expire: Expire::After(Duration::ZERO),
            now: SystemTime::now() + Duration::from_secs(60),
            full: repository::maintenance::upkeep::FullRepack::Always,
            ..full
        };
        loop {
            match upkeep(&repository, &options, true, &mut Silent) {
                // A fork begins just now.
                Err(Error::Storage(storage::Error::Locked { .. })) => thread::yield_now(),
                done => return done.expect("done").unwrap_or_default(),
            }
        }
    }

    /// Git finds nothing missing or damaged in a copy.
    fn check(&self, name: &str, copy: &str) {
        let copy = Bare::init(&self.git, copy, HashKind::Sha1);
        transfer::copy(&self.open(name), &copy.repository, &mut Silent).expect("whole");
        self.git.fsck_strict(&copy.dir);
    }
}

fn has(repository: &Repository, id: &ObjectId) -> bool {
    repository.objects().expect("a view").contains(id).expect("readable")
}

#[test]
fn nothing_that_was_borrowed_goes() {
    let scene = Scene::new();
    let ours = scene.tip("group/lender", "refs/heads/ours").expect("there");
    assert!(forks::fork(&*scene.store, "group/lender", "fork", WAIT).expect("forked"));
    assert!(!forks::fork(&*scene.store, "group/lender", "fork", WAIT).expect("there is one"));
    assert!(forks::fork(&*scene.store, "fork", "of/fork", WAIT).expect("forked"));
    for name in ["fork", "of/fork"] {
        let fork = scene.open(name);
        assert!(fork.blobs().list("pack/").expect("readable").is_empty(), "all is borrowed");
        assert_eq!(scene.tip(name, "refs/heads/ours"), Some(ours));
        let head = fork.refs().snapshot().expect("a snapshot").get("HEAD".into());
        let head = head.expect("readable").expect("there").target;
        assert_eq!(head.to_string(), "ref: refs/heads/main");
    }
    // Only forks reach it now.
    scene.delete("group/lender", "refs/heads/ours");
    let report = scene.maintain("group/lender");
    assert_eq!(report.expired_objects, 0, "{report:?}");
    assert!(report.cruft_objects > 0, "{report:?}");
    scene.delete("fork", "refs/heads/ours");
    scene.maintain("fork");
    scene.check("of/fork", "copy-1.git");
    // Who lends is not removed; who borrows may be, and is not waited for then.
    let error = forks::remove(&*scene.store, "group/lender", WAIT).expect_err("lent");
    assert!(error.to_string().contains("fork"), "{error}");
    forks::remove(&*scene.store, "fork", WAIT).expect_err("lent");
    let copied = forks::separate(&*scene.store, "of/fork", (WAIT, Duration::ZERO), &mut Silent);
    assert!(copied.expect("separated").files > 0);
    let alone = scene.open("of/fork");
    assert!(alone.parts().alternates.is_empty());
    assert!(has(&alone, &ours));
    scene.check("of/fork", "copy-2.git");
    assert!(forks::remove(&*scene.store, "fork", WAIT).expect("removed"));
    let report = scene.maintain("group/lender");
    assert!(report.expired_objects > 0, "nobody needs it any more: {report:?}");
    assert!(!has(&scene.open("group/lender"), &ours));
    assert!(forks::remove(&*scene.store, "group/lender", WAIT).expect("removed"));
    assert!(!forks::remove(&*scene.store, "group/lender", WAIT).expect("there is none"));
    scene.check("of/fork", "copy-3.git");
}

/// Forks begin while the lender is maintained all the time, and its branches come and go.
#[test]
fn forks_of_a_lender_that_is_maintained_are_whole() {
    let scene = Scene::new();
    let done = std::sync::atomic::AtomicBool::new(false);
    let origin = Bare::open(&scene.git.path("origin.git"));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                scene.delete("group/lender", "refs/heads/ours");
                scene.maintain("group/lender");
                scene.copy(&origin.repository, "group/lender");
            }
        });
        for number in 0..8 {
            let name = format!("fork-{number}");
            assert!(forks::fork(&*scene.store, "group/lender", &name, WAIT).expect("forked"));
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    scene.delete("group/lender", "refs/heads/ours");
    scene.maintain("group/lender");
    for number in 0..8 {
        scene.check(&format!("fork-{number}"), &format!("copy-{number}.git"));
    }
}

#[test]
fn a_fork_that_takes_the_name_of_one_that_goes_is_known_to_its_lender() {
    let scene = Scene::new();
    let (store, name) = (&*scene.store, "group/fork");
    let is_known = || {
        let lender = scene.store.parts("group/lender").expect("readable").expect("there");
        storage::forks::borrowers(&*lender.blobs).expect("readable").iter().any(|one| one == name)
    };
    assert!(forks::fork(store, "group/lender", name, WAIT).expect("forked"));
    for _ in 0..300 {
        thread::scope(|scope| {
            // Who is removed is struck from the list after he is gone.
            scope.spawn(|| assert!(forks::remove(store, name, WAIT).expect("removed")));
            while !forks::fork(store, "group/lender", name, WAIT).expect("forked or not") {}
        });
        assert!(is_known());
    }
    assert!(forks::remove(store, name, WAIT).expect("removed"));
    assert!(!is_known());
}
