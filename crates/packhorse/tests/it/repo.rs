//! `packhorse repo`: copies between a folder and a key-value file, and the check of both.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use testkit::{Postgres, RealGit, Scenario};

use crate::serving::packhorse;

struct Told {
    succeeded: bool,
    out: String,
    err: String,
}

fn repo(git: &RealGit, args: &[&str]) -> Told {
    let mut command = packhorse(git);
    command.arg("repo").args(args).current_dir(git.root());
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Told { succeeded: status.success(), out: text(stdout), err: text(stderr) }
}

#[track_caller]
fn ok(git: &RealGit, args: &[&str]) -> String {
    let told = repo(git, args);
    assert!(told.succeeded, "{args:?}: {}{}", told.out, told.err);
    told.out
}

#[track_caller]
fn fail(git: &RealGit, args: &[&str]) -> String {
    let told = repo(git, args);
    assert!(!told.succeeded, "{args:?}: {}", told.out);
    told.out + &told.err
}

/// A repository with a work tree: one pack, branches and tags, room for loose objects.
fn origin(git: &RealGit, commits: usize, seed: u64) -> PathBuf {
    let made = Scenario::realistic(commits, seed).build(git, "made.git");
    git.clone(made.display().to_string(), "origin", &["--quiet", "--no-local"])
}

fn objects(git: &RealGit, dir: &Path) -> Vec<String> {
    let listed = git.ok(dir, &["rev-list", "--objects", "--all", "--no-object-names"]);
    let mut lines: Vec<_> = listed.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn assert_same(git: &RealGit, one: &Path, other: &Path) {
    git.fsck_strict(other);
    assert_eq!(git.refs(one), git.refs(other));
    assert_eq!(objects(git, one), objects(git, other));
    let head = |dir: &Path| git.ok(dir, &["symbolic-ref", "HEAD"]);
    assert_eq!(head(one), head(other));
}

#[test]
fn there_and_back_again() {
    goes_there_and_back_again(&RealGit::new(), "kv:repos.kv");
}

#[test]
fn into_a_database_and_back_again() {
    goes_there_and_back_again(&RealGit::new(), &Postgres::shared().database());
}

#[test]
fn from_store_to_store() {
    let git = RealGit::new();
    let origin = origin(&git, 80, 66);
    let postgres = Postgres::shared();
    let database = postgres.database();
    ok(&git, &["copy", "origin", "kv:repos.kv#a"]);
    ok(&git, &["copy", "kv:repos.kv#a", &format!("{database}#b")]);
    ok(&git, &["copy", &format!("{database}#b"), "back.git"]);
    assert_same(&git, &origin, &git.path("back.git"));
    // A chunk that is lost is told.
    let name = database.rsplit('/').next().expect("a name");
    postgres.sql(name, "DELETE FROM packhorse.chunk WHERE number = 0");
    let told = fail(&git, &["fsck", &format!("{database}#b")]);
    assert!(told.contains("a part of it is missing from the database"), "{told}");
}

fn goes_there_and_back_again(git: &RealGit, store: &str) {
    let named = |name: &str| format!("{store}#{name}");
    let origin = origin(git, 300, 61);
    // A configuration that names its work tree, and ends without a line feed.
    let config = origin.join(".git/config");
    let text = fs::read_to_string(&config).expect("readable");
    let own = format!("{text}[core]\n\tworktree = {}\n[x]\n\ty = z", origin.display());
    fs::write(&config, own).expect("written");
    git.commit_file(&origin, "loose.txt", "not packed\n");
    git.ok(&origin, &["tag", "-a", "-m", "annotated", "late"]);
    ok(git, &["import", "origin", "--store", store, "group/copy"]);
    assert_eq!(ok(git, &["list", store]), "group/copy\n");
    let words = ok(git, &["fsck", &named("group/copy")]);
    assert!(words.contains("nothing is missing or damaged"), "{words}");
    ok(git, &["copy", &named("group/copy"), &named("twice")]);
    ok(git, &["export", "--store", store, "twice", "back.git"]);
    assert_same(git, &origin, &git.path("back.git"));
    assert_eq!(git.ok(git.path("back.git"), &["config", "core.bare"]).trim(), "true");
    ok(git, &["remove", &named("group/copy")]);
    assert_eq!(ok(git, &["list", store]), "twice\n");
}

#[test]
fn a_copy_is_brought_up_to_date_and_never_by_accident() {
    let git = RealGit::new();
    let origin = origin(&git, 200, 62);
    ok(&git, &["copy", "origin", "kv:repos.kv#copy"]);
    let told = fail(&git, &["copy", "origin", "kv:repos.kv#copy"]);
    assert!(told.contains("--update"), "{told}");

    git.commit_file(&origin, "more.txt", "more\n");
    git.ok(&origin, &["branch", "topic"]);
    let branch = git.ok(&origin, &["symbolic-ref", "--short", "HEAD"]);
    ok(&git, &["copy", "--update", "origin", "kv:repos.kv#copy"]);
    // A ref that a crash emptied is not gone.
    git.ok(&origin, &["pack-refs", "--all", "--prune"]);
    let torn = origin.join(".git/refs/heads/topic");
    fs::write(&torn, "").expect("written");
    let told = fail(&git, &["copy", "--update", "origin", "kv:repos.kv#copy"]);
    assert!(told.contains("refs/heads/topic"), "{told}");
    fs::remove_file(&torn).expect("removed");
    // A name that was a branch is a directory of one now.
    git.ok(&origin, &["branch", "-m", "topic", "topic/one"]);
    git.ok(&origin, &["checkout", "-q", "-b", "other"]);
    git.ok(&origin, &["branch", "-q", "-D", branch.trim()]);
    let told = ok(&git, &["copy", "--update", "origin", "kv:repos.kv#copy"]);
    assert!(told.contains("0 files copied"), "{told}");
    ok(&git, &["copy", "kv:repos.kv#copy", "back.git"]);
    assert_same(&git, &origin, &git.path("back.git"));
}

#[test]
fn shallow_and_sha256_repositories_are_copied() {
    let git = RealGit::new();
    let origin = origin(&git, 120, 63);
    let url = format!("file://{}", origin.display());
    let shallow = git.clone(&url, "shallow.git", &["--bare", "--depth=4", "--quiet"]);
    ok(&git, &["copy", "shallow.git", "kv:repos.kv#shallow"]);
    ok(&git, &["fsck", "kv:repos.kv#shallow"]);
    ok(&git, &["copy", "kv:repos.kv#shallow", "back.git"]);
    assert_same(&git, &shallow, &git.path("back.git"));
    let boundary = |dir: &Path| fs::read_to_string(dir.join("shallow")).expect("a boundary");
    assert_eq!(boundary(&shallow), boundary(&git.path("back.git")));

    let sha256 = git.init_bare_of("sha256.git", object::HashKind::Sha256);
    let work = git.clone(sha256.display().to_string(), "work", &["--quiet"]);
    git.commit_file(&work, "a.txt", "a\n");
    git.ok(&work, &["push", "-q", "origin", "HEAD"]);
    ok(&git, &["copy", "sha256.git", "kv:repos.kv#sha256"]);
    ok(&git, &["copy", "kv:repos.kv#sha256", "sha256-back.git"]);
    assert_same(&git, &sha256, &git.path("sha256-back.git"));
    let told = fail(&git, &["copy", "--update", "shallow.git", "kv:repos.kv#sha256"]);
    assert!(told.contains("sha256"), "{told}");
}

#[test]
fn what_is_wrong_is_found_and_not_copied() {
    let git = RealGit::new();
    let origin = origin(&git, 120, 64);
    git.ok(&origin, &["repack", "-a", "-d", "-q"]);
    assert!(ok(&git, &["fsck", "origin"]).contains("nothing is missing or damaged"));
    let packs = fs::read_dir(origin.join(".git/objects/pack")).expect("packs");
    let paths: Vec<_> = packs.map(|entry| entry.expect("an entry").path()).collect();
    let pack = paths.iter().find(|path| path.extension().is_some_and(|e| e == "pack"));
    let pack = pack.expect("a pack");
    let good = fs::read(pack).expect("readable");
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 0x55;
    let replace = |bytes: &[u8]| {
        fs::remove_file(pack).expect("removed");
        fs::write(pack, bytes).expect("written");
    };
    replace(&bad);
    assert!(fail(&git, &["fsck", "origin"]).contains("error"));
    let told = fail(&git, &["copy", "origin", "kv:repos.kv#copy"]);
    assert!(told.contains("checksum"), "{told}");
    // Nothing of it is seen, and the copy goes on when the disk has been mended.
    replace(&good);
    ok(&git, &["copy", "origin", "kv:repos.kv#copy"]);
    ok(&git, &["fsck", "kv:repos.kv#copy"]);

    // An object that refs reach and nobody has.
    git.commit_file(&origin, "lost.txt", "lost\n");
    let blob = git.ok(&origin, &["rev-parse", "HEAD:lost.txt"]);
    let (directory, file) = blob.trim().split_at(2);
    fs::remove_file(origin.join(".git/objects").join(directory).join(file)).expect("removed");
    let told = fail(&git, &["fsck", "origin"]);
    assert!(told.contains(&format!("missing blob {}", blob.trim())), "{told}");
    let told = fail(&git, &["copy", "--update", "origin", "kv:repos.kv#copy"]);
    assert!(told.contains("missing"), "{told}");
    ok(&git, &["copy", "kv:repos.kv#copy", "back.git"]);
    git.fsck_strict(git.path("back.git"));
}

#[test]
fn names_that_are_none_are_refused() {
    let git = RealGit::new();
    for (args, words) in [
        (&["copy", "nowhere", "kv:repos.kv#copy"][..], "no repository at 'nowhere'"),
        (&["fsck", "kv:repos.kv#nothing"], "no repository at 'kv:repos.kv#nothing'"),
        (&["fsck", "kv:repos.kv"], "STORE#NAME"),
        (&["fsck", "kv:repos.kv#a/../b"], "a/../b"),
        (&["remove", "kv:repos.kv#nothing"], "no repository"),
        (&["remove", "origin"], "not in a store"),
        (&["list", "ftp://x"], "kv:FILE"),
    ] {
        let told = fail(&git, args);
        assert!(told.contains(words), "{args:?}: {told}");
    }
}

#[test]
fn from_a_url() {
    let git = RealGit::new();
    let origin = origin(&git, 30, 68);
    fs::create_dir(git.path("srv")).expect("a folder");
    git.ok(&origin, &["clone", "-q", "--mirror", ".", "../srv/r.git"]);
    let server = crate::serving::Serving::start(&git, git.path("srv"), &[]);
    let url = server.url("r.git");
    ok(&git, &["import", "--store", "kv:repos.kv", &url]);
    ok(&git, &["import", "--store", "kv:repos.kv", &url, "other/name"]);
    let file = format!("file://{}", git.path("srv/r.git").display());
    ok(&git, &["import", "--update", "--store", "kv:repos.kv", &file]);
    assert_eq!(ok(&git, &["list", "kv:repos.kv"]), "other/name\nr\n");
    let config = ok(&git, &["config", "kv:repos.kv#r"]);
    assert!(!config.contains("remote") && !config.contains("http"), "{config}");
    ok(&git, &["export", "--store", "kv:repos.kv", "r", "back.git"]);
    assert_same(&git, &git.path("srv/r.git"), &git.path("back.git"));
    let words = fail(&git, &["import", "--store", "kv:repos.kv", &server.url("none.git")]);
    assert!(words.contains("could not clone"), "{words}");
    assert_eq!(ok(&git, &["list", "kv:repos.kv"]), "other/name\nr\n");
}
