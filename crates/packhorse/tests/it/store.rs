//! Repositories in a store, served to stock git as those of a folder are.

use std::path::Path;

use testkit::{Ceph, Postgres, RealGit, Scenario, wait_until};

use crate::serving::{Serving, packhorse};

fn serve(git: &RealGit, store: &str, options: &[&str]) -> Serving {
    let mut command = packhorse(git);
    command.args(["serve", "--store", store, "--listen", "127.0.0.1:0"]).args(options);
    Serving::spawn(git, command)
}

fn key_value_file(git: &RealGit) -> String {
    format!("kv:{}", git.path("repositories.kv").display())
}

fn stop(mut server: Serving) {
    server.process().interrupt();
    assert!(server.process().wait().success());
}

/// Objects and refs are the same.
fn assert_same(git: &RealGit, one: &Path, other: &Path) {
    assert_eq!(git.refs(one), git.refs(other));
    git.fsck_strict(other);
    let objects = ["rev-list", "--objects", "--all", "--no-object-names"];
    let sorted = |dir: &Path| {
        let listed = git.ok(dir, &objects);
        let mut lines: Vec<_> = listed.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(one), sorted(other));
}

#[test]
fn a_key_value_file_is_served_like_a_folder() {
    let git = RealGit::new();
    is_served_like_a_folder(&git, &key_value_file(&git));
}

#[test]
fn a_database_is_served_like_a_folder() {
    is_served_like_a_folder(&RealGit::new(), &Postgres::shared().database());
}

#[test]
fn a_bucket_is_served_like_a_folder() {
    let Some(ceph) = Ceph::shared_or_skip() else { return };
    is_served_like_a_folder(&RealGit::new(), &ceph.store());
}

#[test]
fn mixes_with_buckets_are_served_like_a_folder() {
    let Some(ceph) = Ceph::shared_or_skip() else { return };
    let postgres = Postgres::shared();
    let (refs, objects) = (postgres.database(), ceph.store());
    is_served_like_a_folder(&RealGit::new(), &format!("{refs}+{objects}"));
    let (refs, objects) = (ceph.store(), ceph.store());
    is_served_like_a_folder(&RealGit::new(), &format!("{refs}+{objects}"));
}

#[test]
fn mixes_are_served_like_a_folder() {
    let git = RealGit::new();
    let packs = git.path("packs");
    let file = git.path("refs.kv").display().to_string();
    is_served_like_a_folder(&git, &format!("kv:{file}+dir:{}", packs.display()));
    // git sees a repository there, without refs, and leaves its objects alone.
    let team = std::fs::read_dir(packs.join("team")).expect("a directory");
    let directories: Vec<_> = team.map(|entry| entry.expect("readable").path()).collect();
    let [objects] = &directories[..] else { panic!("{directories:?}") };
    let all = ["cat-file", "--batch-all-objects", "--batch-check"];
    let before = git.ok(objects, &all);
    assert!(before.lines().count() > 100, "{before}");
    git.run(objects, &["gc", "-q", "--prune=now"]);
    assert_eq!(git.ok(objects, &all), before);
}

#[test]
fn refs_in_a_database_and_objects_elsewhere() {
    let postgres = Postgres::shared();
    for objects in ["dir:packs", "kv:objects.kv"] {
        let git = RealGit::new();
        let (scheme, file) = objects.split_once(':').expect("a scheme");
        let objects = format!("{scheme}:{}", git.path(file).display());
        is_served_like_a_folder(&git, &format!("{}+{objects}", postgres.database()));
    }
}

#[test]
fn refs_and_blobs_are_named_in_a_file_or_by_options() {
    let git = RealGit::new();
    let origin = Scenario::linear(2).build(&git, "origin.git");
    let file = git.path("mixed.toml");
    std::fs::write(&file, "refs = 'kv:refs.kv'\nblobs = 'dir:packs'\n").expect("a file");
    let mut command = packhorse(&git);
    command.args(["serve", "--create-on-push", "--listen", "127.0.0.1:0", "--config"]).arg(&file);
    let server = Serving::spawn(&git, command);
    git.ok(&origin, &["push", "-q", "--mirror", &server.url("a")]);
    stop(server);
    let path = |name| git.path(name).display().to_string();
    let (refs, blobs) = (format!("kv:{}", path("refs.kv")), format!("dir:{}", path("packs")));
    let mut command = packhorse(&git);
    command.args(["serve", "--listen", "127.0.0.1:0", "--refs", &refs, "--blobs", &blobs]);
    let server = Serving::spawn(&git, command);
    git.fsck_strict(git.clone(server.url("a"), "a", &["--quiet"]));
    stop(server);
    let fails = |arguments: &[&str]| {
        let output = packhorse(&git).arg("serve").args(arguments).output().expect("it runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(fails(&["--refs", &refs]).contains("--blobs"));
    assert!(fails(&["--store", &blobs]).contains("objects only"));
    std::fs::write(&file, "refs = 'kv:refs.kv'\n").expect("a file");
    assert!(fails(&["--config", &file.display().to_string()]).contains("named together"));
    std::fs::write(&file, "store = 'kv:refs.kv'\ndirectory = '.'\n").expect("a file");
    assert!(fails(&["--config", &file.display().to_string()]).contains("both a directory"));
    // The objects are gone: refs without them are an error, not an empty repository.
    std::fs::rename(git.path("packs"), git.path("elsewhere")).expect("moved");
    let mut command = packhorse(&git);
    command.args(["serve", "--listen", "127.0.0.1:0", "--refs", &refs, "--blobs", &blobs]);
    let server = Serving::spawn(&git, command);
    git.fail(git.root(), &["clone", "-q", &server.url("a"), "nothing"]);
    assert!(server.log().contains("not in the store of objects"), "{}", server.log());
}

fn is_served_like_a_folder(git: &RealGit, store: &str) {
    let origin = Scenario::realistic(400, 51).build(git, "origin.git");
    let server = serve(git, store, &["--create-on-push"]);
    let url = server.url("team/project.git");
    git.ok(&origin, &["push", "-q", "--mirror", &url]);

    let mirror = git.clone(&url, "mirror.git", &["--mirror", "--quiet"]);
    assert_same(git, &origin, &mirror);
    let shallow = git.clone(&url, "shallow", &["--depth=3", "--quiet"]);
    git.ok(&shallow, &["fetch", "-q", "--deepen=5"]);
    git.ok(&shallow, &["fetch", "-q", "--unshallow"]);
    git.fsck_strict(&shallow);
    let plain = server.url("team/project");
    let partial = git.clone(&plain, "partial", &["--filter=blob:none", "--quiet"]);
    assert_eq!(git.ok(&partial, &["status", "--porcelain"]), "");

    // One more commit, a forced one, a deletion, and a race that is lost.
    let work = git.clone(&url, "work", &["--quiet"]);
    let branch = git.ok(&work, &["rev-parse", "--abbrev-ref", "HEAD"]);
    git.commit_file(&work, "new.txt", "new\n");
    git.ok(&work, &["push", "-q", "origin", "HEAD", "HEAD:refs/heads/gone"]);
    git.ok(&work, &["commit", "-q", "--amend", "-m", "another"]);
    git.fail(&work, &["push", "-q", "origin", "HEAD"]);
    git.ok(&work, &["push", "-q", "--force", "origin", "HEAD"]);
    git.ok(&work, &["push", "-q", "origin", ":gone"]);
    git.fail(&work, &["push", "-q", "origin", &format!("HEAD:refs/heads/{branch}/inside")]);
    let nested = git.fail(&work, &["push", "-q", &server.url("team/project/inner.git"), "HEAD"]);
    assert!(nested.contains("not found"), "{nested}");
    git.ok(&mirror, &["fetch", "-q", "--prune"]);
    assert_eq!(git.rev_parse(&mirror, &branch), git.rev_parse(&work, "HEAD"));
    git.fail(&mirror, &["rev-parse", "-q", "--verify", "gone"]);
    stop(server);

    // What was acknowledged is there again.
    let server = serve(git, store, &[]);
    let url = server.url("team/project.git");
    let again = git.clone(&url, "again.git", &["--mirror", "--quiet"]);
    assert_same(git, &mirror, &again);
    git.fail(git.root(), &["clone", "-q", &server.url("other"), "other"]);
    let words = git.fail(&work, &["push", "-q", &server.url("other"), "HEAD"]);
    assert!(words.contains("not found"), "{words}");
}

/// Two servers on one database know nothing of each other, and need not.
#[test]
fn servers_of_one_database_see_each_others_pushes() {
    let git = RealGit::new();
    let postgres = Postgres::shared();
    let store = postgres.database();
    let origin = Scenario::realistic(60, 52).build(&git, "origin.git");
    let (one, other) = (serve(&git, &store, &["--create-on-push"]), serve(&git, &store, &[]));
    git.ok(&origin, &["push", "-q", "--mirror", &one.url("a.git")]);
    let work = git.clone(other.url("a.git"), "work", &["--quiet"]);
    git.ok(&work, &["remote", "add", "one", &one.url("a.git")]);
    for round in 0..6 {
        git.commit_file(&work, "file.txt", format!("{round}\n"));
        let (to, from) = if round % 2 == 0 { ("one", &other) } else { ("origin", &one) };
        git.ok(&work, &["push", "-q", to, "HEAD"]);
        let clone = git.clone(from.url("a.git"), format!("clone-{round}"), &["--quiet"]);
        assert_eq!(git.rev_parse(&clone, "HEAD"), git.rev_parse(&work, "HEAD"));
        git.fsck_strict(&clone);
    }
    stop(one);
    stop(other);
}

#[test]
fn a_server_whose_database_is_gone_says_so_and_recovers() {
    let git = RealGit::new();
    let postgres = Postgres::start();
    let store = postgres.database();
    let origin = Scenario::linear(3).build(&git, "origin.git");
    let server = serve(&git, &store, &["--create-on-push"]);
    let url = server.url("a.git");
    git.ok(&origin, &["push", "-q", "--mirror", &url]);
    postgres.stop();
    git.fail(git.root(), &["clone", "-q", &url, "not-now"]);
    git.fail(&origin, &["push", "-q", "--mirror", &server.url("b.git")]);
    postgres.resume();
    let clone = git.clone(&url, "again", &["--quiet"]);
    git.fsck_strict(&clone);
    assert!(server.log().contains("unavailable"), "{}", server.log());
}

#[test]
fn a_key_value_file_is_maintained_behind_the_traffic() {
    let git = RealGit::new();
    let origin = Scenario::linear(3).build(&git, "origin.git");
    let file = git.path("soon.toml");
    std::fs::write(&file, "store = \"kv:repositories.kv\"\n[maintenance]\nrest_ms = 10\n")
        .expect("a file");
    let mut command = packhorse(&git);
    command.args(["serve", "--create-on-push", "--listen", "127.0.0.1:0", "--config"]).arg(&file);
    // The tests' own configuration keeps git from doing this.
    command.env("GIT_CONFIG_GLOBAL", "/dev/null");
    let server = Serving::spawn(&git, command);
    let url = server.url("a.git");
    git.ok(&origin, &["push", "-q", "--mirror", &url]);
    let work = git.clone(&url, "work", &["--quiet"]);
    for number in 0..24 {
        git.commit_file(&work, "file.txt", format!("{number}\n"));
        git.ok(&work, &["push", "-q", "origin", "HEAD"]);
        // Whether packs are taken away under it or not.
        let clone = git.clone(&url, format!("clone-{number}"), &["--quiet", "--bare"]);
        assert_eq!(git.rev_parse(&clone, "HEAD"), git.rev_parse(&work, "HEAD"));
    }
    wait_until("maintenance", || server.log().contains("maintained: "));
    let clone = git.clone(&url, "clone", &["--quiet"]);
    assert_eq!(git.rev_parse(&clone, "HEAD"), git.rev_parse(&work, "HEAD"));
    git.fsck_strict(&clone);
}

#[test]
fn stores_that_cannot_be_served_are_named() {
    let git = RealGit::new();
    let fails = |arguments: &[&str]| {
        let output = packhorse(&git).arg("serve").args(arguments).output().expect("it runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(fails(&["--store", "nosql:x"]).contains("'nosql:x' is no store"));
    assert!(fails(&["--store", "kv:/does/not/exist.kv"]).contains("/does/not/exist.kv"));
    let other = git.path("other");
    std::fs::write(&other, [b'x'; 10_000]).expect("written");
    let other = format!("kv:{}", other.display());
    assert!(fails(&["--store", &other]).contains("other"));
    let store = key_value_file(&git);
    let _server = serve(&git, &store, &[]);
    let words = fails(&["--store", &store, "--listen", "127.0.0.1:0"]);
    assert!(words.contains("another process has the file open"), "{words}");
}

/// A fork begins with what its lender has, keeps what it had, and can be made a repository of its own.
fn forks(store: &str) {
    let git = RealGit::new();
    let store = store.replace("{}", &git.root().display().to_string());
    let repo = |args: &[&str]| {
        let mut command = packhorse(&git);
        let output = command.arg("repo").args(args).output().expect("the program runs");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), text)
    };
    let ok = |args: &[&str]| {
        let (is_ok, text) = repo(args);
        assert!(is_ok, "{args:?}: {text}");
        text
    };
    let at = |name: &str| format!("{store}#{name}");
    let origin = Scenario::realistic(80, 17).build(&git, "origin.git");
    ok(&["copy", "--quiet", origin.to_str().expect("text"), &at("group/lender")]);
    ok(&["fork", &at("group/lender"), "fork"]);
    let (is_ok, words) = repo(&["fork", &at("group/lender"), "fork"]);
    assert!(!is_ok && words.contains("there is a repository"), "{words}");
    let (is_ok, words) = repo(&["fork", &at("none"), "other"]);
    assert!(!is_ok && words.contains("none"), "{words}");
    ok(&["config", &at("fork"), "uploadpack.allowFilter", "true"]);
    let config = ok(&["config", &at("fork")]);
    assert!(config.contains("allowFilter = \"true\""), "{config}");
    let empty = git.path("empty");
    std::fs::write(&empty, "").expect("a file");
    let replace = ["config", &at("fork"), "--replace-with", empty.to_str().expect("text")];
    let (is_ok, words) = repo(&replace);
    assert!(!is_ok && words.contains("packhorse.borrows has to stay"), "{words}");
    // The same, in words of somebody else.
    let own = "[packhorse]\n    borrows=yes\n[uploadpack]\n    allowFilter\n";
    std::fs::write(&empty, own).expect("a file");
    ok(&replace);
    assert_eq!(ok(&["config", &at("fork")]), own);
    let (is_ok, words) = repo(&["config", &at("fork"), "nothing", "true"]);
    assert!(!is_ok && words.contains("is no key"), "{words}");
    let tip = {
        let mut command = packhorse(&git);
        command.args(["serve", "--listen", "127.0.0.1:0", "--store", &store]);
        let server = Serving::spawn(&git, command);
        let work = git.clone(server.url("fork.git"), "work", &["-q", "--filter=blob:none"]);
        git.commit_file(&work, "new.txt", "new\n");
        git.ok(&work, &["push", "-q", "origin", "HEAD:refs/heads/own"]);
        let whole = git.clone(server.url("fork.git"), "whole.git", &["-q", "--mirror"]);
        git.fsck_strict(&whole);
        git.rev_parse(&whole, "own")
    };
    let words = ok(&["fsck", &at("fork")]);
    // And perhaps a base of a delta.
    let few = ["3", "4"].map(|count| format!(": {count} objects in 1 packs"));
    assert!(few.iter().any(|few| words.contains(few)), "only what was pushed is its own: {words}");
    let (is_ok, words) = repo(&["remove", &at("group/lender")]);
    assert!(!is_ok && words.contains("fork borrow its objects"), "{words}");
    // Nor separated, while somebody borrows through it.
    ok(&["fork", &at("fork"), "forks/fork"]);
    let (is_ok, words) = repo(&["separate", "--grace", "0", &at("fork")]);
    assert!(!is_ok && words.contains("forks/fork borrow its objects"), "{words}");
    ok(&["remove", &at("forks/fork")]);
    // A chain has an end.
    let mut last = "fork".to_owned();
    for number in 2..=5 {
        let next = format!("chain/{number}");
        ok(&["fork", &at(&last), &next]);
        last = next;
    }
    let (is_ok, words) = repo(&["fork", &at(&last), "chain/6"]);
    assert!(!is_ok && words.contains("borrows through 5 others already"), "{words}");
    for number in (2..=5).rev() {
        ok(&["remove", &at(&format!("chain/{number}"))]);
    }
    ok(&["separate", "--grace", "0", &at("fork")]);
    // Servers that have it open see another configuration.
    assert!(ok(&["config", &at("fork")]).ends_with("borrows = false\n"));
    ok(&["remove", &at("group/lender")]);
    ok(&["fsck", &at("fork")]);
    ok(&[
        "export",
        "--quiet",
        "--store",
        &store,
        "fork",
        git.path("end.git").to_str().expect("text"),
    ]);
    git.fsck_strict(git.path("end.git"));
    assert_eq!(git.rev_parse(git.path("end.git"), "own"), tip);
}

#[test]
fn forks_in_a_key_value_file() {
    forks("kv:{}/all.kv");
    forks("kv:{}/refs.kv+dir:{}/packs");
}

#[test]
fn forks_in_a_database() {
    let postgres = Postgres::shared();
    forks(&postgres.database());
}

#[test]
fn forks_in_a_bucket() {
    let Some(ceph) = Ceph::shared_or_skip() else { return };
    forks(&ceph.store());
    let postgres = Postgres::shared();
    forks(&format!("{}+{}", postgres.database(), ceph.store()));
}

/// The name of a repository decides where it is.
#[test]
fn a_store_for_some_repositories_of_a_folder() {
    let git = RealGit::new();
    std::fs::create_dir(git.path("srv")).expect("a folder");
    let postgres = Postgres::shared();
    let config = git.path("server.toml");
    let text = format!(
        "directory = 'srv'\ncreate_on_push = true\n\
         [[stores]]\nbelow = 'in/file'\nstore = 'kv:some.kv'\n\
         [[stores]]\nbelow = 'mixed'\nrefs = '{}'\nblobs = 'dir:packs'\n",
        postgres.database()
    );
    std::fs::write(&config, text).expect("a file");
    let config = config.to_str().expect("text");
    let mut command = packhorse(&git);
    command.args(["serve", "--listen", "127.0.0.1:0", "--config", config]);
    let server = Serving::spawn(&git, command);
    let origin = Scenario::realistic(20, 5).build(&git, "origin.git");
    let names = ["plain.git", "in/file/a.git", "in/other.git", "mixed/a.git", "mixed/b.git"];
    for (number, name) in names.iter().enumerate() {
        git.ok(&origin, &["push", "-q", "--mirror", &server.url(name)]);
        let clone = git.clone(server.url(name), format!("clone-{number}.git"), &["-q", "--mirror"]);
        assert_same(&git, &origin, &clone);
    }
    let page = server.get("/", &[]);
    let page = String::from_utf8_lossy(&page.body).into_owned();
    assert!(names.iter().all(|name| page.contains(name)), "{page}");
    stop(server);
    let is_there = |path: &str| git.path(path).exists();
    assert!(is_there("srv/plain.git") && is_there("srv/in/other.git"));
    assert!(!is_there("srv/in/file") && !is_there("srv/mixed"));
    assert!(is_there("some.kv") && is_there("packs/mixed"));
    // The same for the programs that answer one client.
    let mut command = packhorse(&git);
    command.args(["upload-pack", "--advertise-refs", "--config", config, "in/file/a.git"]);
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.windows(15).any(|part| part == b"refs/heads/main"), "{output:?}");
    let mut command = packhorse(&git);
    command.args(["upload-pack", "--advertise-refs", "--config", config, "none.git"]);
    assert!(!command.output().expect("the program runs").status.success());
    for (text, words) in [
        ("[[stores]]\nbelow = 'a'\n", "name no store"),
        ("[[stores]]\nbelow = '../a'\nstore = 'kv:x'\n", "below = '../a'"),
        ("[[stores]]\nstore = 'kv:x'\n", "below"),
    ] {
        std::fs::write(git.path("bad.toml"), text).expect("a file");
        let mut command = packhorse(&git);
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(git.path("bad.toml"));
        let output = command.output().expect("the program runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(words), "{told}");
    }
}

/// Who downloads a pack is sent to the bucket, with an address that needs no credentials.
#[test]
fn downloads_by_an_address_of_the_bucket() {
    let Some(ceph) = Ceph::shared_or_skip() else { return };
    let git = RealGit::new();
    let origin = Scenario::realistic(40, 6).build(&git, "origin.git");
    let config = git.path("server.toml");
    std::fs::write(&config, "[bucket]\ndownload_address_ms = 600000\n").expect("a file");
    let store = ceph.store();
    let config = config.to_str().expect("text");
    let server = serve(&git, &store, &["--create-on-push", "--config", config]);
    git.ok(&origin, &["push", "-q", "--mirror", &server.url("r.git")]);
    let list = server.get("/r.git/objects/info/packs", &[]);
    let list = String::from_utf8(list.body).expect("text");
    let pack = list.lines().find_map(|line| line.strip_prefix("P ")).expect("a pack");
    let path = format!("/r.git/objects/pack/{pack}");
    let sent = server.get(&path, &[]);
    assert_eq!(sent.status, 307, "{sent:?}");
    let address = sent.header("location").expect("an address").to_owned();
    let rest = address.strip_prefix(&format!("{}/", ceph.endpoint())).expect("in the bucket");
    let authority = ceph.endpoint().trim_start_matches("http://").to_owned();
    let get = |path: &str| {
        let head = crate::raw::head("GET", &format!("/{path}"), &[], None);
        // It is signed for this host.
        let head = head.replace("Host: test", &format!("Host: {authority}"));
        crate::raw::send(&authority, &head, b"")
    };
    let got = get(rest);
    assert_eq!((got.status, &got.body[..4]), (200, &b"PACK"[..]));
    let (plain, _) = rest.split_once('?').expect("signed");
    assert_eq!(get(plain).status, 403, "nobody gets it without");
    // A range asked for is the bucket's affair, too; an index is not worth a second request.
    assert_eq!(server.get(&path.replace(".pack", ".idx"), &[]).status, 200);
}
