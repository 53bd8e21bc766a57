//! `packhorse maintain`, and what a server does by itself behind the traffic.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use testkit::{RealGit, Scenario, wait_until};

use crate::serving::{Serving, packhorse};

const NONE: &[&str] = &[];

fn maintain(git: &RealGit, arguments: &[&str]) -> Output {
    let mut command = packhorse(git);
    command.current_dir(git.root()).arg("maintain").args(arguments);
    command.stdin(Stdio::null()).output().expect("it starts")
}

fn printed(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn files(dir: &Path, ending: &str) -> usize {
    let folder = fs::read_dir(dir.join("objects/pack")).expect("a folder");
    folder
        .filter(|file| {
            let name = file.as_ref().expect("readable").file_name();
            name.to_string_lossy().ends_with(ending)
        })
        .count()
}

#[test]
fn a_repository_and_folders_of_them_are_maintained() {
    let git = RealGit::new();
    let one = Scenario::linear(12).loose().build(&git, "srv/one.git");
    let two = Scenario::linear(7).loose().build(&git, "srv/deep/two.git");
    let plan = printed(&maintain(&git, &["srv/one.git", "--dry-run"]));
    assert!(plan.contains("loose objects"), "{plan}");
    assert_eq!(files(&one, ".pack"), 0, "a dry run does nothing");

    let told = printed(&maintain(&git, &["srv/one.git"]));
    assert!(told.contains("objects packed") && told.contains("one.git"), "{told}");
    assert_eq!((files(&one, ".pack"), files(&one, ".bitmap")), (1, 1));
    git.fsck_strict(&one);
    assert_eq!(files(&two, ".pack"), 0);

    let refused = maintain(&git, &["srv"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--all"));
    let told = printed(&maintain(&git, &["srv", "--all"]));
    assert!(told.contains("one.git: nothing to do") && told.contains("two.git: "), "{told}");
    assert_eq!(files(&two, ".pack"), 1);
    git.fsck_strict(&two);
    assert_eq!(printed(&maintain(&git, &["srv", "--all", "--quiet", "--full"])), "");
}

#[test]
fn git_gc_and_we_keep_out_of_each_others_way() {
    let git = RealGit::new();
    let dir = Scenario::linear(5).loose().build(&git, "one.git");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a host name");
    fs::write(dir.join("gc.pid"), format!("{} {}", std::process::id(), host.trim()))
        .expect("written");
    let refused = maintain(&git, &["one.git"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("gc.pid"), "{refused:?}");
    let words = git.run(&dir, &["gc", "--no-detach"]).error_text();
    assert!(words.contains("gc is already running"), "git reads the file so, too: {words}");
    fs::remove_file(dir.join("gc.pid")).expect("removed");
    fs::write(dir.join("objects/maintenance.lock"), "").expect("written");
    let refused = maintain(&git, &["one.git"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("maintenance.lock"), "{refused:?}");
    assert!(!dir.join("gc.pid").exists(), "given up again");
}

#[test]
fn a_damaged_repository_loses_nothing() {
    let git = RealGit::new();
    let dir = Scenario::linear(12).build(&git, "one.git");
    let missing = git.rev_parse(&dir, "HEAD~3^{tree}").to_string();
    git.ok(&dir, &["config", "transfer.unpackLimit", "10000"]);
    let list = git.ok(&dir, &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
    let kept: Vec<&str> = list.lines().filter(|id| *id != missing).collect();
    let pack = git.ok_with_input(
        &dir,
        &["pack-objects", "-q", "objects/pack/pack"],
        kept.join("\n").as_bytes(),
    );
    for entry in fs::read_dir(dir.join("objects/pack")).expect("a folder") {
        let path = entry.expect("readable").path();
        if !path.to_string_lossy().contains(&pack.text()) {
            fs::remove_file(path).expect("removed");
        }
    }
    let before = git.ok(&dir, &["cat-file", "--batch-all-objects", "--batch-check"]);
    let refused = maintain(&git, &["one.git", "--full"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains(&missing), "{refused:?}");
    assert_eq!(git.ok(&dir, &["cat-file", "--batch-all-objects", "--batch-check"]), before);
    assert_eq!(files(&dir, ".pack"), 1);
}

#[test]
fn a_server_joins_the_packs_of_pushes_by_itself() {
    let git = RealGit::new();
    let dir = Scenario::linear(40).build(&git, "srv/one.git");
    git.ok(&dir, &["repack", "-adq"]);
    // The tests' own configuration keeps git from doing this.
    for (key, value) in
        [("gc.auto", "6700"), ("maintenance.auto", "true"), ("receive.autogc", "true")]
    {
        git.ok(&dir, &["config", key, value]);
    }
    let config = git.path("packhorse.toml");
    fs::write(&config, "[maintenance]\nrest_ms = 1\n").expect("written");
    let server =
        Serving::start(&git, git.path("srv"), &["--config", &config.display().to_string()]);
    let work = git.clone(server.url("one"), "work", NONE);
    let mut refs = String::new();
    for number in 0..6 {
        git.commit_file(&work, "file", format!("{number}"));
        git.ok(&work, &["push", "-q", "origin", "HEAD"]);
        refs = git.refs(&dir);
    }
    // It ends with a graph of all commits, few packs and a bitmap.
    let head = git.rev_parse(&dir, "HEAD").to_string();
    let is_done = || {
        files(&dir, ".pack") <= 3
            && files(&dir, ".bitmap") == 1
            && dir.join("objects/info/commit-graphs/commit-graph-chain").exists()
            && !dir.join("gc.pid").exists()
    };
    wait_until("maintenance", is_done);
    git.fsck_strict(&dir);
    assert_eq!(git.refs(&dir), refs);
    let copy = git.clone(server.url("one"), "copy", NONE);
    assert_eq!(git.rev_parse(&copy, "HEAD").to_string(), head);
}

#[test]
fn a_repository_that_gc_is_kept_away_from_is_left_alone() {
    let git = RealGit::new();
    let dir = Scenario::linear(12).loose().build(&git, "one.git");
    for (key, value) in
        [("gc.auto", "0"), ("maintenance.auto", "false"), ("receive.autogc", "false")]
    {
        git.ok(&dir, &["config", "gc.auto", "1"]);
        git.ok(&dir, &["config", "maintenance.auto", "true"]);
        git.ok(&dir, &["config", "receive.autogc", "true"]);
        git.ok(&dir, &["config", key, value]);
        let told = printed(&maintain(&git, &["one.git", "--auto"]));
        assert!(told.contains("nothing to do"), "{key}: {told}");
    }
    git.ok(&dir, &["config", "receive.autogc", "true"]);
    let told = printed(&maintain(&git, &["one.git", "--auto"]));
    assert!(told.contains("objects packed"), "{told}");
}

#[test]
fn a_server_does_without_when_told_so() {
    let git = RealGit::new();
    let dir = Scenario::linear(3).build(&git, "srv/one.git");
    let config = git.path("packhorse.toml");
    fs::write(&config, "[maintenance]\nenabled = false\nrest_ms = 0\n").expect("written");
    let mut server =
        Serving::start(&git, git.path("srv"), &["--config", &config.display().to_string()]);
    let work = git.clone(server.url("one"), "work", NONE);
    for number in 0..3 {
        git.commit_file(&work, "file", format!("{number}"));
        git.ok(&work, &["push", "-q", "origin", "HEAD"]);
    }
    server.process().terminate();
    assert!(server.process().wait().success());
    assert!(server.process().printed().contains("maintenance: off"));
    assert!(files(&dir, ".pack") >= 3);
    assert!(!dir.join("objects/info/commit-graphs").exists());
}
