//! OpenSSH's client, with a key of its own and nobody's configuration.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use testkit::RealGit;

/// A client that has a key.
pub struct SshClient {
    key: PathBuf,
    known_hosts: PathBuf,
}

impl SshClient {
    /// A client with a new key.
    pub fn new(git: &RealGit) -> Self {
        Self::named(git, "ssh_key")
    }

    /// A client with a new key of this name.
    pub fn named(git: &RealGit, name: &str) -> Self {
        let key = git.path(name);
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&key);
        assert!(command.status().expect("ssh-keygen is installed").success());
        SshClient { key, known_hosts: git.path("known_hosts") }
    }

    /// Its public key, a line.
    pub fn public_key(&self) -> String {
        fs::read_to_string(self.key.with_extension("pub")).expect("a key")
    }

    fn options(&self) -> Vec<String> {
        let file = |option: &str, path: &PathBuf| format!("{option}={}", path.display());
        let mut options = vec!["-F".to_owned(), "/dev/null".to_owned()];
        for option in [
            file("IdentityFile", &self.key),
            file("UserKnownHostsFile", &self.known_hosts),
            "IdentitiesOnly=yes".to_owned(),
            "IdentityAgent=none".to_owned(),
            "StrictHostKeyChecking=accept-new".to_owned(),
            "BatchMode=yes".to_owned(),
            "LogLevel=ERROR".to_owned(),
        ] {
            options.extend(["-o".to_owned(), option]);
        }
        options
    }

    /// What git runs (`GIT_SSH_COMMAND`).
    pub fn command(&self) -> String {
        format!("ssh {}", self.options().join(" "))
    }

    /// `ssh` to a server, ready for more options; the host comes last.
    pub fn to(&self, git: &RealGit, authority: &str) -> Command {
        let (host, port) = authority.rsplit_once(':').expect("a port");
        let mut command = Command::new("ssh");
        git.isolate(&mut command);
        command.args(self.options()).args(["-p", port, "-l", "git", host]);
        command
    }

    /// Runs a command there; what it wrote to standard output and standard error, and its status.
    pub fn run(
        &self,
        git: &RealGit,
        authority: &str,
        command: &str,
        input: &[u8],
    ) -> (String, String, i32) {
        let mut ssh = self.to(git, authority);
        ssh.arg(command).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = ssh.spawn().expect("ssh is installed");
        let mut stdin = child.stdin.take().expect("piped");
        let output = std::thread::scope(|scope| {
            // It may end before it has taken everything.
            scope.spawn(move || drop(stdin.write_all(input)));
            child.wait_with_output().expect("ssh ends")
        });
        said(&output)
    }
}

fn said(output: &Output) -> (String, String, i32) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code().unwrap_or(-1))
}
