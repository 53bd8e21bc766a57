//! Packhorse and stock git in turn, in one run, on the same repository.
//!
//! Called through `cargo xtask bench`. Prints one table: each figure of both, and
//! their ratio. It knows no crate of the server: programs are run as a user would,
//! and server-side cost is taken with a client that throws the pack away.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a table on a terminal is its job")]

mod arguments;
mod cost;
mod fixture;
mod memory;
mod programs;
mod protocol;
mod report;
mod suites;
mod transport;

use std::process::ExitCode;

use arguments::Arguments;
use fixture::Fixtures;
use programs::Programs;
use report::Report;

/// Errors are told to a person and end the run.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    let Some(arguments) = Arguments::parse(std::env::args().skip(1))? else {
        print!("{}", arguments::USAGE);
        return Ok(());
    };
    memory::check_supported()?;
    let programs = Programs::find(arguments.self_check)?;
    let fixtures = Fixtures::new(&programs, &arguments)?;
    let mut report = Report::new(&programs, &fixtures, &arguments)?;
    for suite in &arguments.suites {
        eprintln!("bench: suite {suite}");
        suites::run(suite, &programs, &fixtures, &arguments, &mut report)?;
    }
    print!("{}", report.table());
    if let Some(file) = &arguments.json {
        std::fs::write(file, report.json())?;
    }
    Ok(())
}
