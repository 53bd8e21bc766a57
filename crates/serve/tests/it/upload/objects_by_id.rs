//! Single objects by their ids, as partial clones fetch them: no history is walked.

use testkit::Scenario;

use super::twins::{Twins, objects};

/// Everything but the tip's tree and blobs is taken away: a walk would fail.
fn without_history(twins: &Twins) {
    let keep = twins.git.ok(
        &twins.served,
        &["rev-list", "--objects", "--no-object-names", "--max-count=1", "main"],
    );
    for line in objects(&twins.git, &twins.served).lines() {
        let (id, _) = line.split_once(' ').expect("an id and a kind");
        if !keep.lines().any(|kept| kept == id) {
            let path = format!("objects/{}/{}", &id[..2], &id[2..]);
            std::fs::remove_file(twins.served.join(path)).expect("a loose object");
        }
    }
}

#[test]
fn a_blob_comes_alone() {
    for version in [0, 2] {
        let mut twins = Twins::new(Some(version), &Scenario::linear(9).loose());
        twins.play("clone --bare --filter=tree:0");
        without_history(&twins);
        let blob = twins.git.rev_parse(&twins.served, "main:dir-0/file-6.txt");
        let tree = twins.git.rev_parse(&twins.served, "main^{tree}");
        let before = objects(&twins.git, twins.client());

        fetch(&twins, &blob.to_string());
        let after = objects(&twins.git, twins.client());
        assert_eq!(new_lines(&before, &after), [format!("{blob} blob")]);

        let filtered = [&tree.to_string(), "--filter=tree:1"].join(" ");
        fetch(&twins, &filtered);
        let with_tree = objects(&twins.git, twins.client());
        let new = new_lines(&after, &with_tree);
        assert!(new.contains(&format!("{tree} tree")), "{new:?}");
        assert!(new.iter().all(|line| line.ends_with(" tree")), "{new:?}");
    }
}

/// As promised objects are fetched: nothing is negotiated, no tags follow.
fn fetch(twins: &Twins, what: &str) {
    let mut args = vec!["-c", "fetch.negotiationAlgorithm=noop", "fetch", "origin"];
    args.extend(["--no-tags", "--no-write-fetch-head", "--recurse-submodules=no"]);
    args.extend(what.split(' '));
    twins.git.ok(twins.client(), &args);
}

fn new_lines(before: &str, after: &str) -> Vec<String> {
    let old: Vec<&str> = before.lines().collect();
    after.lines().filter(|line| !old.contains(line)).map(str::to_owned).collect()
}
