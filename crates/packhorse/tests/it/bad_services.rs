//! Services behind the server that are slow, full, overloaded, or answer by halves.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use testkit::{Ceph, Postgres, RealGit, Scenario};

use crate::serving::{Serving, packhorse};

/// What happens to a request on its way to the bucket.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    None,
    /// The service is overloaded.
    Busy,
    /// The clock of who asks is wrong.
    WrongClock,
    /// The answer ends in the middle of its body.
    Truncated,
    /// The answer comes late.
    Late(Duration),
    /// The server that asks dies before its request gets there, or before it hears the answer.
    Death {
        pid: u32,
        is_done: bool,
    },
}

/// What happens to each request, by its number and its head.
type Meddler = Box<dyn FnMut(usize, &str) -> Trouble + Send>;

/// A road to a bucket on which requests come to grief.
struct Road {
    port: u16,
    meddler: Arc<Mutex<(usize, Meddler)>>,
}

impl Road {
    fn to(ceph: &Ceph) -> Self {
        let service = ceph.endpoint().trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let nothing: Meddler = Box::new(|_, _| Trouble::None);
        let meddler = Arc::new(Mutex::new((0, nothing)));
        let asked = meddler.clone();
        // It ends with the program.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (service, asked) = (service.clone(), asked.clone());
                thread::spawn(move || carry(client, &service, &asked));
            }
        });
        Road { port, meddler }
    }

    /// From now on; requests are counted from 0.
    fn meddle(&self, meddler: impl FnMut(usize, &str) -> Trouble + Send + 'static) {
        *self.meddler.lock().expect("no panic") = (0, Box::new(meddler));
    }

    fn requests(&self) -> usize {
        self.meddler.lock().expect("no panic").0
    }

    /// The bucket's URL, by this road.
    fn store(&self, ceph: &Ceph, store: &str) -> String {
        store.replace(&ceph.endpoint(), &format!("http://127.0.0.1:{}", self.port))
    }
}

/// One request on one connection; whoever has more makes others.
fn carry(mut client: TcpStream, service: &str, meddler: &Mutex<(usize, Meddler)>) -> Option<()> {
    let mut request = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let end = loop {
        let count = client.read(&mut buffer).ok().filter(|count| *count > 0)?;
        request.extend_from_slice(&buffer[..count]);
        if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8(request[..end].to_vec()).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    while request.len() < end + length.unwrap_or(0_usize) {
        let count = client.read(&mut buffer).ok().filter(|count| *count > 0)?;
        request.extend_from_slice(&buffer[..count]);
    }
    let trouble = {
        let mut meddler = meddler.lock().expect("no panic");
        let number = meddler.0;
        meddler.0 += 1;
        (meddler.1)(number, &head)
    };
    if let Trouble::Death { pid, is_done: false } = trouble {
        die(pid);
        return None;
    }
    let answer = match trouble {
        Trouble::Busy => error_of(503, "SlowDown", "Please reduce your request rate."),
        Trouble::WrongClock => {
            let words =
                "The difference between the request time and the current time is too large.";
            error_of(403, "RequestTimeTooSkewed", words)
        }
        Trouble::None | Trouble::Truncated | Trouble::Late(_) | Trouble::Death { .. } => {
            let mut server = TcpStream::connect(service).ok()?;
            let last =
                [&request[..end - 2], b"Connection: close\r\n\r\n", &request[end..]].concat();
            server.write_all(&last).ok()?;
            let mut answer = Vec::new();
            server.read_to_end(&mut answer).ok()?;
            answer
        }
    };
    let mut sent = answer.len();
    match trouble {
        Trouble::Late(wait) => thread::sleep(wait),
        Trouble::Death { pid, .. } => die(pid),
        Trouble::Truncated => {
            let body = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
            sent = body + (answer.len() - body) / 2;
        }
        _ => {}
    }
    client.write_all(&answer[..sent]).ok()?;
    client.shutdown(Shutdown::Both).ok()
}

/// As if its machine had lost its power.
fn die(pid: u32) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(killed.is_ok_and(|status| status.success()), "it was there");
}

fn error_of(status: u16, code: &str, words: &str) -> Vec<u8> {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{words}</Message></Error>"
    );
    format!(
        "HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A server of a store, with more lines of configuration.
fn serve(git: &RealGit, store: &str, lines: &str) -> Serving {
    let file = git.path("server.toml");
    std::fs::write(&file, format!("store = '{store}'\ncreate_on_push = true\n{lines}\n"))
        .expect("a file");
    let mut command = packhorse(git);
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&file);
    Serving::spawn(git, command)
}

/// Pushes something, clones it, and looks at it.
fn there_and_back(git: &RealGit, server: &Serving, source: &Path, name: &str) {
    let url = server.url("a.git");
    let push = git.run(source, &["push", "-q", "--mirror", &url]);
    assert!(push.status.success(), "{name}: {}\n{}", push.error_text(), server.log());
    let clone = git.path(format!("{name}.git"));
    let to = clone.display().to_string();
    let cloned = git.run(git.root(), &["clone", "-q", "--mirror", &url, &to]);
    assert!(cloned.status.success(), "{name}: {}\n{}", cloned.error_text(), server.log());
    git.fsck_strict(&clone);
    assert_eq!(git.refs(&clone), git.refs(source), "{name}");
    assert_eq!(git.reachable(&clone), git.reachable(source), "{name}");
}

fn with_one_more(git: &RealGit, source: &Path, name: &str) {
    let tree = git.ok(source, &["rev-parse", "main^{tree}"]);
    let commit = git.ok(source, &["commit-tree", "-p", "main", "-m", name, &tree]);
    git.ok(source, &["update-ref", "refs/heads/main", &commit]);
}

#[test]
fn troubles_of_a_bucket_that_pass_are_not_seen() {
    let Some(ceph) = Ceph::shared_or_skip() else { return };
    let git = RealGit::new();
    let source = Scenario::realistic(200, 9).build(&git, "source.git");
    let road = Road::to(ceph);
    let store = road.store(ceph, &ceph.store());
    // A cache that holds nothing: everything is asked for each time.
    let server = serve(&git, &store, "[bucket]\ncache_bytes = 0\n");
    for (name, every) in [("busy", 3), ("truncated", 4), ("late", 2), ("all", 2)] {
        road.meddle(move |number, _| match (name, number % every == 1) {
            (_, false) => Trouble::None,
            ("busy", _) => Trouble::Busy,
            ("truncated", _) => Trouble::Truncated,
            ("late", _) => Trouble::Late(Duration::from_millis(20)),
            _ => [Trouble::Busy, Trouble::Truncated][number / 2 % 2],
        });
        with_one_more(&git, &source, name);
        there_and_back(&git, &server, &source, name);
        assert!(road.requests() > 20, "{name}: {} requests", road.requests());
    }
}

#[test]
fn troubles_of_a_bucket_that_last_are_told_and_lose_nothing() {
    let Some(ceph) = Ceph::shared_or_skip() else { return };
    let git = RealGit::new();
    let source = Scenario::linear(6).build(&git, "source.git");
    let road = Road::to(ceph);
    let store = road.store(ceph, &ceph.store());
    let lines = "[bucket]\nretries = 2\nretry_timeout_ms = 2000\nrequest_timeout_ms = 2000\n\
                 commit_attempts = 3\n";
    let server = serve(&git, &store, lines);
    there_and_back(&git, &server, &source, "before");
    let before = git.refs(&source);
    let troubles = [
        ("busy", Trouble::Busy, "503"),
        ("late", Trouble::Late(Duration::from_secs(3)), ""),
        ("clock", Trouble::WrongClock, "RequestTimeTooSkewed"),
        ("truncated", Trouble::Truncated, ""),
    ];
    for (name, trouble, told) in troubles {
        road.meddle(move |_, _| trouble);
        with_one_more(&git, &source, name);
        let words = git.fail(&source, &["push", "-q", "--mirror", &server.url("a.git")]);
        assert!(!words.contains("panic"), "{name}: {words}");
        git.fail(git.root(), &["clone", "-q", &server.url("a.git"), "nothing"]);
        assert!(server.log().contains(told), "{name}: {}", server.log());
        assert!(server.log().contains("s3://test"), "it names the store: {}", server.log());
        road.meddle(|_, _| Trouble::None);
        let listed = git.ok(git.root(), &["ls-remote", &server.url("a.git"), "refs/heads/main"]);
        let main = git.rev_parse(&source, "main~1").to_string();
        assert!(listed.starts_with(&main), "{name}: {listed}");
        there_and_back(&git, &server, &source, name);
    }
    assert_ne!(git.refs(&source), before);
}

/// A push, stopped at each of its requests in turn, done and not done.
#[test]
fn a_server_that_dies_at_any_request_loses_nothing_and_blocks_nobody() {
    let Some(ceph) = Ceph::shared_or_skip() else { return };
    let git = RealGit::new();
    let source = Scenario::linear(6).build(&git, "source.git");
    let road = Road::to(ceph);
    // What a dead server reserved is free soon.
    let lines = "[bucket]\nlease_ms = 500\n";
    for at in 0.. {
        for is_done in [false, true] {
            let store = road.store(ceph, &ceph.store());
            let name = format!("{at}-{is_done}");
            let server = serve(&git, &store, lines);
            there_and_back(&git, &server, &source, &format!("{name}-before"));
            drop(server);
            let old = git.rev_parse(&source, "main").to_string();
            with_one_more(&git, &source, &name);
            let new = git.rev_parse(&source, "main").to_string();
            let server = serve(&git, &store, lines);
            let pid = server.pid();
            road.meddle(move |number, _| match number == at {
                true => Trouble::Death { pid, is_done },
                false => Trouble::None,
            });
            let push = ["push", "-q", &server.url("a.git"), "main"];
            let is_acknowledged = git.run(&source, &push).status.success();
            let is_dead = road.requests() > at;
            road.meddle(|_, _| Trouble::None);
            drop(server);
            assert!(is_dead || is_acknowledged, "{name}: nobody died, and it failed");
            let other = serve(&git, &store, lines);
            let listed = git.ok(git.root(), &["ls-remote", &other.url("a.git"), "main"]);
            let is_old = !is_acknowledged && listed.starts_with(&old);
            assert!(listed.starts_with(&new) || is_old, "{name}: {listed}");
            there_and_back(&git, &other, &source, &name);
            if !is_dead {
                assert!(at > 10, "a push makes {at} requests");
                return;
            }
        }
    }
}

#[test]
fn a_server_does_not_start_on_a_bucket_that_answers_nothing_good() {
    let Some(ceph) = Ceph::shared_or_skip() else { return };
    let git = RealGit::new();
    let road = Road::to(ceph);
    let store = road.store(ceph, &ceph.store());
    let file = git.path("server.toml");
    let lines = "[bucket]\nretries = 1\nretry_timeout_ms = 1000\nrequest_timeout_ms = 300\n";
    std::fs::write(&file, format!("store = '{store}'\n{lines}")).expect("a file");
    let late = Trouble::Late(Duration::from_secs(2));
    for (trouble, told) in
        [(Trouble::Busy, "SlowDown"), (Trouble::WrongClock, "RequestTimeTooSkewed"), (late, "")]
    {
        road.meddle(move |_, _| trouble);
        let output = packhorse(&git).args(["serve", "--config"]).arg(&file).output();
        let output = output.expect("the program runs");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && words.contains("s3://test"), "{trouble:?}: {words}");
        assert!(words.contains(told) && !words.contains("secret"), "{trouble:?}: {words}");
    }
}

#[test]
fn a_full_disk_of_the_database() {
    let git = RealGit::new();
    let Some(postgres) = Postgres::start_in_little_room(64 << 20) else {
        println!("skipped: this user may not mount anything");
        return;
    };
    let source = Scenario::linear(6).build(&git, "source.git");
    let server = serve(&git, &postgres.database_in_little_room(), "");
    there_and_back(&git, &server, &source, "before");
    let big = Scenario::big_blob(80 << 20).build(&git, "big.git");
    let words = git.fail(&big, &["push", "-q", &server.url("a.git"), "main:refs/heads/big"]);
    assert!(words.contains("remote rejected") || words.contains("remote: "), "{words}");
    assert!(!words.contains("hung up"), "{words}");
    assert!(server.log().contains("No space left"), "{}", server.log());
    // What was there is served, and what fits is taken.
    with_one_more(&git, &source, "after");
    there_and_back(&git, &server, &source, "after");
}
