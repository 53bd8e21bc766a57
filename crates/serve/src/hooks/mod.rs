//! Running a repository's hooks: finding them, giving them git's environment and
//! standard input, copying what they say to the client while they run, and ending
//! those that take too long.
//!
//! Knows processes and nothing of the protocol: what a hook says goes to a [`Relay`].

mod configured;
mod environment;
mod process;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gitconfig::Config;
use rustix::fs::{Access, access};

pub use configured::{ConfiguredHooks, HookConfigError};
pub use environment::HookEnvironment;
pub(crate) use process::{Launch, Program, converse};

/// Where the words of a running hook go.
pub trait Relay {
    /// Bytes the hook wrote to its standard output or error, as they come.
    fn output(&mut self, bytes: &[u8]);

    /// Nothing was said for the keep-alive interval.
    fn idle(&mut self);
}

/// How long hooks may take, and how often silence is bridged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookLimits {
    /// Milliseconds one hook may run before its process group is killed; 0 for no limit.
    pub hook_timeout_ms: u64,
    /// Seconds of silence after which the client is sent a keep-alive; 0 for never
    /// (`receive.keepAlive`).
    pub keepalive_seconds: u64,
}

impl Default for HookLimits {
    fn default() -> Self {
        HookLimits { hook_timeout_ms: 600_000, keepalive_seconds: 5 }
    }
}

impl HookLimits {
    fn timeout(&self) -> Option<Duration> {
        (self.hook_timeout_ms > 0).then(|| Duration::from_millis(self.hook_timeout_ms))
    }

    fn keepalive(&self) -> Option<Duration> {
        (self.keepalive_seconds > 0).then(|| Duration::from_secs(self.keepalive_seconds))
    }
}

/// How a hook, or all hooks of one event, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is no such hook.
    Absent,
    /// Every hook ended with exit code 0.
    Passed,
    /// A hook ended with another exit code, by a signal, or could not be started.
    Declined,
    /// A hook ran past [`HookLimits::hook_timeout_ms`] and was killed.
    TimedOut,
}

impl Verdict {
    /// Whether the hook stands against what it was asked about.
    pub fn refuses(self) -> bool {
        matches!(self, Verdict::Declined | Verdict::TimedOut)
    }

    fn and(self, other: Verdict) -> Verdict {
        match (self, other) {
            (Verdict::TimedOut, _) | (_, Verdict::TimedOut) => Verdict::TimedOut,
            (Verdict::Declined, _) | (_, Verdict::Declined) => Verdict::Declined,
            (Verdict::Passed, _) | (_, Verdict::Passed) => Verdict::Passed,
            (Verdict::Absent, Verdict::Absent) => Verdict::Absent,
        }
    }
}

/// One event a hook is run for.
#[derive(Debug, Default)]
pub struct Call<'a> {
    /// The hook's name, for example `pre-receive`.
    pub event: &'a str,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables on top of the session's environment.
    pub env: Vec<(OsString, OsString)>,
    /// Its standard input; `None` for an empty one that is not a pipe.
    pub stdin: Option<Vec<u8>>,
}

/// The hooks of one repository on disk, as one session runs them.
#[derive(Debug)]
pub struct Hooks<'a> {
    git_dir: PathBuf,
    folder: PathBuf,
    configured: ConfiguredHooks,
    environment: &'a HookEnvironment,
    variables: Vec<(OsString, OsString)>,
    limits: HookLimits,
    advises: bool,
}

impl<'a> Hooks<'a> {
    /// The hooks of the repository at `git_dir`, which shares `common_dir` with its work trees.
    ///
    /// # Errors
    /// When `hook.*` or `core.hooksPath` cannot be understood.
    pub fn new(
        git_dir: &Path,
        common_dir: &Path,
        config: &Config,
        environment: &'a HookEnvironment,
        limits: HookLimits,
    ) -> Result<Self, HookConfigError> {
        let folder = match config.path("core.hooksPath").map_err(HookConfigError::Config)? {
            Some(path) => path,
            // Hooks see the name git runs them by ($0), relative to the git directory.
            None if git_dir == common_dir => PathBuf::from("hooks"),
            None => common_dir.join("hooks"),
        };
        let configured = ConfiguredHooks::from_config(config)?;
        let advises = config.bool("advice.ignoredHook").map_err(HookConfigError::Config)?;
        Ok(Hooks {
            git_dir: git_dir.to_owned(),
            folder,
            configured,
            environment,
            variables: Vec::new(),
            limits,
            advises: advises.unwrap_or(true),
        })
    }

    /// Sets a variable for every hook of this session from now on.
    pub fn set_variable(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.variables.push((name.into(), value.into()));
    }

    /// What git advises when a hook lies in the folder and cannot be executed; `None` when it
    /// can, is not there, or `advice.ignoredHook` is off.
    pub fn advice(&self, event: &str) -> Option<String> {
        let ignored = self.advises
            && self.in_folder(event).is_none()
            && self.git_dir.join(&self.folder).join(event).is_file();
        ignored.then(|| {
            format!(
                "hint: The '{}' hook was ignored because it's not set as executable.\n\
                 hint: You can disable this warning with `git config set advice.ignoredHook false`.\n",
                self.folder.join(event).display()
            )
        })
    }

    /// Whether anything runs for an event.
    pub fn exists(&self, event: &str) -> bool {
        self.in_folder(event).is_some() || self.configured.commands(event).next().is_some()
    }

    /// The hook in the hooks folder, as it is called from the git directory.
    pub(crate) fn in_folder(&self, event: &str) -> Option<PathBuf> {
        let path = self.folder.join(event);
        let absolute = self.git_dir.join(&path);
        (absolute.is_file() && access(&absolute, Access::EXEC_OK).is_ok()).then_some(path)
    }

    /// Runs everything there is for an event: configured commands in order, then the hook in
    /// the folder. All of them run, also after one declined.
    pub fn run(&self, call: &Call<'_>, relay: &mut dyn Relay) -> Verdict {
        let mut verdict = Verdict::Absent;
        for program in self.programs(call.event) {
            verdict = verdict.and(self.run_one(&program, call, relay));
        }
        verdict
    }

    fn programs(&self, event: &str) -> Vec<Program> {
        let configured = self.configured.commands(event).map(|text| Program::Shell(text.into()));
        configured.chain(self.in_folder(event).map(Program::File)).collect()
    }

    fn run_one(&self, program: &Program, call: &Call<'_>, relay: &mut dyn Relay) -> Verdict {
        let prepare = |command: &mut Command| self.prepare(command, &call.env);
        let launch = Launch { program, args: &call.args, prepare: &prepare, limits: self.limits };
        match process::run(&launch, call.stdin.as_deref(), relay) {
            Ok(verdict) => verdict,
            Err(error) => {
                let words = format!("error: cannot run {}: {error}\n", program.display());
                relay.output(words.as_bytes());
                Verdict::Declined
            }
        }
    }

    /// Gives a command the working directory and environment of a hook.
    pub(crate) fn prepare(&self, command: &mut Command, extra: &[(OsString, OsString)]) {
        command.current_dir(&self.git_dir);
        self.environment.apply(command);
        command.env("GIT_DIR", ".");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.envs(extra.iter().map(|(name, value)| (name, value)));
    }

    /// A list variable of the session's environment with one more entry, as git joins them.
    pub(crate) fn joined(&self, name: &str, entry: &OsStr) -> OsString {
        let mut joined = self.environment.get(name).unwrap_or_default().to_owned();
        if !joined.is_empty() {
            joined.push(":");
        }
        joined.push(entry);
        joined
    }

    /// The limits hooks run under.
    pub(crate) fn limits(&self) -> HookLimits {
        self.limits
    }
}

#[cfg(test)]
mod tests;
