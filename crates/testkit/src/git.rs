//! Stock git as the oracle: the `git` on PATH, in a home of its own.
//!
//! Nothing of the machine shines through: no system or user configuration, a
//! fixed identity, a clock that advances one minute per command, no background
//! maintenance. Two runs of the same test make the same object ids.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};

use object::{HashKind, ObjectId};

use crate::TempDir;

/// The time of the first command, in seconds since 1970: 2026-01-01 00:00 UTC.
pub(crate) const CLOCK_START: i64 = 1_767_225_600;
const CLOCK_STEP_SECONDS: i64 = 60;

const HOME_CONFIG: &str = "\
[user]
\tname = A U Thor
\temail = author@example.com
[init]
\tdefaultBranch = main
[gc]
\tauto = 0
\tautoDetach = false
[maintenance]
\tauto = false
[receive]
\tautogc = false
[pack]
\tthreads = 1
[fastimport]
\tunpackLimit = 0
[protocol \"file\"]
\tallow = always
[safe]
\tdirectory = *
[advice]
\tdetachedHead = false
[core]
\tfsync = none
[commit]
\tgpgSign = false
";

/// Stock git in a scratch home. See the module's first lines for what is fixed.
#[derive(Debug)]
pub struct RealGit {
    scratch: TempDir,
    program: OsString,
    clock: AtomicI64,
    protocol: Option<u8>,
    variables: Vec<(OsString, OsString)>,
}

/// How one command ended.
#[derive(Debug, Clone)]
pub struct GitOutput {
    /// The exit status.
    pub status: ExitStatus,
    /// Everything written to standard output.
    pub stdout: Vec<u8>,
    /// Everything written to standard error.
    pub stderr: Vec<u8>,
}

impl GitOutput {
    /// Standard output as text, without the newlines at its end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches('\n').to_owned()
    }

    /// Standard error as text, without the newlines at its end.
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim_end_matches('\n').to_owned()
    }
}

impl RealGit {
    /// Sets up a scratch home for the `git` on PATH.
    pub fn new() -> Self {
        let scratch = TempDir::new();
        scratch.write("home/.gitconfig", HOME_CONFIG);
        RealGit {
            scratch,
            program: "git".into(),
            clock: AtomicI64::new(CLOCK_START),
            protocol: None,
            variables: Vec::new(),
        }
    }

    /// Speaks this protocol version (0, 1 or 2) as a client.
    #[must_use]
    pub fn protocol(mut self, version: u8) -> Self {
        self.protocol = Some(version);
        self
    }

    /// Sets an environment variable for every command (`GIT_TRACE_CURL`, `http_proxy`, …).
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// The folder that repositories of a test are made in; removed on drop.
    pub fn root(&self) -> &Path {
        self.scratch.path()
    }

    /// A path below [`RealGit::root`].
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.scratch.join(name)
    }

    /// The scratch home folder, which holds `.gitconfig`.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// A `git` command in `dir`, ready for arguments; every command gets the next minute.
    pub fn command(&self, dir: impl AsRef<Path>) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(dir).stdin(Stdio::null());
        self.isolate(&mut command);
        if let Some(version) = self.protocol {
            command.arg("-c").arg(format!("protocol.version={version}"));
        }
        command
    }

    /// Gives any program this scratch home, identity and clock: ours as well as git's.
    pub fn isolate(&self, command: &mut Command) {
        let now = self.clock.fetch_add(CLOCK_STEP_SECONDS, Ordering::Relaxed);
        let date = format!("{now} +0000");
        command.env_clear();
        for kept in ["PATH", "TMPDIR", "RUST_BACKTRACE", "RUST_LOG", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command
            .env("HOME", self.home())
            .env("XDG_CONFIG_HOME", self.home().join(".config"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_MERGE_AUTOEDIT", "no")
            .env("GIT_EDITOR", ":")
            .env("GIT_CEILING_DIRECTORIES", self.root())
            .env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_NAME", "C O Mitter")
            .env("GIT_COMMITTER_EMAIL", "committer@example.com")
            .env("GIT_COMMITTER_DATE", &date)
            .env("LC_ALL", "C")
            .env("TZ", "UTC");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }

    /// Runs `git ARGS` in `dir`, whatever the outcome.
    pub fn run<A: AsRef<OsStr>>(&self, dir: impl AsRef<Path>, args: &[A]) -> GitOutput {
        self.run_with_input(dir, args, b"")
    }

    /// Runs `git ARGS` in `dir` with bytes on standard input, whatever the outcome.
    pub fn run_with_input<A: AsRef<OsStr>>(
        &self,
        dir: impl AsRef<Path>,
        args: &[A],
        input: &[u8],
    ) -> GitOutput {
        let mut command = self.command(dir);
        command.args(args);
        run_with_input(command, input)
    }

    /// Runs `git ARGS` in `dir`, which must succeed; its standard output as text.
    pub fn ok<A: AsRef<OsStr>>(&self, dir: impl AsRef<Path>, args: &[A]) -> String {
        self.ok_with_input(dir, args, b"").text()
    }

    /// Like [`RealGit::ok`] with bytes on standard input; the whole output.
    pub fn ok_with_input<A: AsRef<OsStr>>(
        &self,
        dir: impl AsRef<Path>,
        args: &[A],
        input: &[u8],
    ) -> GitOutput {
        let output = self.run_with_input(dir.as_ref(), args, input);
        assert!(output.status.success(), "{}", account("failed", dir.as_ref(), args, &output));
        output
    }

    /// Runs `git ARGS` in `dir`, which must fail with an exit code; its standard error as text.
    pub fn fail<A: AsRef<OsStr>>(&self, dir: impl AsRef<Path>, args: &[A]) -> String {
        let output = self.run(dir.as_ref(), args);
        let failed = output.status.code().is_some_and(|code| code != 0);
        assert!(failed, "{}", account("did not fail in order", dir.as_ref(), args, &output));
        output.error_text()
    }

    /// Makes an empty bare repository below the root.
    pub fn init_bare(&self, name: impl AsRef<Path>) -> PathBuf {
        self.init_bare_of(name, HashKind::Sha1)
    }

    /// Makes an empty bare repository of the given object format below the root.
    pub fn init_bare_of(&self, name: impl AsRef<Path>, hash: HashKind) -> PathBuf {
        let dir = self.path(name);
        let format = format!("--object-format={}", hash.name());
        self.ok(
            self.root(),
            &[
                "init".as_ref(),
                "--quiet".as_ref(),
                "--bare".as_ref(),
                format.as_ref(),
                dir.as_os_str(),
            ],
        );
        dir
    }

    /// Checks every object and ref of a repository: `git fsck --strict --full`.
    pub fn fsck_strict(&self, dir: impl AsRef<Path>) {
        let args = ["fsck", "--strict", "--full", "--no-dangling", "--no-progress"];
        self.ok(dir, &args);
    }

    /// The object a revision names; it must exist.
    pub fn rev_parse(&self, dir: impl AsRef<Path>, revision: &str) -> ObjectId {
        let hex = self.ok(dir, &["rev-parse", "--verify", "--quiet", "--end-of-options", revision]);
        ObjectId::from_hex(hex.as_bytes()).expect("rev-parse prints one object id")
    }

    /// Clones `url` into `name` below the root, with further options for `git clone`.
    pub fn clone<A: AsRef<OsStr>>(
        &self,
        url: impl AsRef<OsStr>,
        name: impl AsRef<Path>,
        options: &[A],
    ) -> PathBuf {
        let dir = self.path(name);
        let mut args: Vec<&OsStr> = vec!["clone".as_ref(), "--quiet".as_ref()];
        args.extend(options.iter().map(AsRef::as_ref));
        args.extend([OsStr::new("--"), url.as_ref(), dir.as_os_str()]);
        self.ok(self.root(), &args);
        dir
    }

    /// Every object reachable from any ref, as sorted hexadecimal ids: what a full clone must hold.
    pub fn reachable(&self, dir: impl AsRef<Path>) -> Vec<String> {
        let listed = self.ok(dir, &["rev-list", "--objects", "--no-object-names", "--all"]);
        let mut ids: Vec<String> = listed.lines().map(str::to_owned).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// `for-each-ref` as `id name` lines in byte order.
    pub fn refs(&self, dir: impl AsRef<Path>) -> String {
        self.ok(dir, &["for-each-ref", "--format=%(objectname) %(refname)"])
    }

    /// Adds a commit that writes one file to a work tree, and returns its id.
    pub fn commit_file(
        &self,
        work_tree: impl AsRef<Path>,
        name: &str,
        contents: impl AsRef<[u8]>,
    ) -> ObjectId {
        let path = work_tree.as_ref().join(name);
        std::fs::create_dir_all(path.parent().expect("a file lies in a folder"))
            .expect("make the folders of a committed file");
        std::fs::write(&path, contents).expect("write a file to commit");
        self.ok(&work_tree, &["add", "--", name]);
        self.ok(&work_tree, &["commit", "--quiet", "-m", &format!("Change {name}")]);
        self.rev_parse(&work_tree, "HEAD")
    }
}

impl Default for RealGit {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs a prepared command with bytes on its standard input.
pub(crate) fn run_with_input(mut command: Command, input: &[u8]) -> GitOutput {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|why| panic!("start {command:?}: {why}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let output = std::thread::scope(|scope| {
        // A program that stops reading early is judged by its status, not by our broken pipe.
        scope.spawn(move || stdin.write_all(input).and_then(|()| stdin.flush()).ok());
        child.wait_with_output().expect("wait for the command")
    });
    GitOutput { status: output.status, stdout: output.stdout, stderr: output.stderr }
}

fn account<A: AsRef<OsStr>>(what: &str, dir: &Path, args: &[A], output: &GitOutput) -> String {
    let args: Vec<_> = args.iter().map(|arg| arg.as_ref().to_string_lossy()).collect();
    format!(
        "git {} {what} ({}) in {}\nstdout: {}\nstderr: {}",
        args.join(" "),
        output.status,
        dir.display(),
        output.text(),
        output.error_text()
    )
}
