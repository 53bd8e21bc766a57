//! Packhorse and stock git in turn, in one run, on the same repository.
//!
//! Called through `cargo xtask bench`. Prints one table: each figure of both, and
//! their ratio. It knows no crate of the server: programs are run as a user would,
//! and server-side cost is taken with a client that throws the pack away.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a table on a terminal is its job")]

mod arguments;
mod chart;
mod cost;
mod fixture;
mod memory;
mod programs;
mod protocol;
mod proxy;
mod report;
mod suites;
mod transport;

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;

use arguments::{Arguments, COPY_FILE};
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
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [COPY_FILE, file] = words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return copy_file(file);
    }
    let Some(arguments) = Arguments::parse(words.into_iter())? else {
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
    if let Some(folder) = &arguments.charts {
        std::fs::create_dir_all(folder)?;
        for suite in &arguments.suites {
            if let Some(chart) = report.chart(suite) {
                std::fs::write(folder.join(format!("{suite}.svg")), chart)?;
            }
        }
    }
    Ok(())
}

/// What takes least of a processor to send a file: a read and a write for each part.
fn copy_file(file: &str) -> Outcome<()> {
    let mut file = std::fs::File::open(file)?;
    let mut output = std::fs::File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            count => output.write_all(&buffer[..count])?,
        }
    }
}

/// Bytes of one part.
const COPY_BYTES: usize = 256 << 10;
