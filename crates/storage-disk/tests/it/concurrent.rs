//! Stock git and we, at the same refs at the same time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use storage::{CommitError, Target};
use testkit::RealGit;

use crate::support::{commit, edit, get, open, scan};

/// Both sides move one ref along a list of commits, one step at a time: each step has exactly
/// one winner, so the counts of successes add up to the length of the list.
#[test]
fn every_step_has_one_winner() {
    const STEPS: usize = 60;
    let git = RealGit::new();
    let bare = git.init_bare("r.git");
    let tree = git.ok_with_input(&bare, &["mktree"], b"").text();
    let ids: Vec<String> = (0..=STEPS)
        .map(|n| git.ok(&bare, &["commit-tree", "-m", &n.to_string(), tree.trim()]))
        .collect();
    git.ok(&bare, &["update-ref", "refs/heads/count", &ids[0]]);
    let position = |hex: &str| ids.iter().position(|id| id == hex).expect("one of ours");
    let (ours, theirs) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let at_end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let parts = open(&bare);
                loop {
                    let old = get(&*parts.refs, "refs/heads/count").expect("always there");
                    let Target::Id(old) = old.target else { panic!("not symbolic") };
                    let at = position(&old.to_hex());
                    if at == STEPS {
                        break;
                    }
                    let new = object::ObjectId::from_hex(ids[at + 1].as_bytes()).expect("hex");
                    match commit(&*parts.refs, vec![edit("refs/heads/count", Some(old), Some(new))])
                    {
                        Ok(()) => ours.fetch_add(1, Ordering::SeqCst),
                        Err(CommitError::Lost { .. } | CommitError::Locked { .. }) => 0,
                        Err(error) => panic!("{error}"),
                    };
                }
                at_end.store(true, Ordering::SeqCst);
            });
        }
        scope.spawn(|| {
            while !at_end.load(Ordering::SeqCst) {
                let at = position(&git.ok(&bare, &["rev-parse", "refs/heads/count"]));
                if at == STEPS {
                    break;
                }
                let args = ["update-ref", "refs/heads/count", &ids[at + 1], &ids[at]];
                if git.run(&bare, &args).status.success() {
                    theirs.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        // Packing in between must neither lose nor bring back a value.
        scope.spawn(|| {
            while !at_end.load(Ordering::SeqCst) {
                git.run(&bare, &["pack-refs", "--all"]);
            }
        });
    });
    assert_eq!(ours.into_inner() + theirs.into_inner(), STEPS);
    assert_eq!(git.ok(&bare, &["rev-parse", "refs/heads/count"]), ids[STEPS]);
    git.fsck_strict(&bare);
}

/// Whatever is created and deleted while git packs refs, nothing comes back and nothing is lost.
#[test]
fn deleted_refs_stay_deleted_while_git_packs() {
    let git = RealGit::new();
    let bare = git.init_bare("r.git");
    let tree = git.ok_with_input(&bare, &["mktree"], b"").text();
    let id = git.ok(&bare, &["commit-tree", "-m", "one", tree.trim()]);
    let id = object::ObjectId::from_hex(id.as_bytes()).expect("hex");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                git.run(&bare, &["pack-refs", "--all"]);
            }
        });
        let parts = open(&bare);
        let until_done = |on: &str, old, new| loop {
            match commit(&*parts.refs, vec![edit(on, old, new)]) {
                Ok(()) => break,
                Err(CommitError::Locked { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        };
        for round in 0..40 {
            let name = format!("refs/heads/r{}/x", round % 3);
            until_done(&name, None, Some(id));
            assert!(get(&*parts.refs, &name).is_some(), "{name} is lost in round {round}");
            assert_eq!(scan(&*parts.refs, &name).len(), 1);
            until_done(&name, Some(id), None);
            assert!(get(&*parts.refs, &name).is_none(), "{name} came back in round {round}");
        }
        done.store(true, Ordering::SeqCst);
    });
    let left: BTreeSet<_> = scan(&*open(&bare).refs, "").into_iter().collect();
    assert_eq!(left, BTreeSet::new());
    git.fsck_strict(&bare);
}
