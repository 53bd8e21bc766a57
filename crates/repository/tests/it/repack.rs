//! Packs made with a search for deltas: git reads and checks them, and makes none much smaller.

use std::path::Path;

use object::{HashKind, ObjectId};
use repository::maintenance::repack::{Packed, RepackOptions, Selection, repack};
use repository::{Error, Progress, Silent};
use testkit::{RealGit, Scenario};

use crate::bare::Bare;

fn options() -> RepackOptions {
    RepackOptions { threads: 1, reuse_deltas: false, ..RepackOptions::default() }
}

fn all_ids(git: &RealGit, dir: &Path) -> Vec<ObjectId> {
    let list = git
        .ok(dir, &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)", "--buffer"]);
    list.lines().filter_map(|hex| ObjectId::from_hex(hex.as_bytes())).collect()
}

/// Every object with kind and size.
fn listing(git: &RealGit, dir: &Path) -> String {
    git.ok(dir, &["cat-file", "--batch-all-objects", "--batch-check"])
}

/// Packs all objects of a repository into one pack and removes everything else.
fn repacked(git: &RealGit, dir: &Path, options: &RepackOptions) -> Packed {
    let before = listing(git, dir);
    let bare = Bare::open(dir);
    let old = bare.files();
    let objects = bare.repository.objects().expect("a view");
    let selection = Selection::of(&objects, all_ids(git, dir)).expect("a set");
    let mut stage = bare.repository.blobs().stage().expect("room");
    let packed = repack(&bare.repository, &objects, &selection, options, &mut *stage, &mut Silent)
        .expect("a pack")
        .expect("objects");
    assert_eq!(u64::from(packed.objects), selection.count());
    stage.publish().expect("published");
    drop((objects, bare));
    let name = format!("pack-{}", packed.name);
    for file in old.iter().filter(|file| !file.display().to_string().contains(&name)) {
        std::fs::remove_file(file).expect("removable");
    }
    git.ok(dir, &["fsck", "--strict", "--full"]);
    assert_eq!(listing(git, dir), before);
    let bare = Bare::open(dir);
    assert_eq!(bare.pack_file("pack").len() as u64, packed.bytes);
    bare.pack_file("idx");
    bare.pack_file("rev");
    packed
}

/// The depths of all deltas, by git's account, which checks every object on the way.
fn depths(git: &RealGit, dir: &Path, packed: &Packed) -> Vec<u32> {
    let idx = dir.join(format!("objects/pack/pack-{}.idx", packed.name));
    let text = git.ok(dir, &["verify-pack", "-v", &idx.display().to_string()]);
    text.lines()
        .filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            (fields.len() == 7 && fields[0].len() >= 40).then(|| fields[5].parse().ok()).flatten()
        })
        .collect()
}

/// Bytes of the pack `git repack -adf` makes of the same objects.
fn gits_bytes(git: &RealGit, dir: &Path) -> u64 {
    git.ok(dir, &["repack", "-adfq", "--window=10", "--depth=50", "--threads=1"]);
    Bare::open(dir).pack_file("pack").len() as u64
}

#[test]
fn git_reads_the_pack_and_makes_none_much_smaller() {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        for threads in [1, 2] {
            let git = RealGit::new();
            let dir = Scenario::realistic(3000, 21).hash(hash).build(&git, "repository");
            let packed = repacked(&git, &dir, &RepackOptions { threads, ..options() });
            let depths = depths(&git, &dir, &packed);
            assert_eq!(depths.len() as u32, packed.deltas);
            assert!(depths.iter().all(|depth| *depth <= 50), "{hash:?}");
            assert_eq!(packed.reused_deltas, 0);
            let gits = gits_bytes(&git, &dir);
            let ours = packed.bytes;
            assert!(ours <= gits + gits / 33, "{hash:?}, {threads} threads: {ours}, git {gits}");
        }
    }
}

#[test]
fn depth_and_window_are_kept_to() {
    let git = RealGit::new();
    let dir = Scenario::realistic(600, 22).build(&git, "repository");
    let packed = repacked(&git, &dir, &RepackOptions { depth: 3, window: 2, ..options() });
    let depths = depths(&git, &dir, &packed);
    assert_eq!(depths.iter().max(), Some(&3));
    let packed = repacked(&git, &dir, &RepackOptions { window: 0, ..options() });
    assert_eq!(packed.deltas, 0);
    let packed = repacked(&git, &dir, &RepackOptions { depth: 0, ..options() });
    assert_eq!(packed.deltas, 0);
}

#[test]
fn loose_objects_and_packs_make_one_pack() {
    let git = RealGit::new();
    let dir = Scenario::realistic(400, 23).build(&git, "repository");
    git.ok(&dir, &["update-ref", "refs/heads/more", "main~3"]);
    let tree = git.ok(&dir, &["rev-parse", "main^{tree}"]);
    for number in 0..5 {
        let commit = ["commit-tree", "-m", "one more", "-p", "main", tree.trim()];
        let id = git.ok(&dir, &commit);
        git.ok(&dir, &["update-ref", &format!("refs/heads/loose-{number}"), id.trim()]);
    }
    repacked(&git, &dir, &options());
}

#[test]
fn without_a_cache_every_delta_is_made_twice() {
    let git = RealGit::new();
    let dir = Scenario::realistic(600, 24).build(&git, "repository");
    let rich = repacked(&git, &dir, &options());
    let poor = RepackOptions {
        delta_cache_bytes: 0,
        read_cache_bytes: 0,
        write_batch_bytes: 1,
        threads: 2,
        ..options()
    };
    let twice = repacked(&git, &dir, &poor).bytes;
    assert!(twice.abs_diff(rich.bytes) <= rich.bytes / 50, "{twice}, {}", rich.bytes);
    let narrow = RepackOptions { window_memory_bytes: 1, ..options() };
    assert!(repacked(&git, &dir, &narrow).deltas > 0);
}

#[test]
fn stored_deltas_are_kept_when_that_is_allowed() {
    let git = RealGit::new();
    let dir = Scenario::realistic(600, 25).build(&git, "repository");
    let before = Bare::open(&dir).pack_file("pack").len() as u64;
    let reusing = RepackOptions { reuse_deltas: true, ..options() };
    let packed = repacked(&git, &dir, &reusing);
    assert!(packed.reused_deltas > 100 && packed.bytes <= before + before / 50);
    let shallower = RepackOptions { depth: 4, ..reusing };
    let packed = repacked(&git, &dir, &shallower);
    let depths = depths(&git, &dir, &packed);
    assert!(packed.reused_deltas > 50 && depths.iter().max() <= Some(&4));
}

#[test]
fn large_files_stay_whole_and_pass_through() {
    let git = RealGit::new();
    let dir = Scenario::linear(3).loose().build(&git, "repository");
    let mut content: Vec<u8> = (0..300_000u32).map(|n| (n.wrapping_mul(n) >> 9) as u8).collect();
    for number in 0..3 {
        content[1000] = number;
        let id = git.ok_with_input(&dir, &["hash-object", "-w", "--stdin"], &content);
        let id = id.text();
        git.ok(&dir, &["update-ref", &format!("refs/tags/large-{number}"), &id]);
    }
    let limited = RepackOptions { big_file_threshold_bytes: 100_000, ..options() };
    let packed = repacked(&git, &dir, &limited);
    assert!(packed.bytes > 3 * 50_000, "no deltas between large files");
    let packed = repacked(&git, &dir, &options());
    assert!(packed.bytes < 400_000, "{} bytes", packed.bytes);
    let packed = repacked(&git, &dir, &limited);
    assert!(packed.bytes > 3 * 50_000, "large deltas are undone");
}

#[test]
fn what_the_tips_reach_is_selected() {
    let git = RealGit::new();
    let dir = Scenario::realistic(400, 26).build(&git, "repository");
    let bare = Bare::open(&dir);
    let objects = bare.repository.objects().expect("a view");
    let tip = git.rev_parse(&dir, "main~5");
    let selection = Selection::reachable(&objects, vec![tip], &mut Silent).expect("a set");
    let mut stage = bare.repository.blobs().stage().expect("room");
    let packed =
        repack(&bare.repository, &objects, &selection, &options(), &mut *stage, &mut Silent)
            .expect("a pack")
            .expect("objects");
    let expected = git.ok(&dir, &["rev-list", "--objects", "main~5"]).lines().count();
    assert_eq!(packed.objects as usize, expected);
    let nothing = Selection::of(&objects, []).expect("a set");
    let mut stage = bare.repository.blobs().stage().expect("room");
    let packed = repack(&bare.repository, &objects, &nothing, &options(), &mut *stage, &mut Silent);
    assert_eq!(packed.expect("no failure"), None);
}

#[test]
fn damage_is_not_packed_again() {
    let git = RealGit::new();
    let dir = Scenario::realistic(400, 27).build(&git, "repository");
    let ids = all_ids(&git, &dir);
    let bare = Bare::open(&dir);
    let is_pack = |file: &&std::path::PathBuf| file.extension().is_some_and(|e| e == "pack");
    let path = bare.files().iter().find(is_pack).expect("a pack").clone();
    let mut bytes = std::fs::read(&path).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::remove_file(&path).expect("removable");
    std::fs::write(&path, bytes).expect("writable");
    let bare = Bare::open(&dir);
    let objects = bare.repository.objects().expect("a view");
    let selection = Selection::of(&objects, ids).expect("a set");
    for reuse_deltas in [true, false] {
        let mut stage = bare.repository.blobs().stage().expect("room");
        let options = RepackOptions { reuse_deltas, ..options() };
        repack(&bare.repository, &objects, &selection, &options, &mut *stage, &mut Silent)
            .expect_err("damage");
    }
}

/// Gives up once a phase of the work begins.
struct GivesUp(repository::Stage);

impl Progress for GivesUp {
    fn update(&mut self, stage: repository::Stage, _: u64, _: Option<u64>) -> std::io::Result<()> {
        match stage == self.0 {
            true => Err(std::io::ErrorKind::BrokenPipe.into()),
            false => Ok(()),
        }
    }
}

#[test]
fn whoever_asked_may_give_up_in_every_phase() {
    use repository::Stage::{Compressing, Counting, Enumerating, Writing};
    let git = RealGit::new();
    let dir = Scenario::realistic(200, 28).build(&git, "repository");
    let ids = all_ids(&git, &dir);
    let bare = Bare::open(&dir);
    let files = bare.files();
    let objects = bare.repository.objects().expect("a view");
    let selection = Selection::of(&objects, ids).expect("a set");
    for phase in [Counting, Enumerating, Compressing, Writing] {
        let mut stage = bare.repository.blobs().stage().expect("room");
        let progress = &mut GivesUp(phase);
        let result =
            repack(&bare.repository, &objects, &selection, &options(), &mut *stage, progress);
        assert!(matches!(result, Err(Error::Io(_))), "{phase:?}");
        drop(stage);
        assert_eq!(bare.files(), files, "{phase:?}");
    }
}
