//! git-remote-daemon, beside repositories of stock git.

mod background;
mod contents;
mod direct;
mod foreground;
mod no_room;
mod ways;
mod weather;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{LineProcess, RealGit};

use crate::serving::{Serving, packhorse};
use crate::ssh_client::SshClient;

/// A server that takes pushes by every door, somebody who pushes, and somebody else's clone.
pub struct Scene {
    pub server: Serving,
    pub served: PathBuf,
    /// Where commits are made.
    pub work: PathBuf,
    /// Where the daemon is.
    pub away: PathBuf,
    pub ssh: SshClient,
    pub git: RealGit,
}

impl Scene {
    pub fn new() -> Self {
        Self::with_path("")
    }

    /// With programs of this folder for git and the daemon.
    pub fn with_path(folder: &str) -> Self {
        let git = RealGit::new();
        let ssh = SshClient::new(&git);
        let path = std::env::var("PATH").expect("a path");
        let git = git
            .env("GIT_SSH_COMMAND", ssh.command())
            .env("PATH", format!("{folder}:{path}").trim_start_matches(':'));
        let served = git.init_bare("srv/r.git");
        let access = format!(
            "[users.ann]\nkeys = ['{}']\n[[rules]]\nrepositories = ['**']\nwho = ['anyone']\nallow = 'write'\n",
            ssh.public_key().trim()
        );
        fs::write(git.path("access.toml"), access).expect("a file");
        let config = "[access]\nfile = 'access.toml'\n[git]\nlisten = '127.0.0.1:0'\nreceive_pack = true\n\
            [ssh]\nlisten = '127.0.0.1:0'\nhost_key = 'host_key'\n[watch]\nheartbeat_ms = 500\n";
        fs::write(git.path("server.toml"), config).expect("a file");
        let mut command = packhorse(&git);
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(git.path("server.toml"));
        command.arg(git.path("srv"));
        let server = Serving::spawn(&git, command);
        let work = git.clone(server.url("r.git"), "work", &["-q"]);
        git.commit_file(&work, "file", "one");
        git.ok(&work, &["push", "-q", "origin", "HEAD:refs/heads/main"]);
        let away = git.clone(server.url("r.git"), "away", &["-q"]);
        Scene { server, served, work, away, ssh, git }
    }

    /// A repository by each door.
    pub fn urls(&self) -> Vec<String> {
        let ssh = format!("ssh://git@{}/r.git", self.server.ssh_authority());
        vec![self.server.url("r.git"), ssh, self.server.git_url("r.git")]
    }

    /// The daemon of a repository, ready for arguments.
    pub fn daemon(&self, folder: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_git-remote-daemon"));
        self.git.isolate(&mut command);
        command.current_dir(folder);
        command
    }

    /// The daemon of a repository, in the foreground.
    pub fn foreground(&self, folder: &Path, options: &[&str]) -> LineProcess {
        let mut command = self.daemon(folder);
        command.arg("--foreground").args(options);
        LineProcess::spawn(command)
    }

    /// Commits, and pushes to a branch; its id.
    pub fn push(&self, branch: &str, text: &str) -> String {
        self.git.commit_file(&self.work, "file", text);
        let to = format!("HEAD:refs/heads/{branch}");
        self.git.ok(&self.work, &["push", "-q", "-f", "origin", &to]);
        self.git.rev_parse(&self.work, "HEAD").to_string()
    }

    pub fn config(&self, folder: &Path, name: &str, value: &str) {
        self.git.ok(folder, &["config", name, value]);
    }

    /// What a ref is, if it is there.
    pub fn at(&self, folder: &Path, name: &str) -> Option<String> {
        let ran = self.git.run(folder, &["rev-parse", "--verify", "-q", name]);
        ran.status.success().then(|| ran.text())
    }
}
