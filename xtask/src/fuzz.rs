//! Fuzz targets: one program built with libFuzzer's instrumentation, run once for each target.
//!
//! Without a sanitizer no nightly compiler is needed: what is hunted are panics, hangs and
//! allocations without bound, not memory errors. Inputs found on the way go to the target folder;
//! `fuzz/corpus` changes by hand only.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cargo::{cargo, root, succeed, target};
use crate::take_seconds;

const SECONDS_DEFAULT: u64 = 60;
/// The compiler options libFuzzer needs: SanitizerCoverage (clang's documentation, "Tracing PCs").
const INSTRUMENTATION: &str = "\
    --cfg fuzzing \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

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

/// The targets: the modules of the fuzz program.
pub(crate) fn targets() -> Result<Vec<String>, String> {
    let folder = root().join("fuzz/src");
    let unreadable = |why| format!("cannot read {}: {why}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.file_name();
        let name = file.to_str().and_then(|file| file.strip_suffix(".rs"));
        names.extend(name.filter(|name| *name != "main").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Runs each target for so many seconds; stops at the first that fails.
pub(crate) fn run_targets(targets: &[String], seconds: u64) -> Result<(), String> {
    let program = build()?;
    for name in targets {
        println!("-- fuzz {name}, {seconds} s");
        run_target(&program, name, seconds)
            .map_err(|why| format!("fuzz target {name}: {why}\n{}", hint(name)))?;
    }
    Ok(())
}

/// Builds the program with the counters libFuzzer steers by.
fn build() -> Result<PathBuf, String> {
    let host = host()?;
    let folder = target().join("fuzz");
    let mut command = cargo();
    command
        .args(["build", "--release", "--locked", "--manifest-path", "fuzz/Cargo.toml"])
        // With a target named, build scripts and macros are built without counters.
        .args(["--target", &host, "--target-dir"])
        .arg(&folder)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", INSTRUMENTATION);
    succeed(command)?;
    Ok(folder.join(host).join("release/packhorse-fuzz"))
}

/// The triple this machine's compiler builds for.
fn host() -> Result<String, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").stdin(Stdio::null()).output();
    let output = output.map_err(|why| format!("cannot start rustc: {why}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc -vV names no host".to_owned())
}

fn run_target(program: &Path, name: &str, seconds: u64) -> Result<(), String> {
    // libFuzzer writes new inputs to the first folder it is given.
    let found = target().join("fuzz-corpus").join(name);
    let artifacts = root().join("fuzz/artifacts").join(name);
    for folder in [&found, &artifacts] {
        std::fs::create_dir_all(folder).map_err(|why| format!("cannot make its folder: {why}"))?;
    }
    let mut command = Command::new(program);
    command.current_dir(root()).stdin(Stdio::null()).env("PACKHORSE_FUZZ_TARGET", name);
    command.arg(&found);
    let corpus = root().join("fuzz/corpus").join(name);
    if corpus.is_dir() {
        command.arg(corpus);
    }
    command
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .args(["-print_final_stats=1", "-verbosity=0"]);
    succeed(command)
}

fn hint(name: &str) -> String {
    format!("the input lies in fuzz/artifacts/{name}; once fixed, keep it in fuzz/corpus/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_modules_of_the_program() {
        let targets = targets().expect("the folder is there");
        assert!(targets.contains(&"wire_pktline".to_owned()), "{targets:?}");
        assert!(!targets.contains(&"main".to_owned()));
    }
}
