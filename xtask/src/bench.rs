//! `cargo xtask bench`: a release build, then crates/bench with the same arguments.

use std::process::Command;

use crate::cargo::{cargo, root, succeed, target};

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let mut build = cargo();
    build.args(["build", "--release", "--package", "packhorse", "--package", "packhorse-bench"]);
    succeed(build)?;
    let release = target().join("release");
    let mut bench = Command::new(release.join("packhorse-bench"));
    // Paths in the arguments are meant relative to where cargo was called.
    bench.args(arguments).env("PACKHORSE_BENCH_CACHE", target().join("bench-cache"));
    if std::env::var_os("PACKHORSE").is_none() {
        bench.env("PACKHORSE", release.join("packhorse"));
    }
    bench.env("PACKHORSE_ROOT", root());
    succeed(bench)
}
