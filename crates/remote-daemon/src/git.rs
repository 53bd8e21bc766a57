//! Stock git, run beside the daemon: it knows every setting, hook and helper of a repository.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// Git in one repository.
#[derive(Debug, Clone)]
pub struct Git {
    /// The program.
    pub program: OsString,
    /// Where it runs: the work tree, or a bare repository.
    pub folder: PathBuf,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    /// Its status.
    pub status: ExitStatus,
    /// What it wrote.
    pub output: Vec<u8>,
    /// What it said.
    pub said: String,
}

impl Ran {
    /// What it said last that is no advice, or how it ended.
    pub fn words(&self) -> String {
        let lines = self.said.lines().map(str::trim).filter(|line| !line.is_empty());
        let lines: Vec<&str> = lines.filter(|line| !line.starts_with("hint:")).collect();
        let errors: Vec<&str> = lines
            .iter()
            .copied()
            .filter(|line| {
                ["fatal:", "error:", "ssh:", "!"].iter().any(|start| line.starts_with(start))
            })
            .collect();
        match (errors.as_slice(), lines.last()) {
            ([], None) => self.status.to_string(),
            ([], Some(last)) => (*last).to_owned(),
            (errors, _) => errors.join("; "),
        }
    }
}

/// A program and all it started, ended when this is dropped.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let group = self.0.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(group) = group {
            // It may have ended.
            let _ = kill_process_group(group, Signal::TERM);
        }
    }
}

impl Git {
    /// Runs a command to its end. Nobody is asked for anything. Dropped, it is ended.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn run(&self, arguments: &[&OsStr]) -> std::io::Result<Ran> {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(&self.folder).process_group(0);
        command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut group = Group(command.kill_on_drop(true).spawn()?);
        let (stdout, stderr) = (group.0.stdout.take(), group.0.stderr.take());
        let (output, said) = tokio::try_join!(read(stdout), read(stderr))?;
        let status = group.0.wait().await?;
        Ok(Ran { status, output, said: String::from_utf8_lossy(&said).into_owned() })
    }

    /// What a command wrote; `None` when it failed.
    pub async fn output(&self, arguments: &[&str]) -> Option<Vec<u8>> {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        let ran = self.run(&arguments).await.ok()?;
        ran.status.success().then_some(ran.output)
    }

    /// What a command wrote, one line, as text.
    pub async fn line(&self, arguments: &[&str]) -> Option<String> {
        let output = self.output(arguments).await?;
        Some(String::from_utf8_lossy(&output).trim_end_matches('\n').to_owned())
    }
}

async fn read(stream: Option<impl tokio::io::AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut bytes).await?;
    }
    Ok(bytes)
}

/// A repository, and git in it.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Git, in its work tree if it has one.
    pub git: Git,
    /// Its git directory; of a linked work tree, that.
    pub git_dir: PathBuf,
    /// The git directory that all its work trees share.
    pub common_dir: PathBuf,
    /// Whether it has a work tree.
    pub has_work_tree: bool,
}

impl Repository {
    /// Finds the repository that a folder is in.
    ///
    /// # Errors
    /// In words, when there is none.
    pub async fn find(program: &OsStr, folder: &Path) -> Result<Self, String> {
        let mut git = Git { program: program.to_owned(), folder: folder.to_owned() };
        let asked = ["rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir"];
        let asked: Vec<&OsStr> = asked.iter().map(OsStr::new).collect();
        let ran = git.run(&asked).await.map_err(|error| format!("cannot run git: {error}"))?;
        if !ran.status.success() {
            return Err(ran.words());
        }
        let mut lines = ran.output.split(|byte| *byte == b'\n').map(path);
        let (Some(git_dir), Some(common_dir)) = (lines.next(), lines.next()) else {
            return Err("git does not say where the repository is".to_owned());
        };
        let top = git.line(&["rev-parse", "--show-toplevel"]).await.filter(|top| !top.is_empty());
        let has_work_tree = top.is_some();
        git.folder = top.map_or_else(|| git_dir.clone(), PathBuf::from);
        Ok(Repository { git, git_dir, common_dir, has_work_tree })
    }
}

fn path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    PathBuf::from(OsStr::from_bytes(bytes))
}
