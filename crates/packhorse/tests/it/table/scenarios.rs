//! What goes well.

use std::path::{Path, PathBuf};
use std::thread;

use testkit::{EventSource, RealGit, Scenario};

use super::Door;

/// Scratch folders of one row.
struct Row<'d> {
    door: &'d Door,
    git: &'d RealGit,
    name: &'d str,
    url: String,
}

impl<'d> Row<'d> {
    fn new(door: &'d Door, name: &'d str) -> Self {
        Row { door, git: &door.git, name, url: door.url(name) }
    }

    /// A path that is this row's own, below the scratch folder.
    fn own(&self, what: &str) -> String {
        format!("rows/{}/{what}", self.name)
    }

    /// A repository to push from.
    fn source(&self, scenario: Scenario) -> PathBuf {
        std::fs::create_dir_all(self.git.path(self.own(""))).expect("a folder");
        scenario.build(self.git, self.own("source.git"))
    }

    /// A source that is behind the door already, all of it.
    fn pushed(&self, scenario: Scenario) -> PathBuf {
        let source = self.source(scenario);
        self.git.ok(&source, &["push", "-q", "--mirror", &self.url]);
        source
    }

    fn clone(&self, what: &str, options: &[&str]) -> PathBuf {
        self.git.clone(&self.url, self.own(what), options)
    }

    /// Both have the same refs and objects, and no damage.
    fn same(&self, one: &Path, other: &Path) {
        assert_eq!(self.git.refs(one), self.git.refs(other));
        assert_eq!(self.git.reachable(one), self.git.reachable(other));
        self.git.fsck_strict(other);
    }

    /// What is behind the door is what `expected` has.
    fn is_now(&self, expected: &Path, what: &str) {
        self.same(expected, &self.clone(what, &["--mirror"]));
    }
}

pub fn clone(door: &Door, name: &str) {
    let row = Row::new(door, name);
    let source = row.pushed(Scenario::realistic(300, 51));
    for protocol in ["0", "1", "2"] {
        let version = format!("protocol.version={protocol}");
        let clone = row.own(&format!("v{protocol}"));
        let clone = row.git.path(clone).display().to_string();
        let options = ["-c", &version, "clone", "-q", "--mirror", &row.url, &clone];
        row.git.ok(row.git.root(), &options);
        row.same(&source, Path::new(&clone));
        assert_eq!(row.git.ok(&clone, &["symbolic-ref", "HEAD"]), "refs/heads/main");
    }
    let single = row.clone("single", &["--single-branch", "--no-tags", "--branch=main"]);
    assert_eq!(row.git.rev_parse(&single, "HEAD"), row.git.rev_parse(&source, "main"));
    assert_eq!(row.git.ok(&single, &["tag"]), "");
}

pub fn archive(door: &Door, name: &str) {
    let row = Row::new(door, name);
    let source = row.pushed(Scenario::odd_file_names());
    let remote = format!("--remote={}", row.url);
    let expected = row.git.ok_with_input(&source, &["archive", "main", "--prefix=a/"], b"").stdout;
    let args = ["archive", &remote, "main", "--prefix=a/"];
    let got = row.git.ok_with_input(row.git.root(), &args, b"").stdout;
    assert!(got == expected, "{}", row.url);
    let words = row.git.fail(row.git.root(), &["archive", &remote, "no-such-ref"]);
    assert!(words.contains("no such ref: no-such-ref"), "{words}");
}

pub fn fetch(door: &Door, name: &str) {
    let row = Row::new(door, name);
    let source = row.pushed(Scenario::branchy(40));
    let git = row.git;
    let mirror = row.clone("mirror", &["--mirror"]);
    let reader = row.clone("reader", &[]);
    let work = git.clone(&source, row.own("work"), &["--no-local"]);
    for protocol in ["0", "2"] {
        git.commit_file(&work, "new.txt", format!("for {protocol}\n"));
        git.ok(&work, &["tag", "-a", "-m", "A tag", &format!("tag-{protocol}")]);
        let refs = format!("HEAD:refs/heads/topic-{protocol}");
        git.ok(&work, &["push", "-q", "--follow-tags", &row.url, "HEAD:main", &refs]);
        let version = format!("protocol.version={protocol}");
        // A tag comes along with what it names.
        git.ok(&reader, &["-c", &version, "fetch", "-q"]);
        let tag = format!("tag-{protocol}^{{commit}}");
        assert_eq!(git.rev_parse(&reader, &tag), git.rev_parse(&work, "HEAD"));
        git.ok(&mirror, &["-c", &version, "fetch", "-q"]);
        assert_eq!(git.rev_parse(&mirror, "main"), git.rev_parse(&work, "HEAD"));
        git.ok(&work, &["push", "-q", &row.url, &format!(":refs/heads/topic-{protocol}")]);
        git.ok(&mirror, &["-c", &version, "fetch", "-q", "--prune"]);
        git.fail(&mirror, &["rev-parse", "-q", "--verify", &format!("topic-{protocol}")]);
        git.ok(&mirror, &["-c", &version, "fetch", "-q"]);
    }
    git.fsck_strict(&reader);
    row.is_now(&mirror, "again");
}

pub fn push(door: &Door, name: &str) {
    let row = Row::new(door, name);
    let source = row.pushed(Scenario::linear(5));
    let git = row.git;
    let work = row.clone("work", &[]);
    for protocol in ["0", "2"] {
        let version = format!("protocol.version={protocol}");
        let push = |args: &[&str]| {
            let all = [&["-c", &version, "push", "-q", "origin"], args].concat();
            git.run(&work, &all).status.success()
        };
        git.commit_file(&work, "one.txt", format!("{protocol}\n"));
        assert!(push(&["HEAD:main", "HEAD:refs/heads/gone", "HEAD:refs/odd/name"]));
        git.ok(&work, &["commit", "-q", "--amend", "-m", "Another"]);
        assert!(!push(&["HEAD:main"]), "it is no fast-forward");
        assert!(push(&["--force", "HEAD:main"]));
        assert!(push(&[":gone", ":refs/odd/name"]));
        assert!(!push(&["HEAD:refs/heads/main/inside"]), "a ref is in the way");
        assert!(!push(&[&format!("--force-with-lease=main:{}", "1".repeat(40)), "HEAD~1:main"]));
        let listed = git.ok(&work, &["ls-remote", "origin"]);
        assert!(!listed.contains("gone") && !listed.contains("odd"), "{listed}");
        assert!(listed.contains(&format!("{}\trefs/heads/main", git.rev_parse(&work, "HEAD"))));
    }
    git.ok(&source, &["fetch", "-q", &row.url, "+refs/*:refs/*"]);
    row.is_now(&source, "again");
}

pub fn shallow(door: &Door, name: &str) {
    let row = Row::new(door, name);
    let source = row.pushed(Scenario::linear(30));
    let git = row.git;
    let count = |dir: &Path| git.ok(dir, &["rev-list", "--count", "HEAD"]);
    let clone = row.clone("shallow", &["--depth=3"]);
    assert_eq!(count(&clone), "3");
    git.ok(&clone, &["fetch", "-q", "--deepen=4"]);
    assert_eq!(count(&clone), "7");
    // A shallow clone pushes what it has.
    git.commit_file(&clone, "new.txt", "new\n");
    git.ok(&clone, &["push", "-q", "origin", "HEAD:refs/heads/topic"]);
    git.ok(&clone, &["fetch", "-q", "--unshallow"]);
    git.fsck_strict(&clone);
    git.ok(&source, &["fetch", "-q", &row.url, "topic:topic"]);
    assert_eq!(count(&clone), git.ok(&source, &["rev-list", "--count", "topic"]));
    let since = git.ok(&source, &["log", "-1", "--format=%ct", "main~9"]);
    let since = row.clone("since", &["--branch=main", &format!("--shallow-since=@{since}")]);
    assert_eq!(count(&since), "10");
    let exclude = git.ok(&source, &["rev-parse", "main~4"]);
    git.ok(&source, &["push", "-q", &row.url, &format!("{exclude}:refs/heads/old")]);
    let options = ["--branch=main", "--shallow-exclude=refs/heads/old"];
    assert_eq!(count(&row.clone("exclude", &options)), "4");
    row.is_now(&row.clone("one", &["--mirror"]), "two");
}

pub fn partial(door: &Door, name: &str) {
    let row = Row::new(door, name);
    let source = row.pushed(Scenario::realistic(250, 17));
    let git = row.git;
    for filter in ["blob:none", "blob:limit=100", "tree:0", "combine:blob:none+tree:3"] {
        let clone = row.own(&filter.replace([':', '+', '='], "-"));
        let clone = git.clone(&row.url, clone, &["--no-checkout", &format!("--filter={filter}")]);
        let missing = git.ok(&clone, &["rev-list", "--objects", "--missing=print", "--all"]);
        assert!(missing.contains('?'), "{filter} left nothing out");
        git.ok(&clone, &["log", "-p", "-3", "--output=/dev/null", "HEAD"]);
        let tree = ["ls-tree", "-r", "-z", "HEAD"];
        assert_eq!(git.ok(&clone, &tree), git.ok(&source, &tree), "{filter}");
        git.ok(&clone, &["checkout", "-q"]);
        assert_eq!(git.ok(&clone, &["status", "--porcelain"]), "", "{filter}");
    }
}

pub fn atomic(door: &Door, name: &str) {
    let row = Row::new(door, name);
    row.pushed(Scenario::linear(3));
    let git = row.git;
    let work = row.clone("work", &[]);
    git.commit_file(&work, "one.txt", "one\n");
    let mut lines = String::new();
    for number in 0..300 {
        lines.push_str(&format!("create refs/heads/many/{number} HEAD\n"));
    }
    git.ok_with_input(&work, &["update-ref", "--stdin"], lines.as_bytes());
    git.ok(&work, &["push", "-q", "--atomic", "origin", "refs/heads/many/*"]);
    let before = git.ok(&work, &["ls-remote", "origin"]);
    assert_eq!(before.lines().filter(|line| line.contains("/many/")).count(), 300);
    // One cannot be, so none is; without --atomic the others are.
    let refs = ["HEAD:refs/heads/new", "HEAD:refs/heads/many/1/inside", ":refs/heads/many/2"];
    git.fail(&work, &[&["push", "-q", "--atomic", "origin"], &refs[..]].concat());
    assert_eq!(git.ok(&work, &["ls-remote", "origin"]), before);
    git.fail(&work, &[&["push", "-q", "origin"], &refs[..]].concat());
    let after = git.ok(&work, &["ls-remote", "origin"]);
    assert!(after.contains("refs/heads/new") && !after.contains("refs/heads/many/2\n"), "{after}");
}

/// Pushes at the same time: each to a ref of its own, and all to the same one.
pub fn races(door: &Door, name: &str) {
    const PUSHERS: usize = 5;
    let row = Row::new(door, name);
    row.pushed(Scenario::linear(3));
    let git = row.git;
    let works: Vec<_> = (0..PUSHERS).map(|n| row.clone(&format!("work-{n}"), &[])).collect();
    for (n, work) in works.iter().enumerate() {
        git.commit_file(work, "own.txt", format!("{n}\n"));
    }
    let at_once = |refs: &(dyn Fn(usize) -> String + Sync)| -> Vec<bool> {
        thread::scope(|scope| {
            let pushes: Vec<_> = works
                .iter()
                .enumerate()
                .map(|(n, work)| {
                    scope.spawn(move || git.run(work, &["push", "-q", "origin", &refs(n)]))
                })
                .collect();
            let ended = pushes.into_iter().map(|push| push.join().expect("no panic"));
            ended.map(|output| output.status.success()).collect()
        })
    };
    assert_eq!(at_once(&|n| format!("HEAD:refs/heads/own-{n}")), [true; PUSHERS]);
    let won = at_once(&|_| "HEAD:refs/heads/contested".to_owned());
    let winner = won.iter().position(|won| *won).expect("somebody wins");
    assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
    let mirror = row.clone("mirror", &["--mirror"]);
    for (n, work) in works.iter().enumerate() {
        let tip = git.rev_parse(work, "HEAD");
        assert_eq!(git.rev_parse(&mirror, &format!("own-{n}")), tip);
        assert_eq!(git.rev_parse(&mirror, "contested") == tip, n == winner);
    }
    git.fsck_strict(&mirror);
}

pub fn empty(door: &Door, name: &str) {
    let row = Row::new(door, name);
    let source = row.source(Scenario::linear(1));
    let git = row.git;
    git.ok(&source, &["push", "-q", &row.url, "main:refs/heads/other"]);
    git.ok(&source, &["push", "-q", &row.url, ":other"]);
    let clone = row.clone("clone", &[]);
    assert_eq!(git.ok(&clone, &["symbolic-ref", "HEAD"]), "refs/heads/main");
    git.commit_file(&clone, "first.txt", "first\n");
    git.ok(&clone, &["push", "-q", "origin", "main"]);
    row.is_now(&row.clone("one", &["--mirror"]), "two");
}

pub fn sha256(door: &Door, name: &str) {
    assert_eq!(name, super::SHA256);
    let row = Row::new(door, name);
    let source = row.pushed(Scenario::branchy(30).sha256());
    row.is_now(&source, "mirror");
    let shallow = row.clone("shallow", &["--depth=2"]);
    row.git.ok(&shallow, &["fetch", "-q", "--unshallow"]);
    row.git.fsck_strict(&shallow);
}

/// A blob that is streamed, in both directions.
pub fn big(door: &Door, name: &str) {
    let row = Row::new(door, name);
    let source = row.source(Scenario::big_blob(9 << 20));
    row.git.ok(&source, &["-c", "http.postBuffer=1024", "push", "-q", "--mirror", &row.url]);
    row.is_now(&source, "mirror");
}

/// There and back, in three ways.
pub fn shape(door: &Door, name: &str, scenario: Scenario) {
    let row = Row::new(door, name);
    let source = row.pushed(scenario);
    let git = row.git;
    row.is_now(&source, "mirror");
    let shallow = row.clone("shallow", &["--depth=2", "--no-single-branch", "--bare"]);
    git.ok(&shallow, &["fetch", "-q", "--unshallow", "origin", "+refs/*:refs/*"]);
    row.same(&source, &shallow);
    let partial = row.clone("partial", &["--filter=tree:0", "--no-checkout"]);
    let tree = ["ls-tree", "-r", "-z", "HEAD"];
    assert_eq!(git.ok(&partial, &tree), git.ok(&source, &tree));
    assert_eq!(row.door.url(name), row.url);
}

/// Who subscribes hears of pushes, and of what he missed.
pub fn watch(door: &Door, name: &str) {
    let row = Row::new(door, name);
    let git = row.git;
    row.pushed(Scenario::criss_cross(2));
    let work = row.clone("work", &["-q"]);
    let push = |what: &str| git.ok(&work, &["push", "-q", "origin", what]);
    git.commit_file(&work, "file", "one");
    push("HEAD:refs/heads/main");
    if let Some(mut source) = door.watching(name, None) {
        let (one, main) = (git.rev_parse(&work, "HEAD"), "refs/heads/main");
        source.expect("at");
        git.commit_file(&work, "file", "and more");
        let two = git.rev_parse(&work, "HEAD");
        push("HEAD:refs/heads/main");
        assert_eq!(source.expect("ref")[0], format!("ref {one} {two} {main}"));
        let cursor = source.cursor.clone();
        drop(source);
        push("HEAD:refs/tags/away");
        let mut source = door.watching(name, cursor.as_deref()).expect("as before");
        if door.remembers() {
            source.expect("at");
            assert_eq!(source.expect("ref")[0], format!("ref - {two} refs/tags/away"));
        } else {
            source.expect("relist");
        }
        drop(source);
        push(":refs/tags/away");
        let mut source = door.watching(name, Some(&"0".repeat(32))).expect("as before");
        source.expect("relist");
    }
    let Some(events) = door.events(name) else { return };
    let one = git.rev_parse(&work, "HEAD").to_string();
    let mut source = EventSource::open(&events, None).expect("subscribed");
    source.expect("at");
    git.commit_file(&work, "file", "two");
    let two = git.rev_parse(&work, "HEAD").to_string();
    push("HEAD:refs/heads/main");
    let main = "refs/heads/main".to_owned();
    let mut moves = source.expect("refs").moves();
    // Where changes are heard by way of a store, that of a moment ago may be among them.
    moves.retain(|(name, _, new)| (&name[..], new) != ("refs/tags/away", &None));
    if moves.is_empty() {
        moves = source.expect("refs").moves();
    }
    assert_eq!(moves, [(main.clone(), Some(one.clone()), Some(two.clone()))]);
    let cursor = source.last_id.clone().expect("a cursor");
    drop(source);
    // While he is away.
    push("HEAD:refs/tags/v1");
    push(":refs/tags/v1");
    push(&format!("+{one}:refs/heads/main"));
    let mut source = EventSource::open(&events, Some(&cursor)).expect("subscribed");
    source.expect("at");
    // Several may have become one on the way, or nothing.
    let mut known = Some(two);
    while known.as_ref() != Some(&one) {
        for (name, old, new) in source.expect("refs").moves() {
            if name == main {
                assert_eq!(old, known);
                known = new;
            }
        }
    }
}

/// A push that makes ten thousand refs. Sent as a client would send it: stock git's own takes a minute
/// for that over HTTP.
pub fn ten_thousand_refs(door: &Door, name: &str) {
    let git = &door.git;
    let work = git.path("ten-thousand");
    git.ok(git.root(), &["init", "-q", "ten-thousand"]);
    let tip = git.commit_file(&work, "file", "one").to_string();
    let url = door.url(name);
    git.ok(&work, &["push", "-q", &url, "HEAD:refs/heads/first"]);
    let null = "0".repeat(tip.len());
    let mut body = Vec::new();
    for at in 0..10_000 {
        let capabilities = if at == 0 { "\0report-status" } else { "" };
        let line = format!("{null} {tip} refs/heads/of/{at:05}{capabilities}");
        body.extend(crate::raw::packet(line));
    }
    body.extend(b"0000");
    body.extend(crate::serving::pack_of(git, &work, &format!("{tip}\n")));
    let said = door.round("receive-pack", name, &body);
    assert_eq!(said.matches("ok refs/heads/of/").count(), 10_000);
    assert_eq!(git.ok(git.root(), &["ls-remote", "--heads", &url]).lines().count(), 10_001);
}
