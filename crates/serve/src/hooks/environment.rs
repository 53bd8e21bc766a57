//! The environment hooks start from: what the session was given, never by accident
//! what the server process happens to have.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Variables that name a repository; a hook must see the served one, not the caller's.
const REPOSITORY_VARIABLES: [&str; 6] =
    ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "PWD"];

/// The variables every hook of a session starts with, before git's own are added.
#[derive(Debug, Clone, Default)]
pub struct HookEnvironment {
    variables: Vec<(OsString, OsString)>,
    exec_path: Option<PathBuf>,
}

impl HookEnvironment {
    /// Exactly these variables.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut environment = HookEnvironment::default();
        for (name, value) in variables {
            environment.set(name, value);
        }
        environment
    }

    /// The variables of this process, for a program that was started to serve one session.
    pub fn of_this_process() -> Self {
        let own = std::env::vars_os()
            .filter(|(name, _)| !REPOSITORY_VARIABLES.iter().any(|variable| name == variable));
        let mut environment = Self::new(own);
        environment.exec_path = std::env::var_os("GIT_EXEC_PATH").map(PathBuf::from);
        environment
    }

    /// What a hook needs to run programs (`PATH`, `HOME`, the locale, the time zone), taken from
    /// this process, and nothing else: for a server that holds other secrets.
    pub fn minimal() -> Self {
        const KEPT: [&str; 8] =
            ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"];
        Self::new(KEPT.iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?))))
    }

    /// A folder of git programs that hooks find before everything on `PATH`.
    pub fn set_exec_path(&mut self, folder: &Path) {
        self.exec_path = Some(folder.to_owned());
    }

    /// Sets one variable, replacing what it was.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        let (name, value) = (name.into(), value.into());
        match self.variables.iter_mut().find(|(known, _)| *known == name) {
            Some(entry) => entry.1 = value,
            None => self.variables.push((name, value)),
        }
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        let found = self.variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_os_str())
    }

    /// Makes this the whole environment of a command.
    pub(super) fn apply(&self, command: &mut Command) {
        command.env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.exec_path {
            command.env("PATH", self.path_with(folder));
        }
    }

    fn path_with(&self, folder: &Path) -> OsString {
        let mut path = folder.as_os_str().to_owned();
        if let Some(rest) = self.get("PATH").filter(|rest| !rest.is_empty()) {
            path.push(":");
            path.push(rest);
        }
        path
    }
}
