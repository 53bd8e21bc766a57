//! Scenarios hold what they promise, and are the same every time.

use object::HashKind;
use testkit::{RealGit, Scenario};

fn shapes() -> Vec<(&'static str, Scenario)> {
    vec![
        ("linear", Scenario::linear(12)),
        ("branchy", Scenario::branchy(40)),
        ("criss-cross", Scenario::criss_cross(4)),
        ("octopus", Scenario::octopus(5)),
        ("tags", Scenario::tags_of_tags(3)),
        ("huge-tree", Scenario::huge_tree(2_000)),
        ("deep", Scenario::deep_delta_chain(200)),
        ("submodules", Scenario::submodule_entries()),
        ("many-refs", Scenario::many_refs(1_000)),
        ("odd-names", Scenario::odd_file_names()),
        ("big-blob", Scenario::big_blob(300_000)),
        ("shallow", Scenario::shallow(10, 3)),
        ("realistic", Scenario::realistic(1_500, 1)),
    ]
}

#[test]
fn every_shape_passes_fsck_under_both_hashes() {
    let git = RealGit::new();
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        for (name, scenario) in shapes() {
            let dir = scenario.hash(hash).build(&git, format!("{name}-{}.git", hash.name()));
            git.fsck_strict(&dir);
            assert_eq!(git.rev_parse(&dir, "main").kind(), hash);
        }
    }
}

#[test]
fn built_twice_is_the_same_twice() {
    let (one, two) = (RealGit::new(), RealGit::new());
    for (name, scenario) in shapes() {
        let (a, b) = (scenario.build(&one, name), scenario.build(&two, name));
        assert_eq!(one.refs(a), two.refs(b), "{name}");
    }
}

#[test]
fn a_deep_chain_is_one_chain() {
    let git = RealGit::new();
    let dir = Scenario::deep_delta_chain(150).build(&git, "deep");
    let listed = git.ok(&dir, &["cat-file", "--batch-all-objects", "--batch-check=%(deltabase)"]);
    let deltas = listed.lines().filter(|base| base.bytes().any(|digit| digit != b'0')).count();
    assert!(deltas >= 150, "{deltas} deltas");
    let pack = git.ok(&dir, &["verify-pack", "--stat-only", &pack_index(&dir)]);
    assert!(pack.contains("chain length = 150:"), "{pack}");
}

#[test]
fn loose_leaves_no_pack_and_many_refs_are_packed() {
    let git = RealGit::new();
    let dir = Scenario::linear(5).loose().build(&git, "loose");
    let counted = git.ok(&dir, &["count-objects", "-v"]);
    assert!(counted.contains("packs: 0") && !counted.starts_with("count: 0"), "{counted}");
    let dir = Scenario::many_refs(800).build(&git, "refs");
    assert!(git.refs(&dir).lines().count() >= 800);
    assert_eq!(git.ok(&dir, &["cat-file", "-t", "refs/tags/release-000003"]), "tag");
}

#[test]
fn realistic_comes_near_the_asked_size() {
    let git = RealGit::new();
    let dir = Scenario::realistic(4_000, 9).build(&git, "project");
    let counted = git.ok(&dir, &["rev-list", "--objects", "--all", "--count"]);
    let objects: usize = counted.parse().expect("a count");
    assert!((3_600..=4_800).contains(&objects), "{objects} objects");
}

fn pack_index(dir: &std::path::Path) -> String {
    let packs = std::fs::read_dir(dir.join("objects/pack")).expect("there is a pack folder");
    packs
        .filter_map(|entry| entry.expect("a readable folder").path().to_str().map(str::to_owned))
        .find(|path| path.ends_with(".idx"))
        .expect("there is one pack")
}
