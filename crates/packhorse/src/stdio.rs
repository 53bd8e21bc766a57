//! The drop-ins for git's programs, by subcommand and by program name.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use front_stdio::Invocation;
use host::Exchange;
use wire::Service;

use crate::cli::{ReceivePackOptions, UploadPackOptions};

/// Exit status of git's programs when they do not understand their arguments.
const USAGE: u8 = 129;

/// Runs as the program a link to us is named after, if it is one of git's.
pub fn run_by_program_name() -> Option<ExitCode> {
    let program = std::env::args_os().next()?;
    match Path::new(&program).file_name().and_then(OsStr::to_str)? {
        "git-upload-pack" => Some(UploadPackOptions::try_parse().map_or_else(usage, upload_pack)),
        "git-receive-pack" => {
            Some(ReceivePackOptions::try_parse().map_or_else(usage, receive_pack))
        }
        _ => None,
    }
}

/// Says what is wrong with the arguments, or what `--help` asks for.
fn usage(error: clap::Error) -> ExitCode {
    let code = if error.use_stderr() { USAGE } else { 0 };
    // Nobody is there to hear that nobody is there to hear it.
    let _ = error.print();
    ExitCode::from(code)
}

/// `upload-pack`.
pub fn upload_pack(options: UploadPackOptions) -> ExitCode {
    run(&Invocation {
        service: Service::UploadPack,
        exchange: exchange(options.http_backend_info_refs, options.stateless_rpc),
        strict: options.strict,
        timeout: (options.timeout > 0).then(|| Duration::from_secs(options.timeout.into())),
        directory: options.directory,
        skip_connectivity_check: false,
        reject_thin: false,
    })
}

/// `receive-pack`.
pub fn receive_pack(options: ReceivePackOptions) -> ExitCode {
    run(&Invocation {
        service: Service::ReceivePack,
        exchange: exchange(options.http_backend_info_refs, options.stateless_rpc),
        strict: false,
        timeout: None,
        directory: options.directory,
        skip_connectivity_check: options.skip_connectivity_check,
        reject_thin: options.reject_thin_pack_for_testing,
    })
}

fn exchange(advertise: bool, stateless: bool) -> Exchange {
    match (advertise, stateless) {
        (true, _) => Exchange::Advertise,
        (false, true) => Exchange::Round,
        (false, false) => Exchange::Conversation,
    }
}

#[allow(clippy::print_stderr)] // Standard error is where git's programs say why they gave up.
fn run(invocation: &Invocation) -> ExitCode {
    match front_stdio::serve_process(invocation) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fatal: {error}");
            ExitCode::from(front_stdio::FATAL)
        }
    }
}
