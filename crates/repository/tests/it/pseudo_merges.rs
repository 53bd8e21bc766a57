//! Requests answered with bitmaps that groups of commits have together, as stock git writes them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object::ObjectId;
use repository::{PackRequest, Silent, plan};
use storage::metered::Meter;
use testkit::{Change, RealGit, Scenario};

use crate::bare::Bare;
use crate::far::{far, short_reads};

const BRANCHES: usize = 300;

/// A line of commits and many branches of one commit each: too many for each to get a bitmap.
fn many_branches(git: &RealGit) -> PathBuf {
    let scenario = Scenario::new(|import| {
        let mut tip = None;
        for number in 0..200 {
            let blob = import.blob(format!("line {number}\n"));
            let path = format!("line/{}", number % 7);
            let parents: Vec<_> = tip.into_iter().collect();
            let changes = [Change::File(path.as_bytes(), blob)];
            tip = Some(import.commit("main", "Line\n", &parents, &changes));
        }
        for number in 0..BRANCHES {
            let blob = import.blob(noise(number));
            let changes = [Change::File(b"topic/file", blob)];
            let parents = [tip.expect("a line")];
            import.commit(&format!("topic/{number:03}"), "Topic\n", &parents, &changes);
        }
    });
    scenario.build(git, "branches")
}

/// Two kilobytes that hardly compress, so that trees lie apart.
fn noise(seed: usize) -> Vec<u8> {
    let mut state = seed as u32 + 1;
    let mut step = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..2048).map(|_| step()).collect()
}

/// Repacks into one pack with a bitmap, where every ten branches make a group when asked for.
fn repack(git: &RealGit, dir: &Path, groups: bool) -> Bare {
    let config = [
        "-c",
        "bitmapPseudoMerge.topics.pattern=refs/heads/topic/",
        "-c",
        "bitmapPseudoMerge.topics.stableSize=10",
    ];
    let config = if groups { &config[..] } else { &[] };
    git.ok(dir, &[config, &["repack", "-adfbq"]].concat());
    Bare::open(dir)
}

/// How many objects are planned for a request, and what planning read of the pack.
fn planned(bare: &Bare, request: &PackRequest) -> (u32, usize) {
    let meter = Arc::new(Meter::default());
    let far = far(bare, &meter, short_reads());
    let objects = far.objects().expect("a view");
    let count = plan(&objects, request, &mut Silent).expect("a plan").object_count();
    (count, meter.reads_of(".pack").len())
}

fn expected(git: &RealGit, dir: &Path, wants: &[ObjectId], haves: &[ObjectId]) -> u32 {
    let mut input = String::new();
    wants.iter().for_each(|id| input.push_str(&format!("{id}\n")));
    haves.iter().for_each(|id| input.push_str(&format!("^{id}\n")));
    let args = ["rev-list", "--objects", "--no-object-names", "--use-bitmap-index", "--stdin"];
    let listed = git.ok_with_input(dir, &args, input.as_bytes());
    listed.text().lines().collect::<BTreeSet<_>>().len() as u32
}

fn request(wants: &[ObjectId], haves: &[ObjectId]) -> PackRequest {
    PackRequest {
        wants: wants.to_vec(),
        haves: haves.to_vec(),
        ofs_delta: true,
        ..PackRequest::default()
    }
}

fn tips(git: &RealGit, dir: &Path) -> Vec<ObjectId> {
    let listed = git.ok(dir, &["for-each-ref", "--format=%(objectname)", "refs/heads/topic/"]);
    listed.lines().map(|hex| ObjectId::from_hex(hex.as_bytes()).expect("an id")).collect()
}

#[test]
fn groups_of_commits_are_joined_without_reading_them() {
    let git = RealGit::new();
    let dir = many_branches(&git);
    let tips = tips(&git, &dir);
    let plain = repack(&git, &dir, false);
    let all = request(&tips, &[]);
    let (count, reads_of_each) = planned(&plain, &all);
    assert_eq!(count, expected(&git, &dir, &tips, &[]));
    let grouped = repack(&git, &dir, true);
    let (count, reads) = planned(&grouped, &all);
    assert_eq!(count, expected(&git, &dir, &tips, &[]));
    assert!(reads * 2 < reads_of_each, "{reads} reads with groups, {reads_of_each} without");
}

#[test]
fn parts_of_groups_are_not_taken_for_the_whole() {
    let git = RealGit::new();
    let dir = many_branches(&git);
    let tips = tips(&git, &dir);
    let bare = repack(&git, &dir, true);
    // Every size of a part, at every place in a group of ten; and what lacks one of each group.
    for len in (1..30).chain([BRANCHES - 10, BRANCHES - 1]) {
        for start in [0, 3, 9] {
            let part = &tips[start..(start + len).min(BRANCHES)];
            let (count, _) = planned(&bare, &request(part, &[]));
            assert_eq!(count, expected(&git, &dir, part, &[]), "{len} from {start}");
        }
    }
    let gaps: Vec<_> = tips.iter().enumerate().filter(|(n, _)| n % 10 != 4).map(|t| *t.1).collect();
    assert_eq!(planned(&bare, &request(&gaps, &[])).0, expected(&git, &dir, &gaps, &[]));
}

#[test]
fn groups_are_joined_for_what_the_client_has_and_for_what_walking_meets() {
    let git = RealGit::new();
    let dir = many_branches(&git);
    let tips = tips(&git, &dir);
    repack(&git, &dir, true);
    let hex: Vec<String> = tips.iter().map(ObjectId::to_hex).collect();
    let mut args = vec!["commit-tree", "-m", "All of them", "main^{tree}"];
    hex.iter().for_each(|id| args.extend(["-p", id]));
    let merge = git.ok(&dir, &args);
    git.ok(&dir, &["update-ref", "refs/heads/merged", &merge]);
    let merge = ObjectId::from_hex(merge.as_bytes()).expect("an id");
    let bare = Bare::open(&dir);
    for (wants, haves) in [
        (vec![merge], vec![]),
        (vec![merge], tips.clone()),
        (vec![merge], tips[..137].to_vec()),
        (tips[..40].to_vec(), tips[20..].to_vec()),
        (tips.clone(), vec![merge]),
    ] {
        let (count, _) = planned(&bare, &request(&wants, &haves));
        let expected = expected(&git, &dir, &wants, &haves);
        assert_eq!(count, expected, "{} wants, {} haves", wants.len(), haves.len());
    }
}
