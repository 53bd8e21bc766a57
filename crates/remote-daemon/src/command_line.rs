//! What can be said on the command line of `git remote-daemon`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::{background, foreground};

/// Listens to the remotes of a repository, and fetches, pulls and pushes by itself.
#[derive(Debug, Parser)]
#[command(name = "git-remote-daemon", bin_name = "git remote-daemon", version)]
#[command(
    after_help = "Without a command it starts in the background, as 'start' does. What it does about a remote is\n\
        configured with git: git config remote.origin.daemon off|notify|fetch|pull|push|sync"
)]
struct Cli {
    /// Stay in the foreground, and speak the line protocol on standard input and output.
    #[arg(long)]
    foreground: bool,
    /// Which protocol is spoken in the foreground.
    #[arg(long, value_enum, default_value_t = Protocol::Plain, requires = "foreground")]
    protocol: Protocol,
    /// In the foreground: do what is configured, too, instead of only telling.
    #[arg(long, requires = "foreground")]
    act: bool,
    /// The repository, in place of the one you stand in.
    #[arg(short = 'C', value_name = "DIR", global = true)]
    directory: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Verb>,
}

/// What is spoken in the foreground.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// CHANGED, STATUS and ERROR; PAUSE, RESUME and PUSH.
    Plain,
    /// As git-annex' remotedaemon.
    Annex,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start in the background; nothing happens when one runs already.
    Start,
    /// Stop the one in the background.
    Stop,
    /// Say what the one in the background does; with status 1 when there is none.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what happened.
    Log {
        /// So many of the last lines.
        #[arg(short = 'n', long, default_value_t = 20)]
        lines: usize,
        /// Wait for more.
        #[arg(short, long)]
        follow: bool,
    },
    /// Print a service unit for the user's systemd.
    Unit,
    /// Run as the one in the background does, without leaving the terminal: for services.
    Run,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let folder = cli.directory.unwrap_or_else(|| PathBuf::from("."));
    let program: OsString = "git".into();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("cannot begin: {error}")),
    };
    let found = runtime.block_on(crate::git::Repository::find(&program, &folder));
    let repository = match found {
        Ok(repository) => repository,
        Err(words) => return failed(words.trim_start_matches("fatal: ")),
    };
    let done = match (cli.foreground, cli.command) {
        (true, Some(_)) => Err("--foreground takes no command".to_owned()),
        (true, None) => runtime.block_on(foreground::run(repository, cli.protocol, cli.act)),
        (false, None | Some(Verb::Start)) => background::start(&repository),
        (false, Some(Verb::Run)) => runtime.block_on(background::run(repository)),
        (false, Some(Verb::Stop)) => background::stop(&repository),
        (false, Some(Verb::Status { json })) => return background::status(&repository, json),
        (false, Some(Verb::Log { lines, follow })) => background::log(&repository, lines, follow),
        (false, Some(Verb::Unit)) => background::unit(&repository),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => failed(&words),
    }
}

#[allow(clippy::print_stderr, reason = "that is where a program says why it fails")]
fn failed(words: &str) -> ExitCode {
    eprintln!("fatal: {words}");
    ExitCode::from(128)
}
