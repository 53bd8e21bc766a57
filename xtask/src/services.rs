//! Servers of others that tests run: taken from the distribution where they are missing.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::cargo::succeed;

/// Debian's package with PostgreSQL's server and its programs.
const POSTGRES_PACKAGE: &str = "postgresql";

/// Where Debian puts each version's programs.
const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";

/// Installs what is missing.
pub(crate) fn install() -> Result<(), String> {
    if has_postgres() {
        return Ok(());
    }
    install_package(POSTGRES_PACKAGE)?;
    match has_postgres() {
        true => Ok(()),
        false => Err(format!("{POSTGRES_PACKAGE} is installed, but no initdb is found")),
    }
}

fn has_postgres() -> bool {
    let versions = std::fs::read_dir(POSTGRES_VERSIONS).into_iter().flatten().flatten();
    let packaged = versions.map(|version| version.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    packaged.chain(on_path).any(|folder| folder.join("initdb").is_file())
}

fn install_package(name: &str) -> Result<(), String> {
    println!("-- {name} is missing: installing it");
    let install = ["install", "--yes", "--no-install-recommends", name];
    for arguments in [&["update", "--quiet"][..], &install] {
        let mut command = as_root("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        succeed(command).map_err(|why| {
            format!("{why}\n{name} could not be installed; install it by hand and try again")
        })?;
    }
    Ok(())
}

/// A command as root, without asking for a password.
fn as_root(program: &str) -> Command {
    let output = Command::new("id").arg("-u").output();
    if output.is_ok_and(|output| output.stdout.trim_ascii() == b"0") {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", "--preserve-env=DEBIAN_FRONTEND", program]);
    command
}
