//! Stock git and we, at the same refs at the same time.

use std::collections::BTreeSet;
use std::path::PathBuf;

use object::ObjectId;
use storage::{CommitError, Target};
use testkit::RealGit;

use crate::support::{commit, edit, get, open, repeat_beside, scan};

/// A ref and a list of commits to move it along, one step at a time. Each step has exactly one
/// winner, so the counts of successes add up to the length of the list.
struct Steps {
    git: RealGit,
    bare: PathBuf,
    ids: Vec<String>,
}

impl Steps {
    const REF: &str = "refs/heads/count";

    fn new(count: usize) -> Self {
        let git = RealGit::new();
        let bare = git.init_bare("r.git");
        let tree = git.ok_with_input(&bare, &["mktree"], b"").text();
        let ids: Vec<String> = (0..=count)
            .map(|n| git.ok(&bare, &["commit-tree", "-m", &n.to_string(), tree.trim()]))
            .collect();
        git.ok(&bare, &["update-ref", Self::REF, &ids[0]]);
        Steps { git, bare, ids }
    }

    fn count(&self) -> usize {
        self.ids.len() - 1
    }

    fn position(&self, hex: &str) -> usize {
        self.ids.iter().position(|id| id == hex).expect("one of ours")
    }

    /// Steps with our transactions, to the end of the list; how many were won.
    fn ours(&self) -> usize {
        let parts = open(&self.bare);
        let mut won = 0;
        loop {
            let old = get(&*parts.refs, Self::REF).expect("always there");
            let Target::Id(old) = old.target else { panic!("not symbolic") };
            let at = self.position(&old.to_hex());
            if at == self.count() {
                return won;
            }
            let new = ObjectId::from_hex(self.ids[at + 1].as_bytes()).expect("hex");
            match commit(&*parts.refs, vec![edit(Self::REF, Some(old), Some(new))]) {
                Ok(()) => won += 1,
                Err(CommitError::Lost { .. } | CommitError::Locked { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The same with `git update-ref`.
    fn theirs(&self) -> usize {
        let mut won = 0;
        loop {
            let at = self.position(&self.git.ok(&self.bare, &["rev-parse", Self::REF]));
            if at == self.count() {
                return won;
            }
            let args = ["update-ref", Self::REF, &self.ids[at + 1], &self.ids[at]];
            won += usize::from(self.git.run(&self.bare, &args).status.success());
        }
    }

    fn check(&self, won: usize) {
        assert_eq!(won, self.count());
        assert_eq!(self.git.ok(&self.bare, &["rev-parse", Self::REF]), self.ids[self.count()]);
        self.git.fsck_strict(&self.bare);
    }
}

#[test]
fn every_step_has_one_winner() {
    let steps = Steps::new(60);
    let won = std::thread::scope(|scope| {
        let ours = [(); 2].map(|()| scope.spawn(|| steps.ours()));
        let theirs = scope.spawn(|| steps.theirs());
        let ours = ours.map(|thread| thread.join().expect("no panic"));
        ours.iter().sum::<usize>() + theirs.join().expect("no panic")
    });
    steps.check(won);
}

/// Packing in between neither loses nor brings back a value. Git makes no steps here: beside
/// `git pack-refs` two runs of `git update-ref` may win the same step, with no other program
/// there, because git knows a `packed-refs` it has read by times in whole seconds.
#[test]
fn every_step_has_one_winner_while_git_packs() {
    let steps = Steps::new(60);
    let mut won = 0;
    let pack = || drop(steps.git.run(&steps.bare, &["pack-refs", "--all"]));
    repeat_beside(&[&pack], || {
        won = std::thread::scope(|scope| {
            let ours = [(); 3].map(|()| scope.spawn(|| steps.ours()));
            ours.map(|thread| thread.join().expect("no panic")).iter().sum()
        });
    });
    steps.check(won);
}

/// Whatever is created and deleted while git packs refs, nothing comes back and nothing is lost.
///
/// Every round has a value of its own: git removes the file of a ref it has packed when the file
/// still says what the record said, so a ref deleted and made again with the same value in that
/// moment is lost to git alone, too.
#[test]
fn deleted_refs_stay_deleted_while_git_packs() {
    let git = RealGit::new();
    let bare = git.init_bare("r.git");
    let tree = git.ok_with_input(&bare, &["mktree"], b"").text();
    let ids: Vec<ObjectId> = (0..40)
        .map(|n| git.ok(&bare, &["commit-tree", "-m", &n.to_string(), tree.trim()]))
        .map(|id| ObjectId::from_hex(id.as_bytes()).expect("hex"))
        .collect();
    let pack = || drop(git.run(&bare, &["pack-refs", "--all"]));
    repeat_beside(&[&pack], || {
        let parts = open(&bare);
        let until_done = |on: &str, old, new| loop {
            match commit(&*parts.refs, vec![edit(on, old, new)]) {
                Ok(()) => break,
                Err(CommitError::Locked { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        };
        for (round, id) in ids.iter().enumerate() {
            let name = format!("refs/heads/r{}/x", round % 3);
            until_done(&name, None, Some(*id));
            assert!(get(&*parts.refs, &name).is_some(), "{name} is lost in round {round}");
            assert_eq!(scan(&*parts.refs, &name).len(), 1);
            until_done(&name, Some(*id), None);
            assert!(get(&*parts.refs, &name).is_none(), "{name} came back in round {round}");
        }
    });
    let left: BTreeSet<_> = scan(&*open(&bare).refs, "").into_iter().collect();
    assert_eq!(left, BTreeSet::new());
    git.fsck_strict(&bare);
}
