//! git-daemon's place: its options, its rules for paths, and stock git as the client.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use testkit::{RealGit, wait_until};

use crate::raw::{git_head, packet, send_and_end};
use crate::serving::packhorse;

/// A running daemon; ended when it goes.
pub struct Daemon {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Daemon {
    pub fn start(git: &RealGit, options: &[&str]) -> Self {
        Self::spawn(git, packhorse(git), options)
    }

    fn spawn(git: &RealGit, mut command: Command, options: &[&str]) -> Self {
        let log = git.path("daemon.log");
        command.arg("daemon");
        // Somebody else may take a free port before the daemon does.
        for _ in 0..20 {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
            let port = free.expect("a free port").port();
            let mut child = Command::new(command.get_program());
            child.args(command.get_args()).env_clear();
            for (name, value) in command.get_envs() {
                child.envs(value.map(|value| (name, value)));
            }
            child
                .args(["--listen=127.0.0.1", &format!("--port={port}"), "--reuseaddr", "--verbose"])
                .args(options)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(&log).expect("a file"));
            let mut daemon =
                Daemon { child: child.spawn().expect("it runs"), port, log: log.clone() };
            let mut ended = None;
            wait_until("it is ready, or ends", || {
                ended = daemon.child.try_wait().expect("our child");
                ended.is_some() || daemon.said().contains("Ready to rumble\n")
            });
            if ended.is_none() {
                return daemon;
            }
            assert!(daemon.said().contains("Could not bind"), "{}", daemon.said());
        }
        panic!("no port is free");
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).expect("a log")
    }

    pub fn url(&self, path: &str) -> String {
        format!("git://127.0.0.1:{}{path}", self.port)
    }

    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("our child");
    }

    /// What a client with these first bytes is told.
    fn told(&self, message: &str) -> String {
        let answer = send_and_end(&self.authority(), &packet(message));
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            assert!(!self.said().contains("panicked"), "{}", self.said());
        }
    }
}

/// `srv/r.git`, exported, and `srv/closed.git`, which is not; beside them `other/o.git`, exported.
fn repositories(git: &RealGit) -> PathBuf {
    let work = git.path("work");
    for name in ["srv/r.git", "srv/closed.git", "other/o.git"] {
        let origin = git.init_bare(name);
        if !work.exists() {
            git.clone(&origin, "work", &["-q"]);
            git.commit_file(&work, "file", "one");
        }
        git.ok(&work, &["push", "-q", &origin.display().to_string(), "HEAD:refs/heads/main"]);
        if !name.contains("closed") {
            fs::write(origin.join("git-daemon-export-ok"), "").expect("a file");
        }
    }
    git.path("srv")
}

fn run(git: &RealGit, options: &[&str], input: &[u8]) -> Output {
    let mut command = packhorse(git);
    command.arg("daemon").args(options);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    // It may end without having read it.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    child.wait_with_output().expect("it ends")
}

fn base(git: &RealGit) -> String {
    format!("--base-path={}", repositories(git).display())
}

#[test]
fn wrong_options_are_fatal_as_with_git() {
    let git = RealGit::new();
    let link = git.path("git-daemon");
    symlink(env!("CARGO_BIN_EXE_packhorse"), &link).expect("a link");
    for (option, status, words) in [
        ("--timeout=3a", 128, "fatal: invalid timeout '3a', expecting a non-negative integer"),
        ("--init-timeout=-3", 128, "fatal: invalid init-timeout '-3', expecting a non-negative"),
        ("--max-connections=3a", 128, "fatal: invalid max-connections '3a', expecting an integer"),
        ("--enable=nothing", 128, "fatal: No such service nothing"),
        ("--strict-paths", 128, "fatal: option --strict-paths requires"),
        ("--base-path=/nowhere", 128, "fatal: base-path '/nowhere' does not exist"),
        ("--user=no-such-user", 128, "fatal: user not found - no-such-user"),
        ("--no-such-option", 129, "usage: git daemon"),
    ] {
        for by_name in [false, true] {
            let output = match by_name {
                true => Command::new(&link).arg(option).output().expect("it runs"),
                false => run(&git, &[option], b""),
            };
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(status), "{option}: {said}");
            assert!(said.starts_with(words), "{option}: {said}");
        }
    }
    let help = run(&git, &["--help"], b"");
    assert!(String::from_utf8_lossy(&help.stdout).contains("--interpolated-path"));
}

#[test]
fn stock_git_clones_in_every_version_and_pushes_where_it_may() {
    let git = RealGit::new();
    let base = base(&git);
    let work = git.path("work");
    let push = |daemon: &Daemon, name: &str| {
        let output = git
            .run(&work, &["push", "-q", &daemon.url("/r.git"), &format!("HEAD:refs/heads/{name}")]);
        if output.status.success() { String::new() } else { output.error_text() }
    };
    let daemon = Daemon::start(&git, &[&base]);
    assert!(daemon.said().starts_with(&format!("[{}] Ready to rumble\n", daemon.child.id())));
    for version in ["0", "1", "2"] {
        let (option, name) =
            (format!("protocol.version={version}"), format!("clone-{version}.git"));
        git.ok(
            git.root(),
            &["-c", &option, "clone", "-q", "--mirror", &daemon.url("/r.git"), &name],
        );
        git.fsck_strict(git.path(&name));
    }
    git.ok(git.root(), &["ls-remote", &daemon.url("/r")]);
    let refused = "access denied or repository not exported: ";
    assert!(push(&daemon, "a").contains(&format!("{refused}/r.git")));
    for path in ["/none.git", "/closed.git"] {
        let words = git.fail(git.root(), &["ls-remote", &daemon.url(path)]);
        assert!(words.contains(&format!("fatal: remote error: {refused}{path}")), "{words}");
    }
    assert!(daemon.said().contains("'receive-pack': service not enabled"));
    // The repository may open itself.
    git.ok(git.path("srv/r.git"), &["config", "daemon.receivepack", "true"]);
    assert_eq!(push(&daemon, "b"), "");
    git.ok(git.path("srv/r.git"), &["config", "daemon.uploadpack", "false"]);
    git.fail(git.root(), &["ls-remote", &daemon.url("/r.git")]);
    drop(daemon);
    let forbid = ["--forbid-override=receive-pack", "--forbid-override=upload-pack"];
    let daemon = Daemon::start(&git, &[&base, "--informative-errors", forbid[0], forbid[1]]);
    assert!(push(&daemon, "c").contains("service not enabled: /r.git"));
    git.ok(git.root(), &["ls-remote", &daemon.url("/r.git")]);
    for (path, why) in
        [("/none.git", "no such repository"), ("/closed.git", "repository not exported")]
    {
        let words = git.fail(git.root(), &["ls-remote", &daemon.url(path)]);
        assert!(words.contains(&format!("remote error: {why}: {path}")), "{words}");
    }
    drop(daemon);
    git.ok(git.path("srv/r.git"), &["config", "--unset", "daemon.receivepack"]);
    let daemon = Daemon::start(&git, &[&base, "--enable=receive-pack", "--export-all", forbid[1]]);
    assert_eq!(push(&daemon, "d"), "");
    git.ok(git.root(), &["ls-remote", &daemon.url("/closed.git")]);
    drop(daemon);
    let archive = |daemon: &Daemon| {
        let remote = format!("--remote={}", daemon.url("/r.git"));
        git.run(git.root(), &["archive", &remote, "main"])
    };
    let daemon = Daemon::start(&git, &[&base]);
    assert!(!archive(&daemon).status.success());
    assert!(daemon.said().contains("'upload-archive': service not enabled"));
    drop(daemon);
    let daemon = Daemon::start(&git, &[&base, "--enable=upload-archive"]);
    let (ours, theirs) = (archive(&daemon), git.run(git.path("srv/r.git"), &["archive", "main"]));
    assert!(ours.status.success() && ours.stdout == theirs.stdout, "{}", ours.error_text());
    git.fsck_strict(git.path("srv/r.git"));
}

#[test]
fn no_spelling_of_a_path_leads_out() {
    let git = RealGit::new();
    let base = base(&git);
    let daemon = Daemon::start(&git, &[&base, "--export-all"]);
    let root = git.root().display().to_string();
    let outside = format!("{root}/other/o.git");
    for path in [
        "/../other/o.git",
        "/r.git/../../other/o.git",
        "/./../other/o.git",
        "//../other/o.git",
        "/..",
        "/r.git/..",
        "/.",
        "//r.git",
        "/./r.git",
        "/r.git//",
        "r.git",
        "../other/o.git",
        "~root/r.git",
        "~/r.git",
        "",
        ".",
        &outside,
        "/%2e%2e/other/o.git",
        "/..\\other\\o.git",
        "/r.git/HEAD",
    ] {
        for service in ["upload-pack", "receive-pack"] {
            let told = daemon.told(&format!("git-{service} {path}\0host=x\0"));
            assert!(
                told.get(4..).is_some_and(|told| told.starts_with("ERR access denied")),
                "{path}: {told:?}"
            );
        }
    }
    for (message, told) in [
        (
            "git-upload-archive /r.git\0host=x\0",
            "ERR access denied or repository not exported: /r.git",
        ),
        ("git-upload-pack /r.git\0host=[::1\0", ""),
        ("git-sh /r.git\0", ""),
        ("GET / HTTP/1.1", ""),
    ] {
        assert_eq!(daemon.told(message).get(4..).unwrap_or_default(), told, "{message}");
    }
    // A line feed behind the path is passed over.
    assert!(daemon.told("git-upload-pack /r.git\n\0host=x\0").contains("refs/heads/main"));
    for garbage in ["zzzz", "0003", "ffff", "+01f", ""] {
        let answer = send_and_end(&daemon.authority(), garbage.as_bytes());
        assert!(answer.is_empty(), "{garbage}");
    }
    git.ok(git.root(), &["ls-remote", &daemon.url("/r.git")]);
}

#[test]
fn lists_of_directories_and_strict_paths() {
    let git = RealGit::new();
    let srv = repositories(&git).display().to_string();
    let other = git.path("other/o.git").display().to_string();
    let reads = |daemon: &Daemon, path: &str| {
        git.run(git.root(), &["ls-remote", &daemon.url(path)]).status.success()
    };
    let (full, short) = (format!("{srv}/r.git"), format!("{srv}/r"));
    let daemon = Daemon::start(&git, &[&srv]);
    assert!(reads(&daemon, &full) && reads(&daemon, &short) && !reads(&daemon, &other));
    assert!(daemon.said().contains("not in directory list"));
    drop(daemon);
    // Only what is listed, by its whole name.
    let daemon = Daemon::start(&git, &["--strict-paths", &full]);
    assert!(reads(&daemon, &full) && !reads(&daemon, &short) && !reads(&daemon, &other));
    drop(daemon);
    let half = format!("{srv}/r.gi");
    let daemon = Daemon::start(&git, &[&half]);
    assert!(!reads(&daemon, &full));
    drop(daemon);
    let base = format!("--base-path={srv}");
    let daemon = Daemon::start(&git, &[&base, "--base-path-relaxed"]);
    assert!(reads(&daemon, "/r.git") && reads(&daemon, &other));
    drop(daemon);
    let daemon = Daemon::start(&git, &[&base]);
    assert!(reads(&daemon, "/r.git") && !reads(&daemon, &other));
}

#[test]
fn hosts_become_parts_of_paths_and_lead_nowhere() {
    let git = RealGit::new();
    let srv = repositories(&git);
    let host = srv.join("example.org");
    fs::create_dir(&host).expect("a folder");
    fs::rename(srv.join("r.git"), host.join("r.git")).expect("moved");
    fs::rename(git.path("other/o.git"), git.path("o.git")).expect("moved");
    let pattern = format!("--interpolated-path={}/%H%D", srv.display());
    let daemon = Daemon::start(&git, &[&pattern, "--informative-errors"]);
    let told =
        |host: &str, path: &str| daemon.told(&format!("git-upload-pack {path}\0host={host}\0"));
    for host in ["example.org", "EXAMPLE.org:9418", "..example.org..", "/example.org/"] {
        assert!(told(host, "/r.git").contains("refs/heads/main"), "{host}");
    }
    for host in
        ["..", "../", "%2e%2e", ".", "", "other.org", "../../srv/example.org/..", "example.org/.."]
    {
        let answer = told(host, "/o.git");
        assert!(answer.contains("ERR no such repository: /o.git"), "{host}: {answer}");
    }
    drop(daemon);
    let pattern = format!("--interpolated-path={}/%IP%D", srv.display());
    fs::rename(host, srv.join("127.0.0.1")).expect("moved");
    let daemon = Daemon::start(&git, &[&pattern]);
    git.ok(git.root(), &["ls-remote", &daemon.url("/r.git")]);
}

#[test]
fn a_hook_may_refuse() {
    let git = RealGit::new();
    let base = base(&git);
    let hook = git.path("hook");
    fs::write(
        &hook,
        "#!/bin/sh\necho \"$@ $REMOTE_ADDR\" >>\"$0.log\"\ncase $1 in receive-pack) echo 'not today'; echo more; exit 1;; esac\n",
    )
    .expect("a file");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("set");
    let option = format!("--access-hook={}", hook.display());
    let daemon =
        Daemon::start(&git, &[&base, &option, "--enable=receive-pack", "--informative-errors"]);
    git.ok(git.root(), &["ls-remote", &daemon.url("/r.git")]);
    let words = git.fail(git.path("work"), &["push", &daemon.url("/r.git"), "HEAD:refs/heads/x"]);
    assert!(words.contains("not today: /r.git") && !words.contains("more"), "{words}");
    let told = fs::read_to_string(git.path("hook.log")).expect("the hook ran");
    let path = git.path("srv/r.git").display().to_string();
    assert!(told.starts_with(&format!("upload-pack {path} 127.0.0.1 ")), "{told}");
    assert!(told.trim_end().ends_with(" 127.0.0.1"), "{told}");
    drop(daemon);
    let daemon = Daemon::start(&git, &[&base, "--access-hook=/none/such", "--informative-errors"]);
    let words = git.fail(git.root(), &["ls-remote", &daemon.url("/r.git")]);
    assert!(words.contains("service rejected: /r.git"), "{words}");
}

#[test]
fn as_many_as_are_allowed() {
    let git = RealGit::new();
    let base = base(&git);
    let daemon = Daemon::start(&git, &[&base, "--max-connections=2"]);
    let begin = || {
        let mut stream = TcpStream::connect(daemon.authority()).expect("it listens");
        stream.write_all(git_head("upload-pack", "r.git").as_bytes()).expect("sent");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
        let mut first = [0; 4];
        stream.read_exact(&mut first).map(|()| stream)
    };
    let busy = [begin().expect("served"), begin().expect("served")];
    // Those who are served stay.
    assert!(begin().is_err());
    wait_until("it says so", || daemon.said().contains("Too many children, dropping connection"));
    drop(busy);
    wait_until("there is room again", || begin().is_ok());
    // Who has said nothing yet goes first.
    wait_until("all are gone", || {
        let said = daemon.said();
        said.matches("Disconnected").count() == said.matches("Connection from").count()
    });
    let silent = [(); 2].map(|()| TcpStream::connect(daemon.authority()).expect("it listens"));
    wait_until("both are there", || {
        let said = daemon.said();
        said.matches("Connection from").count() == said.matches("Disconnected").count() + 2
    });
    assert!(begin().is_ok());
    drop(silent);
}

#[test]
fn silence_ends_where_it_is_limited() {
    let git = RealGit::new();
    let base = base(&git);
    let daemon = Daemon::start(&git, &[&base, "--init-timeout=1", "--timeout=1"]);
    for begun in ["", "0032git-up", &git_head("upload-pack", "r.git")] {
        let mut stream = TcpStream::connect(daemon.authority()).expect("it listens");
        stream.write_all(begun.as_bytes()).expect("sent");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
        let mut answer = Vec::new();
        // It may be reset, but not left alone.
        let end = stream.read_to_end(&mut answer);
        let left_alone = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        assert!(!end.as_ref().is_err_and(left_alone), "{begun:?}: {end:?}");
    }
}

#[test]
fn the_signal_to_stop_lets_conversations_end() {
    let git = RealGit::new();
    let base = base(&git);
    let pid_file = git.path("pid");
    let option = format!("--pid-file={}", pid_file.display());
    let mut daemon = Daemon::start(&git, &[&base, &option]);
    let pid = fs::read_to_string(&pid_file).expect("a file");
    assert_eq!(pid, format!("{}\n", daemon.child.id()));
    let mut stream = TcpStream::connect(daemon.authority()).expect("it listens");
    stream.write_all(git_head("upload-pack", "r.git").as_bytes()).expect("sent");
    let mut first = [0; 4];
    stream.read_exact(&mut first).expect("it has begun");
    daemon.terminate();
    wait_until("nobody else is let in", || TcpStream::connect(daemon.authority()).is_err());
    stream.write_all(b"0000").expect("sent");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the end of the answer");
    assert!(rest.ends_with(b"0000"));
    assert_eq!(daemon.child.wait().expect("it ends").signal(), Some(15));
    // Told so twice, it waits for nobody.
    let mut daemon = Daemon::start(&git, &[&base]);
    let mut stream = TcpStream::connect(daemon.authority()).expect("it listens");
    stream.write_all(git_head("upload-pack", "r.git").as_bytes()).expect("sent");
    stream.read_exact(&mut first).expect("it has begun");
    daemon.terminate();
    wait_until("nobody else is let in", || TcpStream::connect(daemon.authority()).is_err());
    daemon.terminate();
    assert_eq!(daemon.child.wait().expect("it ends").signal(), Some(15));
}

#[test]
fn one_client_on_standard_input_and_output() {
    let git = RealGit::new();
    let base = base(&git);
    let stderr = "--log-destination=stderr";
    let input = [git_head("upload-pack", "r.git").as_bytes(), b"0000"].concat();
    for options in [&["--inetd", &base, stderr][..], &["--inetd", &base, stderr, "--timeout=9"]] {
        let output = run(&git, options, &input);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("refs/heads/main") && text.ends_with("0000"), "{text}");
    }
    let output = run(&git, &["--inetd", &base, stderr], &packet("git-upload-pack /x\0host=x\0"));
    assert!(String::from_utf8_lossy(&output.stdout).contains("ERR access denied"), "{output:?}");
    // Stock git, with a program in place of the network.
    let program = env!("CARGO_BIN_EXE_packhorse");
    let url = format!("ext::{program} daemon --inetd {base} %G/r.git");
    git.ok(
        git.root(),
        &["-c", "protocol.ext.allow=always", "clone", "-q", "--bare", &url, "ext.git"],
    );
    git.fsck_strict(git.path("ext.git"));
    for options in [["--inetd", "--port=1"], ["--inetd", "--detach"], ["--inetd", "--user=root"]] {
        assert_eq!(run(&git, &options, b"").status.code(), Some(128), "{options:?}");
    }
}

#[test]
fn it_goes_to_the_background() {
    let git = RealGit::new();
    let base = base(&git);
    let pid_file = git.path("pid");
    let option = format!("--pid-file={}", pid_file.display());
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let port = free.expect("a free port").port();
    let port_option = format!("--port={port}");
    let options =
        ["--detach", "--log-destination=none", "--listen=127.0.0.1", &port_option, &option, &base];
    let output = run(&git, &options, b"");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    wait_until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    git.ok(git.root(), &["ls-remote", &format!("git://127.0.0.1:{port}/r.git")]);
    let pid = fs::read_to_string(&pid_file).expect("a file").trim().parse().expect("a number");
    let pid = Pid::from_raw(pid).expect("a process");
    kill_process(pid, Signal::TERM).expect("it is there");
    wait_until("it ends", || TcpStream::connect(("127.0.0.1", port)).is_err());
}
