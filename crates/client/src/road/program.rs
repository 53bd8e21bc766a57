//! Conversations that a program carries: the user's ssh, or git's service of a folder.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;
use wire::Service;

use super::{BoxWrite, StreamRoad};
use crate::Error;
use crate::options::{Options, Ssh, SshVariant};
use crate::packets::{BoxRead, Packets};

/// Of what a program says the last is kept, bytes.
const SAID_BYTES_MAX: usize = 4 << 10;
/// How long a program may take to end by itself.
const END_TIME: Duration = Duration::from_secs(5);

/// What a git command takes from its repository; none of it is for another one (git-rev-parse(1),
/// `--local-env-vars`).
const REPOSITORY_VARIABLES: &[&str] = &[
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// A running program; it and what it started end when this is dropped.
pub(crate) struct ProgramEnd {
    name: String,
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
    listening: JoinHandle<()>,
}

impl ProgramEnd {
    /// Why it ended, as far as it says; `None` when it ended well, or has not.
    pub async fn why(&mut self) -> Option<Error> {
        let status = tokio::time::timeout(END_TIME, self.child.wait()).await.ok()?.ok()?;
        if status.success() {
            return None;
        }
        // What it said last may still be on its way.
        let _ = tokio::time::timeout(END_TIME, &mut self.listening).await;
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = String::from_utf8_lossy(&said);
        let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
        let words: Vec<&str> = lines.collect();
        let words = match words.is_empty() {
            true => status.to_string(),
            false => words.join("; "),
        };
        Some(Error::Program { program: self.name.clone(), words })
    }

    /// Waits until it has ended by itself, for a while.
    pub async fn ended(mut self) {
        let _ = tokio::time::timeout(END_TIME, self.child.wait()).await;
    }
}

impl Drop for ProgramEnd {
    fn drop(&mut self) {
        self.listening.abort();
        // A shell may stand between us and ssh.
        let group = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::TERM);
        }
    }
}

/// The service of a folder of this machine.
pub(super) fn local(path: &Path, service: Service, options: &Options) -> Result<StreamRoad, Error> {
    let git = options.git.as_os_str();
    let mut command = Command::new(git);
    command.arg(service.name().trim_start_matches("git-")).arg(path);
    spawn(service.name().to_owned(), command, options)
}

/// The service of a repository that ssh reaches.
pub(super) fn ssh(
    (user, host, port): (Option<&str>, &str, Option<u16>),
    path: &str,
    service: Service,
    options: &Options,
) -> Result<StreamRoad, Error> {
    let asked = format!("{} {}", service.name(), shell_quoted(path));
    let command = ssh_command((user, host, port), &asked, &options.ssh)?;
    spawn("ssh".to_owned(), command, options)
}

/// A command that ssh runs, with its standard input and output.
pub(crate) fn ssh_stream(
    to: (Option<&str>, &str, Option<u16>),
    asked: &str,
    options: &Options,
) -> Result<(BoxRead, BoxWrite, ProgramEnd), Error> {
    start("ssh".to_owned(), ssh_command(to, asked, &options.ssh)?)
}

/// A program of this machine, with its standard input and output.
pub(crate) fn program_stream(
    name: &str,
    words: &[&OsStr],
) -> Result<(BoxRead, BoxWrite, ProgramEnd), Error> {
    let mut command = Command::new(name);
    command.args(words);
    start(name.to_owned(), command)
}

/// ssh with something to run there (git(1), `GIT_SSH`).
fn ssh_command(
    (user, host, port): (Option<&str>, &str, Option<u16>),
    asked: &str,
    ssh: &Ssh,
) -> Result<Command, Error> {
    let variant = ssh.variant();
    let mut arguments: Vec<OsString> = Vec::new();
    if variant == SshVariant::OpenSsh {
        arguments.extend(["-o".into(), "SendEnv=GIT_PROTOCOL".into()]);
        if ssh.is_batch {
            // Nobody is there to see that the other end has gone.
            for option in ["BatchMode=yes", "ServerAliveInterval=30", "ServerAliveCountMax=2"] {
                arguments.extend(["-o".into(), option.into()]);
            }
        }
    }
    if let Some(port) = port {
        let option = match variant {
            SshVariant::OpenSsh => "-p",
            SshVariant::Plink => "-P",
            SshVariant::Simple => {
                let words = "this ssh takes no port (ssh.variant 'simple')".to_owned();
                return Err(Error::Unsupported(words));
            }
        };
        arguments.extend([option.into(), port.to_string().into()]);
    }
    arguments.push(match user {
        Some(user) => format!("{user}@{host}").into(),
        None => host.into(),
    });
    arguments.push(asked.into());
    let mut command = match &ssh.command {
        // As git does it: the words are the shell's to take apart, but for what is added.
        Some(words) => {
            let mut script = words.clone();
            script.push(" \"$@\"");
            let mut command = Command::new("sh");
            command.arg("-c").arg(script).arg(words);
            command
        }
        None => Command::new(&ssh.program),
    };
    command.args(arguments);
    Ok(command)
}

fn spawn(name: String, command: Command, options: &Options) -> Result<StreamRoad, Error> {
    let (read, write, program) = start(name, command)?;
    let packets = Packets::new(read, options.silence_max);
    Ok(StreamRoad { packets, write, program: Some(program) })
}

fn start(name: String, mut command: Command) -> Result<(BoxRead, BoxWrite, ProgramEnd), Error> {
    for variable in REPOSITORY_VARIABLES {
        command.env_remove(variable);
    }
    command.env("GIT_PROTOCOL", "version=2");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| Error::Program {
        program: shown(command.as_std().get_program()),
        words: error.to_string(),
    })?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Error::Program { program: name, words: "it has no streams".into() });
    };
    let said = Arc::new(Mutex::new(Vec::new()));
    let listening = tokio::spawn(listen(stderr, said.clone()));
    let program = ProgramEnd { name, child, said, listening };
    Ok((Box::new(stdout), Box::new(stdin), program))
}

fn shown(program: &OsStr) -> String {
    program.to_string_lossy().into_owned()
}

/// Keeps the last of what a program says.
async fn listen(mut stderr: ChildStderr, said: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(&buffer[..count]);
        let excess = said.len().saturating_sub(SAID_BYTES_MAX);
        said.drain(..excess);
    }
}

/// Quoted for a shell, as git does it.
pub fn shell_quoted(path: &str) -> String {
    let inside = path.replace('\'', r"'\''").replace('!', r"'\!'");
    format!("'{inside}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(ssh: &Ssh, port: Option<u16>) -> Result<Vec<String>, Error> {
        let command = ssh_command((Some("git"), "host", port), "git-upload-pack 'x'", ssh)?;
        let command = command.as_std();
        let words = [command.get_program()].into_iter().chain(command.get_args());
        Ok(words.map(shown).collect())
    }

    #[test]
    fn ssh_is_told_what_it_understands() {
        let ssh = Ssh { is_batch: true, ..Ssh::default() };
        let words = arguments(&ssh, Some(22)).expect("a command").join(" ");
        let expected = "ssh -o SendEnv=GIT_PROTOCOL -o BatchMode=yes -o ServerAliveInterval=30 \
            -o ServerAliveCountMax=2 -p 22 git@host git-upload-pack 'x'";
        assert_eq!(words, expected);
        let plink = Ssh { program: "/opt/plink".into(), ..Ssh::default() };
        let words = arguments(&plink, Some(22)).expect("a command");
        assert_eq!(words[1..3], ["-P", "22"]);
        let simple = Ssh { variant: Some(SshVariant::Simple), ..Ssh::default() };
        assert_eq!(arguments(&simple, None).expect("a command")[1], "git@host");
        arguments(&simple, Some(22)).expect_err("no port");
        let own = Ssh { command: Some("ssh -i 'a b'".into()), ..Ssh::default() };
        let words = arguments(&own, None).expect("a command");
        assert_eq!(words[..4], ["sh", "-c", "ssh -i 'a b' \"$@\"", "ssh -i 'a b'"]);
    }

    #[test]
    fn paths_are_quoted() {
        assert_eq!(shell_quoted("a b"), "'a b'");
        assert_eq!(shell_quoted("it's!"), r"'it'\''s'\!''");
        let read = wire::ssh_command::read_command(
            format!("git-upload-pack {}", shell_quoted("it's a!b")).as_bytes(),
        );
        let expected = wire::ssh_command::SshCommand::Git {
            service: Service::UploadPack,
            path: "it's a!b".into(),
        };
        assert_eq!(read.expect("a command"), expected);
    }
}
