//! `packhorse dev`: parts of the server on their own, so that they can be measured beside git's.

use std::io::{self, BufReader};
use std::process::ExitCode;

use repository::incoming::IncomingOptions;
use repository::{Repository, Silent};
use storage_disk::OpenOptions;

use crate::cli::{DevCommand, IndexPackOptions};

/// Input taken at a time, bytes; as much as the server's own.
const INPUT_BYTES: usize = 64 << 10;

/// Runs one of the parts.
#[allow(clippy::print_stdout, clippy::print_stderr)] // Where a command line program answers.
pub fn run(command: &DevCommand) -> ExitCode {
    let DevCommand::IndexPack(options) = command;
    match index_pack(options) {
        Ok(checksum) => {
            println!("{checksum}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("packhorse: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Takes the pack on standard input in as a push does, without a push around it.
fn index_pack(options: &IndexPackOptions) -> Result<String, repository::Error> {
    let git_dir = storage_disk::discover(&options.directory, false)?;
    let environment = OpenOptions {
        variable: std::sync::Arc::new(|name| std::env::var_os(name)),
        ..OpenOptions::default()
    };
    let parts = storage_disk::open(&git_dir, &environment)?;
    let repository = Repository::open(parts, repository::Settings::default());
    let mut incoming_options = IncomingOptions::from_config(repository.config())?;
    incoming_options.unpack_limit = None;
    if let Some(threads) = options.threads {
        incoming_options.threads = threads.get();
    }
    let mut incoming = repository.incoming(incoming_options)?;
    let mut input = BufReader::with_capacity(INPUT_BYTES, io::stdin());
    let received = incoming.receive(&mut input, &mut Silent)?;
    incoming.publish()?;
    Ok(received.pack.map(|checksum| checksum.to_string()).unwrap_or_default())
}
