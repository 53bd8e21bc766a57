//! One child process under supervision: fed, listened to, and killed with its
//! whole process group when its time is over.

use std::ffi::OsString;
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

use super::{HookLimits, Relay, Verdict};

/// Bytes read from a hook's output at a time: small enough that words arrive as they are said.
const OUTPUT_CHUNK_BYTES: usize = 4096;

/// What is run.
#[derive(Debug, Clone)]
pub(crate) enum Program {
    /// A file, by a path relative to the git directory or an absolute one.
    File(PathBuf),
    /// A command line for the shell, as configuration gives it.
    Shell(OsString),
}

impl Program {
    fn command(&self, args: &[OsString]) -> Command {
        match self {
            Program::File(path) => {
                let mut command = Command::new(path);
                command.args(args);
                command
            }
            Program::Shell(text) => {
                let mut line = text.clone();
                if !args.is_empty() {
                    line.push(" \"$@\"");
                }
                let mut command = Command::new("/bin/sh");
                command.arg("-c").arg(line).arg(text).args(args);
                command
            }
        }
    }

    /// A script without `#!` cannot be executed; a shell can read it.
    fn in_shell(path: &Path, args: &[OsString]) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg(path).args(args);
        command
    }

    /// How a person would call it.
    pub(crate) fn display(&self) -> String {
        match self {
            Program::File(path) => path.display().to_string(),
            Program::Shell(text) => text.to_string_lossy().into_owned(),
        }
    }
}

/// A program with everything it is started with.
pub(crate) struct Launch<'a> {
    /// What is run.
    pub(crate) program: &'a Program,
    /// Its arguments.
    pub(crate) args: &'a [OsString],
    /// Sets the working directory and the environment.
    pub(crate) prepare: &'a dyn Fn(&mut Command),
    /// How long it may take.
    pub(crate) limits: HookLimits,
}

/// Runs a hook to its end: writes its standard input, relays its output.
pub(super) fn run(
    launch: &Launch<'_>,
    stdin: Option<&[u8]>,
    relay: &mut dyn Relay,
) -> io::Result<Verdict> {
    let (child, output) = launch.start(stdin.is_some(), false)?;
    let feed = |input: Option<ChildStdin>, _: Option<ChildStdout>| {
        if let (Some(mut input), Some(bytes)) = (input, stdin) {
            // A hook may decide without reading everything: a closed pipe is no error.
            let _ = input.write_all(bytes);
        }
    };
    let (end, ()) = supervise(child, output, feed, launch.limits, relay)?;
    Ok(match end {
        End::Killed => Verdict::TimedOut,
        End::Exited(status) if status.success() => Verdict::Passed,
        End::Exited(_) => Verdict::Declined,
    })
}

/// Runs a hook that speaks a protocol over its standard input and output, while its standard
/// error is relayed. `None` in place of the exit status: it ran out of time and was killed.
pub(crate) fn converse<T: Send>(
    launch: &Launch<'_>,
    relay: &mut dyn Relay,
    talk: impl FnOnce(ChildStdin, ChildStdout) -> T + Send,
) -> io::Result<(Option<ExitStatus>, T)> {
    let (child, output) = launch.start(true, true)?;
    let talk = |input: Option<ChildStdin>, output: Option<ChildStdout>| {
        talk(input.expect("stdin is piped"), output.expect("stdout is piped"))
    };
    let (end, value) = supervise(child, output, talk, launch.limits, relay)?;
    Ok(match end {
        End::Exited(status) => (Some(status), value),
        End::Killed => (None, value),
    })
}

impl Launch<'_> {
    /// Starts the program in a process group of its own. What it says on its standard error,
    /// and on its output unless that is piped, comes out of the returned pipe.
    fn start(&self, pipe_stdin: bool, pipe_stdout: bool) -> io::Result<(Child, PipeReader)> {
        let (reader, writer) = io::pipe()?;
        let spawn = |mut command: Command| {
            (self.prepare)(&mut command);
            command.process_group(0);
            command.stdin(if pipe_stdin { Stdio::piped() } else { Stdio::null() });
            let stdout = if pipe_stdout { Stdio::piped() } else { writer.try_clone()?.into() };
            command.stdout(stdout).stderr(writer.try_clone()?);
            command.spawn()
        };
        let child = match (spawn(self.program.command(self.args)), self.program) {
            (Err(error), Program::File(path)) if is_no_executable(&error) => {
                spawn(Program::in_shell(path, self.args))?
            }
            (result, _) => result?,
        };
        Ok((child, reader))
    }
}

fn is_no_executable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error())
}

enum End {
    Exited(ExitStatus),
    Killed,
}

/// Waits until the child has ended, everybody it left behind has closed the output pipe, and
/// `talk` has returned; or kills the process group when the time is over.
fn supervise<T: Send>(
    mut child: Child,
    output: PipeReader,
    talk: impl FnOnce(Option<ChildStdin>, Option<ChildStdout>) -> T + Send,
    limits: HookLimits,
    relay: &mut dyn Relay,
) -> io::Result<(End, T)> {
    let group = Pid::from_child(&child);
    let deadline = limits.timeout().map(|timeout| Instant::now() + timeout);
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let (ended, wait_for_end) = mpsc::channel();
    std::thread::scope(|scope| {
        let talk_ended = ended.clone();
        let talking = scope.spawn(move || {
            let value = talk(stdin, stdout);
            let _ = talk_ended.send(());
            value
        });
        let waiting = scope.spawn(move || {
            let status = child.wait();
            let _ = ended.send(());
            status
        });
        let mut in_time = relay_output(output, deadline, limits.keepalive(), relay);
        for _ in 0..2 {
            in_time = in_time && wait_until(&wait_for_end, deadline);
        }
        if !in_time {
            // The group may have ended at this very moment: then there is nothing to kill.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let value = talking.join().map_err(|_| io::Error::other("talking to a hook failed"))?;
        let status =
            waiting.join().map_err(|_| io::Error::other("waiting for a hook failed"))??;
        Ok((if in_time { End::Exited(status) } else { End::Killed }, value))
    })
}

/// Copies what the child says until everybody who could say something has closed the pipe.
/// False when the deadline passed first.
fn relay_output(
    mut output: PipeReader,
    deadline: Option<Instant>,
    keepalive: Option<Duration>,
    relay: &mut dyn Relay,
) -> bool {
    let mut chunk = [0; OUTPUT_CHUNK_BYTES];
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return false;
        }
        let patience = [left, keepalive].into_iter().flatten().min();
        let timeout = patience.and_then(|time| Timespec::try_from(time).ok());
        match poll(&mut [PollFd::new(&output, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) => {
                if keepalive.is_some() && patience == keepalive {
                    relay.idle();
                }
            }
            Ok(_) => match output.read(&mut chunk) {
                Ok(0) => return true,
                Ok(count) => relay.output(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return true,
            },
            Err(Errno::INTR) => {}
            Err(_) => return true,
        }
    }
}

fn wait_until(event: &mpsc::Receiver<()>, deadline: Option<Instant>) -> bool {
    match deadline {
        None => event.recv().is_ok(),
        Some(deadline) => {
            event.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
        }
    }
}
