//! `packhorse webhook`: what is configured, what waits, what was delivered.

pub mod config;

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::ExitCode;

use webhooks::{Attempt, Hook, LOG_FILE, Outcome, Settings};

use crate::cli::{WebhookCommand, WebhookOptions};

/// Runs one command.
#[allow(clippy::print_stderr)] // Where a command line program says what went wrong.
pub fn run(options: &WebhookOptions) -> ExitCode {
    let config = crate::config::read(&options.config).and_then(|file| {
        let planned = config::plan(&file.webhooks, &file.webhook, &file.folder)?;
        planned.ok_or_else(|| "no [[webhook]] is configured".to_owned())
    });
    let done = config.and_then(|(settings, hooks)| match &options.command {
        WebhookCommand::List => list(&settings, &hooks),
        WebhookCommand::Log { hook, count } => log(&settings, hook.as_deref(), *count),
        WebhookCommand::Ping { hook } => ping(&settings, find(&hooks, hook)?),
        WebhookCommand::Retry { hook, ids } => retry(&settings, find(&hooks, hook)?, ids),
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(words) => {
            eprintln!("packhorse: {words}");
            ExitCode::FAILURE
        }
    }
}

fn find<'a>(hooks: &'a [Hook], name: &str) -> Result<&'a Hook, String> {
    let found = hooks.iter().find(|hook| hook.name == name);
    found.ok_or_else(|| format!("there is no webhook '{name}'"))
}

fn in_folder<'a>(settings: &'a Settings) -> impl Fn(std::io::Error) -> String + 'a {
    |error| format!("'{}': {error}", settings.folder.display())
}

#[allow(clippy::print_stdout)] // The answer.
fn list(settings: &Settings, hooks: &[Hook]) -> Result<bool, String> {
    for hook in hooks {
        let count = |ids: std::io::Result<BTreeSet<String>>| {
            ids.map(|ids| ids.len()).map_err(in_folder(settings))
        };
        let pending = count(webhooks::pending(&settings.folder, &hook.name))?;
        let failed = count(webhooks::failed(&settings.folder, &hook.name))?;
        println!("{}\t{pending} waiting\t{failed} given up\t{}", hook.name, hook.url);
    }
    Ok(true)
}

/// The last lines of the log.
fn log(settings: &Settings, hook: Option<&str>, count: usize) -> Result<bool, String> {
    let path = settings.folder.join(LOG_FILE);
    let lines =
        last_lines(&path, hook, count).map_err(|error| format!("'{}': {error}", path.display()))?;
    lines.iter().for_each(show);
    Ok(true)
}

fn last_lines(path: &Path, hook: Option<&str>, count: usize) -> std::io::Result<VecDeque<Attempt>> {
    let mut last = VecDeque::new();
    for line in BufReader::new(File::open(path)?).lines() {
        // A line may be half written: the server is at work.
        let Ok(attempt) = serde_json::from_str::<Attempt>(&line?) else { continue };
        if hook.is_none_or(|hook| hook == attempt.hook) {
            last.push_back(attempt);
        }
        if last.len() > count {
            last.pop_front();
        }
    }
    Ok(last)
}

#[allow(clippy::print_stdout)] // The answer.
fn show(attempt: &Attempt) {
    let Attempt { time, hook, id, attempt: number, ms, .. } = attempt;
    let outcome = match attempt.outcome {
        Outcome::Delivered => "delivered",
        Outcome::Failed => "failed",
        Outcome::GivenUp => "given up",
        Outcome::Dropped => "dropped",
    };
    let repository = attempt.repository.as_deref().unwrap_or("-");
    let status = attempt.status.map(|status| format!(", status {status}")).unwrap_or_default();
    let why = attempt.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let retry =
        attempt.retry_ms.map(|ms| format!("; again in {} s", ms / 1000)).unwrap_or_default();
    println!(
        "{time}\t{hook}\t{repository}\t{id}\tattempt {number}: {outcome} in {ms} ms{status}{why}{retry}"
    );
}

fn ping(settings: &Settings, hook: &Hook) -> Result<bool, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let attempt = runtime.block_on(webhooks::ping(hook, settings));
    show(&attempt);
    Ok(attempt.outcome == Outcome::Delivered)
}

#[allow(clippy::print_stdout)] // The answer.
fn retry(settings: &Settings, hook: &Hook, ids: &[String]) -> Result<bool, String> {
    let failed = webhooks::failed(&settings.folder, &hook.name).map_err(in_folder(settings))?;
    let chosen: Vec<&String> = match ids {
        [] => failed.iter().collect(),
        ids => ids.iter().collect(),
    };
    for id in chosen {
        if !failed.contains(id) {
            return Err(format!("no delivery '{id}' of '{}' was given up", hook.name));
        }
        webhooks::retry(&settings.folder, &hook.name, id).map_err(in_folder(settings))?;
        println!("{id} waits again");
    }
    Ok(true)
}
