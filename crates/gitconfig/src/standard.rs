//! The files and variables git reads for every command, in its order.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::include::Loader;
use crate::{Config, ConfigError, IncludeContext, Scope, environment, number};

const SYSTEM_FILE: &str = "/etc/gitconfig";

impl Config {
    /// Reads everything that is in force for a repository, or for none: the system's file, the
    /// user's, the repository's, the work tree's, the environment.
    ///
    /// `variable` looks up an environment variable; `local` is the repository's `config`,
    /// `worktree` the `config.worktree` that is read only where `extensions.worktreeConfig` says
    /// so. `context.home` defaults to `HOME`.
    ///
    /// # Errors
    /// When something that exists cannot be read. A user's file that may not be read counts as
    /// missing, as in git.
    pub fn load_standard(
        variable: &dyn Fn(&str) -> Option<OsString>,
        local: Option<&Path>,
        worktree: Option<&Path>,
        context: &IncludeContext,
    ) -> Result<Config, ConfigError> {
        let mut context = context.clone();
        if context.home.is_none() {
            context.home = variable("HOME").map(PathBuf::from);
        }
        let mut config = Config { home: context.home.clone(), ..Config::empty() };
        if let Some(file) = system_file(variable)? {
            config.append(Config::load_file(&file, Scope::System, &context)?);
        }
        for file in global_files(variable, context.home.as_deref()) {
            if !is_forbidden(&file) {
                config.append(Config::load_file(&file, Scope::Global, &context)?);
            }
        }
        if let Some(file) = local {
            let local = Config::load_file(file, Scope::Local, &context)?;
            let wants_worktree = local.has_worktree_config(file);
            config.append(local);
            if let Some(file) = worktree.filter(|_| wants_worktree) {
                config.append(Config::load_file(file, Scope::Worktree, &context)?);
            }
        }
        config.append(Config::from_environment(variable, &context)?);
        Ok(config)
    }

    /// Reads what `GIT_CONFIG_COUNT` and `GIT_CONFIG_PARAMETERS` carry.
    ///
    /// # Errors
    /// When they are malformed.
    pub fn from_environment(
        variable: &dyn Fn(&str) -> Option<OsString>,
        context: &IncludeContext,
    ) -> Result<Config, ConfigError> {
        let mut loader = Loader::new(Scope::Command, context);
        environment::read(variable, &mut |entry| loader.add(entry))?;
        Ok(loader.finish())
    }

    /// Extensions count only in the repository's file itself, not in what it includes.
    fn has_worktree_config(&self, file: &Path) -> bool {
        self.all("extensions.worktreeConfig")
            .rfind(|entry| entry.file() == Some(file))
            .and_then(|entry| number::parse_bool(entry.value().map(AsRef::as_ref)))
            .unwrap_or(false)
    }
}

fn system_file(
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Option<PathBuf>, ConfigError> {
    const SWITCH: &str = "GIT_CONFIG_NOSYSTEM";
    let off = match variable(SWITCH) {
        None => false,
        Some(value) => number::parse_bool(Some(value.as_encoded_bytes())).ok_or_else(|| {
            ConfigError::Environment {
                problem: "bad boolean environment value for",
                variable: SWITCH.into(),
            }
        })?,
    };
    let file = || variable("GIT_CONFIG_SYSTEM").unwrap_or_else(|| SYSTEM_FILE.into()).into();
    Ok((!off).then(file))
}

fn global_files(variable: &dyn Fn(&str) -> Option<OsString>, home: Option<&Path>) -> Vec<PathBuf> {
    if let Some(file) = variable("GIT_CONFIG_GLOBAL") {
        return vec![file.into()];
    }
    let xdg = variable("XDG_CONFIG_HOME").filter(|directory| !directory.is_empty());
    let xdg = xdg.map(PathBuf::from).or_else(|| home.map(|home| home.join(".config")));
    let xdg = xdg.map(|directory| directory.join("git/config"));
    xdg.into_iter().chain(home.map(|home| home.join(".gitconfig"))).collect()
}

fn is_forbidden(file: &Path) -> bool {
    std::fs::File::open(file).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}
