//! What a service manager has to do with a server: sockets, words, signals.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use testkit::{HUNG, RealGit, wait_until};

use crate::serving::{Serving, packhorse};

/// Opens sockets and becomes the server, as systemd does it (sd_listen_fds(3)).
const ACTIVATE: &str = r#"
import os, socket, sys
names, program = sys.argv[1], sys.argv[2:]
sockets = []
for at, name in enumerate(names.split(":")):
    one = socket.socket()
    one.bind(("127.0.0.1", 0))
    one.listen()
    sockets.append(one)
# Above all that is to be put in place.
high = [os.dup(os.dup(os.dup(os.dup(one.fileno())))) for one in sockets]
high = [os.dup2(fd, 50 + at) for at, fd in enumerate(high)]
for at, fd in enumerate(high):
    os.dup2(fd, 3 + at)
    os.set_inheritable(3 + at, True)
os.environ.update(LISTEN_FDS=str(len(sockets)), LISTEN_FDNAMES=names, LISTEN_PID=str(os.getpid()))
os.execv(program[0], program)
"#;

fn repository(git: &RealGit) {
    git.ok(git.root(), &["init", "-q", "work"]);
    git.commit_file(git.path("work"), "file", "one");
    git.ok(git.root(), &["clone", "-q", "--bare", "work", "srv/r.git"]);
}

fn activated(git: &RealGit, names: &str, options: &[&str]) -> Serving {
    let server = packhorse(git);
    let mut command = Command::new("python3");
    git.isolate(&mut command);
    command.args(["-c", ACTIVATE, names]).arg(server.get_program()).arg("serve").args(options);
    command.arg(git.path("srv"));
    Serving::spawn(git, command)
}

#[test]
fn sockets_may_be_open_already() {
    let git = RealGit::new();
    repository(&git);
    let server = activated(&git, "git:http", &[]);
    git.ok(git.root(), &["ls-remote", &server.url("r.git")]);
    git.ok(git.root(), &["ls-remote", &server.git_url("r.git")]);
    // Who reaches such a socket is not known here.
    let words = git.fail(git.path("work"), &["push", &server.url("r.git"), "HEAD:refs/heads/x"]);
    assert!(words.contains("403"), "{words}");
    drop(server);
    // One without a name is for HTTP.
    let server = activated(&git, "unknown", &["--allow-anonymous-push"]);
    git.ok(git.path("work"), &["push", "-q", &server.url("r.git"), "HEAD:refs/heads/x"]);
}

#[test]
fn whoever_wants_to_know_is_told() {
    let git = RealGit::new();
    repository(&git);
    let socket = UnixDatagram::bind(git.path("notify")).expect("a socket");
    socket.set_read_timeout(Some(HUNG)).expect("a socket");
    let heard = || {
        let mut buffer = [0; 200];
        let count = socket.recv(&mut buffer).expect("a word");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    let mut command = packhorse(&git);
    command.args(["serve", "--listen", "127.0.0.1:0"]).arg(git.path("srv"));
    command.env("NOTIFY_SOCKET", git.path("notify"));
    let mut server = Serving::spawn(&git, command);
    assert_eq!(heard(), "READY=1");
    signal(&server, "HUP");
    assert!(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(heard(), "READY=1");
    server.process().terminate();
    assert_eq!(heard(), "STOPPING=1");
    assert!(server.process().wait().success());
}

fn signal(server: &Serving, name: &str) {
    let status = Command::new("kill").args(["-s", name, &server.pid().to_string()]).status();
    assert!(status.expect("kill is there").success());
}

#[test]
fn the_configuration_is_read_again_when_asked() {
    let git = RealGit::new();
    repository(&git);
    let config = git.path("server.toml");
    let write = |text: &str| fs::write(&config, text).expect("a file");
    write("");
    let options = ["--config", config.to_str().expect("text")];
    let server = Serving::start(&git, git.path("srv"), &options);
    let push = |name: &str| {
        let what = format!("HEAD:refs/heads/{name}");
        git.run(git.path("work"), &["push", "-q", &server.url("r.git"), &what]).status.success()
    };
    let reload = |text: &str, words: &str| {
        let count = server.log().matches(words).count();
        write(text);
        signal(&server, "HUP");
        wait_until("it was read", || server.log().matches(words).count() > count);
    };
    assert!(push("a"));
    reload("read_only = true\n", "the configuration was read again");
    assert!(!push("b"));
    reload("read_onl = false\n", "the configuration stays as it was");
    assert!(!push("b"));
    reload("[access]\nfile = 'none.toml'\n", "the configuration stays as it was");
    assert!(!push("b"));
    reload("[limits]\nrequests_max = 7\n", "the configuration was read again");
    assert!(push("b"));
    fs::write(git.path("access.toml"), "").expect("a file");
    reload("[access]\nfile = 'access.toml'\n", "the configuration was read again");
    assert!(!push("c"), "there are accounts now, and no rules");
}
