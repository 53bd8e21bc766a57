//! Rounds of maintenance that stop half way, or whose packs are damaged: nothing is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object::ObjectId;
use repository::maintenance::upkeep::{self, FullRepack, UpkeepOptions};
use repository::{Repository, Settings, Silent};
use storage::faulty::{Fault, Faults, FaultyBlobs, FaultyRefs};
use testkit::{RealGit, Scenario};

use crate::bare::Bare;
use crate::upkeep::{grow, listing, maintained, options, unreachable_commit};

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("known").is_dir() {
            true => copy_dir(&entry.path(), &target),
            false => {
                fs::copy(entry.path(), &target).expect("copied");
                let modified = entry.metadata().and_then(|meta| meta.modified()).expect("a time");
                let file = fs::File::options().append(true).open(&target);
                // Objects cannot be written; their times matter only where a test set them.
                let _ = file.map(|file| file.set_modified(modified));
            }
        }
    }
}

/// The repository over stores with faults.
fn faulty(dir: &Path, faults: &Arc<Faults>) -> Repository {
    let options = storage_disk::OpenOptions::default();
    let mut parts = storage_disk::open(dir, &options).expect("a repository");
    parts.blobs = Arc::new(FaultyBlobs::new(parts.blobs, faults.clone()));
    parts.refs = Arc::new(FaultyRefs::new(parts.refs, faults.clone()));
    Repository::open(parts, Settings::default())
}

#[test]
fn a_round_may_stop_at_any_step() {
    let git = RealGit::new();
    let dir = Scenario::linear(8).build(&git, "repository");
    grow(&git, &dir, "more", 3);
    let tip = unreachable_commit(&git, &dir, "loose")[0].to_string();
    git.ok(&dir, &["update-ref", "refs/heads/loose", &tip]);
    unreachable_commit(&git, &dir, "nobody's");
    git.ok(&dir, &["multi-pack-index", "write", "--bitmap"]);
    let (before, refs) = (listing(&git, &dir), git.refs(&dir));
    for full in [FullRepack::Always, FullRepack::WhenDue] {
        let mut run = 0;
        let writes = testkit::for_every_crash(|faults| {
            run += 1;
            let copy = git.path(format!("copy-{full:?}-{run}"));
            copy_dir(&dir, &copy);
            let faulty = faulty(&copy, faults);
            let options = UpkeepOptions { full, ..options(&copy) };
            let done = upkeep::upkeep(&faulty, &options, true, &mut Silent);
            assert_eq!(done.is_err(), faults.crashed(), "{done:?}");
            drop(faulty);
            git.ok(&copy, &["fsck", "--full", "--strict"]);
            assert_eq!(listing(&git, &copy), before, "stopped at step {run}");
            assert_eq!(git.refs(&copy), refs, "stopped at step {run}");
            if faults.crashed() {
                // What was left behind is in nobody's way.
                maintained(&copy, |options| options.full = FullRepack::Always);
                assert_eq!(listing(&git, &copy), before, "after step {run}");
            }
            fs::remove_dir_all(&copy).expect("removed");
        });
        assert!(writes > 20, "{writes} steps");
    }
}

#[test]
fn what_was_lost_while_it_was_read_replaces_nothing() {
    let git = RealGit::new();
    let dir = Scenario::linear(8).build(&git, "repository");
    grow(&git, &dir, "more", 3);
    unreachable_commit(&git, &dir, "nobody's");
    let (before, files) = (listing(&git, &dir), Bare::open(&dir).files());
    let mut refused = 0;
    for number in (1..).step_by(3) {
        let copy = git.path(format!("copy-{number}"));
        copy_dir(&dir, &copy);
        let faults = Faults::new(Fault::LoseMapAtWrite(number));
        let options = UpkeepOptions { full: FullRepack::Always, ..options(&copy) };
        let done = upkeep::upkeep(&faulty(&copy, &faults), &options, true, &mut Silent);
        assert_eq!(listing(&git, &copy), before, "lost at write {number}");
        let left = Bare::open(&copy).files();
        let stayed = files.iter().all(|file| {
            let name = file.strip_prefix(&dir).expect("below the repository");
            left.contains(&copy.join(name))
        });
        if let Err(error) = done
            && stayed
        {
            assert!(error.to_string().contains("it was cut"), "{error}");
            refused += 1;
        }
        fs::remove_dir_all(&copy).expect("removed");
        if faults.writes() < number {
            break;
        }
    }
    assert!(refused > 5, "what was written until it was published: {refused}");
}

/// Puts objects into a pack of their own and removes their loose files; its path.
fn packed_apart(git: &RealGit, dir: &Path, ids: &[ObjectId]) -> PathBuf {
    let list: String = ids.iter().map(|id| format!("{id}\n")).collect();
    let arguments = ["pack-objects", "-q", "objects/pack/pack"];
    let name = git.ok_with_input(dir, &arguments, list.as_bytes()).text();
    for id in ids {
        let hex = id.to_string();
        let file = dir.join("objects").join(&hex[..2]).join(&hex[2..]);
        fs::remove_file(file).expect("a loose object");
    }
    dir.join(format!("objects/pack/pack-{name}.pack"))
}

#[test]
fn a_pack_that_cannot_be_read_is_not_removed() {
    let git = RealGit::new();
    let dir = Scenario::realistic(100, 40).build(&git, "repository");
    let ids = unreachable_commit(&git, &dir, "in a pack that was cut");
    let pack = packed_apart(&git, &dir, &ids);
    // Objects may be read-only; a new file takes their place.
    let cut = fs::read(&pack).expect("a pack")[..20].to_vec();
    fs::remove_file(&pack).expect("removed");
    fs::write(&pack, cut).expect("written");
    let before = Bare::open(&dir).files();
    let mut options = options(&dir);
    options.full = FullRepack::Always;
    let error = upkeep::upkeep(&Bare::open(&dir).repository, &options, true, &mut Silent);
    let words = error.expect_err("a damaged pack").to_string();
    assert!(words.contains("nothing is removed"), "{words}");
    assert_eq!(Bare::open(&dir).files(), before);
}
