//! The command line: reads options, wires the floors together, starts.

mod accounts;
mod cli;
mod config;
mod daemon;
mod dev;
mod listen;
mod machine;
mod maintain;
mod repo;
mod serve;
mod stdio;
mod store;
mod terminal;
mod webhook;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use cli::{Cli, Command};

fn main() -> ExitCode {
    if let Err(error) = maps::guard_maps() {
        // Goes on as programs commonly do: a file that is cut while it is mapped ends it.
        tracing::debug!(%error, "mapped files are not guarded");
    }
    if let Some(code) = stdio::run_by_program_name() {
        return code;
    }
    match Cli::parse().command {
        Command::Serve(options) => serve::run(options),
        Command::UploadPack(options) => stdio::upload_pack(options),
        Command::ReceivePack(options) => stdio::receive_pack(options),
        Command::UploadArchive(options) => stdio::upload_archive(options),
        Command::Daemon { arguments } => daemon::run(arguments),
        Command::HttpBackend => stdio::http_backend(),
        Command::Maintain(options) => maintain::run(&options),
        Command::Repo(command) => repo::run(&command),
        Command::User(accounts) => accounts::run(accounts, accounts::user),
        Command::Key(accounts) => accounts::run(accounts, accounts::key),
        Command::Token(accounts) => accounts::run(accounts, accounts::token),
        Command::Group(accounts) => accounts::run(accounts, accounts::group),
        Command::Access(accounts) => accounts::run(accounts, accounts::access),
        Command::Webhook(options) => webhook::run(&options),
        Command::Dev(command) => dev::run(&command),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "packhorse",
                &mut std::io::stdout(),
            );
            ExitCode::SUCCESS
        }
    }
}
