//! `cargo xtask check`: the gate, the same on a desk and in CI.

use std::time::Instant;

use crate::{cargo, fuzz, services, take_seconds};

/// All fuzz targets together run for about this long.
const FUZZ_SECONDS_TOTAL: u64 = 60;
const FUZZ_SECONDS_MIN: u64 = 2;

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let mut arguments = arguments.to_vec();
    let fuzz_seconds = take_seconds(&mut arguments, "--fuzz-seconds")?;
    if let Some(unknown) = arguments.first() {
        return Err(format!("check does not know {unknown:?}"));
    }
    step("format", || cargo_step(&["fmt", "--all", "--check"]))?;
    step("lints", || {
        cargo_step(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
        // Outside the workspace, and built last: what it no longer fits is to be known first.
        let fuzz = ["clippy", "--locked", "--manifest-path", "fuzz/Cargo.toml"];
        cargo_step(&[&fuzz[..], &["--", "-D", "warnings"]].concat())
    })?;
    let mut missed = Vec::new();
    step("services", || {
        missed = services::install()?;
        Ok(())
    })?;
    // The tidy tests (floors, files, dependencies) are tests of xtask: part of these.
    step("tests", || {
        let mut command = cargo::cargo();
        command.args(["test", "--workspace", "--no-fail-fast"]);
        command.env("PACKHORSE_WITHOUT", missed.join(","));
        cargo::succeed(command)
    })?;
    step("fuzz", || fuzz_all(fuzz_seconds))?;
    println!("== check passed");
    Ok(())
}

fn cargo_step(arguments: &[&str]) -> Result<(), String> {
    let mut command = cargo::cargo();
    command.args(arguments);
    cargo::succeed(command)
}

fn fuzz_all(seconds: Option<u64>) -> Result<(), String> {
    let targets = fuzz::targets()?;
    let share = FUZZ_SECONDS_TOTAL / (targets.len() as u64).max(1);
    fuzz::run_targets(&targets, seconds.unwrap_or(share.max(FUZZ_SECONDS_MIN)))
}

fn step(name: &str, act: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    println!("== {name}");
    let start = Instant::now();
    act().map_err(|why| format!("check failed at step {name:?}: {why}"))?;
    println!("== {name}: passed in {} s", start.elapsed().as_secs());
    Ok(())
}
