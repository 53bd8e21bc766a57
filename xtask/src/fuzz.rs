//! Fuzz targets, through cargo-fuzz on the stable toolchain.
//!
//! Without a sanitizer (`-s none`) no nightly compiler is needed: what is hunted
//! are panics, hangs and allocations without bound, not memory errors. Inputs found
//! on the way go to the target folder; `fuzz/corpus` changes by hand only.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cargo::{cargo, root, succeed, target};
use crate::take_seconds;

const SECONDS_DEFAULT: u64 = 60;
/// One input may take this long before it counts as a hang.
const INPUT_SECONDS_MAX: u64 = 10;
/// A target may hold this much memory, in MiB, before it counts as a leak.
const MEMORY_MIB_MAX: u64 = 1024;

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let mut arguments = arguments.to_vec();
    let seconds = take_seconds(&mut arguments, "--seconds")?.unwrap_or(SECONDS_DEFAULT);
    let known = targets()?;
    if let Some(unknown) = arguments.iter().find(|name| !known.contains(name)) {
        return Err(format!("no fuzz target {unknown:?}; there are: {}", known.join(", ")));
    }
    run_targets(if arguments.is_empty() { &known } else { &arguments }, seconds)
}

/// The targets that `fuzz/Cargo.toml` lists.
pub(crate) fn targets() -> Result<Vec<String>, String> {
    let manifest = root().join("fuzz/Cargo.toml");
    if !manifest.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(&manifest)
        .map_err(|why| format!("cannot read {}: {why}", manifest.display()))?;
    Ok(text.split("[[bin]]").skip(1).filter_map(bin_name).map(str::to_owned).collect())
}

fn bin_name(section: &str) -> Option<&str> {
    let line = section.lines().find(|line| line.trim_start().starts_with("name"))?;
    line.split('"').nth(1)
}

/// Runs each target for so many seconds; stops at the first that fails.
pub(crate) fn run_targets(targets: &[String], seconds: u64) -> Result<(), String> {
    if targets.is_empty() {
        println!("fuzz/Cargo.toml lists no target");
        return Ok(());
    }
    let cargo_fuzz = cargo_fuzz()?;
    for name in targets {
        println!("-- fuzz {name}, {seconds} s");
        run_target(&cargo_fuzz, name, seconds)
            .map_err(|why| format!("fuzz target {name}: {why}\n{}", hint(name)))?;
    }
    Ok(())
}

fn run_target(cargo_fuzz: &Path, name: &str, seconds: u64) -> Result<(), String> {
    // libFuzzer writes new inputs to the first folder it is given.
    let found = target().join("fuzz-corpus").join(name);
    std::fs::create_dir_all(&found).map_err(|why| format!("cannot make its folder: {why}"))?;
    let mut command = Command::new(cargo_fuzz);
    command.current_dir(root()).stdin(Stdio::null());
    command.args(["fuzz", "run", "-s", "none", name]).arg(&found);
    let corpus = root().join("fuzz/corpus").join(name);
    if corpus.is_dir() {
        command.arg(corpus);
    }
    command
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .args(["-print_final_stats=1", "-verbosity=0"]);
    succeed(command)
}

fn hint(name: &str) -> String {
    format!("the input lies in fuzz/artifacts/{name}; once fixed, keep it in fuzz/corpus/{name}")
}

/// cargo-fuzz: the one on PATH, or our own below the target folder, installed when missing.
fn cargo_fuzz() -> Result<PathBuf, String> {
    let tools = target().join("tools");
    let own = tools.join("bin/cargo-fuzz");
    if own.exists() {
        return Ok(own);
    }
    let mut probe = Command::new("cargo-fuzz");
    probe.args(["fuzz", "--version"]).stdin(Stdio::null()).stdout(Stdio::null());
    if probe.stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return Ok("cargo-fuzz".into());
    }
    println!("-- installing cargo-fuzz into {}", tools.display());
    let mut install = cargo();
    install.args(["install", "cargo-fuzz", "--locked", "--root"]).arg(&tools);
    succeed(install)?;
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_found_by_its_name() {
        assert_eq!(bin_name("\nname = \"pkt_line\"\npath = \"x.rs\"\n"), Some("pkt_line"));
        assert_eq!(bin_name("\npath = \"x.rs\"\n"), None);
    }
}
