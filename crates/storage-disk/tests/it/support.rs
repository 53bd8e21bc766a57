//! What the tests share: opening a repository that git made, and short transactions.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use object::{HashKind, ObjectId, RefName};
use storage::{
    Change, CommitError, Expected, Parts, Peeled, Ref, RefEdit, RefStore, RefTransaction,
    ReflogLine, Target,
};
use storage_disk::{Durability, OpenOptions};

/// Options for tests: nothing is synced, no configuration but the repository's.
pub fn options() -> OpenOptions {
    OpenOptions {
        durability: Some(Durability::None),
        variable: Arc::new(|name| (name == "GIT_CONFIG_NOSYSTEM").then(|| "1".into())),
        ..OpenOptions::default()
    }
}

pub fn open(git_dir: &Path) -> Parts {
    storage_disk::open(git_dir, &options()).expect("the repository opens")
}

pub fn name(name: &str) -> RefName {
    RefName::new(name).expect("a valid name")
}

pub fn id(number: u8) -> ObjectId {
    ObjectId::from_bytes(&[number; 20], HashKind::Sha1).expect("20 bytes")
}

pub fn edit(on: &str, expected: Option<ObjectId>, new: Option<ObjectId>) -> RefEdit {
    let line = "C O Mitter <committer@example.com> 1700000000 +0100";
    RefEdit {
        name: name(on),
        expected: match expected {
            Some(old) => Expected::MustExistAndMatch(Target::Id(old)),
            None => Expected::MustNotExist,
        },
        change: match new {
            Some(new) => Change::Update(Target::Id(new)),
            None => Change::Delete,
        },
        peeled: Peeled::Unknown,
        reflog: Some(ReflogLine { committer: line.into(), message: "push".into() }),
    }
}

pub fn commit(refs: &dyn RefStore, edits: Vec<RefEdit>) -> Result<(), CommitError> {
    refs.commit(RefTransaction { edits, ..RefTransaction::default() })
}

pub fn get(refs: &dyn RefStore, name: &str) -> Option<Ref> {
    refs.snapshot().expect("a snapshot").get(name.into()).expect("readable")
}

/// Every ref with its value, as `git for-each-ref` would say it, symbolic refs unresolved.
pub fn scan(refs: &dyn RefStore, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    let snapshot = refs.snapshot().expect("a snapshot");
    let mut visit = |view: storage::RefView<'_>| {
        found.push(format!("{} {}", view.target.to_target(), view.name));
        std::ops::ControlFlow::Continue(())
    };
    snapshot.scan(prefix.into(), &mut visit).expect("a scan");
    found
}

/// Does each of `again` over and over beside `work`, which ends them however it ends: a panic
/// in it fails the test instead of keeping the others at it for good.
pub fn repeat_beside(again: &[&(dyn Fn() + Sync)], work: impl FnOnce()) {
    struct Ends<'a>(&'a AtomicBool);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = Ends(&ended);
        for act in again {
            scope.spawn(|| {
                while !ended.load(Ordering::SeqCst) {
                    act();
                }
            });
        }
        work();
    });
}

/// The files below a directory with their contents, without directories.
pub fn tree(root: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => open.push(path),
                false => {
                    let name = path.strip_prefix(root).expect("below the root");
                    files.push(name.display().to_string());
                }
            }
        }
    }
    files.sort();
    files
}
