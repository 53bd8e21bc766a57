//! In the background: what is configured is done.

use std::fs;
use std::path::Path;

use testkit::wait_until;

use super::Scene;

/// A daemon in the background, stopped when the test ends, however it does.
struct Running<'s>(&'s Scene, &'s Path);

impl Running<'_> {
    fn run(&self, args: &[&str]) -> (String, i32) {
        run(self.0, self.1, args)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.1.exists() {
            self.run(&["stop"]);
        }
    }
}

fn run(scene: &Scene, folder: &Path, args: &[&str]) -> (String, i32) {
    let output = scene.daemon(folder).args(args).output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&said).into_owned(), output.status.code().unwrap_or(-1))
}

fn start<'s>(scene: &'s Scene, folder: &'s Path) -> Running<'s> {
    let (said, status) = run(scene, folder, &["start"]);
    assert!(said.starts_with("started (process ") && status == 0, "{said}");
    Running(scene, folder)
}

#[test]
fn it_starts_once_says_how_it_is_and_stops() {
    let scene = Scene::new();
    assert_eq!(run(&scene, &scene.away, &["status"]), ("not running\n".into(), 1));
    assert_eq!(run(&scene, &scene.away, &["stop"]), ("not running\n".into(), 0));
    let running = start(&scene, &scene.away);
    let (said, status) = running.run(&[]);
    assert!(said.starts_with("already running (process ") && status == 0, "{said}");
    let (said, status) = running.run(&["run"]);
    assert!(said.contains("one is running already") && status == 128, "{said}");
    let two = scene.push("main", "two");
    wait_until("it is fetched", || scene.at(&scene.away, "origin/main").as_ref() == Some(&two));
    let url = scene.server.url("r.git");
    wait_until("it says so", || running.run(&["status"]).0.contains("\n  fetched ("));
    let (said, status) = running.run(&["status"]);
    assert_eq!(status, 0);
    assert!(said.contains(&format!("origin\n  {url}: packhorse-watch\n  changed ")), "{said}");
    let (json, _) = running.run(&["status", "--json"]);
    assert!(json.contains("\"packhorse-watch\""), "{json}");
    let (log, _) = running.run(&["log"]);
    assert!(log.contains("origin: changed: refs/heads/main"), "{log}");
    // The work tree stays as it is.
    assert_ne!(scene.at(&scene.away, "HEAD"), Some(two));
    assert_eq!(running.run(&["stop"]), ("stopped\n".into(), 0));
    assert_eq!(running.run(&["status", "--json"]), ("null\n".into(), 1));
    let (unit, _) = running.run(&["unit"]);
    let exec = format!("git-remote-daemon\" -C \"{}\" run\n", scene.away.display());
    assert!(unit.contains(&exec), "{unit}");
}

#[test]
fn a_lock_is_not_left_by_the_dead() {
    let scene = Scene::new();
    let running = start(&scene, &scene.away);
    let lock = scene.away.join(".git/remote-daemon/lock");
    let process = fs::read_to_string(&lock).expect("a lock");
    let number = process.split(' ').next().expect("who has it");
    let killed = std::process::Command::new("kill").args(["-9", number]).status();
    assert!(killed.expect("kill is there").success());
    wait_until("it is dead", || running.run(&["status"]).1 == 1);
    let again = start(&scene, &scene.away);
    assert_ne!(fs::read_to_string(&lock).expect("a lock"), process);
    drop(again);
}

#[test]
fn the_work_tree_follows_unless_it_is_in_use() {
    let scene = Scene::new();
    let away = &scene.away;
    scene.config(away, "remote.origin.daemon", "pull");
    let running = start(&scene, away);
    let head = |id: &str| scene.at(away, "HEAD").as_deref() == Some(id);
    let two = scene.push("main", "two");
    wait_until("it follows", || head(&two));
    assert_eq!(fs::read_to_string(away.join("file")).expect("a file"), "two");
    let said = |words: &str| {
        wait_until(words, || running.run(&["status"]).0.contains(words));
    };
    // Somebody works on a file.
    fs::write(away.join("file"), "mine").expect("a file");
    let three = scene.push("main", "three");
    wait_until("it is fetched", || scene.at(away, "origin/main").as_ref() == Some(&three));
    said("not pulled: the work tree has changes");
    assert!(head(&two));
    assert_eq!(fs::read_to_string(away.join("file")).expect("a file"), "mine");
    // Done with it.
    scene.git.ok(away, &["checkout", "-q", "file"]);
    let four = scene.push("main", "four");
    wait_until("it follows", || head(&four));
    // A file in the way that git does not know.
    fs::write(away.join("new"), "mine").expect("a file");
    scene.git.commit_file(&scene.work, "new", "theirs");
    scene.git.ok(&scene.work, &["push", "-q", "origin", "HEAD:main"]);
    said("would be overwritten");
    assert_eq!(fs::read_to_string(away.join("new")).expect("a file"), "mine");
    fs::remove_file(away.join("new")).expect("removed");
    // A commit of one's own.
    scene.git.commit_file(away, "own", "x");
    scene.push("main", "five");
    said("main and its upstream have diverged");
    // No branch at all.
    scene.git.ok(away, &["checkout", "-q", "--detach"]);
    scene.push("main", "six");
    said("no branch is checked out");
}

#[test]
fn what_is_committed_here_is_pushed() {
    let scene = Scene::new();
    let away = &scene.away;
    scene.config(away, "remote.origin.daemon", "sync");
    // Before it starts, and after.
    let id = |text: &str| {
        scene.git.commit_file(away, "mine", text);
        scene.git.rev_parse(away, "HEAD").to_string()
    };
    let first = id("one");
    let running = start(&scene, away);
    let there = |id: &str| scene.at(&scene.served, "main").as_deref() == Some(id);
    wait_until("it is pushed", || there(&first));
    let second = id("two");
    wait_until("it is pushed", || there(&second));
    // A branch that has no upstream stays here.
    scene.git.ok(away, &["branch", "own"]);
    // Back and forth.
    scene.git.ok(&scene.work, &["pull", "-q", "--ff-only", "origin", "main"]);
    let third = scene.push("main", "three");
    wait_until("it follows", || scene.at(away, "HEAD").as_deref() == Some(&third));
    let fourth = id("four");
    wait_until("it is pushed", || there(&fourth));
    assert_eq!(scene.at(&scene.served, "own"), None);
    // Both at once.
    scene.config(&scene.served, "receive.denyNonFastForwards", "true");
    running.run(&["stop"]);
    scene.git.ok(&scene.work, &["pull", "-q", "--ff-only", "origin", "main"]);
    scene.push("main", "five");
    id("six");
    let running = start(&scene, away);
    wait_until("it says so", || running.run(&["status"]).0.contains("diverged"));
    assert_eq!(scene.at(&scene.served, "main"), scene.at(&scene.work, "HEAD"));
}

#[test]
fn a_repository_that_goes_ends_it() {
    let scene = Scene::new();
    let running = start(&scene, &scene.away);
    let process = fs::read_to_string(scene.away.join(".git/remote-daemon/lock")).expect("a lock");
    fs::remove_dir_all(&scene.away).expect("removed");
    let proc = Path::new("/proc").join(process.trim());
    // A zombie, until whoever is its parent by then looks.
    let ended = || {
        let status = fs::read_to_string(proc.join("stat")).unwrap_or_default();
        status.is_empty() || status.contains(") Z ")
    };
    wait_until("it has ended", ended);
    drop(running);
}

/// The one for all repositories, stopped when the test ends.
struct All<'s>(&'s Scene);

impl All<'_> {
    fn run(&self, args: &[&str]) -> (String, i32) {
        run(self.0, self.0.git.root(), &[args, &["--all"]].concat())
    }
}

impl Drop for All<'_> {
    fn drop(&mut self) {
        self.run(&["stop"]);
    }
}

#[test]
fn one_process_looks_after_all() {
    let scene = Scene::new();
    let other = scene.git.clone(scene.server.url("r.git"), "other", &["-q"]);
    let name = |folder: &Path| {
        let folder = folder.to_str().expect("UTF-8");
        scene.git.ok(
            scene.git.root(),
            &["config", "--global", "--add", "remoteDaemon.repository", folder],
        );
    };
    let all = All(&scene);
    assert_eq!(all.run(&["status"]), ("not running\n".into(), 1));
    name(&scene.away);
    name(&scene.git.path("nowhere"));
    scene.config(&other, "remote.origin.daemon", "pull");
    let (said, status) = all.run(&["start"]);
    assert!(said.starts_with("started (process ") && status == 0, "{said}");
    let (said, _) = all.run(&["start"]);
    assert!(said.starts_with("already running (process "), "{said}");
    let two = scene.push("main", "two");
    wait_until("it is fetched", || scene.at(&scene.away, "origin/main").as_ref() == Some(&two));
    // One that is named later.
    assert_ne!(scene.at(&other, "HEAD").as_ref(), Some(&two));
    name(&other);
    wait_until("it follows", || scene.at(&other, "HEAD").as_ref() == Some(&two));
    let three = scene.push("main", "three");
    wait_until("it follows", || scene.at(&other, "HEAD").as_ref() == Some(&three));
    let (said, _) = run(&scene, &other, &["start"]);
    assert!(said.ends_with(", for all repositories)\n"), "{said}");
    let (said, status) = run(&scene, &other, &["stop"]);
    assert!(said.contains("looks after all repositories") && status == 128, "{said}");
    wait_until("it says so", || run(&scene, &other, &["status"]).0.contains("packhorse-watch"));
    assert!(run(&scene, &other, &["log"]).0.contains("origin: changed: refs/heads/main"));
    let (said, status) = all.run(&["status"]);
    assert_eq!(status, 0);
    for words in
        ["for all repositories", "nowhere\n  error: ", "other\n  running", "packhorse-watch"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    let (json, _) = all.run(&["status", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(json["process"].is_u64(), "{json}");
    assert_eq!(json["repositories"].as_object().map(serde_json::Map::len), Some(3), "{json}");
    assert!(all.run(&["log"]).0.contains("nowhere: "));
    // One that is not named any more.
    let other_name = other.to_str().expect("UTF-8");
    let unset =
        ["config", "--global", "--fixed-value", "--unset", "remoteDaemon.repository", other_name];
    scene.git.ok(scene.git.root(), &unset);
    wait_until("it is let go", || run(&scene, &other, &["status"]).1 == 1);
    assert_eq!(run(&scene, &scene.away, &["status"]).1, 0);
    // It has one of its own now.
    drop(start(&scene, &other));
    assert_eq!(all.run(&["stop"]), ("stopped\n".into(), 0));
    assert_eq!(run(&scene, &scene.away, &["status"]).1, 1);
    assert!(all.run(&["unit"]).0.contains("git-remote-daemon\" run --all\n"));
}
