//! Programs of others that tests run: taken from the distribution, or from Python's registry, where they are
//! missing.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cargo::{succeed, target};

/// Something to be installed.
struct Service {
    name: &'static str,
    /// Tests that need it say so and do nothing where it truly cannot be had.
    can_be_missed: bool,
    /// Programs that are there when it is.
    programs: &'static [&'static str],
    source: Source,
}

/// Where it comes from.
enum Source {
    /// Packages, as Debian calls them.
    Debian(&'static [&'static str]),
    /// A package of Python's, with its version, and the program in it that goes by all the names.
    Python { package: &'static str, program: &'static str },
}
use Source::{Debian, Python};

const SERVICES: &[Service] = &[
    Service {
        name: "postgres",
        can_be_missed: false,
        programs: &["initdb"],
        source: Debian(&["postgresql"]),
    },
    Service {
        name: "openssh",
        can_be_missed: false,
        programs: &["ssh", "ssh-keygen", "sshd"],
        source: Debian(&["openssh-client", "openssh-server"]),
    },
    Service {
        name: "gnupg",
        can_be_missed: false,
        programs: &["gpg", "gpgconf", "gpg-agent"],
        source: Debian(&["gnupg"]),
    },
    Service {
        name: "git-annex",
        can_be_missed: false,
        programs: &["git-annex", "git-annex-shell", "git-remote-p2p-annex"],
        source: Python { package: "git-annex==10.20261026", program: "git_annex/git-annex" },
    },
    Service {
        name: "pebble",
        can_be_missed: false,
        programs: &["pebble", "pebble-challtestsrv"],
        source: Debian(&["pebble"]),
    },
    Service {
        name: "ceph",
        can_be_missed: true,
        programs: &["ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin"],
        source: Debian(&["radosgw", "ceph-mon", "ceph-osd", "ceph-common"]),
    },
];

/// Where Debian puts the programs of each version of PostgreSQL.
const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";

/// Installs what is missing; the names of those that cannot be had and can be missed.
pub(crate) fn install() -> Result<Vec<&'static str>, String> {
    let mut missed = Vec::new();
    for service in SERVICES {
        if missing_program(service).is_none() {
            continue;
        }
        let installed = match service.source {
            Debian(packages) => install_packages(packages),
            Python { package, program } => install_python(package, program, service.programs),
        };
        let installed = installed.and_then(|()| {
            missing_program(service).map_or(Ok(()), |program| {
                Err(format!("packages were installed, but no {program} is found"))
            })
        });
        match installed {
            Ok(()) => {}
            Err(why) if service.can_be_missed => {
                println!(
                    "!! {why}\n!! tests that need {} are SKIPPED on this machine",
                    service.name
                );
                missed.push(service.name);
            }
            Err(why) => return Err(why),
        }
    }
    Ok(missed)
}

fn missing_program(service: &Service) -> Option<&'static str> {
    let folders = match service.source {
        Debian(_) => folders(),
        // Of this version, whatever else there is.
        Python { .. } => vec![own_folder().join("bin")],
    };
    let is_there = |program: &str| folders.iter().any(|folder| folder.join(program).is_file());
    service.programs.iter().copied().find(|program| !is_there(program))
}

fn folders() -> Vec<PathBuf> {
    // Where sshd is, which is on nobody's PATH.
    let system = [PathBuf::from("/usr/sbin")];
    let versions = std::fs::read_dir(POSTGRES_VERSIONS).into_iter().flatten().flatten();
    let packaged = versions.map(|version| version.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    packaged.chain(system).chain(std::env::split_paths(&path)).collect()
}

/// Where programs are that the distribution does not have; tests look there
/// (`testkit::installed_programs`).
fn own_folder() -> PathBuf {
    target().join("services")
}

fn install_python(package: &str, program: &str, names: &[&str]) -> Result<(), String> {
    println!("-- missing: installing {package}");
    let folder = own_folder();
    let packages = folder.join("python");
    let mut command = Command::new("python3");
    command.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--root-user-action=ignore",
        "--upgrade",
        "--target",
    ]);
    command.arg(&packages).arg(package).stdin(Stdio::null());
    succeed(command).map_err(|why| {
        format!("{why}\n{package} could not be installed from Python's registry; is pip there?")
    })?;
    let said = |error: std::io::Error| format!("cannot link {package}: {error}");
    std::fs::create_dir_all(folder.join("bin")).map_err(said)?;
    for name in names {
        let link = folder.join("bin").join(name);
        let _ = std::fs::remove_file(&link);
        symlink(Path::new("../python").join(program), link).map_err(said)?;
    }
    Ok(())
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
