//! Project chores: `cargo xtask check | services | fuzz | soak | bench`.
//!
//! Uses the standard library only, so that it builds in a moment. It drives
//! cargo and git; it links none of the project's crates.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "talking to a terminal is its job")]

mod bench;
mod cargo;
mod check;
mod fuzz;
mod services;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask <CHORE>

  check [--fuzz-seconds N]       everything CI runs: format, lints, tests, fuzz targets
                                 (N seconds for each target; about a minute in all by default)
  services                       install what tests need and the machine lacks, as check does
  fuzz [TARGET] [--seconds N]    run one fuzz target, or all, N seconds each (60)
  soak                           run every test, the slow and large ones too
  bench [ARGUMENT ...]           build for release and measure against git (bench --help)
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let chore = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let outcome = match chore.as_str() {
        "check" => check::run(&rest),
        "services" => services::install().map(drop),
        "fuzz" => fuzz::run(&rest),
        "soak" => soak(&rest),
        "bench" => bench::run(&rest),
        "" | "help" | "-h" | "--help" => {
            print!("{USAGE}");
            Ok(())
        }
        other => Err(format!("there is no chore named {other:?}\n\n{USAGE}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Slow tests are `#[ignore]`d; tests that scale read `PACKHORSE_SOAK`.
fn soak(arguments: &[String]) -> Result<(), String> {
    if let Some(unknown) = arguments.first() {
        return Err(format!("soak takes no argument, not even {unknown:?}"));
    }
    let mut command = cargo::cargo();
    command.args(["test", "--workspace", "--no-fail-fast", "--", "--include-ignored"]);
    command.env("PACKHORSE_SOAK", "1");
    cargo::succeed(command)
}

/// The value of an option written `--name N`, taken out of the arguments.
fn take_seconds(arguments: &mut Vec<String>, option: &str) -> Result<Option<u64>, String> {
    let Some(at) = arguments.iter().position(|argument| argument == option) else {
        return Ok(None);
    };
    let value = arguments.get(at + 1).ok_or_else(|| format!("{option} needs a number"))?;
    let seconds = value.parse().map_err(|_| format!("{option} needs a number, not {value:?}"))?;
    arguments.drain(at..at + 2);
    Ok(Some(seconds))
}
