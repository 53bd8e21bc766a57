//! What can be said on the command line of `git remote-daemon`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::background::Whose;
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
    /// All repositories that remoteDaemon.repository names in your configuration, in one process.
    #[arg(long, global = true, conflicts_with = "directory")]
    all: bool,
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
    Run {
        /// Somebody waits for a word that it has begun, and nobody for more.
        #[arg(long, hide = true)]
        detached: bool,
    },
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
    let whose = match cli.all {
        true => Whose::All(program),
        false => match runtime.block_on(crate::git::Repository::find(&program, &folder)) {
            Ok(repository) => Whose::One(repository),
            Err(words) => return failed(words.trim_start_matches("fatal: ")),
        },
    };
    let done = match (cli.foreground, cli.command, whose) {
        (true, Some(_), _) => Err("--foreground takes no command".to_owned()),
        (true, None, Whose::All(_)) => Err("--foreground is for one repository".to_owned()),
        (true, None, Whose::One(repository)) => {
            runtime.block_on(foreground::run(repository, cli.protocol, cli.act))
        }
        (false, None | Some(Verb::Start), whose) => background::start(&whose),
        (false, Some(Verb::Run { detached }), whose) => {
            runtime.block_on(background::run(whose, detached))
        }
        (false, Some(Verb::Stop), whose) => background::stop(&whose),
        (false, Some(Verb::Status { json }), whose) => {
            drop(runtime);
            return background::status(&whose, json);
        }
        (false, Some(Verb::Log { lines, follow }), whose) => background::log(&whose, lines, follow),
        (false, Some(Verb::Unit), whose) => background::unit(&whose),
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
