//! `packhorse maintain`: one round of maintenance, here and now.

use std::io::{self, IsTerminal as _};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;

use host::{Catalogue, Listed, Location, Settings, UpkeepRequest};
use repository::Silent;

use crate::cli::MaintainOptions;
use crate::store::{StoreUrl, StoresConfig};
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
    for place in &options.places {
        let (catalogue, listed) = match found(place, options.all, &settings) {
            Ok(found) => found,
            Err(words) => {
                eprintln!("packhorse: {words}");
                failed = true;
                continue;
            }
        };
        for repository in &listed {
            if let Err(error) = maintain(&catalogue, repository, options) {
                eprintln!("packhorse: {}: {error}", repository.location);
                failed = true;
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The repositories of a directory, or of a store.
fn found(place: &Path, all: bool, settings: &Settings) -> Result<(Catalogue, Vec<Listed>), String> {
    let no_repository = || {
        format!("'{}' is no repository; --all maintains every repository in it", place.display())
    };
    let store = place.to_str().filter(|text| StoreUrl::is_one(text) && !place.exists());
    let (catalogue, name) = match store {
        None => {
            let catalogue = Catalogue::of_folder(place, settings)
                .map_err(|error| format!("cannot maintain '{}': {error}", place.display()))?;
            if !all && !catalogue.is_one_repository() {
                return Err(no_repository());
            }
            (catalogue, None)
        }
        Some(text) => {
            let (url, name) = match all {
                true => (StoreUrl::parse(text)?, None),
                false => {
                    let (url, name) = StoreUrl::parse_with_name(text)?.ok_or_else(no_repository)?;
                    (url, Some(name))
                }
            };
            (Catalogue::of_store(url.open(&StoresConfig::default())?, settings), name)
        }
    };
    let Some(name) = name else {
        let (listed, _) = catalogue.list(LISTED_MAX);
        return Ok((catalogue, listed));
    };
    let name = name.strip_suffix(".git").unwrap_or(&name).to_owned();
    let listed = Listed { name: format!("{name}.git"), location: Location::Named(name) };
    Ok((catalogue, vec![listed]))
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
