//! A running server over a scratch folder, and what can be seen of it from outside.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{RealGit, ServerProcess, wait_until};

use crate::raw::{self, Reply};

/// The program under test.
pub fn packhorse(git: &RealGit) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_packhorse"));
    git.isolate(&mut command);
    command
}

/// A server; what it logged is judged when it goes.
pub struct Serving {
    server: ServerProcess,
    log: PathBuf,
}

impl Serving {
    /// `packhorse serve DIR --listen 127.0.0.1:0 OPTIONS`.
    pub fn start(git: &RealGit, dir: impl AsRef<Path>, options: &[&str]) -> Self {
        let mut command = packhorse(git);
        command.arg("serve").arg(dir.as_ref()).args(["--listen", "127.0.0.1:0"]).args(options);
        Self::spawn(git, command)
    }

    /// A server with room for so few requests that one that never ended would be noticed.
    pub fn start_small(git: &RealGit, dir: impl AsRef<Path>) -> Self {
        let file = git.path("small.toml");
        fs::write(&file, "[limits]\nrequests_max = 3\n").expect("a file");
        Self::start(git, dir, &["--config", file.to_str().expect("a path in UTF-8")])
    }

    /// Any command that ends up serving.
    pub fn spawn(git: &RealGit, mut command: Command) -> Self {
        let log = git.path("server.log");
        command.env("PACKHORSE_LOG", "info").env("RUST_BACKTRACE", "0");
        command.stderr(File::create(&log).expect("a log file"));
        Serving { server: ServerProcess::spawn_http(command), log }
    }

    /// A command that ends up serving HTTPS and nothing else.
    pub fn spawn_https(git: &RealGit, mut command: Command) -> Self {
        let log = git.path("server.log");
        command.env("PACKHORSE_LOG", "info").env("RUST_BACKTRACE", "0");
        command.stderr(File::create(&log).expect("a log file"));
        Serving { server: ServerProcess::spawn(command, find_https), log }
    }

    /// The URL of a repository.
    pub fn url(&self, name: &str) -> String {
        format!("{}{name}", self.server.address())
    }

    /// The git:// URL of a repository, of a server that listens for it.
    pub fn git_url(&self, name: &str) -> String {
        format!("git://{}/{name}", self.git_authority())
    }

    /// Where the server listens for git://.
    pub fn git_authority(&self) -> String {
        self.listening("git://")
    }

    /// Where the server listens for SSH.
    pub fn ssh_authority(&self) -> String {
        self.listening("ssh://git@")
    }

    /// Where the server listens for HTTPS.
    pub fn https_authority(&self) -> String {
        self.listening("https://")
    }

    /// Where it listens for HTTP, to send everybody elsewhere.
    pub fn listening_plain(&self) -> String {
        self.listening("http://")
    }

    fn listening(&self, scheme: &str) -> String {
        let find = || {
            let printed = self.server.printed();
            let (_, behind) = printed.split_once(&format!("listening on {scheme}"))?;
            Some(behind.split('/').next().unwrap_or_default().to_owned())
        };
        wait_until("it listens", || find().is_some());
        find().expect("just found")
    }

    pub fn authority(&self) -> &str {
        self.server.authority()
    }

    pub fn process(&mut self) -> &mut ServerProcess {
        &mut self.server
    }

    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("the log is text")
    }

    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        raw::send(self.authority(), &raw::head("GET", path, headers, None), b"")
    }

    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        raw::send(self.authority(), &raw::head(method, path, headers, None), b"")
    }

    /// A request of a smart client; `service` is `git-upload-pack` or `git-receive-pack`.
    pub fn post(&self, name: &str, service: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let content_type = format!("application/x-{service}-request");
        let mut all = vec![("Content-Type", content_type.as_str())];
        all.extend_from_slice(headers);
        let path = format!("/{name}/{service}");
        raw::send(self.authority(), &raw::head("POST", &path, &all, Some(body.len())), body)
    }

    /// A push of one new ref, as a smart client sends it.
    pub fn push(&self, name: &str, body: &[u8]) -> Reply {
        self.post(name, "git-receive-pack", &[], body)
    }

    /// A fetch in protocol v2.
    pub fn fetch_v2(&self, name: &str, body: &[u8]) -> Reply {
        self.post(name, "git-upload-pack", &[("Git-Protocol", "version=2")], body)
    }

    /// Open file descriptors of the server.
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("a live process").count()
    }

    /// Kilobytes of one line of `/proc/PID/smaps_rollup`.
    pub fn memory_kb(&self, line: &str) -> u64 {
        self.kilobytes("smaps_rollup", line)
    }

    /// The most kilobytes that ever were resident.
    pub fn peak_kb(&self) -> u64 {
        self.kilobytes("status", "VmHWM")
    }

    fn kilobytes(&self, file: &str, line: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.pid()));
        let text = text.expect("a live process");
        let found = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':'));
        let kilobytes = found.and_then(|value| value.trim().strip_suffix(" kB"));
        kilobytes.and_then(|value| value.trim().parse().ok()).expect("a size in kB")
    }

    /// Waits until the server has as few open files as before: every request is over.
    pub fn settle(&self, open_files: usize) {
        wait_until("the server closes its files", || self.open_files() <= open_files);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let log = self.log();
            assert!(!log.contains("panicked"), "the server panicked:\n{log}");
        }
    }
}

fn find_https(line: &str) -> Option<String> {
    let (_, behind) = line.split_once("listening on ")?;
    behind.starts_with("https://").then(|| behind.split(' ').next().unwrap_or_default().to_owned())
}

/// Every file and folder below `dir` with its size: what a refused push must leave alone.
pub fn files(dir: impl AsRef<Path>) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.as_ref().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let meta = entry.metadata().expect("a file's size");
            if meta.is_dir() {
                folders.push(entry.path());
            }
            found.insert(entry.path(), if meta.is_dir() { 0 } else { meta.len() });
        }
    }
    found
}

/// The pack git would push for `revisions`.
pub fn pack_of(git: &RealGit, dir: &Path, revisions: &str) -> Vec<u8> {
    git.ok_with_input(dir, &["pack-objects", "--revs", "--stdout", "-q"], revisions.as_bytes())
        .stdout
}
