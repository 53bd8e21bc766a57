//! Servers of others that tests run: taken from the distribution where they are missing.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::cargo::succeed;

/// A server, and how Debian calls it.
struct Service {
    /// Programs that are there when it is.
    programs: &'static [&'static str],
    packages: &'static [&'static str],
}

const SERVICES: &[Service] = &[
    Service { programs: &["initdb"], packages: &["postgresql"] },
    Service {
        programs: &["ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin"],
        packages: &["radosgw", "ceph-mon", "ceph-osd", "ceph-common"],
    },
];

/// Where Debian puts the programs of each version of PostgreSQL.
const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";

/// Installs what is missing.
pub(crate) fn install() -> Result<(), String> {
    let is_missing = |service: &&Service| missing_program(service).is_some();
    let missing: Vec<&Service> = SERVICES.iter().filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    install_packages(&missing.iter().flat_map(|one| one.packages).copied().collect::<Vec<_>>())?;
    match missing.iter().find_map(|service| missing_program(service)) {
        None => Ok(()),
        Some(program) => Err(format!("packages were installed, but no {program} is found")),
    }
}

fn missing_program(service: &Service) -> Option<&'static str> {
    let folders = folders();
    let is_there = |program: &str| folders.iter().any(|folder| folder.join(program).is_file());
    service.programs.iter().copied().find(|program| !is_there(program))
}

fn folders() -> Vec<PathBuf> {
    let versions = std::fs::read_dir(POSTGRES_VERSIONS).into_iter().flatten().flatten();
    let packaged = versions.map(|version| version.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    packaged.chain(std::env::split_paths(&path)).collect()
}

fn install_packages(names: &[&str]) -> Result<(), String> {
    let all = names.join(" ");
    println!("-- missing: installing {all}");
    let install = [&["install", "--yes", "--no-install-recommends"][..], names].concat();
    for arguments in [&["update", "--quiet"][..], &install] {
        let mut command = as_root("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        succeed(command).map_err(|why| {
            format!("{why}\n{all} could not be installed; install them by hand and try again")
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
