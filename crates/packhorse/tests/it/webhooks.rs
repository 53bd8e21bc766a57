//! Whoever listens at an address is told of refs that moved: signed, in order, and at last.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testkit::{RealGit, Received, Receiver, free_port, wait_until};

use crate::serving::{Serving, packhorse};

const SECRET: &str = "a secret of some length";

/// A folder with repositories, a clone of one, and what a server is started with.
struct Scene {
    work: PathBuf,
    config: PathBuf,
    git: RealGit,
}

impl Scene {
    fn new(config: &str) -> Self {
        let git = RealGit::new();
        git.init_bare("srv/team/r.git");
        let work = git.clone(git.path("srv/team/r.git"), "work", &["-q"]);
        let scene = Scene { work, config: git.path("server.toml"), git };
        scene.configure(config);
        scene
    }

    fn configure(&self, config: &str) {
        let quick = "[webhooks]\nfolder = 'hooks'\nretry_first_ms = 20\nretry_max_ms = 200\nlook_ms = 50\nsearch_ms = 50\n";
        fs::write(&self.config, format!("{config}\n{quick}")).expect("a file");
    }

    fn options(&self) -> [&str; 2] {
        ["--config", self.config.to_str().expect("a path in UTF-8")]
    }

    fn serve(&self) -> Serving {
        Serving::start(&self.git, self.git.path("srv"), &self.options())
    }

    /// A commit, pushed as a branch.
    fn push(&self, server: &Serving, branch: &str) -> String {
        self.git.commit_file(&self.work, "file", branch);
        let url = server.url("team/r.git");
        let pushed =
            self.git.run(&self.work, &["push", &url, &format!("HEAD:refs/heads/{branch}")]);
        assert!(pushed.status.success(), "{pushed:?}");
        pushed.error_text()
    }

    fn waiting(&self, hook: &str) -> usize {
        let folder = self.git.path("hooks/queue").join(hook);
        fs::read_dir(folder).map_or(0, Iterator::count)
    }

    fn webhook(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = packhorse(&self.git);
        command.arg("webhook").args(self.options()).args(arguments);
        let output = command.output().expect("it runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).expect("text"))
    }

    fn log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.git.path("hooks/deliveries.log")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// What came of each attempt so far.
    fn outcomes(&self) -> Vec<String> {
        let log = self.log();
        log.iter().map(|line| line["outcome"].as_str().expect("text").to_owned()).collect()
    }
}

fn hook(name: &str, url: &str, more: &str) -> String {
    format!("[[webhook]]\nname = '{name}'\nurl = '{url}'\nsecret = '{SECRET}'\n{more}\n")
}

fn body(received: &Received) -> Value {
    serde_json::from_str(&received.body).expect("JSON")
}

/// The branches that were told of, in order.
fn branches(received: &[Received]) -> Vec<String> {
    let told = received
        .iter()
        .flat_map(|one| body(one)["changes"].as_array().cloned().unwrap_or_default());
    told.map(|change| change["ref"].as_str().expect("a name").to_owned()).collect()
}

/// An address nobody listens at yet.
fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// What a receiver does that was written from `docs/webhooks.md`.
fn is_genuine(received: &Received, secret: &str) -> bool {
    const CHECK: &str = "
import base64, hashlib, hmac, sys
secret, id, time, signature, plain, body = (argument.encode() for argument in sys.argv[1:])
made = hmac.new(secret, id + b'.' + time + b'.' + body, hashlib.sha256).digest()
assert hmac.compare_digest(b'v1,' + base64.b64encode(made), signature)
made = hmac.new(secret, body, hashlib.sha256).hexdigest().encode()
assert hmac.compare_digest(b'sha256=' + made, plain)
";
    let headers = ["webhook-id", "webhook-timestamp", "webhook-signature", "x-hub-signature-256"];
    let headers = headers.map(|name| received.header(name));
    let mut python = Command::new("python3");
    python.args(["-c", CHECK, secret]).args(headers).arg(&received.body);
    python.output().expect("python runs").status.success()
}

#[test]
fn a_push_is_told_signed_to_all_who_want_to_hear() {
    let receiver = Receiver::start();
    let all = hook("all", &receiver.url("/all/?key=1"), "");
    let tags = hook("tags", &receiver.url("/tags"), "refs = ['refs/tags/*']");
    let others = hook("others", &receiver.url("/others"), "repositories = ['other/**']");
    let scene = Scene::new(&format!("{all}{tags}{others}"));
    let server = scene.serve();
    scene.push(&server, "topic");
    let head = scene.git.rev_parse(&scene.work, "HEAD").to_string();
    let received = receiver.wait_for(1).remove(0);
    assert_eq!(received.line, "POST /all/?key=1 HTTP/1.1");
    assert_eq!(received.header("content-type"), "application/json");
    assert!(is_genuine(&received, SECRET), "{received:?}");
    assert!(!is_genuine(&received, "another secret of some length"));
    let told = body(&received);
    assert_eq!(told["id"], received.header("webhook-id"));
    let changes = serde_json::json!([{"ref": "refs/heads/topic", "old": null, "new": head}]);
    assert_eq!(
        (&told["event"], &told["repository"], &told["road"], &told["changes"]),
        (&"refs".into(), &"team/r".into(), &"http".into(), &changes)
    );
    assert!(
        told["time"].as_str().is_some_and(|time| time.ends_with('Z'))
            && told.get("pusher").is_none()
    );
    // A tag and a deletion at once: the one hears of both, the other of his.
    let url = server.url("team/r.git");
    scene.git.ok(&scene.work, &["push", "-q", &url, ":refs/heads/topic", "HEAD:refs/tags/v1"]);
    let later = receiver.wait_for(3).split_off(1);
    let of = |path: &str| {
        let one = later.iter().find(|one| one.line.contains(path)).expect("told");
        body(one)["changes"].clone()
    };
    let tag = serde_json::json!({"ref": "refs/tags/v1", "old": null, "new": head});
    let gone = serde_json::json!({"ref": "refs/heads/topic", "old": head, "new": null});
    assert_eq!(of("/tags"), serde_json::json!([tag]));
    let mut both = of("/all/").as_array().cloned().expect("an array");
    both.sort_by_key(|change| change["ref"].to_string());
    assert_eq!(both, [gone, tag]);
    wait_until("all are settled", || scene.outcomes().len() == 3);
    assert_eq!(scene.outcomes(), ["delivered"; 3]);
    assert_eq!(receiver.received().len(), 3, "nobody else hears of it");
    assert_eq!((scene.waiting("all"), scene.waiting("tags"), scene.waiting("others")), (0, 0, 0));
}

#[test]
fn who_pushed_is_told_where_it_is_known() {
    let receiver = Receiver::start();
    let scene = Scene::new(&hook("all", &receiver.url("/"), ""));
    let access = scene.git.path("access.toml");
    let run = |arguments: &[&str]| {
        let mut command = packhorse(&scene.git);
        let output = command.args(arguments).arg("--access").arg(&access).output().expect("runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    run(&["user", "add", "ann"]);
    run(&["access", "allow", "write", "ann", "--in", "team/*"]);
    let token = run(&["token", "add", "ann"]);
    let access = access.to_str().expect("UTF-8");
    let options = [&scene.options()[..], &["--access", access]].concat();
    let server = Serving::start(&scene.git, scene.git.path("srv"), &options);
    let url = server.url("team/r.git").replacen("http://", &format!("http://x:{token}@"), 1);
    scene.git.commit_file(&scene.work, "file", "x");
    scene.git.ok(&scene.work, &["push", "-q", &url, "HEAD:main"]);
    assert_eq!(body(&receiver.wait_for(1)[0])["pusher"], "ann");
}

#[test]
fn what_nobody_takes_is_kept_through_a_crash_and_told_in_order() {
    let address = nobody();
    let scene = Scene::new(&hook("ci", &format!("http://{address}/"), ""));
    let server = scene.serve();
    for branch in ["a", "b", "c"] {
        scene.push(&server, branch);
    }
    // Before the push was acknowledged it was on the disk.
    assert_eq!(scene.waiting("ci"), 3);
    wait_until("it is tried", || scene.outcomes().len() > 2);
    assert!(scene.outcomes().iter().all(|outcome| outcome == "failed"));
    assert!(scene.log()[0]["why"].as_str().is_some_and(|why| why.contains("cannot connect")));
    // Killed, as by a power failure.
    drop(server);
    let server = scene.serve();
    let receiver = Receiver::at(address);
    receiver.answer_next(503, "Retry-After: 0\r\n");
    receiver.answer_next(500, "");
    scene.push(&server, "d");
    let received = receiver.wait_for(6);
    let names: Vec<String> =
        ["a", "a", "a", "b", "c", "d"].map(|name| format!("refs/heads/{name}")).into();
    assert_eq!(branches(&received), names);
    let ids: Vec<&str> = received.iter().map(|one| one.header("webhook-id")).collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2], "one delivery has one id: {ids:?}");
    assert!(received.iter().all(|one| is_genuine(one, SECRET)));
    wait_until("nothing waits", || scene.waiting("ci") == 0);
}

#[test]
fn who_says_no_is_asked_again_when_somebody_wants_it() {
    let receiver = Receiver::start();
    let scene = Scene::new(&hook("ci", &receiver.url("/"), ""));
    let server = scene.serve();
    for status in [404, 302] {
        receiver.answer_next(status, "Location: http://127.0.0.1:1/\r\n");
    }
    scene.push(&server, "a");
    scene.push(&server, "b");
    scene.push(&server, "c");
    receiver.wait_for(3);
    wait_until("all are settled", || scene.outcomes().len() == 3);
    assert_eq!(scene.outcomes(), ["given-up", "given-up", "delivered"]);
    assert_eq!(scene.log()[0]["answer"], "seen");
    let (well, text) = scene.webhook(&["list"]);
    assert!(well && text.starts_with("ci\t0 waiting\t2 given up\thttp://"), "{text}");
    let (well, text) = scene.webhook(&["log", "ci", "-n", "2"]);
    assert!(well && text.lines().count() == 2, "{text}");
    assert!(text.contains("given up") && text.contains("status 302"), "{text}");
    let (well, text) = scene.webhook(&["retry", "ci", "nonsense"]);
    assert!(!well && text.contains("no delivery 'nonsense'"), "{text}");
    let (well, text) = scene.webhook(&["retry", "ci"]);
    assert!(well && text.lines().count() == 2, "{text}");
    assert_eq!(branches(&receiver.wait_for(5)[3..]), ["refs/heads/a", "refs/heads/b"]);
    wait_until("nothing waits", || scene.waiting("ci") == 0);
    let (well, text) = scene.webhook(&["ping", "ci"]);
    assert!(well && text.contains("delivered"), "{text}");
    let received = receiver.wait_for(6);
    assert_eq!(body(&received[5])["event"], "ping");
    assert!(is_genuine(&received[5], SECRET));
    receiver.answer_next(500, "");
    assert!(!scene.webhook(&["ping", "ci"]).0);
    assert!(scene.webhook(&["ping", "cd"]).1.contains("there is no webhook 'cd'"));
}

#[test]
fn a_status_counts_although_its_words_never_end() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let scene = Scene::new(&hook("ci", &url, ""));
    let server = scene.serve();
    scene.push(&server, "a");
    let (mut stream, _) = listener.accept().expect("it comes");
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).expect("it asks");
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nfirst").expect("answered");
    wait_until("it is settled", || !scene.outcomes().is_empty());
    assert_eq!(scene.outcomes(), ["delivered"]);
    assert_eq!(scene.log()[0]["answer"], "first");
    assert_eq!(scene.waiting("ci"), 0);
}

#[test]
fn more_than_may_wait_is_not_told_and_whoever_pushes_reads_it() {
    let scene = Scene::new(&hook("ci", &format!("http://{}/", nobody()), ""));
    let config = fs::read_to_string(&scene.config).expect("a file");
    fs::write(&scene.config, format!("{config}pending_max = 1\n")).expect("a file");
    let server = scene.serve();
    assert!(!scene.push(&server, "a").contains("webhook"));
    let warned = scene.push(&server, "b");
    assert!(warned.contains("the webhook 'ci' is not told: 1 deliveries wait"), "{warned}");
    let refs = scene.git.refs(scene.git.path("srv/team/r.git"));
    assert!(refs.contains("refs/heads/b"), "the push itself went well: {refs}");
    assert!(scene.outcomes().contains(&"dropped".to_owned()));
    assert_eq!(scene.waiting("ci"), 1);
}

#[test]
fn changes_behind_the_servers_back_are_told_also_those_while_it_was_away() {
    let receiver = Receiver::start();
    let scene = Scene::new(&hook(
        "all",
        &receiver.url("/"),
        "hears = 'changes'\nrepositories = ['team/*']",
    ));
    let served = scene.git.path("srv/team/r.git");
    scene.git.commit_file(&scene.work, "file", "x");
    let put = |branch: &str| {
        scene
            .git
            .ok(&scene.work, &["push", "-q", &served.to_string_lossy(), &format!("HEAD:{branch}")]);
    };
    put("refs/heads/before");
    let server = scene.serve();
    wait_until("it is watched", || {
        fs::read_dir(scene.git.path("hooks/seen")).is_ok_and(|all| all.count() == 1)
    });
    assert_eq!(receiver.received(), [], "what was there when it began is no news");
    put("refs/heads/main");
    let told = body(&receiver.wait_for(1)[0]);
    let head = scene.git.rev_parse(&scene.work, "HEAD").to_string();
    let changes = serde_json::json!([{"ref": "refs/heads/main", "old": null, "new": head}]);
    assert_eq!(
        (&told["event"], &told["repository"], &told["changes"]),
        (&"refs".into(), &"team/r".into(), &changes)
    );
    let cursor = told["cursor"].as_str().expect("a cursor").to_owned();
    // A push to the server is a change like any other, and told once.
    scene.push(&server, "pushed");
    assert_eq!(branches(&receiver.wait_for(2)[1..]), ["refs/heads/pushed"]);
    wait_until("all are settled", || scene.waiting("all") == 0);
    drop(server);
    let server = scene.serve();
    scene.push(&server, "again");
    let received = receiver.wait_for(3);
    assert_eq!(branches(&received[2..]), ["refs/heads/again"], "nothing had happened meanwhile");
    wait_until("it is noted", || scene.waiting("all") == 0);
    drop(server);
    put("refs/heads/meanwhile");
    let server = scene.serve();
    let told = body(&receiver.wait_for(4)[3]);
    assert_eq!((&told["event"], &told["repository"]), (&"relist".into(), &"team/r".into()));
    assert!(told.get("changes").is_none() && told["cursor"].as_str() != Some(&cursor));
    // One that was not there.
    scene.git.clone(&served, "srv/team/new.git", &["-q", "--bare"]);
    scene.git.clone(&served, "srv/other.git", &["-q", "--bare"]);
    let told = body(&receiver.wait_for(5)[4]);
    assert_eq!((&told["event"], &told["repository"]), (&"relist".into(), &"team/new".into()));
    drop(server);
    assert_eq!(receiver.received().len(), 5);
}

#[test]
fn a_configuration_that_is_read_again_changes_who_is_told() {
    let (first, second) = (Receiver::start(), Receiver::start());
    let scene = Scene::new("");
    let server = scene.serve();
    scene.push(&server, "a");
    let reload = |config: &str| {
        let count = || server.log().matches("configuration was read again").count();
        let before = count();
        scene.configure(config);
        let pid = rustix::process::Pid::from_raw(server.pid().cast_signed()).expect("a process");
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("it runs");
        wait_until("it is read again", || count() > before);
    };
    reload(&hook("ci", &first.url("/"), ""));
    scene.push(&server, "b");
    assert_eq!(branches(&first.wait_for(1)), ["refs/heads/b"]);
    reload(&hook("ci", &second.url("/"), ""));
    scene.push(&server, "c");
    assert_eq!(branches(&second.wait_for(1)), ["refs/heads/c"]);
    reload("");
    scene.push(&server, "d");
    assert_eq!((first.received().len(), second.received().len(), scene.waiting("ci")), (1, 1, 0));
}

#[test]
fn what_cannot_be_is_refused_at_the_start() {
    let start = |config: &str| {
        let git = RealGit::new();
        git.init_bare("srv/r.git");
        let file = git.path("server.toml");
        fs::write(&file, config).expect("a file");
        refused(&git, &file)
    };
    let folder = "[webhooks]\nfolder = 'hooks'\n";
    let fine = hook("ci", "http://x/", "");
    for (config, words) in [
        (fine.clone(), "webhooks.folder"),
        (format!("{fine}{fine}{folder}"), "there are two webhooks 'ci'"),
        (format!("{}{folder}", hook("ci", "ssh://x/y", "")), "no HTTP"),
        (format!("{}{folder}", hook("c/i", "http://x/", "")), "no name of a webhook"),
        (
            format!("{}{folder}", hook("ci", "http://x/", "secret_file = 'x'")),
            "either secret or secret_file",
        ),
        (
            format!("{}{folder}", hook("ci", "http://x/", "repositories = ['a.git']")),
            "names have no .git",
        ),
        (format!("{}{folder}", hook("ci", "http://x/", "hears = 'all'")), "unknown variant"),
        (format!("{}{folder}", fine.replace(SECRET, "short")), "at least 16 bytes"),
        (format!("{}{folder}", fine.replace("secret =", "secret_file =")), "cannot read"),
    ] {
        let said = start(&config);
        assert!(said.contains(words), "{config}\n{said}");
    }
    // Two servers, one folder.
    let scene = Scene::new(&hook("ci", "http://127.0.0.1:1/", ""));
    let _server = scene.serve();
    let said = refused(&scene.git, &scene.config);
    assert!(said.contains("another server keeps its webhooks in"), "{said}");
}

/// What a server says that does not start.
fn refused(git: &RealGit, config: &Path) -> String {
    let mut command = packhorse(git);
    command
        .arg("serve")
        .arg(git.path("srv"))
        .args(["--listen", "127.0.0.1:0", "--config"])
        .arg(config);
    let output = command.output().expect("it runs");
    assert!(!output.status.success());
    String::from_utf8(output.stderr).expect("text")
}
