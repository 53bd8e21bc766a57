//! Rounds of maintenance, judged by stock git: nothing is lost, nothing is left over, and git
//! uses what was written.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use object::{HashKind, ObjectId};
use repository::maintenance::upkeep::{
    self, Expire, FullRepack, Packing, UpkeepOptions, UpkeepReport,
};
use repository::{Error, PackRequest, Repository, Settings, Silent, plan};
use storage::metered::MeteredBlobs;
use testkit::{RealGit, Scenario};

use crate::bare::Bare;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub fn options(dir: &Path) -> UpkeepOptions {
    let bare = Bare::open(dir);
    let mut options = UpkeepOptions::from_config(bare.repository.config()).expect("numbers");
    options.repack.threads = 2;
    options
}

pub fn maintained(dir: &Path, change: impl FnOnce(&mut UpkeepOptions)) -> Option<UpkeepReport> {
    let mut options = options(dir);
    change(&mut options);
    upkeep::upkeep(&Bare::open(dir).repository, &options, true, &mut Silent).expect("maintained")
}

/// Every object with kind and size.
pub fn listing(git: &RealGit, dir: &Path) -> String {
    git.ok(dir, &["cat-file", "--batch-all-objects", "--batch-check"])
}

fn pack_files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir.join("objects/pack"))
        .expect("a folder")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    files.sort();
    files
}

fn loose_count(git: &RealGit, dir: &Path) -> usize {
    let counts = git.ok(dir, &["count-objects", "-v"]);
    let count = counts.lines().find_map(|line| line.strip_prefix("count: "));
    count.and_then(|count| count.parse().ok()).expect("a number")
}

/// Pushes `count` commits into the repository, each as a pack of its own.
pub fn grow(git: &RealGit, dir: &Path, branch: &str, count: usize) {
    git.ok(dir, &["config", "receive.unpackLimit", "1"]);
    let work = git.path(format!("work-{branch}"));
    if !work.exists() {
        let (from, to) = (dir.display().to_string(), work.display().to_string());
        git.ok(dir, &["clone", "-q", &from, &to]);
        git.ok(&work, &["checkout", "-q", "-b", branch]);
    }
    for number in 0..count {
        let name = format!("{branch}-{number}");
        git.commit_file(&work, &name, format!("{name} of {count}\n"));
        git.ok(&work, &["push", "-q", "origin", branch]);
    }
}

/// What git says of a repository that was maintained.
fn checked(git: &RealGit, dir: &Path) {
    git.ok(dir, &["fsck", "--full", "--strict"]);
    git.ok(dir, &["multi-pack-index", "verify"]);
    git.ok(dir, &["commit-graph", "verify"]);
    assert!(!dir.join("gc.pid").exists() && !dir.join("objects/maintenance.lock").exists());
}

#[test]
fn the_first_round_packs_everything_into_one_pack() {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let git = RealGit::new();
        let dir = Scenario::realistic(500, 31).hash(hash).build(&git, "repository");
        grow(&git, &dir, "more", 3);
        let (before, refs) = (listing(&git, &dir), git.refs(&dir));
        let report = maintained(&dir, |options| options.full = FullRepack::Always);
        let report = report.expect("there was something to do");
        assert_eq!(listing(&git, &dir), before);
        assert_eq!(git.refs(&dir), refs);
        assert_eq!((pack_files(&dir, ".pack").len(), loose_count(&git, &dir)), (1, 0));
        assert_eq!(pack_files(&dir, ".bitmap").len(), 1);
        assert!(report.bitmap_commits > Some(0) && report.graph_commits > 0, "{report:?}");
        assert!(report.refs_packed > 0 && report.packs_removed >= 4, "{report:?}");
        checked(&git, &dir);
        git.ok(&dir, &["rev-list", "--test-bitmap", "HEAD"]);
        assert_eq!(maintained(&dir, |_| ()), None, "a second round has nothing to do");
    }
}

#[test]
fn small_packs_are_joined_and_the_large_one_stays() {
    let git = RealGit::new();
    let dir = Scenario::realistic(800, 32).build(&git, "repository");
    maintained(&dir, |options| options.full = FullRepack::Always);
    let large = pack_files(&dir, ".pack");
    grow(&git, &dir, "more", 6);
    // And objects that nothing reaches: joining drops nothing.
    let orphan = git.ok_with_input(&dir, &["hash-object", "-w", "--stdin"], b"nobody's").text();
    let before = listing(&git, &dir);
    let report = maintained(&dir, |_| ()).expect("packs out of proportion");
    assert_eq!(listing(&git, &dir), before);
    let after = pack_files(&dir, ".pack");
    assert_eq!(after.len(), 2, "{report:?}");
    assert!(after.contains(&large[0]));
    assert_eq!(report.packs_removed, 6);
    assert_eq!(loose_count(&git, &dir), 0);
    git.ok(&dir, &["cat-file", "-e", orphan.trim()]);
    // The bitmap is now that of both packs, and the old one's is gone.
    let bitmaps = pack_files(&dir, ".bitmap");
    assert_eq!(bitmaps.len(), 1);
    assert!(bitmaps[0].to_string_lossy().contains("multi-pack-index-"));
    checked(&git, &dir);
    git.ok(&dir, &["rev-list", "--test-bitmap", "HEAD"]);
    // Rounds go on in a geometric row until everything is packed anew.
    for round in 0..4 {
        grow(&git, &dir, &format!("round-{round}"), 3);
        let before = listing(&git, &dir);
        maintained(&dir, |_| ());
        assert_eq!(listing(&git, &dir), before);
        let multi = pack_files(&dir, ".bitmap");
        assert!(multi.len() <= 1, "old bitmaps are removed: {multi:?}");
        checked(&git, &dir);
    }
}

/// Makes a commit on nothing that any ref knows.
pub fn unreachable_commit(git: &RealGit, dir: &Path, text: &str) -> Vec<ObjectId> {
    let blob = git.ok_with_input(dir, &["hash-object", "-w", "--stdin"], text.as_bytes()).text();
    let line = format!("100644 blob {}\tfile\n", blob.trim());
    let tree = git.ok_with_input(dir, &["mktree"], line.as_bytes()).text();
    let commit = git.ok(dir, &["commit-tree", "-m", text, tree.trim()]);
    let ids = [&commit, &tree, &blob].map(|hex| ObjectId::from_hex(hex.trim().as_bytes()));
    ids.into_iter().flatten().collect()
}

fn age(dir: &Path, ids: &[ObjectId], age: Duration) {
    for id in ids {
        let hex = id.to_string();
        let file = dir.join("objects").join(&hex[..2]).join(&hex[2..]);
        let file = fs::File::open(file).expect("a loose object");
        file.set_modified(SystemTime::now() - age).expect("a new time");
    }
}

fn has(git: &RealGit, dir: &Path, id: &ObjectId) -> bool {
    git.run(dir, &["cat-file", "-e", &id.to_string()]).status.success()
}

#[test]
fn what_nothing_reaches_is_kept_for_a_while_and_then_goes() {
    let git = RealGit::new();
    let dir = Scenario::realistic(200, 33).build(&git, "repository");
    let old = unreachable_commit(&git, &dir, "old");
    let young = unreachable_commit(&git, &dir, "young");
    // An old object that a young one needs.
    let needed = unreachable_commit(&git, &dir, "needed");
    let child = git.ok(
        &dir,
        &[
            "commit-tree",
            "-m",
            "x",
            "-p",
            &needed[0].to_string(),
            &format!("{}^{{tree}}", needed[0]),
        ],
    );
    age(&dir, &old, 20 * DAY);
    age(&dir, &needed, 20 * DAY);
    age(&dir, &young, DAY);
    let full = |options: &mut UpkeepOptions| options.full = FullRepack::Always;
    let report = maintained(&dir, full).expect("work");
    assert_eq!((report.expired_objects, report.cruft_objects), (3, 7), "{report:?}");
    assert!(old.iter().all(|id| !has(&git, &dir, id)));
    assert!(young.iter().chain(&needed).all(|id| has(&git, &dir, id)));
    assert_eq!((pack_files(&dir, ".pack").len(), pack_files(&dir, ".mtimes").len()), (2, 1));
    checked(&git, &dir);
    let packed = git.ok(&dir, &["count-objects", "-v"]);
    assert!(packed.contains("prune-packable: 0"), "{packed}");

    // Times survive another round, in our hands and in git's.
    let later = |days: u32| {
        move |options: &mut UpkeepOptions| {
            options.full = FullRepack::Always;
            options.now = SystemTime::now() + days * DAY;
        }
    };
    let report = maintained(&dir, later(10)).expect("work");
    assert_eq!(report.expired_objects, 0, "{report:?}");
    git.ok(&dir, &["repack", "-d", "--cruft", "--cruft-expiration=2.weeks.ago", "-q"]);
    assert!(young.iter().all(|id| has(&git, &dir, id)));
    // What is reached again is cruft no longer.
    git.ok(&dir, &["update-ref", "refs/heads/saved", child.trim()]);
    let report = maintained(&dir, later(30)).expect("work");
    assert_eq!(report.expired_objects, 3, "{report:?}");
    assert!(young.iter().all(|id| !has(&git, &dir, id)));
    assert!(needed.iter().all(|id| has(&git, &dir, id)));
    assert_eq!((pack_files(&dir, ".pack").len(), pack_files(&dir, ".mtimes").len()), (1, 0));
    checked(&git, &dir);
}

#[test]
fn reflogs_and_work_trees_keep_what_they_name() {
    let git = RealGit::new();
    let dir = Scenario::realistic(100, 34).build(&git, "repository");
    git.ok(&dir, &["config", "core.logAllRefUpdates", "always"]);
    let logged = unreachable_commit(&git, &dir, "in the reflog");
    age(&dir, &logged, 20 * DAY);
    git.ok(&dir, &["update-ref", "refs/heads/moved", &logged[0].to_string()]);
    git.ok(&dir, &["update-ref", "refs/heads/moved", "main"]);
    let full = |options: &mut UpkeepOptions| options.full = FullRepack::Always;
    let report = maintained(&dir, full).expect("work");
    assert_eq!((report.expired_objects, report.cruft_objects), (0, 0), "{report:?}");
    assert!(logged.iter().all(|id| has(&git, &dir, id)));

    let work = git.path("with-a-work-tree");
    let (from, to) = (dir.display().to_string(), work.display().to_string());
    git.ok(&dir, &["clone", "-q", &from, &to]);
    fs::write(work.join("staged"), "only the index knows").expect("written");
    git.ok(&work, &["add", "staged"]);
    let staged = git.rev_parse(&work, ":staged");
    age(&work.join(".git"), &[staged], 20 * DAY);
    maintained(&work.join(".git"), full).expect("work");
    assert!(has(&git, &work, &staged), "nothing expires beside an index");
    git.ok(&work, &["fsck", "--full", "--strict"]);
    git.ok(&work, &["commit", "-q", "-m", "staged"]);
}

#[test]
fn packs_others_answer_for_are_left_alone() {
    let git = RealGit::new();
    let dir = Scenario::realistic(200, 35).build(&git, "repository");
    maintained(&dir, |options| options.full = FullRepack::Always);
    let first = pack_files(&dir, ".pack").remove(0);
    fs::write(first.with_extension("keep"), "mine").expect("written");
    grow(&git, &dir, "more", 4);
    let before = listing(&git, &dir);
    maintained(&dir, |options| options.full = FullRepack::Always);
    assert!(first.exists());
    assert_eq!(pack_files(&dir, ".pack").len(), 2);
    assert_eq!(listing(&git, &dir), before);
    checked(&git, &dir);

    git.ok(&dir, &["config", "core.repositoryFormatVersion", "1"]);
    git.ok(&dir, &["config", "extensions.preciousObjects", "true"]);
    grow(&git, &dir, "precious", 3);
    let files = pack_files(&dir, ".pack");
    maintained(&dir, |options| options.full = FullRepack::Always);
    assert_eq!(pack_files(&dir, ".pack"), files);

    let fork = git.path("fork.git");
    let (from, to) = (dir.display().to_string(), fork.display().to_string());
    git.ok(&dir, &["clone", "-q", "--bare", "--shared", &from, &to]);
    grow(&git, &fork, "own", 2);
    maintained(&fork, |options| options.full = FullRepack::Always);
    git.ok(&fork, &["fsck", "--full", "--strict"]);
    let borrowed = fs::metadata(&first).expect("there").len();
    let own = pack_files(&fork, ".pack")
        .iter()
        .map(|pack| fs::metadata(pack).expect("there").len())
        .sum::<u64>();
    assert!(own < borrowed / 4, "borrowed objects are not copied: {own} of {borrowed}");
}

#[test]
fn a_reader_that_came_before_finishes_undisturbed() {
    undisturbed(|bare| bare);
}

#[test]
fn so_does_one_of_packs_that_are_not_mapped() {
    undisturbed(|bare| {
        let mut parts = bare.repository.parts().clone();
        parts.blobs = Arc::new(MeteredBlobs::new(parts.blobs, Arc::default()));
        Bare { repository: Repository::open(parts, Settings::default()), ..bare }
    });
}

fn undisturbed(reader: impl FnOnce(Bare) -> Bare) {
    let git = RealGit::new();
    let dir = Scenario::realistic(400, 36).build(&git, "repository");
    grow(&git, &dir, "more", 3);
    let loose = unreachable_commit(&git, &dir, "loose");
    git.ok(&dir, &["update-ref", "refs/heads/loose", &loose[0].to_string()]);
    // Under a multi-pack-index, packs' own indices are opened late.
    git.ok(&dir, &["multi-pack-index", "write"]);
    let bare = reader(Bare::open(&dir));
    let objects = bare.repository.objects().expect("a view");
    let wants = vec![git.rev_parse(&dir, "more"), loose[0]];
    let request = PackRequest { wants, ofs_delta: true, ..PackRequest::default() };
    let early = plan(&objects, &request, &mut Silent).expect("a plan").into_stream();
    // A view that has seen the loose object and not read it.
    let late = bare.repository.objects().expect("a view");
    assert!(late.contains(&loose[2]).expect("readable"));

    maintained(&dir, |options| options.full = FullRepack::Always).expect("work");
    assert_eq!(loose_count(&git, &dir), 0);
    let mut pack = Vec::new();
    let mut early = early;
    while let Some(bytes) = early.next().expect("the old files can be read") {
        pack.extend_from_slice(&bytes);
    }
    let copy = git.init_bare("copy.git");
    git.ok_with_input(&copy, &["index-pack", "--strict", "--stdin"], &pack);
    assert!(late.read(&loose[2]).expect("packed meanwhile").is_some());
    // And a server that stays sees the new state, with its bitmap.
    let now = bare.repository.objects().expect("a view");
    assert!(now.contains(&loose[2]).expect("readable"));
}

#[test]
fn what_was_needed_again_leaves_the_cruft_pack() {
    let git = RealGit::new();
    let dir = Scenario::realistic(100, 41).build(&git, "repository");
    let ids = unreachable_commit(&git, &dir, "again");
    age(&dir, &ids, 10 * DAY);
    maintained(&dir, |options| options.full = FullRepack::Always);
    assert_eq!((pack_files(&dir, ".mtimes").len(), loose_count(&git, &dir)), (1, 0));
    // Git writes what lies in a cruft pack anew.
    assert_eq!(unreachable_commit(&git, &dir, "again")[1..], ids[1..]);
    assert!(loose_count(&git, &dir) >= 2);
    let report = maintained(&dir, |_| ()).expect("loose objects to pack");
    assert_eq!((report.expired_objects, loose_count(&git, &dir)), (0, 0));
    let report = maintained(&dir, |options| {
        options.full = FullRepack::Always;
        options.now = SystemTime::now() + 8 * DAY;
    });
    assert_eq!(report.expect("work").expired_objects, 1, "the commit alone was not made again");
    assert!(ids[1..].iter().all(|id| has(&git, &dir, id)));
}

#[test]
fn one_at_a_time() {
    let git = RealGit::new();
    let dir = Scenario::realistic(50, 37).build(&git, "repository");
    fs::write(dir.join("objects/maintenance.lock"), "").expect("written");
    let bare = Bare::open(&dir);
    let error = upkeep::upkeep(&bare.repository, &options(&dir), true, &mut Silent);
    assert!(matches!(error, Err(Error::Storage(storage::Error::Locked { .. }))));
    fs::remove_file(dir.join("objects/maintenance.lock")).expect("removed");
}

#[test]
fn a_plan_tells_what_a_round_does() {
    let git = RealGit::new();
    let dir = Scenario::realistic(300, 38).build(&git, "repository");
    let plan = |change: fn(&mut UpkeepOptions), eager: bool| {
        let mut options = options(&dir);
        change(&mut options);
        upkeep::plan(&Bare::open(&dir).repository, &options, eager).expect("readable")
    };
    let before = listing(&git, &dir);
    assert!(matches!(plan(|o| o.full = FullRepack::Always, true).packing, Packing::Full { .. }));
    maintained(&dir, |options| options.full = FullRepack::Always);
    assert!(plan(|_| (), true).is_idle() && plan(|_| (), false).is_idle());
    grow(&git, &dir, "more", 3);
    let joined = plan(|_| (), false);
    assert!(matches!(&joined.packing, Packing::Join { packs, loose: 0, .. } if packs.len() == 3));
    assert!(joined.lines()[0].starts_with("join 3 packs ("), "{:?}", joined.lines());
    assert_ne!(listing(&git, &dir), before);
    let never = plan(|options| options.expire = Expire::Never, false);
    assert_eq!(never, joined);
}

#[test]
fn pushes_and_fetches_go_on_meanwhile() {
    let git = RealGit::new();
    let dir = Scenario::realistic(200, 39).build(&git, "repository");
    // One round beside each step: git looks for packs that went once more, and not again and
    // again. A step that fails drops the sender, which ends the rounds.
    let (go, begun) = std::sync::mpsc::channel();
    let rounds = std::thread::scope(|scope| {
        let target = dir.clone();
        let rounds = scope.spawn(move || {
            let mut rounds = 0;
            for () in begun {
                maintained(&target, |options| {
                    if rounds % 2 == 1 {
                        options.full = FullRepack::Always;
                    }
                });
                rounds += 1;
            }
            rounds
        });
        for round in 0..5 {
            go.send(()).expect("no round panics");
            grow(&git, &dir, &format!("round-{round}"), 3);
            let copy = git.path(format!("copy-{round}"));
            let (from, to) = (dir.display().to_string(), copy.display().to_string());
            go.send(()).expect("no round panics");
            git.ok(&dir, &["clone", "-q", "--mirror", "--no-local", &from, &to]);
            git.ok(&copy, &["fsck", "--full", "--strict"]);
        }
        drop(go);
        rounds.join().expect("no round panics")
    });
    assert!(rounds >= 2);
    checked(&git, &dir);
    for round in 0..5 {
        let tip = git.rev_parse(&dir, &format!("round-{round}"));
        assert!(has(&git, &dir, &tip));
    }
}
