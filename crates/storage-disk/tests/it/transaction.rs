//! Transactions: what we write, stock git reads.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use storage::{Change, CommitError, Expected, Peeled, RefEdit, RefTransaction, Target};
use storage_disk::{Durability, OpenOptions};
use testkit::RealGit;

use crate::support::{self, commit, edit, get, name, open, scan};

struct Fixture {
    git: RealGit,
    bare: std::path::PathBuf,
    ids: [object::ObjectId; 2],
}

fn fixture() -> Fixture {
    let git = RealGit::new();
    let bare = git.init_bare("r.git");
    git.ok(git.root(), &["init", "--quiet", "-b", "main", "work"]);
    let work = git.path("work");
    let ids = [git.commit_file(&work, "file", "one"), git.commit_file(&work, "file", "two")];
    git.ok(&work, &["push", "--quiet", "../r.git", "main:refs/keep/it"]);
    git.ok(&bare, &["symbolic-ref", "HEAD", "refs/heads/main"]);
    Fixture { git, bare, ids }
}

#[test]
fn git_reads_what_we_wrote_and_its_reflog() {
    let Fixture { git, bare, ids: [one, two] } = fixture();
    git.ok(&bare, &["config", "core.logAllRefUpdates", "true"]);
    let parts = open(&bare);
    commit(&*parts.refs, vec![edit("refs/heads/main", None, Some(one))]).expect("created");
    commit(&*parts.refs, vec![edit("refs/heads/main", Some(one), Some(two))]).expect("moved");
    commit(&*parts.refs, vec![edit("refs/tags/t", None, Some(one))]).expect("created");
    assert_eq!(git.rev_parse(&bare, "main"), two);
    assert_eq!(git.rev_parse(&bare, "main@{1}"), one);
    assert_eq!(git.rev_parse(&bare, "HEAD@{1}"), one);
    let log = fs::read_to_string(bare.join("logs/refs/heads/main")).expect("a reflog");
    let null = "0".repeat(40);
    let who = "C O Mitter <committer@example.com> 1700000000 +0100";
    assert_eq!(log, format!("{null} {one} {who}\tpush\n{one} {two} {who}\tpush\n"));
    assert!(!bare.join("logs/refs/tags/t").exists(), "tags get no reflog by themselves");
    commit(&*parts.refs, vec![edit("refs/heads/main", Some(two), None)]).expect("deleted");
    assert!(!bare.join("logs/refs/heads/main").exists());
    commit(&*parts.refs, vec![edit("refs/heads/main/sub", None, Some(two))]).expect("created");
    git.fsck_strict(&bare);
}

#[test]
fn bare_repositories_keep_only_reflogs_they_have() {
    let Fixture { git, bare, ids: [one, two] } = fixture();
    let parts = open(&bare);
    commit(&*parts.refs, vec![edit("refs/heads/main", None, Some(one))]).expect("created");
    assert!(!bare.join("logs").exists());
    fs::create_dir_all(bare.join("logs/refs/heads")).expect("made");
    fs::write(bare.join("logs/refs/heads/main"), "").expect("written");
    commit(&*parts.refs, vec![edit("refs/heads/main", Some(one), Some(two))]).expect("moved");
    assert_eq!(git.ok(&bare, &["reflog", "main"]).lines().count(), 1);
    git.fsck_strict(&bare);
}

#[test]
fn packed_refs_are_deleted_and_stay_deleted() {
    let Fixture { git, bare, ids: [one, two] } = fixture();
    let parts = open(&bare);
    let names = ["refs/heads/a", "refs/heads/b/c", "refs/tags/t"];
    let create = names.iter().map(|name| edit(name, None, Some(one))).collect();
    commit(&*parts.refs, create).expect("created");
    git.ok(&bare, &["pack-refs", "--all"]);
    commit(&*parts.refs, vec![edit("refs/heads/a", Some(one), Some(two))]).expect("moved");
    let delete =
        vec![edit("refs/heads/a", Some(two), None), edit("refs/heads/b/c", Some(one), None)];
    commit(&*parts.refs, delete).expect("deleted");
    assert_eq!(git.refs(&bare), format!("{two} refs/keep/it\n{one} refs/tags/t"));
    assert!(!bare.join("packed-refs.lock").exists() && !bare.join("packed-refs.new").exists());
    let conflict = commit(&*parts.refs, vec![edit("refs/tags/t/x", None, Some(one))]);
    assert!(matches!(conflict, Err(CommitError::NameConflict { .. })), "{conflict:?}");
    let conflict = commit(&*parts.refs, vec![edit("refs/keep", None, Some(one))]);
    assert!(matches!(conflict, Err(CommitError::NameConflict { .. })), "{conflict:?}");
    git.fsck_strict(&bare);
}

#[test]
fn many_new_branches_go_into_packed_refs_at_once() {
    let Fixture { git, bare, ids: [one, two] } = fixture();
    let parts = open(&bare);
    commit(&*parts.refs, vec![edit("refs/heads/old", None, Some(one))]).expect("created");
    let mut edits: Vec<_> =
        (0..1000).map(|n| edit(&format!("refs/heads/d{}/b{n}", n % 7), None, Some(one))).collect();
    edits.push(edit("refs/heads/old", Some(one), Some(two)));
    edits.push(edit("refs/tags/t", None, Some(one)));
    commit(&*parts.refs, edits).expect("created");
    assert_eq!(git.refs(&bare).lines().count(), 1003);
    assert_eq!(git.rev_parse(&bare, "old"), two);
    assert_eq!(support::tree(&bare.join("refs")), ["heads/old", "keep/it", "tags/t"]);
    git.fsck_strict(&bare);
    let late = commit(&*parts.refs, vec![edit("refs/heads/d1/b1", None, Some(two))]);
    assert!(matches!(late, Err(CommitError::Lost { .. })), "{late:?}");
    let edits: Vec<_> =
        (0..1000).map(|n| edit(&format!("refs/heads/d{}/b{n}", n % 7), Some(one), None)).collect();
    commit(&*parts.refs, edits).expect("deleted");
    assert_eq!(scan(&*parts.refs, "refs/heads/").len(), 1);
    git.fsck_strict(&bare);
}

#[test]
fn a_lock_of_git_is_respected_and_named() {
    let Fixture { git, bare, ids: [one, _] } = fixture();
    let parts = open(&bare);
    fs::write(bare.join("refs/heads/main.lock"), "").expect("written");
    let error = commit(&*parts.refs, vec![edit("refs/heads/main", None, Some(one))]);
    let said = error.expect_err("locked").to_string();
    assert!(said.starts_with("cannot lock ref 'refs/heads/main': Unable to create '"), "{said}");
    assert!(said.ends_with("refs/heads/main.lock': File exists."), "{said}");
    fs::remove_file(bare.join("refs/heads/main.lock")).expect("removed");
    fs::write(bare.join("packed-refs.lock"), "").expect("written");
    let id = get(&*parts.refs, "refs/keep/it").expect("there").target.id();
    let error = commit(&*parts.refs, vec![edit("refs/keep/it", id, None)]);
    assert!(matches!(error, Err(CommitError::Locked { .. })), "{error:?}");
    assert!(get(&*parts.refs, "refs/keep/it").is_some());
    git.fsck_strict(&bare);
}

#[test]
fn symbolic_refs_are_written_as_git_writes_them() {
    let Fixture { git, bare, .. } = fixture();
    let parts = open(&bare);
    let mut head = edit("HEAD", None, None);
    head.expected = Expected::MustExistAndMatch(Target::Symbolic(name("refs/heads/main")));
    head.change = Change::Update(Target::Symbolic(name("refs/keep/it")));
    commit(&*parts.refs, vec![head]).expect("moved");
    assert_eq!(git.ok(&bare, &["symbolic-ref", "HEAD"]), "refs/keep/it");
}

#[test]
fn shallow_commits_change_with_the_refs() {
    let Fixture { git, bare, ids: [one, two] } = fixture();
    let parts = open(&bare);
    let edits = vec![edit("refs/heads/main", None, Some(two))];
    let tx = RefTransaction { edits, shallow_add: vec![two], shallow_remove: vec![] };
    parts.refs.commit(tx).expect("fine");
    assert_eq!(git.ok(&bare, &["rev-list", "--count", "main"]), "1");
    let tx = RefTransaction { shallow_remove: vec![two, one], ..RefTransaction::default() };
    parts.refs.commit(tx).expect("fine");
    assert!(!bare.join("shallow").exists());
    assert_eq!(git.ok(&bare, &["rev-list", "--count", "main"]), "2");
}

#[test]
fn a_full_disk_changes_nothing_and_says_so() {
    let Fixture { git, bare, ids: [one, _] } = fixture();
    let before = support::tree(&bare);
    let options = OpenOptions {
        before_change: Some(std::sync::Arc::new(|step, _| match step {
            "write" => Err(std::io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        })),
        ..support::options()
    };
    let parts = storage_disk::open(&bare, &options).expect("opens");
    let edits = vec![edit("refs/heads/new/deep", None, Some(one))];
    let error = commit(&*parts.refs, edits).expect_err("full");
    assert!(matches!(error, CommitError::Storage(storage::Error::Full { .. })), "{error:?}");
    assert_eq!(support::tree(&bare), before);
    assert!(!bare.join("refs/heads/new").exists());
    git.fsck_strict(&bare);
}

#[test]
fn a_big_transaction_costs_few_syncs() {
    let Fixture { git, bare, ids: [one, two] } = fixture();
    let syncs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&syncs);
    let options = OpenOptions {
        durability: Some(Durability::Fsync),
        before_change: Some(Arc::new(move |step, _| {
            counted.fetch_add(usize::from(step.starts_with("sync")), Ordering::Relaxed);
            Ok(())
        })),
        ..support::options()
    };
    let parts = storage_disk::open(&bare, &options).expect("the repository opens");
    let tags = |expected, new, peeled| {
        let tag =
            |number| RefEdit { peeled, ..edit(&format!("refs/tags/{number}"), expected, new) };
        (0..1000).map(tag).collect::<Vec<_>>()
    };
    commit(&*parts.refs, tags(None, Some(one), Peeled::NotATag)).expect("created");
    let created = syncs.swap(0, Ordering::Relaxed);
    commit(&*parts.refs, tags(Some(one), Some(two), Peeled::NotATag)).expect("moved");
    let moved = syncs.swap(0, Ordering::Relaxed);
    commit(&*parts.refs, tags(Some(two), None, Peeled::Unknown)).expect("deleted");
    let deleted = syncs.swap(0, Ordering::Relaxed);
    for (what, count) in [("created", created), ("moved", moved), ("deleted", deleted)] {
        assert!((1..10).contains(&count), "{what}: {count} syncs");
    }
    git.fsck_strict(&bare);
}
