//! Accounts and rules, as stock git over HTTP and the program's own commands meet them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;

use testkit::{EventSource, RealGit, wait_until};

use crate::raw::fetch_body;
use crate::serving::{Serving, packhorse};

/// A folder of repositories with accounts.
pub struct Scene {
    access: PathBuf,
    audit: PathBuf,
    pub served: PathBuf,
    pub work: PathBuf,
    server: Serving,
    pub git: RealGit,
}

impl Scene {
    /// `kind`: `toml` or `db`.
    pub fn new(kind: &str, config: &str) -> Self {
        let git = RealGit::new();
        let served = git.init_bare("srv/team/app.git");
        git.init_bare("srv/open/book.git");
        let access = git.path(format!("access.{kind}"));
        let audit = git.path("audit.log");
        let file = git.path("server.toml");
        let text =
            format!("[access]\nfile = 'access.{kind}'\n{config}\n[audit]\nfile = 'audit.log'\n");
        fs::write(&file, text).expect("a file");
        let run = |git: &RealGit, args: &[&str]| {
            let mut command = packhorse(git);
            command.args(args).args(["--config", file.to_str().expect("text")]);
            let output = command.output().expect("the program runs");
            assert!(output.status.success(), "{output:?}");
        };
        run(&git, &["user", "add", "ann", "--email", "ann@example.org"]);
        run(&git, &["user", "add", "bob"]);
        run(&git, &["access", "allow", "read", "anyone", "--in", "open/"]);
        run(&git, &["access", "allow", "write", "ann", "--in", "team/**"]);
        run(&git, &["access", "allow", "read", "users", "--in", "team/app"]);
        run(&git, &["access", "allow", "create", "ann", "--in", "home/{user}/"]);
        let server =
            Serving::start(&git, git.path("srv"), &["--config", file.to_str().expect("text")]);
        let work = git.path("work");
        git.ok(git.root(), &["init", "-q", work.to_str().expect("text")]);
        git.commit_file(&work, "file", "one");
        Scene { access, audit, served, work, server, git }
    }

    /// Runs one of the commands about accounts; whether it went well, and what it said.
    fn run(&self, args: &[&str]) -> (bool, String) {
        let mut command = packhorse(&self.git);
        command.args(args).arg("--access").arg(&self.access);
        let output = command.output().expect("the program runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).trim_end().to_owned())
    }

    pub fn ok(&self, args: &[&str]) -> String {
        let (is_ok, said) = self.run(args);
        assert!(is_ok, "{args:?}: {said}");
        said
    }

    pub fn token(&self, user: &str, options: &[&str]) -> String {
        self.ok(&[&["token", "add", user], options].concat())
    }

    /// A URL with somebody's token in it.
    pub fn url(&self, token: &str, name: &str) -> String {
        self.server.url(name).replacen("http://", &format!("http://x:{token}@"), 1)
    }

    pub fn push(&self, url: &str, what: &str) -> Result<String, String> {
        let output = self.git.run(&self.work, &["push", "--porcelain", url, what]);
        let said = format!("{}{}", output.text(), output.error_text());
        if output.status.success() { Ok(said) } else { Err(said) }
    }

    pub fn refused(&self, url: &str, what: &str, words: &str) {
        let said = self.push(url, what).expect_err("refused");
        assert!(said.contains(words), "'{words}' is not in:\n{said}");
    }

    fn can_read(&self, url: &str) -> bool {
        self.git.run(self.git.root(), &["ls-remote", url]).status.success()
    }
}

fn who_may_do_what(kind: &str) {
    let scene = Scene::new(kind, "");
    let (ann, bob) = (scene.token("ann", &[]), scene.token("bob", &[]));
    let anonymous =
        |name: &str| scene.server.get(&format!("/{name}/info/refs?service=git-upload-pack"), &[]);
    assert_eq!(anonymous("open/book.git").status, 200);
    let asked = anonymous("team/app.git");
    assert_eq!(asked.status, 401);
    assert!(asked.header("www-authenticate").expect("asks").starts_with("Basic "));
    // Nobody learns what is there by being asked who he is.
    let missing = anonymous("team/nothing.git");
    assert_eq!((missing.status, missing.text()), (401, asked.text()));
    assert_eq!(anonymous("open/nothing.git").status, 404);

    scene.push(&scene.url(&ann, "team/app.git"), "HEAD:refs/heads/main").expect("ann writes");
    assert!(scene.can_read(&scene.url(&bob, "team/app.git")));
    assert!(scene.can_read(&scene.url(&bob, "team/app")));
    scene.refused(&scene.url(&bob, "team/app.git"), "HEAD:refs/heads/x", "403");
    assert!(!scene.can_read(&scene.url(&bob, "team/other.git")));
    scene.refused(
        &scene.server.url("open/book.git"),
        "HEAD:refs/heads/x",
        "could not read Username",
    );
    let wrong = [("Authorization", "Bearer pht_00000000_00000000000000000000000000000000")];
    let path = "/open/book.git/info/refs?service=git-upload-pack";
    assert_eq!(scene.server.get(path, &wrong).status, 401, "who says who he is has to be it");

    // Another name for what one may not see does not help.
    std::os::unix::fs::symlink(
        scene.git.path("srv/team/app.git"),
        scene.git.path("srv/open/link.git"),
    )
    .expect("a link");
    assert_eq!(anonymous("open/link.git").status, 401);
    assert!(scene.can_read(&scene.url(&bob, "open/link.git")));

    // Repositories come to be for those who may make them, whatever else is set.
    scene.push(&scene.url(&ann, "home/ann/new.git"), "HEAD:refs/heads/main").expect("made");
    scene.refused(&scene.url(&ann, "home/bob/new.git"), "HEAD:refs/heads/main", "not found");
    scene.refused(&scene.url(&ann, "team/new.git"), "HEAD:refs/heads/main", "not found");
    assert!(scene.git.path("srv/home/ann/new.git").is_dir());

    // The page at the root names what one may read, and nothing else.
    let page = scene.server.get("/", &[]).text();
    assert!(page.contains("open/book.git") && !page.contains("team/app"), "{page}");

    let log = scene.git.ok(&scene.served, &["log", "-1", "--format=%H", "main"]);
    let said = fs::read_to_string(&scene.audit).expect("a log");
    let line = said.lines().find(|line| line.contains("\"receive-pack\"")).expect("a push");
    for part in [
        "\"who\":\"ann\"",
        "\"with\":\"token ",
        "\"from\":\"127.0.0.1\"",
        "\"result\":\"ok\"",
        "team/app",
        log.trim(),
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(said.contains("\"result\":\"refused\""), "{said}");
    assert!(!said.contains(&ann) && !scene.server.log().contains(&ann), "secrets are not logged");
    assert!(
        scene.ok(&["token", "list", "ann"]).contains("used 20"),
        "{}",
        scene.ok(&["token", "list"])
    );
}

#[test]
fn who_may_do_what_by_a_file() {
    who_may_do_what("toml");
}

#[test]
fn who_may_do_what_by_a_database() {
    who_may_do_what("db");
}

#[test]
fn what_is_taken_away_is_gone_at_once() {
    let scene = Scene::new("toml", "");
    let token = scene.token("ann", &["--scope", "read", "--repository", "team/*"]);
    let url = scene.url(&token, "team/app.git");
    assert!(scene.can_read(&url));
    scene.refused(&url, "HEAD:refs/heads/x", "403");
    scene.ok(&["access", "allow", "read", "ann", "--in", "private/**"]);
    scene.git.init_bare("srv/private/x.git");
    assert!(!scene.can_read(&scene.url(&token, "private/x.git")), "the token is not for that");
    let id = scene.ok(&["token", "list"]).split(' ').next().expect("an id").to_owned();
    scene.ok(&["token", "remove", &id]);
    assert!(!scene.can_read(&url));

    let token = scene.token("ann", &["--expires", "2020-01-01"]);
    assert!(!scene.can_read(&scene.url(&token, "team/app.git")), "it has ended");
    let token = scene.token("ann", &["--expires", "1"]);
    let url = scene.url(&token, "team/app.git");
    assert!(scene.can_read(&url));
    scene.ok(&["user", "disable", "ann"]);
    assert!(!scene.can_read(&url));
    scene.ok(&["user", "enable", "ann"]);
    assert!(scene.can_read(&url));
    // Rules that nobody understands change nothing.
    let before = fs::read(&scene.access).expect("a file");
    fs::write(&scene.access, "[[rules]\n").expect("a file");
    assert!(scene.can_read(&url));
    wait_until("the log says so", || scene.server.log().contains("those before still hold"));
    fs::write(&scene.access, before).expect("a file");
    scene.ok(&["user", "remove", "ann"]);
    assert!(!scene.can_read(&url));
    assert!(!scene.ok(&["access", "list"]).contains("ann"));
}

#[test]
fn a_push_that_was_under_way_is_asked_about_again() {
    let scene = Scene::new("toml", "");
    let url = scene.url(&scene.token("ann", &[]), "team/app.git");
    // The hook runs before refs move; while it waits, rights are taken. What was begun is done:
    // what counts is the moment at which the pack was there.
    let gate = scene.git.path("gate");
    let hook = scene.git.path("work/.git/hooks/pre-push");
    fs::create_dir_all(hook.parent().expect("a folder")).expect("a folder");
    let script = format!(
        "#!/bin/sh\ntouch {0}.here\nwhile ! test -e {0}; do sleep 0.05; done\n",
        gate.display()
    );
    fs::write(&hook, script).expect("a hook");
    make_executable(&hook);
    let pushing = std::thread::scope(|scope| {
        let pushing = scope.spawn(|| scene.push(&url, "HEAD:refs/heads/main"));
        wait_until("the push has been let in", || gate.with_extension("here").exists());
        scene.ok(&["access", "deny", "write", "ann", "--in", "**"]);
        fs::write(&gate, "").expect("a file");
        pushing.join().expect("a push")
    });
    let said = pushing.expect_err("refused");
    assert!(said.contains("403"), "{said}");
    assert_eq!(scene.git.refs(&scene.served), "");
}

fn make_executable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("executable");
}

#[test]
fn refs_are_protected() {
    let scene = Scene::new("toml", "");
    let url = scene.url(&scene.token("ann", &[]), "team/app.git");
    scene.push(&url, "HEAD:refs/heads/main").expect("no rule yet");
    let protect = |args: &[&str]| {
        let base = ["access", "protect", "--in", "team/**"];
        scene.ok(&[&base, args].concat());
    };
    protect(&["refs/heads/main", "--force", "nobody", "--delete", "bob", "--create", "bob"]);
    protect(&[
        "refs/heads/",
        "--file-bytes-max",
        "1000",
        "--deny-path",
        "secret/",
        "--deny-path",
        "*.pem",
    ]);
    protect(&["refs/tags/", "--create", "nobody"]);
    let commit = |file: &str, text: &str| scene.git.commit_file(&scene.work, file, text);
    commit("file", "two");
    scene.push(&url, "HEAD:refs/heads/main").expect("forward");
    scene.refused(&url, "+HEAD~1:refs/heads/main", "protected: nobody may force-push to it");
    scene.refused(&url, ":refs/heads/main", "protected: only bob may delete it");
    scene.refused(&url, "HEAD:refs/tags/v1", "protected: nobody may create it");
    scene.push(&url, "HEAD:refs/heads/other").expect("not protected");
    scene.push(&url, ":refs/heads/other").expect("not protected");
    // Another name of the same ref.
    scene.git.ok(&scene.served, &["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
    scene.refused(&url, "+HEAD~1:refs/heads/alias", "protected: nobody may force-push");

    commit("big", &"x".repeat(1001));
    commit("big", "small again");
    scene.refused(
        &url,
        "HEAD:refs/heads/main",
        "big has 1001 bytes, and no file may have more than 1000",
    );
    scene.git.ok(&scene.work, &["reset", "-q", "--hard", "HEAD~2"]);
    fs::create_dir_all(scene.work.join("a/secret")).expect("a folder");
    commit("a/secret/x", "1");
    scene.refused(&url, "HEAD:refs/heads/new", "a/secret/x may not be touched (secret/)");
    scene.git.ok(&scene.work, &["rm", "-q", "-r", "a"]);
    scene.git.ok(&scene.work, &["commit", "-q", "-m", "without"]);
    scene.refused(&url, "HEAD:refs/heads/new", "may not be touched");
    scene.git.ok(&scene.work, &["reset", "-q", "--hard", "HEAD~2"]);
    // First to where it is not forbidden does not help.
    commit("key.pem", "1");
    scene.push(&url, "HEAD:refs/notes/x").expect("not under refs/heads/");
    scene.refused(&url, "HEAD:refs/heads/new", "key.pem may not be touched (*.pem)");
    scene.git.ok(&scene.work, &["reset", "-q", "--hard", "HEAD~1"]);
    commit("fine", "1");
    scene.push(&url, "HEAD:refs/heads/main").expect("nothing forbidden in it");
    // What is there already may be merged, and branched from.
    scene.push(&url, "HEAD:refs/heads/branch").expect("known files");
    let said = scene.ok(&["access", "explain", "ann", "team/app", "refs/heads/main"]);
    for line in [
        "ann may read and write team/app",
        "force-push to refs/heads/main: no (protect 1,",
        "no file has more than 1000 bytes (protect 2)",
    ] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    let audit = fs::read_to_string(&scene.audit).expect("a log");
    assert!(
        audit.contains("\"refused\":[{\"name\":\"refs/heads/main\",\"why\":\"protected: nobody"),
        "{audit}"
    );
}

#[test]
fn who_tries_too_often_waits() {
    let scene = Scene::new("toml", "login_failures_max = 3\nlogin_failure_forgotten_ms = 3600000");
    let good = scene.token("ann", &[]);
    let with = |secret: &str| {
        let value = format!("Bearer {secret}");
        let path = "/open/book.git/info/refs?service=git-upload-pack";
        scene.server.get(path, &[("Authorization", &value)])
    };
    let statuses: Vec<u16> = (0..5).map(|_| with("wrong").status).collect();
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
    assert!(with("wrong").header("retry-after").expect("says when").parse::<u32>().is_ok());
    assert_eq!(with(&good).status, 200, "who has the right one is let in");
}

#[test]
fn who_may_not_know_any_more_is_told_no_more() {
    let scene = Scene::new("toml", "");
    let url = scene.server.url("open/book.git/events");
    let mut source = EventSource::open(&url, None).expect("subscribed");
    source.expect("at");
    scene.ok(&["access", "remove", "1"]);
    scene.git.ok(
        &scene.work,
        &[
            "push",
            "-q",
            "--no-verify",
            scene.git.path("srv/open/book.git").to_str().expect("text"),
            "HEAD:refs/heads/x",
        ],
    );
    source.expect("end");
    let error = EventSource::open(&url, None).err().expect("has to say who he is");
    assert!(error.to_string().contains("401"), "{error}");
}

#[test]
fn commands_say_what_is_wrong() {
    let scene = Scene::new("toml", "");
    for (args, words) in [
        (&["user", "add", "ann"][..], "there is a user 'ann' already"),
        (&["user", "add", "a b"], "a name begins with"),
        (&["token", "add", "zoe"], "there is no user 'zoe'"),
        (&["token", "add", "ann", "--expires", "soon"], "is no date"),
        (&["key", "add", "ann", "/dev/null"], "there is no key in it"),
        (&["key", "remove", "SHA256:x"], "nobody has the key"),
        (&["group", "add", "g", "zoe"], "there is no 'zoe'"),
        (&["access", "allow", "read", "zoe", "--in", "**"], "there is no 'zoe'"),
        (&["access", "remove", "9"], "none of the number 9"),
        (&["access", "protect", "main", "--in", "**"], "refs/heads/main is the branch"),
        (&["access", "explain", "zoe", "x"], "there is no user 'zoe'"),
    ] {
        let (is_ok, said) = scene.run(args);
        assert!(said.contains(words) && (!is_ok || args[1] == "explain"), "{args:?}: {said}");
    }
    let output = packhorse(&scene.git).args(["user", "list"]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("where are the accounts?"));
    scene.ok(&["group", "add", "devs", "ann", "bob"]);
    scene.ok(&["access", "deny", "write", "@devs", "--in", "team/frozen", "--at", "1"]);
    assert!(
        scene.ok(&["access", "list"]).starts_with("rule 1: deny write @devs --in team/frozen\n")
    );
    assert!(scene.ok(&["user", "list"]).contains("ann  ann@example.org  0 keys  0 tokens  devs"));
    scene.ok(&["group", "remove", "devs"]);
    assert!(!scene.ok(&["access", "list"]).contains("devs"));
    scene.ok(&["access", "check"]);
    // A server does not start with rules that cannot be meant.
    fs::write(&scene.access, "[[rules]]\nrepositories = ['**']\nwho = ['zoe']\nallow = 'read'\n")
        .expect("a file");
    let mut command = packhorse(&scene.git);
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--access"])
        .arg(&scene.access)
        .arg(scene.git.path("srv"));
    let output = command.output().expect("it runs");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("rules[0].who: there is no 'zoe'"));
}

#[test]
fn a_token_that_ends_in_the_middle_of_a_clone() {
    let scene = Scene::new("toml", "");
    // More than connections hold on the way.
    let mut state = 1u64;
    let noise: Vec<u8> = (0..3_000_000)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect();
    fs::write(scene.work.join("noise"), noise).expect("a file");
    scene.git.ok(&scene.work, &["add", "."]);
    scene.git.ok(&scene.work, &["commit", "-q", "-m", "noise"]);
    let into = scene.served.to_str().expect("text");
    scene.git.ok(&scene.work, &["push", "-q", into, "HEAD:refs/heads/main"]);
    let tip = scene.git.rev_parse(&scene.served, "main").to_string();
    let token = scene.token("ann", &[]);
    let bearer = format!("Bearer {token}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/x-git-upload-pack-request"),
        ("Git-Protocol", "version=2"),
    ];
    let body = fetch_body(&tip, &[]);
    let path = "/team/app.git/git-upload-pack";
    let head = crate::raw::head("POST", path, &headers, Some(body.len()));
    let mut stream = TcpStream::connect(scene.server.authority()).expect("it listens");
    stream.write_all(&[head.as_bytes(), &body].concat()).expect("it reads");
    let mut answer = vec![0; 1000];
    stream.read_exact(&mut answer).expect("the answer has begun");
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    scene.ok(&["token", "remove", &token[4..12]]);
    // What comes next is refused, and what was begun comes to its end.
    let next = crate::raw::send(scene.server.authority(), &head, &body);
    assert_eq!(next.status, 401);
    stream.read_to_end(&mut answer).expect("the rest");
    assert!(answer.len() > 24_000_000 && answer.ends_with(b"0\r\n\r\n"), "{}", answer.len());
}
