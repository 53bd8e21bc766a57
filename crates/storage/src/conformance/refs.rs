//! What every [`RefStore`] must do.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice as _};
use object::{HashKind, ObjectId, RefName};

use crate::{
    Change, CommitError, Error, Expected, Peeled, RefEdit, RefStore, RefTransaction, ReflogLine,
    Target,
};

/// Makes a fresh, empty store whose `HEAD` points at the unborn `refs/heads/main`.
pub type Factory<'a> = &'a dyn Fn() -> Arc<dyn RefStore>;

/// Runs every case.
pub fn run(hash: HashKind, make: Factory<'_>) {
    let cases: &[(&str, fn(&Refs))] = &[
        ("an empty store has only HEAD", empty_store),
        ("refs are created, read, moved and deleted", life_of_a_ref),
        ("a lost race is told", lost_races),
        ("all or nothing", all_or_nothing),
        ("directory/file conflicts", name_conflicts),
        ("a name freed by a delete can be used again", freed_names),
        ("edits are checked against each other", edit_conflicts),
        ("symbolic refs are not followed", symbolic_refs),
        ("scans are in byte order and seek", scans),
        ("dropping a prepared transaction changes nothing", dropped),
        ("impossible names do not exist", impossible_names),
        ("shallow commits are kept", shallow),
        ("many refs at once", many_at_once),
        ("more refs than anybody wants", very_many),
        ("of racing writers exactly one wins", races),
    ];
    for (title, case) in cases {
        println_case(title);
        case(&Refs { hash, store: make() });
    }
}

/// Says which case runs, so that a panic can be told apart.
#[allow(clippy::print_stderr)]
pub(super) fn println_case(title: &str) {
    eprintln!("conformance: {title}");
}

/// A store, and short words for what is done to it.
pub(super) struct Refs {
    pub hash: HashKind,
    pub store: Arc<dyn RefStore>,
}

impl Refs {
    fn id(&self, number: u8) -> ObjectId {
        ObjectId::from_bytes(&vec![number; self.hash.len()], self.hash).expect("the hash's length")
    }

    pub fn target(&self, number: u8) -> Target {
        Target::Id(self.id(number))
    }

    pub fn create(&self, name: &str, number: u8) -> RefEdit {
        edit(name, Expected::MustNotExist, Change::Update(self.target(number)))
    }

    pub fn update(&self, name: &str, old: u8, new: u8) -> RefEdit {
        let expected = Expected::MustExistAndMatch(self.target(old));
        edit(name, expected, Change::Update(self.target(new)))
    }

    pub fn delete(&self, name: &str, old: u8) -> RefEdit {
        edit(name, Expected::MustExistAndMatch(self.target(old)), Change::Delete)
    }

    pub fn commit(&self, edits: Vec<RefEdit>) -> Result<(), CommitError> {
        self.store.commit(RefTransaction { edits, ..RefTransaction::default() })
    }

    #[track_caller]
    pub fn must(&self, edits: Vec<RefEdit>) {
        self.commit(edits).expect("the transaction is fine");
    }

    /// As `must`; tries again while somebody else holds a lock.
    #[track_caller]
    pub fn patient(&self, edits: Vec<RefEdit>) {
        loop {
            match self.commit(edits.clone()) {
                Ok(()) => return,
                Err(CommitError::Locked { .. } | CommitError::Storage(Error::Locked { .. })) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn get(&self, name: &str) -> Option<Target> {
        let snapshot = self.store.snapshot().expect("a snapshot");
        let found = snapshot.get(name.into()).expect("readable");
        found.map(|found| {
            assert_eq!(found.name, *name);
            found.target
        })
    }

    pub fn scan(&self, prefix: &str) -> Vec<(BString, Target)> {
        let snapshot = self.store.snapshot().expect("a snapshot");
        let mut found = Vec::new();
        let mut visit = |view: crate::RefView<'_>| {
            found.push((view.name.to_owned(), view.target.to_target()));
            ControlFlow::Continue(())
        };
        snapshot.scan(prefix.into(), &mut visit).expect("a scan");
        found
    }

    #[track_caller]
    fn names(&self, prefix: &str, expected: &[&str]) {
        let names: Vec<_> = self.scan(prefix).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, expected, "scan of {prefix:?}");
    }
}

pub(super) fn edit(name: &str, expected: Expected, change: Change) -> RefEdit {
    let reflog = ReflogLine {
        committer: "A U Thor <author@example.com> 1700000000 +0000".into(),
        message: "conformance".into(),
    };
    let name = RefName::new(name).expect("a valid name");
    RefEdit { name, expected, change, peeled: Peeled::Unknown, reflog: Some(reflog) }
}

fn symbolic(name: &str) -> Target {
    Target::Symbolic(RefName::new(name).expect("a valid name"))
}

fn empty_store(refs: &Refs) {
    assert_eq!(refs.get("HEAD"), Some(symbolic("refs/heads/main")));
    assert_eq!(refs.get("refs/heads/main"), None);
    refs.names("", &[]);
    refs.names("refs/", &[]);
    refs.must(vec![]);
}

fn life_of_a_ref(refs: &Refs) {
    refs.must(vec![refs.create("refs/heads/main", 1)]);
    assert_eq!(refs.get("refs/heads/main"), Some(refs.target(1)));
    refs.must(vec![refs.update("refs/heads/main", 1, 2)]);
    assert_eq!(refs.get("refs/heads/main"), Some(refs.target(2)));
    refs.must(vec![refs.delete("refs/heads/main", 2)]);
    assert_eq!(refs.get("refs/heads/main"), None);
    refs.names("", &[]);
    let none = edit("refs/heads/main", Expected::MustNotExist, Change::Delete);
    refs.must(vec![none]);
    refs.must(vec![refs.create("refs/heads/main", 3)]);
    assert_eq!(refs.get("refs/heads/main"), Some(refs.target(3)));
}

fn lost_races(refs: &Refs) {
    refs.must(vec![refs.create("refs/heads/a", 1)]);
    let found = |edit: RefEdit| match refs.commit(vec![edit]) {
        Err(CommitError::Lost { name, found, .. }) => {
            assert!(name.starts_with(b"refs/heads/"));
            found
        }
        other => panic!("expected a lost race, got {other:?}"),
    };
    assert_eq!(found(refs.create("refs/heads/a", 2)), Some(refs.target(1)));
    assert_eq!(found(refs.update("refs/heads/a", 2, 3)), Some(refs.target(1)));
    assert_eq!(found(refs.delete("refs/heads/a", 2)), Some(refs.target(1)));
    assert_eq!(found(refs.update("refs/heads/none", 1, 2)), None);
    assert_eq!(found(refs.delete("refs/heads/none", 1)), None);
    let none = edit("refs/heads/a", Expected::MustNotExist, Change::Delete);
    assert_eq!(found(none), Some(refs.target(1)));
    assert_eq!(refs.get("refs/heads/a"), Some(refs.target(1)));
    refs.names("", &["refs/heads/a"]);
}

fn all_or_nothing(refs: &Refs) {
    refs.must(vec![refs.create("refs/heads/a", 1), refs.create("refs/heads/b", 1)]);
    let tx = vec![
        refs.update("refs/heads/a", 1, 2),
        refs.create("refs/heads/new/one", 2),
        refs.delete("refs/heads/b", 9),
    ];
    assert!(matches!(refs.commit(tx), Err(CommitError::Lost { .. })));
    assert_eq!(refs.get("refs/heads/a"), Some(refs.target(1)));
    refs.names("", &["refs/heads/a", "refs/heads/b"]);
    // What the failed transaction touched can be used at once.
    refs.must(vec![
        refs.update("refs/heads/a", 1, 2),
        refs.create("refs/heads/new", 2),
        refs.delete("refs/heads/b", 1),
    ]);
    refs.names("", &["refs/heads/a", "refs/heads/new"]);
}

fn name_conflicts(refs: &Refs) {
    refs.must(vec![refs.create("refs/heads/a", 1), refs.create("refs/heads/deep/er/x", 1)]);
    let with = |name: &str| match refs.commit(vec![refs.create(name, 2)]) {
        Err(CommitError::NameConflict { name: blamed, with }) => {
            assert_eq!(blamed, *name);
            with
        }
        other => panic!("expected a name conflict of {name}, got {other:?}"),
    };
    assert_eq!(with("refs/heads/a/b"), "refs/heads/a");
    assert_eq!(with("refs/heads/a/b/c"), "refs/heads/a");
    assert_eq!(with("refs/heads/deep"), "refs/heads/deep/er/x");
    assert_eq!(with("refs/heads/deep/er"), "refs/heads/deep/er/x");
    refs.must(vec![refs.create("refs/heads/a-b", 2), refs.create("refs/heads/deep/ers", 2)]);
    let error = refs.commit(vec![refs.create("refs/heads/a/b", 2)]).expect_err("a conflict");
    assert_eq!(
        error.to_string(),
        "cannot lock ref 'refs/heads/a/b': 'refs/heads/a' exists; cannot create 'refs/heads/a/b'"
    );
}

fn freed_names(refs: &Refs) {
    refs.must(vec![refs.create("refs/heads/x/y/z", 1)]);
    refs.must(vec![refs.delete("refs/heads/x/y/z", 1)]);
    refs.must(vec![refs.create("refs/heads/x", 2)]);
    refs.must(vec![refs.delete("refs/heads/x", 2)]);
    refs.must(vec![refs.create("refs/heads/x/y", 3)]);
    refs.names("", &["refs/heads/x/y"]);
}

fn edit_conflicts(refs: &Refs) {
    refs.must(vec![refs.create("refs/heads/old", 1)]);
    for tx in [
        vec![refs.create("refs/heads/a", 1), refs.create("refs/heads/a/b", 1)],
        vec![refs.create("refs/heads/a", 1), refs.create("refs/heads/a", 2)],
        vec![refs.delete("refs/heads/old", 1), refs.create("refs/heads/old/x", 1)],
    ] {
        let result = refs.commit(tx);
        assert!(matches!(result, Err(CommitError::EditConflict { .. })), "{result:?}");
    }
    refs.names("", &["refs/heads/old"]);
}

fn symbolic_refs(refs: &Refs) {
    refs.must(vec![refs.create("refs/heads/main", 1)]);
    assert_eq!(refs.get("HEAD"), Some(symbolic("refs/heads/main")));
    let expected = Expected::MustExistAndMatch(symbolic("refs/heads/main"));
    refs.must(vec![edit("HEAD", expected, Change::Update(symbolic("refs/heads/other")))]);
    assert_eq!(refs.get("HEAD"), Some(symbolic("refs/heads/other")));
    let expected = Expected::MustExistAndMatch(symbolic("refs/heads/main"));
    let late = edit("HEAD", expected, Change::Update(refs.target(4)));
    assert!(matches!(refs.commit(vec![late]), Err(CommitError::Lost { .. })));
    let link = Change::Update(symbolic("refs/heads/main"));
    refs.must(vec![edit("refs/remotes/origin/HEAD", Expected::MustNotExist, link)]);
    assert_eq!(
        refs.scan("refs/remotes/"),
        [("refs/remotes/origin/HEAD".into(), symbolic("refs/heads/main"))]
    );
    // Detaching HEAD replaces it and leaves the branch alone.
    let expected = Expected::MustExistAndMatch(symbolic("refs/heads/other"));
    refs.must(vec![edit("HEAD", expected, Change::Update(refs.target(5)))]);
    assert_eq!(refs.get("HEAD"), Some(refs.target(5)));
    assert_eq!(refs.get("refs/heads/main"), Some(refs.target(1)));
}

fn scans(refs: &Refs) {
    let names =
        ["refs/heads/a", "refs/heads/a-b", "refs/heads/a.c", "refs/heads/b/c", "refs/tags/v"];
    refs.must(names.iter().rev().map(|name| refs.create(name, 1)).collect());
    refs.must(vec![refs.create("refs/heads/a0", 2), refs.create("refs/heads/ab/c", 2)]);
    refs.names(
        "",
        &[
            "refs/heads/a",
            "refs/heads/a-b",
            "refs/heads/a.c",
            "refs/heads/a0",
            "refs/heads/ab/c",
            "refs/heads/b/c",
            "refs/tags/v",
        ],
    );
    refs.names("refs/tags/", &["refs/tags/v"]);
    refs.names("refs/heads/a0", &["refs/heads/a0"]);
    refs.names("refs/heads/ab", &["refs/heads/ab/c"]);
    refs.names("refs/heads/b/", &["refs/heads/b/c"]);
    refs.names("refs/t", &["refs/tags/v"]);
    refs.names("refs/x", &[]);
    refs.names("HEAD", &[]);
    refs.names("zzz", &[]);
    let mut seen = 0;
    let snapshot = refs.store.snapshot().expect("a snapshot");
    let mut stop = |_: crate::RefView<'_>| {
        seen += 1;
        ControlFlow::Break(())
    };
    snapshot.scan(BStr::new(""), &mut stop).expect("a scan");
    assert_eq!(seen, 1, "a scan ends when the visitor says so");
}

fn dropped(refs: &Refs) {
    refs.must(vec![refs.create("refs/heads/a", 1)]);
    let edits = vec![
        refs.update("refs/heads/a", 1, 2),
        refs.create("refs/heads/n/m", 2),
        edit("refs/heads/zz", Expected::MustNotExist, Change::Delete),
    ];
    let tx = RefTransaction { edits, shallow_add: vec![refs.id(9)], shallow_remove: vec![] };
    drop(refs.store.prepare(tx).expect("prepared"));
    refs.names("", &["refs/heads/a"]);
    assert_eq!(refs.get("refs/heads/a"), Some(refs.target(1)));
    refs.must(vec![refs.update("refs/heads/a", 1, 3), refs.create("refs/heads/n", 3)]);
    let snapshot = refs.store.snapshot().expect("a snapshot");
    assert_eq!(snapshot.shallow().expect("readable"), []);
}

fn impossible_names(refs: &Refs) {
    refs.must(vec![refs.create("refs/heads/a", 1)]);
    let snapshot = refs.store.snapshot().expect("a snapshot");
    let long = format!("refs/heads/{}", "x".repeat(5000));
    for name in [
        "",
        "a",
        "refs",
        "refs/",
        "refs/heads",
        "refs/heads/",
        "refs/heads/a/",
        "refs/heads/a/b",
        "refs/../HEAD",
        "../HEAD",
        "/etc/passwd",
        "refs/heads/a\0b",
        "config",
        "packed-refs",
        "refs/heads/a.lock",
        "refs//heads/a",
        &long,
    ] {
        let found = snapshot.get(name.as_bytes().as_bstr()).expect("no error");
        assert_eq!(found, None, "{name:?}");
    }
}

fn shallow(refs: &Refs) {
    let commit = |add: &[u8], remove: &[u8]| {
        let ids = |numbers: &[u8]| numbers.iter().map(|number| refs.id(*number)).collect();
        refs.store.commit(RefTransaction {
            edits: vec![],
            shallow_add: ids(add),
            shallow_remove: ids(remove),
        })
    };
    let now = || {
        let snapshot = refs.store.snapshot().expect("a snapshot");
        let mut ids = snapshot.shallow().expect("readable");
        ids.sort_unstable();
        ids
    };
    commit(&[2, 1], &[]).expect("fine");
    assert_eq!(now(), [refs.id(1), refs.id(2)]);
    commit(&[2, 3], &[1, 7]).expect("fine");
    assert_eq!(now(), [refs.id(2), refs.id(3)]);
    commit(&[], &[2, 3]).expect("fine");
    assert_eq!(now(), []);
}

fn many_at_once(refs: &Refs) {
    let names: Vec<String> = (0..200).map(|n| format!("refs/heads/many/{n:03}")).collect();
    refs.must(names.iter().map(|name| refs.create(name, 1)).collect());
    let expected: Vec<&str> = names.iter().map(String::as_str).collect();
    refs.names("refs/heads/many/", &expected);
    let conflict = refs.commit(vec![refs.create("refs/heads/many", 1)]);
    assert!(matches!(conflict, Err(CommitError::NameConflict { .. })), "{conflict:?}");
    let conflict = refs.commit(vec![refs.create("refs/heads/many/007/x", 1)]);
    assert!(matches!(conflict, Err(CommitError::NameConflict { .. })), "{conflict:?}");
    refs.must(names.iter().map(|name| refs.update(name, 1, 2)).collect());
    assert!(refs.scan("").iter().all(|(_, target)| *target == refs.target(2)));
    refs.must(names.iter().skip(1).map(|name| refs.delete(name, 2)).collect());
    refs.names("", &["refs/heads/many/000"]);
}

/// A million in a soak. They are seen whole, in order, and from any place on; and single ones among
/// them are found and change as single ones do.
fn very_many(refs: &Refs) {
    let count = super::scaled(4_000, 1_000_000);
    let together = super::scaled(1_500, 50_000);
    let name = |number: u64| format!("refs/changes/{:02}/{number:07}", number % 100);
    let mut next = 0;
    while next < count {
        let end = count.min(next + together);
        refs.must((next..end).map(|number| refs.create(&name(number), 1)).collect());
        next = end;
    }
    let counted = |prefix: &str| {
        let (mut found, mut last) = (0, BString::default());
        let snapshot = refs.store.snapshot().expect("a snapshot");
        let mut visit = |view: crate::RefView<'_>| {
            assert!(*view.name > *last, "{} after {last}", view.name);
            last = view.name.to_owned();
            found += 1;
            ControlFlow::Continue(())
        };
        snapshot.scan(prefix.into(), &mut visit).expect("readable");
        found
    };
    assert_eq!(counted(""), count);
    assert_eq!(counted("refs/changes/07/"), count / 100);
    assert_eq!(counted(&name(count - 1)), 1);
    assert_eq!(counted("refs/changes/99/9999999"), 0);
    for number in [0, count / 2, count - 1] {
        assert_eq!(refs.get(&name(number)), Some(refs.target(1)));
        refs.must(vec![refs.update(&name(number), 1, 2)]);
        assert_eq!(refs.get(&name(number)), Some(refs.target(2)));
        refs.must(vec![refs.delete(&name(number), 2)]);
        assert_eq!(refs.get(&name(number)), None);
    }
    assert_eq!(counted("refs/"), count - 3);
    let conflict = refs.commit(vec![refs.create("refs/changes/07", 1)]);
    assert!(matches!(conflict, Err(CommitError::NameConflict { .. })), "{conflict:?}");
}

/// Eight threads move one ref step by step; every acknowledged step must be in the end value.
fn races(refs: &Refs) {
    const THREADS: usize = 8;
    const STEPS: u8 = 25;
    refs.must(vec![refs.create("refs/heads/count", 1)]);
    let work = || {
        let mut won = 0;
        while won < STEPS / 5 {
            let Some(Target::Id(old)) = refs.get("refs/heads/count") else {
                panic!("the ref is always there")
            };
            let number = old.as_bytes()[0];
            match refs.commit(vec![refs.update("refs/heads/count", number, number + 1)]) {
                Ok(()) => won += 1,
                Err(CommitError::Lost { .. } | CommitError::Locked { .. }) => {}
                // A store with one lock for all refs.
                Err(CommitError::Storage(Error::Locked { .. })) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    let expected = 1 + THREADS as u8 * (STEPS / 5);
    assert_eq!(refs.get("refs/heads/count"), Some(refs.target(expected)));
    let mut seen = BTreeMap::new();
    for (name, _) in refs.scan("") {
        *seen.entry(name).or_insert(0) += 1;
    }
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");
}
