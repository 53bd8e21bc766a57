//! Partial clones: each filter, what is fetched later, and what must not be taken for
//! granted about a client that lacks objects.

use testkit::{Change, Scenario};

use super::twins::{Twins, check, check_once};

/// Files of several sizes in folders of several depths, over a few commits.
fn mixed() -> Scenario {
    Scenario::new(|import| {
        let mut parent = None;
        for step in 0..4 {
            let blobs: Vec<_> = [10, 100, 1000]
                .iter()
                .map(|size| import.blob(format!("{step} {}\n", "x".repeat(*size))))
                .collect();
            let patterns = import.blob("/top/\n!/top/deep/\n");
            let changes = [
                Change::File(b"small", blobs[0]),
                Change::File(b"top/middle", blobs[1]),
                Change::File(b"top/deep/large", blobs[2]),
                Change::File(b"other/small", blobs[0]),
                Change::File(b"patterns", patterns),
            ];
            let message = format!("Step {step}\n");
            let commit = import.commit("main", &message, parent.as_slice(), &changes);
            import.tag(&format!("step-{step}"), commit, "A step\n");
            parent = Some(commit);
        }
    })
    .repacked()
}

/// Clones with a filter, fetches on with it, and checks files out.
fn partial(filter: &str) {
    let script = format!(
        "clone --no-checkout --filter={filter}
         grow top/new
         fetch
         server tag -a -m late late main
         fetch
         checkout -q origin/main -- .
         fsck"
    );
    check(&mixed(), &script);
}

#[test]
fn without_blobs() {
    partial("blob:none");
}

#[test]
fn without_large_blobs() {
    partial("blob:limit=50");
}

#[test]
fn without_trees() {
    partial("tree:0");
}

#[test]
fn without_deep_trees() {
    partial("tree:2");
}

#[test]
fn only_some_paths() {
    partial("sparse:oid=main:patterns");
}

#[test]
fn only_one_type() {
    for kind in ["commit", "tree", "blob", "tag"] {
        check_once(&mixed(), &format!("clone --bare --filter=object:type={kind}"));
    }
}

#[test]
fn several_at_once() {
    partial("combine:blob:limit=50+tree:3");
}

#[test]
fn filters_from_a_bitmap() {
    for filter in ["blob:none", "blob:limit=50", "tree:0", "tree:2", "object:type=tree"] {
        let script = format!("clone --bare --filter={filter}");
        check_once(&mixed().with_bitmap(), &script);
    }
}

#[test]
fn a_shallow_partial_clone() {
    check(
        &mixed(),
        "clone --depth=1 --filter=blob:none
         fetch --deepen=1
         fetch --unshallow",
    );
}

#[test]
fn the_whole_can_be_fetched_again() {
    check(
        &mixed(),
        "clone --no-checkout --filter=tree:0
         fetch --refetch --no-filter",
    );
}

#[test]
fn a_delta_builds_on_nothing_the_client_lacks() {
    // Two large revisions lie in the pack as a delta and its base; `blob:limit` leaves the
    // base out where it is the longer one.
    let scenario = Scenario::new(|import| {
        let lines: String = (0..400).map(|n| format!("line {n}\n")).collect();
        let long = import.blob(&lines);
        let first = import.commit("main", "Long\n", &[], &[Change::File(b"file", long)]);
        let short = import.blob(&lines[..lines.len() / 2]);
        import.commit("main", "Short\n", &[first], &[Change::File(b"file", short)]);
    })
    .repacked();
    let mut twins = Twins::new(None, &scenario);
    let half = twins.git.ok(&twins.served, &["cat-file", "-s", "main:file"]);
    twins.git.ok(&twins.served, &["update-ref", "refs/heads/tip", "main"]);
    twins.git.ok(&twins.served, &["update-ref", "refs/heads/main", "main~1"]);
    twins.play(&format!(
        "clone --bare --filter=blob:limit={}",
        half.parse::<u64>().expect("a size") + 1
    ));
    // Nothing may be fetched besides: an origin that is gone cannot help out.
    twins.git.ok(twins.client(), &["fetch", "-q", "origin", "tip"]);
    twins.git.ok(twins.client(), &["config", "remote.origin.url", "missing"]);
    twins.git.ok(twins.client(), &["cat-file", "-e", "FETCH_HEAD:file"]);
}

#[test]
fn words_about_filters_that_do_not_work() {
    let mut twins = Twins::new(None, &mixed());
    twins.play("clone");
    let said = |filter: &str| {
        let filter = format!("--filter={filter}");
        twins.git.fail(twins.client(), &["fetch", "--refetch", &filter, "origin"])
    };
    let words = said("sparse:oid=main:missing");
    assert!(words.contains("unable to access sparse blob in 'main:missing'"), "{words}");
    let words = said("sparse:oid=main");
    assert!(words.contains("unable to parse sparse filter data in"), "{words}");
    twins.git.ok(&twins.served, &["config", "uploadpackfilter.tree.allow", "false"]);
    let words = said("tree:1");
    assert!(words.contains("filter 'tree' not supported"), "{words}");
}
