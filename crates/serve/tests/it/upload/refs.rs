//! Which refs are told, and how: HEAD, tags, hidden refs, namespaces, refs wanted by name.

use testkit::{RealGit, Scenario};

use super::server::listen;
use super::twins::{Twins, check};

#[test]
fn a_head_without_a_commit() {
    check(
        &Scenario::linear(3),
        "server symbolic-ref HEAD refs/heads/not-yet
         clone
         ls-remote --symref origin",
    );
    check(
        &Scenario::new(|_| {}),
        "server symbolic-ref HEAD refs/heads/trunk
         clone",
    );
}

#[test]
fn a_head_on_no_branch() {
    check(
        &Scenario::linear(3),
        "server update-ref --no-deref HEAD main~1
         server symbolic-ref HEAD refs/heads/main
         server update-ref --no-deref HEAD main
         clone",
    );
    // A full id in HEAD, which no branch holds.
    check(
        &Scenario::linear(3).then(|git, dir| {
            let id = git.ok(dir, &["commit-tree", "-m", "alone", "main^{tree}"]);
            std::fs::write(dir.join("HEAD"), format!("{id}\n")).expect("HEAD");
        }),
        "clone",
    );
}

#[test]
fn version_1_is_version_0_after_a_greeting() {
    let scenario = Scenario::branchy(20).repacked();
    let mut twins = Twins::new(Some(1), &scenario);
    twins.play(
        "clone --depth=3
         grow new
         fetch
         fetch --unshallow",
    );
}

#[test]
fn the_whole_answer_on_side_band() {
    check(
        &Scenario::branchy(20),
        "server config uploadpack.allowSidebandAll true
         clone --depth=3
         grow new
         fetch --deepen=2
         ! fetch origin refs/heads/missing",
    );
}

/// Git's own server sends the two answers in an order that its client does not expect.
#[test]
fn names_and_depths_go_together() {
    let twins = Twins::new(Some(2), &Scenario::linear(6));
    twins.git.ok(&twins.served, &["config", "uploadpack.allowRefInWant", "true"]);
    twins.clone_ours(&["--depth=2"]);
    twins.git.ok(twins.client(), &["fetch", "-q", "--depth=4"]);
    assert_eq!(twins.git.ok(twins.client(), &["rev-list", "--count", "origin/main"]), "4");
    twins.git.fsck_strict(twins.client());
}

#[test]
fn tags_follow_what_they_name() {
    check(
        &Scenario::branchy(20),
        "server tag -a -m first first main~3
         server tag light main~2
         clone --single-branch
         server tag -a -m second second main~1
         grow new
         server tag -a -m third third main
         server tag -a -m nested nested third
         fetch
         fetch --tags",
    );
}

#[test]
fn listings_are_the_same() {
    for version in [0, 1, 2] {
        let twins = Twins::new(Some(version), &Scenario::many_refs(300));
        twins.git.ok(&twins.served, &["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
        twins.git.ok(&twins.served, &["symbolic-ref", "refs/heads/broken", "refs/heads/none"]);
        let url = listen(twins.served.clone(), "");
        let stock = format!("file://{}", twins.served.display());
        for args in [
            &["--symref"][..],
            &["--heads"],
            &["--tags"],
            &["--refs"],
            &["--symref", "HEAD"],
            &["refs/heads/team-01/*"],
            &["missing"],
        ] {
            let list = |url: &str| {
                let mut all = vec!["ls-remote"];
                let (options, names): (Vec<&str>, Vec<&str>) =
                    args.iter().partition(|arg| arg.starts_with("--"));
                all.extend(options);
                all.push(url);
                all.extend(names);
                twins.git.ok(twins.git.root(), &all)
            };
            assert_eq!(list(&url), list(&stock), "ls-remote {args:?}, version {version}");
        }
    }
}

#[test]
fn hidden_refs_stay_hidden() {
    check(
        &Scenario::linear(5),
        "server update-ref refs/pull/1 main~1
         server update-ref refs/pull/open/2 main~2
         server config transfer.hideRefs refs/pull
         server config --add uploadpack.hideRefs !refs/pull/open
         clone --mirror
         server config uploadpack.allowRefInWant true
         ! fetch origin refs/pull/1",
    );
}

#[test]
fn a_hidden_tip_needs_permission() {
    for version in [0, 2] {
        let mut twins = Twins::new(Some(version), &Scenario::linear(5));
        let alone = "commit-tree -m alone main^{tree}".split(' ').collect::<Vec<_>>();
        let id = twins.git.ok(&twins.served, &alone);
        twins.git.ok(&twins.served, &["update-ref", "refs/hidden/x", &id]);
        twins.git.ok(&twins.served, &["config", "transfer.hideRefs", "refs/hidden"]);
        twins.play("clone");
        twins.git.ok(&twins.served, &["config", "uploadpack.allowAnySHA1InWant", "false"]);
        match version {
            0 => twins.play(&format!("! fetch origin {id}")),
            _ => twins.play(&format!("fetch origin {id}")),
        }
        twins.git.ok(&twins.served, &["config", "uploadpack.allowTipSHA1InWant", "true"]);
        twins.play(&format!("fetch origin {id}"));
    }
}

#[test]
fn old_commits_need_permission() {
    let mut twins = Twins::new(Some(0), &Scenario::linear(5));
    twins.git.ok(&twins.served, &["config", "uploadpack.allowAnySHA1InWant", "false"]);
    let old = twins.git.rev_parse(&twins.served, "main~3");
    twins.play("clone --depth=1");
    twins.play(&format!("! fetch origin {old}"));
    twins.git.ok(&twins.served, &["config", "uploadpack.allowReachableSHA1InWant", "true"]);
    twins.play(&format!("fetch origin {old}"));
}

#[test]
fn refs_wanted_by_name() {
    check(
        &Scenario::branchy(20),
        "server config uploadpack.allowRefInWant true
         clone --single-branch
         grow new
         fetch origin main:refs/heads/copy
         fetch origin refs/heads/*:refs/remotes/all/*
         ! fetch origin refs/heads/missing",
    );
}

#[test]
fn a_namespace_is_a_repository_of_its_own() {
    for version in [0, 2] {
        let git = RealGit::new().protocol(version);
        let served = Scenario::linear(5).build(&git, "served.git");
        git.ok(&served, &["update-ref", "refs/namespaces/ns/refs/heads/inner", "main~2"]);
        git.ok(&served, &["update-ref", "refs/namespaces/ns/refs/tags/t", "main~3"]);
        git.ok(
            &served,
            &["symbolic-ref", "refs/namespaces/ns/HEAD", "refs/namespaces/ns/refs/heads/inner"],
        );
        let clone = git.clone(listen(served.clone(), "ns"), "clone", &["--mirror"]);
        let (tip, tag) = (git.rev_parse(&served, "main~2"), git.rev_parse(&served, "main~3"));
        assert_eq!(git.refs(&clone), format!("{tip} refs/heads/inner\n{tag} refs/tags/t"));
        assert_eq!(git.ok(&clone, &["symbolic-ref", "HEAD"]), "refs/heads/inner");
        git.fsck_strict(&clone);
    }
}
