//! The two programs that are compared, and how each is asked for the same thing.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::RealGit;

use crate::Outcome;

/// git as its users have it: no setting that makes it faster or slower.
const GIT_CONFIG: &str = "\
[user]\n\tname = A U Thor\n\temail = author@example.com\n\
[init]\n\tdefaultBranch = main\n\
[safe]\n\tdirectory = *\n\
[gc]\n\tauto = 0\n\
[maintenance]\n\tauto = false\n\
[receive]\n\tautogc = false\n";

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The program under test.
    Packhorse,
    /// Stock git.
    Git,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Packhorse => "packhorse",
            Side::Git => "git",
        })
    }
}

/// Packhorse, or nothing where git stands in for it, and git in a home of its own.
#[derive(Debug)]
pub(crate) struct Programs {
    packhorse: Option<PathBuf>,
    git: RealGit,
    /// A program that runs the two, and its arguments.
    runner: Vec<OsString>,
}

impl Programs {
    /// Finds Packhorse by `$PACKHORSE`, unless git is to stand in.
    pub(crate) fn find(self_check: bool) -> Outcome<Self> {
        if self_check {
            return Self::new(None, Vec::new());
        }
        let path = std::env::var_os("PACKHORSE").ok_or("set $PACKHORSE to the program")?;
        let path = PathBuf::from(path);
        if !path.is_file() {
            return Err(format!("there is no program at {}", path.display()).into());
        }
        Self::new(Some(path.canonicalize()?), Vec::new())
    }

    fn new(packhorse: Option<PathBuf>, runner: Vec<OsString>) -> Outcome<Self> {
        let git = RealGit::new();
        std::fs::write(git.home().join(".gitconfig"), GIT_CONFIG)?;
        Ok(Programs { packhorse, git, runner })
    }

    /// The same two, to be run by another program.
    pub(crate) fn run_by(&self, runner: Vec<OsString>) -> Outcome<Self> {
        Self::new(self.packhorse.clone(), runner)
    }

    /// Stock git, for preparations as well.
    pub(crate) fn git(&self) -> &RealGit {
        &self.git
    }

    /// The versions of both, as they tell them.
    pub(crate) fn versions(&self) -> Outcome<(String, String)> {
        let git = self.git.ok(self.git.root(), &["version"]);
        let Some(packhorse) = &self.packhorse else {
            return Ok((format!("{git}, standing in"), git));
        };
        let output = Command::new(packhorse).arg("--version").output()?;
        Ok((String::from_utf8_lossy(&output.stdout).trim().to_owned(), git))
    }

    /// `upload-pack DIR` over standard streams, to be spoken to in protocol v2.
    pub(crate) fn upload_pack(&self, side: Side, dir: &Path) -> Command {
        let mut command = self.start(side, dir);
        command.arg("upload-pack").arg(dir).env("GIT_PROTOCOL", "version=2");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    /// Indexes the pack on standard input into an empty bare repository.
    pub(crate) fn index_pack(&self, side: Side, dir: &Path, threads: usize) -> Command {
        let mut command = self.start(side, dir);
        if side == Side::Packhorse && self.packhorse.is_some() {
            command.args(["dev", "index-pack", "--threads", &threads.to_string()]).arg(dir);
        } else {
            command.args(["index-pack", "--stdin", &format!("--threads={threads}")]);
        }
        command.stdout(Stdio::null());
        command
    }

    /// Packs everything reachable into one pack, with deltas looked for anew.
    pub(crate) fn repack(&self, side: Side, dir: &Path, threads: usize) -> Command {
        let mut command = self.start(side, dir);
        let threads = threads.to_string();
        if side == Side::Packhorse && self.packhorse.is_some() {
            command.args(["maintain", "--fresh-deltas", "--quiet", "--threads", &threads]).arg(dir);
        } else {
            command.args(["-c", &format!("pack.threads={threads}"), "repack", "-adfq"]);
        }
        command
    }

    /// `packhorse serve` of one repository, pushes allowed; `None` where git stands in.
    pub(crate) fn server(&self, dir: &Path) -> Option<Command> {
        let mut command = Command::new(self.packhorse.as_ref()?);
        self.git.isolate(&mut command);
        command.arg("serve").arg(dir).args(["--listen", "127.0.0.1:0"]).stderr(Stdio::null());
        Some(command)
    }

    /// `git-remote-daemon`, which lies beside Packhorse, in a repository.
    pub(crate) fn remote_daemon(&self, dir: &Path) -> Option<Command> {
        let program = self.packhorse.as_ref()?.with_file_name("git-remote-daemon");
        let mut command = Command::new(program);
        self.git.isolate(&mut command);
        command.current_dir(dir);
        Some(command)
    }

    /// Packhorse with these arguments; `None` where git stands in.
    pub(crate) fn packhorse(&self, arguments: &[&str]) -> Option<Command> {
        let mut command = Command::new(self.packhorse.as_ref()?);
        self.git.isolate(&mut command);
        command.args(arguments).stdin(Stdio::null());
        Some(command)
    }

    fn start(&self, side: Side, dir: &Path) -> Command {
        let program = match (&self.packhorse, side) {
            (Some(packhorse), Side::Packhorse) => packhorse.as_os_str(),
            _ => OsStr::new("git"),
        };
        let mut command = match self.runner.split_first() {
            None => Command::new(program),
            Some((runner, arguments)) => {
                let mut command = Command::new(runner);
                command.args(arguments).arg(program);
                command
            }
        };
        self.git.isolate(&mut command);
        command.current_dir(dir).stdin(Stdio::null());
        command
    }
}
