//! `packhorse maintain`: one round of maintenance, here and now.

use std::io::{self, IsTerminal as _};
use std::num::NonZeroUsize;
use std::process::ExitCode;

use host::{Catalogue, Listed, Settings, UpkeepRequest};
use repository::Silent;

use crate::cli::MaintainOptions;
use crate::terminal::Terminal;

/// Repositories under one folder.
const LISTED_MAX: usize = 10_000_000;
/// Maintains what was asked for; a failure is that of any one of them.
#[allow(clippy::print_stderr)] // Where a command line program says what went wrong.
pub fn run(options: &MaintainOptions) -> ExitCode {
    let settings = Settings {
        variable: std::sync::Arc::new(|name| std::env::var_os(name)),
        ..Settings::default()
    };
    let mut failed = false;
    for directory in &options.directories {
        let catalogue = match Catalogue::of_folder(directory, &settings) {
            Ok(catalogue) => catalogue,
            Err(error) => {
                eprintln!("packhorse: cannot maintain '{}': {error}", directory.display());
                failed = true;
                continue;
            }
        };
        if !options.all && !catalogue.is_one_repository() {
            eprintln!(
                "packhorse: '{}' is no repository; --all maintains every repository in it",
                directory.display()
            );
            failed = true;
            continue;
        }
        let (listed, _) = catalogue.list(LISTED_MAX);
        for repository in &listed {
            if let Err(error) = maintain(&catalogue, repository, options) {
                eprintln!("packhorse: {}: {error}", repository.location);
                failed = true;
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[allow(clippy::print_stdout)] // What was done is this command's answer.
fn maintain(
    catalogue: &Catalogue,
    listed: &Listed,
    options: &MaintainOptions,
) -> Result<(), repository::Error> {
    let request = UpkeepRequest {
        full: options.full || options.fresh_deltas,
        fresh_deltas: options.fresh_deltas,
        eager: !options.auto,
        threads: options.threads.map(NonZeroUsize::get),
    };
    let name = listed.location.to_string();
    if options.dry_run {
        let plan = catalogue.plan_upkeep(&listed.location, request)?;
        let lines = plan.lines();
        for line in &lines {
            println!("{name}: {line}");
        }
        if lines.is_empty() {
            println!("{name}: nothing to do");
        }
        return Ok(());
    }
    let report = match !options.quiet && io::stderr().is_terminal() {
        true => catalogue.upkeep(&listed.location, request, &mut Terminal::default())?,
        false => catalogue.upkeep(&listed.location, request, &mut Silent)?,
    };
    if !options.quiet {
        match report {
            Some(report) => println!("{name}: {report}"),
            None => println!("{name}: nothing to do"),
        }
    }
    Ok(())
}
