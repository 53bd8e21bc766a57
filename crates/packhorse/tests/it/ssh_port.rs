//! SSH as OpenSSH's client meets it, and those who do not behave.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use testkit::{HUNG, RealGit, wait_until};

use crate::serving::{Serving, packhorse};
use crate::ssh_client::SshClient;

/// A server that ann may log in to.
struct Scene {
    access: PathBuf,
    client: SshClient,
    server: Serving,
    git: RealGit,
}

fn serve(git: &RealGit) -> Serving {
    let mut command = packhorse(git);
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(git.path("server.toml"));
    command.arg(git.path("srv"));
    Serving::spawn(git, command)
}

impl Scene {
    fn new(config: &str) -> Self {
        let git = RealGit::new();
        let client = SshClient::new(&git);
        let git = git.env("GIT_SSH_COMMAND", client.command()).env("GIT_SSH_VARIANT", "ssh");
        let work = git.path("work");
        git.ok(git.root(), &["init", "-q", "work"]);
        git.commit_file(&work, "file", "one");
        git.ok(git.root(), &["clone", "-q", "--bare", "work", "srv/team/app.git"]);
        git.init_bare("srv/private/x.git");
        let access = git.path("access.toml");
        let text = format!(
            "[users.ann]\nkeys = ['{}']\n[users.zoe]\n[[rules]]\nrepositories = ['team/']\nwho = ['ann']\nallow = 'write'\n",
            client.public_key().trim()
        );
        fs::write(&access, text).expect("a file");
        let text = format!(
            "[access]\nfile = 'access.toml'\nlogin_failures_max = 3\n[audit]\nfile = 'audit.log'\n\
             [ssh]\nlisten = '127.0.0.1:0'\nhost_key = 'host_key'\n{config}\n"
        );
        fs::write(git.path("server.toml"), text).expect("a file");
        let server = serve(&git);
        Scene { access, client, server, git }
    }

    fn url(&self, name: &str) -> String {
        format!("ssh://git@{}/{name}", self.server.ssh_authority())
    }

    /// Runs a command there: standard output, standard error, status.
    fn run(&self, command: &str) -> (String, String, i32) {
        self.client.run(&self.git, &self.server.ssh_authority(), command, b"")
    }

    fn ssh(&self, options: &[&str]) -> (String, String, i32) {
        let mut command = self.client.to(&self.git, &self.server.ssh_authority());
        let output = command.args(options).stdin(Stdio::null()).output().expect("ssh is installed");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr), output.status.code().unwrap_or(-1))
    }

    fn accounts(&self, args: &[&str]) -> String {
        let mut command = packhorse(&self.git);
        let output =
            command.args(args).arg("--access").arg(&self.access).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

#[test]
fn who_comes_without_a_command_is_greeted() {
    let scene = Scene::new("");
    let (said, _, status) = scene.ssh(&["-T"]);
    assert_eq!(status, 0);
    assert!(said.starts_with("Hello ann, this is packhorse/"), "{said}");
    assert!(
        said.contains("You may read:\n  team/app.git\n") && !said.contains("private"),
        "{said}"
    );
    let (said, _, _) = scene.ssh(&["-tt"]);
    assert!(said.contains("You may read:\r\n"), "{said:?}");
    let (said, words, status) = scene.run("true");
    assert_eq!((said.as_str(), words.as_str(), status), ("", "", 0));
    assert!(scene.accounts(&["key", "list"]).contains("used 20"));
    let audit = fs::read_to_string(scene.git.path("audit.log")).expect("a log");
    assert!(audit.contains("\"who\":\"ann\",\"with\":\"key SHA256:"), "{audit}");
    assert!(audit.contains("\"road\":\"ssh\",\"action\":\"login\",\"result\":\"ok\""), "{audit}");
}

#[test]
fn there_is_nothing_but_git() {
    let scene = Scene::new("");
    for (command, words, code) in [
        ("sh -c ls", "fatal: there is no shell here, and no 'sh'\n", 127),
        ("git-upload-pack 'team/app.git'; ls", "fatal: there is no shell here\n", 127),
        ("git-upload-pack", "takes the path of one repository", 127),
        ("git-upload-pack 'private/x.git'", "fatal: repository 'private/x' not found\n", 128),
        ("git-upload-pack 'nothing.git'", "fatal: repository 'nothing' not found\n", 128),
        ("git-upload-pack '../../etc'", "fatal: ", 128),
        ("git-upload-pack '/etc/passwd'", "fatal: ", 128),
        ("git-upload-pack 'team/./app.git'", "fatal: ", 128),
        ("git-receive-pack 'team/new.git'", "fatal: repository 'team/new.git' not found\n", 128),
    ] {
        let (said, error, status) = scene.run(command);
        assert!(
            error.contains(words) && said.is_empty() && status == code,
            "{command}: {said}{error}{status}"
        );
    }
    let (_, words, status) = scene.ssh(&["-s", "sftp"]);
    assert!(status != 0 && words.contains("subsystem request failed"), "{words}");
    let forward = ["-o", "ExitOnForwardFailure=yes", "-R", "0:localhost:1", "-N"];
    let (_, words, status) = scene.ssh(&forward);
    assert!(status != 0 && words.contains("remote port forwarding failed"), "{words}");
    let (_, words, status) = scene.ssh(&["-W", "localhost:1"]);
    assert!(status != 0 && words.contains("forwarding failed"), "{words}");
    // The forms of paths that git and people write.
    for path in ["team/app.git", "team/app", "/team/app.git", "/~/team/app.git", "~/team/app.git"] {
        let (said, error, _) = scene.run(&format!("git-upload-pack '{path}'"));
        assert!(said.contains("refs/heads/"), "{path}: {said}{error}");
    }
}

#[test]
fn a_key_that_is_nobodys_opens_nothing() {
    let scene = Scene::new("");
    let stranger = SshClient::named(&scene.git, "stranger");
    let authority = scene.server.ssh_authority();
    for _ in 0..4 {
        let (_, words, status) =
            stranger.run(&scene.git, &authority, "git-upload-pack 'team/app'", b"");
        assert!(status == 255 && words.contains("Permission denied (publickey)"), "{words}");
    }
    wait_until("it is noted", || {
        let audit = fs::read_to_string(scene.git.path("audit.log")).expect("a log");
        audit.matches("\"action\":\"login\",\"result\":\"refused\"").count() == 4
    });
    // Nothing from there is listened to for a while, not even by somebody known.
    let (_, words, status) = scene.run("true");
    assert!(status == 255, "{words}");
}

#[test]
fn a_key_that_is_removed_is_gone_while_its_owner_is_connected() {
    let scene = Scene::new("");
    let socket = scene.git.path("control");
    let control = format!("ControlPath={}", socket.display());
    let mut master = scene.client.to(&scene.git, &scene.server.ssh_authority());
    let mut master =
        master.args(["-o", &control, "-o", "ControlMaster=yes", "-N"]).spawn().expect("ssh");
    wait_until("it is connected", || socket.exists());
    let through = ["-o", control.as_str(), "git-upload-pack 'team/app'"];
    let (said, words, _) = scene.ssh(&through);
    assert!(said.contains("refs/heads/"), "{words}");
    let fingerprint = scene.accounts(&["key", "list"]);
    let fingerprint = fingerprint.split_whitespace().nth(1).expect("a fingerprint");
    scene.accounts(&["key", "remove", fingerprint]);
    let (said, words, status) = scene.ssh(&through);
    assert!(
        said.is_empty() && status == 128 && words.contains("has ended"),
        "{said}{words}{status}"
    );
    // A connection on which nothing runs is closed.
    assert!(!master.wait().expect("it ends").success());
}

#[test]
fn the_host_key_stays_and_is_private() {
    let scene = Scene::new("");
    let key = scene.git.path("host_key");
    let mode = |path: &PathBuf| fs::metadata(path).expect("a key").permissions().mode() & 0o777;
    assert_eq!(mode(&key), 0o600);
    let before = fs::read(&key).expect("a key");
    assert_eq!(scene.run("true").2, 0);
    let Scene { client, server, git, .. } = scene;
    drop(server);
    let server = serve(&git);
    assert_eq!(client.run(&git, &server.ssh_authority(), "true", b"").2, 0, "the same host");
    assert_eq!(fs::read(&key).expect("a key"), before);
    drop(server);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("a mode");
    let refused = |words: &str| {
        let mut command = packhorse(&git);
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(git.path("server.toml"));
        let output = command.arg(git.path("srv")).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words), "{said}");
    };
    refused("other users can read this key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::write(&key, "no key").expect("a file");
    refused("this is no private key");
}

#[test]
fn keys_are_exchanged_anew_in_the_middle_of_a_clone() {
    let scene = Scene::new("rekey_bytes = 100000");
    let work = scene.git.path("work");
    let noise: Vec<u8> =
        (0..3_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(work.join("noise"), noise).expect("a file");
    scene.git.ok(&work, &["add", "."]);
    scene.git.ok(&work, &["commit", "-q", "-m", "noise"]);
    scene.git.ok(&work, &["push", "-q", &scene.url("team/app.git"), "HEAD:refs/heads/noise"]);
    let clone = scene.git.clone(scene.url("team/app.git"), "clone", &["-q", "-b", "noise"]);
    assert_eq!(scene.git.rev_parse(&clone, "HEAD"), scene.git.rev_parse(&work, "HEAD"));
    // Also when the client wants it, for every cipher there is.
    for cipher in
        ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"]
    {
        let command = format!("{} -c {cipher} -o RekeyLimit=64K", scene.client.command());
        let config = format!("core.sshCommand={command}");
        let args = ["-c", &config, "clone", "-q", "--bare", &scene.url("team/app.git"), cipher];
        let mut git = scene.git.command(scene.git.root());
        let output = git.args(args).env_remove("GIT_SSH_COMMAND").output().expect("git runs");
        assert!(output.status.success(), "{cipher}: {output:?}");
    }
}

#[test]
fn who_says_nothing_or_garbage_is_let_go() {
    let scene = Scene::new("login_timeout_ms = 300");
    let authority = scene.server.ssh_authority();
    let before = scene.server.open_files();
    let mut rest = Vec::new();
    for bytes in [
        &b""[..],
        b"GET / HTTP/1.0\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"SSH-2.0-x\r\n\xff\xff\xff\xff",
        &[0; 70_000],
        b"SSH-1.5-old\r\n",
    ] {
        let mut stream = TcpStream::connect(&authority).expect("it listens");
        stream.set_read_timeout(Some(HUNG)).expect("a socket");
        // The server may be faster.
        let _ = stream.write_all(bytes);
        rest.clear();
        match stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{bytes:?}")
            }
        }
        assert!(rest.starts_with(b"SSH-2.0-packhorse_"), "{bytes:?}");
    }
    // A byte from time to time does not help.
    let mut slow = TcpStream::connect(&authority).expect("it listens");
    wait_until("it is let go", || {
        std::thread::sleep(Duration::from_millis(20));
        slow.write_all(b"S").is_err()
    });
    drop(slow);
    scene.server.settle(before);
    assert_eq!(scene.run("true").2, 0);
}

#[test]
fn one_connection_has_so_many_sessions() {
    let scene = Scene::new("sessions_max = 2");
    let socket = scene.git.path("control");
    let control = format!("ControlPath={}", socket.display());
    let mut master = scene.client.to(&scene.git, &scene.server.ssh_authority());
    let mut master =
        master.args(["-o", &control, "-o", "ControlMaster=yes", "-N"]).spawn().expect("ssh");
    wait_until("it is connected", || socket.exists());
    let begin = || {
        let mut command = scene.client.to(&scene.git, &scene.server.ssh_authority());
        command.args(["-o", &control, "git-upload-pack 'team/app'"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("ssh")
    };
    let mut running = [begin(), begin()];
    for child in &mut running {
        let mut first = [0; 4];
        child.stdout.as_mut().expect("piped").read_exact(&mut first).expect("an advertisement");
    }
    let (said, _, status) =
        scene.ssh(&["-o", &control, "-o", "ControlMaster=no", "git-upload-pack 'team/app'"]);
    // OpenSSH's client goes and makes a connection of its own then.
    assert!(status == 255 || said.contains("refs/heads/"), "{said}");
    for mut child in running {
        child.stdin.take();
        child.wait().expect("it ends");
    }
    master.kill().expect("it runs");
    master.wait().expect("it ends");
}

#[test]
fn what_runs_comes_to_its_end_when_the_server_stops() {
    let mut scene = Scene::new("");
    let mut command = scene.client.to(&scene.git, &scene.server.ssh_authority());
    command.arg("git-upload-pack 'team/app'").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("ssh");
    let mut first = [0; 4];
    child.stdout.as_mut().expect("piped").read_exact(&mut first).expect("an advertisement");
    scene.server.process().terminate();
    let authority = scene.server.ssh_authority();
    wait_until("nobody is let in", || TcpStream::connect(&authority).is_err());
    child.stdin.as_mut().expect("piped").write_all(b"0000").expect("it listens");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.ends_with(b"0000"));
    assert!(scene.server.process().wait().success());
}
