//! Who wants to know what becomes of refs is told, also of what happens behind the server's back.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use testkit::{Ceph, EventSource, HUNG, Postgres, RealGit, SentEvent, WatchSource};
use testkit::{wait_until, watch_request};

use crate::raw::packet;
use crate::serving::{Serving, packhorse};

/// A folder with one repository, a clone of it, and a server.
struct Scene {
    served: PathBuf,
    work: PathBuf,
    server: Serving,
    git: RealGit,
}

impl Scene {
    fn new(config: &str) -> Self {
        let git = RealGit::new();
        let served = git.init_bare("srv/r.git");
        let file = git.path("server.toml");
        fs::write(&file, config).expect("a file");
        let options = ["--config", file.to_str().expect("a path in UTF-8")];
        let server = Serving::start(&git, git.path("srv"), &options);
        let work = git.clone(server.url("r.git"), "work", &["-q"]);
        git.commit_file(&work, "file", "one");
        git.ok(&work, &["push", "-q", "origin", "HEAD:refs/heads/main"]);
        Scene { served, work, server, git }
    }

    fn push(&self, what: &str) {
        self.git.ok(&self.work, &["push", "-q", "origin", what]);
    }

    fn head(&self) -> String {
        self.git.rev_parse(&self.work, "HEAD").to_string()
    }

    fn subscribe(&self, query: &str) -> EventSource {
        let url = self.server.url(&format!("r.git/events{query}"));
        let mut source = EventSource::open(&url, None).expect("subscribed");
        source.expect("at");
        source
    }
}

type Move = (String, Option<String>, Option<String>);

/// So many moves: changes that come close together may be told as one event, and one change of many refs
/// of a disk, which has them one after the other, as several.
fn hear(source: &mut EventSource, count: usize) -> Vec<Move> {
    let mut moves = Vec::new();
    while moves.len() < count {
        moves.extend(source.expect("refs").moves());
    }
    moves.sort_unstable();
    moves
}

fn created(name: &str, id: &str) -> Move {
    (name.to_owned(), None, Some(id.to_owned()))
}

#[test]
fn each_hears_what_he_asked_for_and_may_see() {
    let scene = Scene::new("");
    scene.git.ok(&scene.served, &["config", "uploadpack.hideRefs", "refs/hidden"]);
    let mut all = scene.subscribe("");
    let mut tags = scene.subscribe("?prefix=refs/tags/&prefix=HEAD");
    let head = scene.head();
    scene.push("HEAD:refs/hidden/one");
    scene.push("HEAD:refs/heads/a");
    scene.push("HEAD:refs/tags/v1");
    let both = [created("refs/heads/a", &head), created("refs/tags/v1", &head)];
    assert_eq!(hear(&mut all, 2), both);
    assert_eq!(hear(&mut tags, 1), [created("refs/tags/v1", &head)]);
    scene
        .git
        .ok(&scene.work, &["push", "-q", "--atomic", "origin", ":refs/heads/a", ":refs/tags/v1"]);
    let gone = |name: &str| (name.to_owned(), Some(head.clone()), None);
    assert_eq!(hear(&mut all, 2), [gone("refs/heads/a"), gone("refs/tags/v1")]);
    assert_eq!(hear(&mut tags, 1), [gone("refs/tags/v1")]);
    // Whoever comes back with what he got last has missed nothing of what he does not see, either.
    scene.push("HEAD:refs/hidden/two");
    scene.push("HEAD:refs/tags/v2");
    assert_eq!(hear(&mut tags, 1), [created("refs/tags/v2", &head)]);
    assert_eq!(hear(&mut all, 1), [created("refs/tags/v2", &head)]);
    assert_eq!(tags.last_id, all.last_id);
}

#[test]
fn what_git_does_in_the_folder_is_heard() {
    let scene = Scene::new("");
    let mut source = scene.subscribe("");
    let head = scene.head();
    scene.git.ok(&scene.served, &["update-ref", "refs/heads/deep/er/branch", &head]);
    assert_eq!(source.expect("refs").moves(), [created("refs/heads/deep/er/branch", &head)]);
    scene.git.ok(&scene.served, &["symbolic-ref", "HEAD", "refs/heads/deep/er/branch"]);
    let value = |name: &str| Some(format!("ref: refs/heads/{name}"));
    let moved = ("HEAD".to_owned(), value("main"), value("deep/er/branch"));
    assert_eq!(source.expect("refs").moves(), [moved]);
    scene.git.ok(&scene.served, &["pack-refs", "--all", "--prune"]);
    scene.git.ok(&scene.served, &["branch", "-q", "-D", "main"]);
    assert_eq!(source.expect("refs").moves(), [("refs/heads/main".to_owned(), Some(head), None)]);
}

#[test]
fn who_comes_back_hears_what_he_missed_or_is_told_to_list() {
    let scene = Scene::new("[watch]\nremembered_max = 5\n");
    let url = scene.server.url("r.git/events");
    let source = scene.subscribe("");
    let cursor = source.last_id.expect("a cursor");
    scene.push("HEAD:refs/heads/a");
    scene.push("HEAD:refs/heads/b");
    let mut late = EventSource::open(&url, Some(&cursor)).expect("subscribed");
    assert_eq!(late.expect("at").id, cursor);
    let both = ["refs/heads/a", "refs/heads/b"].map(|name| created(name, &scene.head()));
    assert_eq!(hear(&mut late, 2), both);
    // With a URL alone, as from a shell.
    let mut other = EventSource::open(&format!("{url}?cursor={cursor}"), None).expect("subscribed");
    other.expect("at");
    assert_eq!(hear(&mut other, 2), both);
    // Up to date.
    let known = late.last_id.clone().expect("a cursor");
    let mut same = EventSource::open(&url, Some(&known)).expect("subscribed");
    assert_eq!(same.expect("at").id, known);
    // More than is remembered.
    for number in 0..6 {
        scene.push(&format!("HEAD:refs/heads/{number}"));
    }
    let mut lost = EventSource::open(&url, Some(&cursor)).expect("subscribed");
    lost.expect("relist");
    // A push of more refs than are remembered, to somebody who listens: it is told, or that it was too much.
    let names: Vec<String> = (0..9).map(|number| format!("HEAD:refs/many/{number}")).collect();
    let mut args = vec!["push", "-q", "origin"];
    args.extend(names.iter().map(String::as_str));
    scene.git.ok(&scene.work, &args);
    let mut told = 0;
    while told < names.len() {
        let event = lost.next_within(HUNG).expect("connected").expect("an event");
        match event.event.as_str() {
            "relist" => break,
            _ => told += event.moves().len(),
        }
    }
    let words = EventSource::open(&url, Some("yesterday")).err().expect("no cursor").to_string();
    assert!(words.contains(" 400 "), "{words}");
    let words = EventSource::open(&scene.server.url("none.git/events"), None);
    assert!(words.err().expect("no repository").to_string().contains(" 404 "));
}

#[test]
fn the_same_refs_have_the_same_cursor_in_every_store() {
    let scene = Scene::new("");
    let cursor = scene.subscribe("").last_id;
    let git = &scene.git;
    let mut command = packhorse(git);
    let store = format!("kv:{}", git.path("all.kv").display());
    command.args(["repo", "copy", "--quiet"]).arg(&scene.served).arg(format!("{store}#r"));
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    let mut command = packhorse(git);
    command.args(["serve", "--listen", "127.0.0.1:0", "--store", &store]);
    let other = Serving::spawn(git, command);
    let url = other.url("r.git/events");
    let mut source = EventSource::open(&url, cursor.as_deref()).expect("subscribed");
    assert_eq!(Some(source.expect("at").id), cursor);
}

#[test]
fn the_end_is_told() {
    let mut scene = Scene::new("[watch]\ndisk_poll_ms = 100\n");
    let mut source = scene.subscribe("");
    fs::remove_dir_all(&scene.served).expect("removed");
    let end = |source: &mut EventSource| loop {
        let event = source.next_within(HUNG).expect("connected").expect("an event");
        if event.event == "end" {
            break;
        }
    };
    end(&mut source);
    scene.git.init_bare("srv/r.git");
    let mut again = scene.subscribe("");
    scene.server.process().terminate();
    end(&mut again);
    assert!(scene.server.process().wait().success());
}

#[test]
fn silence_is_broken_by_heartbeats_and_so_many_may_subscribe() {
    let scene = Scene::new(
        "[watch]\nheartbeat_ms = 50\nsubscribers_max = 2\n[limits]\nidle_timeout_ms = 400\n",
    );
    let mut one = scene.subscribe("");
    let _two = scene.subscribe("");
    let url = scene.server.url("r.git/events");
    let words = EventSource::open(&url, None).err().expect("refused").to_string();
    assert!(words.contains(" 503 ") && words.to_lowercase().contains("retry-after"), "{words}");
    // Longer than the server waits for anybody who has to say something.
    assert_eq!(one.next_within(Duration::from_secs(1)).expect("connected"), None);
    scene.push("HEAD:refs/heads/a");
    one.expect("refs");
}

/// Over git://, by the command `packhorse-watch`.
fn watching(server: &Serving, request: &[u8]) -> WatchSource {
    let head = packet("git-upload-pack /r.git\0host=x\0\0version=2\0");
    let mut stream = TcpStream::connect(server.git_authority()).expect("it listens");
    stream.write_all(&[&head, request].concat()).expect("it reads");
    let mut source = WatchSource::new(stream, None);
    assert!(source.next_group().expect("an advertisement").contains(&"packhorse-watch".to_owned()));
    source
}

const GIT: &str = "[git]\nlisten = '127.0.0.1:0'\n";

#[test]
fn packets_tell_of_life_and_of_the_end() {
    let mut scene = Scene::new(&format!("{GIT}[watch]\nheartbeat_ms = 50\nsubscribers_max = 2\n"));
    let mut source = watching(&scene.server, &watch_request(None, &["refs/tags/"]));
    source.expect("at");
    assert_eq!(source.next_group(), Some(Vec::new()), "a heart-beat");
    // What he did not ask for moves nothing but the cursor.
    let before = source.cursor.clone();
    scene.push("HEAD:refs/heads/other");
    source.expect("cursor");
    assert_ne!(source.cursor, before);
    scene.push("HEAD:refs/tags/v1");
    let id = scene.head();
    assert_eq!(source.expect("ref")[0], format!("ref - {id} refs/tags/v1"));
    let mut other = watching(&scene.server, &watch_request(None, &[]));
    other.expect("at");
    // As many as may.
    let mut third = watching(&scene.server, &watch_request(None, &[]));
    assert_eq!(third.next_group(), None);
    drop(other);
    // Behind another command, when there is room again.
    let refs = [packet("command=ls-refs"), b"0000".to_vec(), watch_request(None, &[])].concat();
    let mut both = None;
    wait_until("there is room again", || {
        let mut source = watching(&scene.server, &refs);
        assert_eq!(source.next_group().expect("the refs").len(), 4);
        both = source.next_group().map(|at| (at, source));
        both.is_some()
    });
    let (at, mut both) = both.expect("just found");
    assert!(at[0].starts_with("at "), "{at:?}");
    scene.server.process().terminate();
    source.expect("end");
    both.expect("end");
    assert_eq!(source.next_group(), None);
}

#[test]
fn what_nobody_can_be_told_is_refused() {
    let scene = Scene::new(&format!("{GIT}[watch]\nsubscribers_max = 8\n"));
    let bad =
        [packet("command=packhorse-watch"), b"0001".to_vec(), packet("since"), b"0000".to_vec()];
    let nul = watch_request(Some("not a cursor"), &[]);
    for (request, words) in [
        (nul, "ERR a cursor has 32 hexadecimal digits"),
        (watch_request(Some(&"g".repeat(32)), &[]), "ERR a cursor has 32 hexadecimal digits"),
        (bad.concat(), "ERR unexpected line: 'since'"),
        (packet("command=packhorse-watch"), ""),
    ] {
        let reply = scene.server.fetch_v2("r.git", &request);
        assert!(reply.text().contains(words), "{words}: {}", reply.text());
    }
    // Version 0 has no commands.
    let advertised = scene.server.get("/r.git/info/refs?service=git-upload-pack", &[]);
    assert!(!advertised.text().contains("packhorse-watch"));
    let off = Scene::new("[watch]\nsubscribers_max = 0\n");
    let reply = off.server.fetch_v2("r.git", &watch_request(None, &[]));
    assert!(reply.text().contains("ERR invalid command 'packhorse-watch'"), "{}", reply.text());
}

#[test]
fn many_hear_of_each_push() {
    const SUBSCRIBERS: usize = 200;
    let scene = Scene::new("");
    let mut sources: Vec<_> = (0..SUBSCRIBERS).map(|_| scene.subscribe("")).collect();
    for number in 0..3 {
        scene.push(&format!("HEAD:refs/heads/{number}"));
    }
    for source in &mut sources {
        let all = [0, 1, 2].map(|number| created(&format!("refs/heads/{number}"), &scene.head()));
        assert_eq!(hear(source, 3), all);
    }
}

/// Refs as somebody knows them who lists them once and then only listens.
pub struct Follower {
    url: String,
    cursor: Option<String>,
    source: Option<EventSource>,
    /// By name: an id, or `ref: NAME`.
    pub known: BTreeMap<String, String>,
    /// How often he had to list them.
    pub listed: usize,
    /// Changes that were heard.
    pub heard: usize,
}

impl Follower {
    /// Follows the repository of a URL, from the beginning.
    pub fn new(url: String) -> Self {
        let (cursor, source, known) = Default::default();
        Follower { url, cursor, source, known, listed: 0, heard: 0 }
    }

    /// Goes on by another server, or the same one at another address.
    pub fn moves_to(&mut self, url: String) {
        if self.url != url {
            (self.url, self.source) = (url, None);
        }
    }

    /// Takes what comes in so long, or what there is to list.
    pub fn follow(&mut self, git: &RealGit, most: Duration) {
        let Some(source) = &mut self.source else {
            let opened = EventSource::open(&format!("{}/events", self.url), self.cursor.as_deref());
            match opened {
                Ok(source) => self.source = Some(source),
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
            return;
        };
        let event = match source.next_within(most) {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(_) => {
                self.source = None;
                return;
            }
        };
        self.take(git, &event);
    }

    fn take(&mut self, git: &RealGit, event: &SentEvent) {
        match event.event.as_str() {
            "refs" => {
                for (name, _, new) in event.moves() {
                    self.heard += 1;
                    match new {
                        Some(new) => self.known.insert(name, new),
                        None => self.known.remove(&name),
                    };
                }
            }
            "at" if self.cursor.is_some() => {}
            "at" | "relist" => {
                let Some(known) = listed(git, &self.url) else {
                    self.source = None;
                    return;
                };
                self.listed += 1;
                self.known = known;
            }
            _ => {
                self.source = None;
                return;
            }
        }
        self.cursor = Some(event.id.clone());
    }
}

/// The refs of a repository, by name, unless it cannot be asked.
pub fn listed(git: &RealGit, url: &str) -> Option<BTreeMap<String, String>> {
    let listed = git.run(git.root(), &["ls-remote", "--refs", url]);
    let lines = listed.status.success().then(|| listed.text())?;
    let refs = lines.lines().filter_map(|line| line.split_once('\t'));
    Some(refs.map(|(id, name)| (name.to_owned(), id.to_owned())).collect())
}

/// Two servers of one store: who listens to one hears what the other does.
fn two_servers(store: &str, config: &str) {
    let git = RealGit::new();
    let file = git.path("server.toml");
    fs::write(&file, config).expect("a file");
    let start = || {
        let mut command = packhorse(&git);
        command.args(["serve", "--create-on-push", "--listen", "127.0.0.1:0", "--store", store]);
        command.arg("--config").arg(&file);
        Serving::spawn(&git, command)
    };
    let (one, other) = (start(), start());
    let origin = git.init_bare("origin.git");
    let work = git.clone(origin, "work", &["-q"]);
    git.commit_file(&work, "file", "one");
    let url = one.url("r.git");
    git.ok(&work, &["push", "-q", &url, "HEAD:refs/heads/main"]);
    let mut source = EventSource::open(&other.url("r.git/events"), None).expect("subscribed");
    source.expect("at");
    for number in 0..5 {
        let before = git.rev_parse(&work, "HEAD").to_string();
        git.commit_file(&work, "file", format!("{number}\n"));
        let head = git.rev_parse(&work, "HEAD").to_string();
        git.ok(&work, &["push", "-q", &url, "HEAD:refs/heads/main"]);
        let moved = ("refs/heads/main".to_owned(), Some(before), Some(head));
        assert_eq!(source.expect("refs").moves(), [moved]);
    }
}

#[test]
fn servers_of_a_database_hear_of_each_other() {
    let postgres = Postgres::shared();
    two_servers(&postgres.database(), "");
    two_servers(&postgres.database(), "[postgres]\nlisten = false\nwatch_poll_ms = 50\n");
}

#[test]
fn servers_of_a_bucket_hear_of_each_other() {
    let Some(ceph) = Ceph::shared_or_skip() else { return };
    two_servers(&ceph.store(), "[bucket]\nwatch_poll_ms = 50\nwatch_poll_max_ms = 200\n");
}
