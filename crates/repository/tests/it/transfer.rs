//! Copies from store to store while the source is in use.

use std::path::PathBuf;

use object::HashKind;
use repository::{Progress, Stage};
use testkit::{RealGit, Scenario};

use crate::bare::Bare;
use crate::upkeep::{grow, listing};

/// Pushes to the source, and packs it anew, each time so many bytes were copied.
struct Busy<'a> {
    git: &'a RealGit,
    source: PathBuf,
    left: usize,
}

impl Progress for Busy<'_> {
    fn update(&mut self, stage: Stage, _: u64, _: Option<u64>) -> std::io::Result<()> {
        if stage == Stage::Copying && self.left > 0 {
            self.left -= 1;
            grow(self.git, &self.source, &format!("meanwhile-{}", self.left), 2);
            self.git.ok(&self.source, &["repack", "-q", "-a", "-d"]);
        }
        Ok(())
    }
}

#[test]
fn a_source_that_changes_meanwhile_is_copied_whole() {
    let git = RealGit::new();
    let source = Scenario::realistic(150, 81).build(&git, "source.git");
    grow(&git, &source, "first", 3);
    let copy = Bare::init(&git, "copy.git", HashKind::Sha1);
    let from = Bare::open(&source);
    let mut busy = Busy { git: &git, source: source.clone(), left: 3 };
    let transfer = repository::transfer::copy(&from.repository, &copy.repository, &mut busy);
    let transfer = transfer.expect("copied");
    assert_eq!(busy.left, 0);
    assert!(transfer.rounds >= 2, "{transfer:?}");
    assert_eq!(git.refs(&copy.dir), git.refs(&source));
    assert_eq!(git.refs(&copy.dir).lines().count(), transfer.refs);
    git.fsck_strict(&copy.dir);
    // All of it, and perhaps objects in a pack that is gone from the source.
    let (has, wanted) = (listing(&git, &copy.dir), listing(&git, &source));
    assert!(wanted.lines().all(|line| has.contains(line)));
}
