//! Shallow clients, and a shallow server.

use testkit::Scenario;

use super::twins::{Twins, check};

#[test]
fn depth_is_counted_from_the_tips() {
    check(
        &Scenario::branchy(24),
        "clone --depth=1
         fetch --depth=3
         grow new
         fetch --depth=2
         fetch --unshallow",
    );
}

#[test]
fn every_branch_has_its_own_depth() {
    check(
        &Scenario::branchy(24),
        "clone --depth=2 --no-single-branch
         grow new
         fetch
         fetch --depth=4",
    );
}

#[test]
fn deepening_counts_from_the_present_depth() {
    check(
        &Scenario::linear(12),
        "clone --depth=2
         fetch --deepen=3
         grow new
         fetch --deepen=1
         fetch --deepen=100",
    );
}

#[test]
fn deepening_goes_beyond_a_merge() {
    check(
        &Scenario::criss_cross(5),
        "clone --depth=3 --bare
         fetch origin --deepen=1
         fetch origin --deepen=2",
    );
}

#[test]
fn a_time_ends_history() {
    // Commits of a scenario are a minute apart.
    check(
        &Scenario::linear(30),
        "clone --shallow-since=2026-01-01T00:20:00Z
         fetch --shallow-since=2026-01-01T00:05:00Z
         ! fetch --shallow-since=2027-01-01T00:00:00Z",
    );
}

/// Where branches of different ages meet, a commit may lie behind the end of another. Git
/// tells the client of such ends too, which it then lacks; here it must be able to go on.
#[test]
fn a_time_ends_merged_branches() {
    let twins = Twins::new(None, &Scenario::branchy(30));
    twins.clone_ours(&["--shallow-since=2026-01-01T00:20:00Z"]);
    for args in [
        &["fetch", "-q", "--shallow-since=2026-01-01T00:10:00Z"][..],
        &["fetch", "-q", "--shallow-since=2026-01-01T00:05:00Z"],
        &["fetch", "-q", "--unshallow"],
    ] {
        twins.git.ok(twins.client(), args);
        twins.git.fsck_strict(twins.client());
    }
    let reached = |dir: &std::path::Path, tip| {
        twins.git.ok(dir, &["rev-list", "--objects", "--no-object-names", tip])
    };
    assert_eq!(reached(twins.client(), "origin/main"), reached(&twins.served, "main"));
}

#[test]
fn a_ref_ends_history() {
    check(
        &Scenario::linear(12),
        "server tag old main~6
         server tag -a -m older older main~9
         clone --shallow-exclude=old
         fetch --shallow-exclude=older
         ! fetch --shallow-exclude=missing
         fetch --unshallow",
    );
}

#[test]
fn a_complete_clone_may_become_shallow() {
    check(
        &Scenario::linear(8),
        "clone
         grow new
         fetch --depth=1",
    );
}

#[test]
fn only_what_is_new_comes_to_a_cut_history() {
    let mut twins = Twins::new(None, &Scenario::linear(8));
    twins.play("clone");
    let tree = twins.git.ok(&twins.served, &["rev-parse", "main^{tree}"]);
    let empty = twins.git.ok(&twins.served, &["commit-tree", "-p", "main", "-m", "empty", &tree]);
    twins.git.ok(&twins.served, &["update-ref", "refs/heads/main", &empty]);
    let said = twins.git.run(twins.client(), &["fetch", "--depth=1", "--progress"]).error_text();
    assert!(said.contains("remote: Total 1 "), "{said}");
}

#[test]
fn a_shallow_server_hands_its_boundary_on() {
    check(
        &Scenario::shallow(12, 5),
        "clone
         grow new
         fetch",
    );
    check(
        &Scenario::shallow(12, 5),
        "clone --depth=2
         fetch --depth=4
         fetch --unshallow",
    );
}
