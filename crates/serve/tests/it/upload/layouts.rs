//! Repositories as they lie on disk: whatever way objects are stored, the same ones come.

use testkit::Scenario;

use super::twins::{Twins, check_once};

/// A clone, a fetch of little and a fetch of tags.
const USUAL: &str = "
    clone --no-tags
    grow new
    fetch --no-tags
    server tag -a -m one one main~1
    server tag two main
    fetch
    fetch --tags";

#[test]
fn everything_reachable_comes_and_nothing_else() {
    for scenario in [
        Scenario::branchy(40).repacked(),
        Scenario::tags_of_tags(3),
        Scenario::octopus(5),
        Scenario::submodule_entries(),
        Scenario::odd_file_names(),
        Scenario::deep_delta_chain(60),
    ] {
        let mut twins = Twins::new(None, &scenario);
        twins.git.ok_with_input(&twins.served, &["hash-object", "-w", "--stdin"], b"unreachable");
        twins.play("clone --mirror");
        let held = super::twins::objects(&twins.git, twins.client());
        let held: Vec<_> = held.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(held, twins.git.reachable(&twins.served));
    }
}

#[test]
fn loose_objects() {
    check_once(&Scenario::branchy(20).loose(), USUAL);
}

#[test]
fn one_pack() {
    check_once(&Scenario::branchy(20).repacked(), USUAL);
}

#[test]
fn one_pack_with_a_bitmap() {
    check_once(&Scenario::branchy(60).with_bitmap(), USUAL);
}

#[test]
fn a_commit_graph() {
    check_once(&Scenario::branchy(40).with_commit_graph(), USUAL);
}

/// Packs of three times: `repack -d` packs what became reachable since.
fn three_packs() -> Scenario {
    Scenario::new(|import| {
        let mut parent = None;
        for step in 0..9 {
            let blob = import.blob(format!("{}{step}\n", "same line\n".repeat(40)));
            let change = testkit::Change::File(b"file", blob);
            let branch = format!("step-{}", step / 3);
            let message = format!("Step {step}\n");
            parent = Some(import.commit(&branch, &message, parent.as_slice(), &[change]));
        }
        import.set_ref("refs/heads/main", parent.expect("commits"));
    })
    .loose()
    .then(|git, dir| {
        for branch in ["step-0", "step-1", "step-2"] {
            let packs = format!("{}/objects/pack/pack", dir.display());
            let revs = format!("{branch}\n");
            git.ok_with_input(dir, &["pack-objects", "-q", "--revs", &packs], revs.as_bytes());
        }
        git.ok(dir, &["prune-packed", "-q"]);
    })
}

#[test]
fn packs_that_overlap() {
    check_once(&three_packs(), USUAL);
}

#[test]
fn a_multi_pack_index() {
    let scenario = three_packs().then(|git, dir| {
        git.ok(dir, &["multi-pack-index", "write", "--no-progress"]);
    });
    check_once(&scenario, USUAL);
}

#[test]
fn a_multi_pack_index_with_a_bitmap() {
    let scenario = three_packs().then(|git, dir| {
        git.ok(dir, &["multi-pack-index", "write", "--no-progress", "--bitmap"]);
    });
    check_once(&scenario, USUAL);
}

#[test]
fn deltas_that_name_their_base() {
    let scenario = Scenario::deep_delta_chain(30).then(|git, dir| {
        git.ok(dir, &["-c", "repack.useDeltaBaseOffset=false", "repack", "-adfq"]);
    });
    check_once(&scenario, USUAL);
}

#[test]
fn sha256() {
    check_once(&Scenario::branchy(20).sha256().repacked(), USUAL);
    check_once(&Scenario::linear(8).sha256().loose(), "clone --depth=2\nfetch --deepen=2");
}

#[test]
fn objects_of_an_alternate() {
    let scenario = Scenario::branchy(20).repacked().then(|git, dir| {
        // The objects move to another repository, which this one borrows from.
        let lender = git.init_bare("lender.git");
        std::fs::remove_dir_all(lender.join("objects")).expect("an empty lender");
        std::fs::rename(dir.join("objects"), lender.join("objects")).expect("move objects");
        std::fs::create_dir_all(dir.join("objects/info")).expect("a new folder");
        let borrowed = format!("{}\n", lender.join("objects").display());
        std::fs::write(dir.join("objects/info/alternates"), borrowed).expect("alternates");
    });
    check_once(&scenario, USUAL);
}

#[test]
fn thin_packs_are_completed() {
    let mut twins = Twins::new(None, &Scenario::realistic(3000, 7));
    let tip = twins.git.ok(&twins.served, &["rev-parse", "HEAD"]);
    twins.git.ok(&twins.served, &["update-ref", "HEAD", "HEAD~10"]);
    twins.play("clone --single-branch --no-tags");
    twins.git.ok(&twins.served, &["update-ref", "HEAD", &tip]);
    twins.play("fetch --no-tags");
}
