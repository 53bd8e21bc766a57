//! The drop-ins for git's programs, by subcommand and by program name.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use front_stdio::{Invocation, Place};
use host::{Catalogue, Exchange};
use wire::Service;

use crate::cli::{ReceivePackOptions, StoreOptions, UploadArchiveOptions, UploadPackOptions};
use crate::store::{StoreUrl, StoresConfig, open_routes};
use crate::{config, daemon};

/// How long one of these programs waits for another that has the key-value file open,
/// milliseconds, unless a configuration file says otherwise.
const OPEN_WAIT_MS: u64 = 30_000;

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
        "git-upload-archive" => {
            Some(UploadArchiveOptions::try_parse().map_or_else(usage, upload_archive))
        }
        // Its arguments do not count, as in git: a web server may hand a query over in them.
        "git-http-backend" => Some(http_backend()),
        "git-daemon" => Some(daemon::run(std::env::args_os().skip(1))),
        _ => None,
    }
}

/// `http-backend`.
pub fn http_backend() -> ExitCode {
    ExitCode::from(front_cgi::serve_process())
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
    let place = place(&options.store, options.directory, options.strict, false);
    run(place.map(|place| Invocation {
        service: Service::UploadPack,
        exchange: exchange(options.http_backend_info_refs, options.stateless_rpc),
        timeout: (options.timeout > 0).then(|| Duration::from_secs(options.timeout.into())),
        place,
        skip_connectivity_check: false,
        reject_thin: false,
    }))
}

/// `receive-pack`.
pub fn receive_pack(options: ReceivePackOptions) -> ExitCode {
    let place = place(&options.store, options.directory, false, options.create_on_push);
    run(place.map(|place| Invocation {
        service: Service::ReceivePack,
        exchange: exchange(options.http_backend_info_refs, options.stateless_rpc),
        timeout: None,
        place,
        skip_connectivity_check: options.skip_connectivity_check,
        reject_thin: options.reject_thin_pack_for_testing,
    }))
}

/// `upload-archive`.
pub fn upload_archive(options: UploadArchiveOptions) -> ExitCode {
    let place = place(&options.store, options.directory, false, false);
    run(place.map(|place| Invocation {
        service: Service::UploadArchive,
        exchange: Exchange::Conversation,
        timeout: None,
        place,
        skip_connectivity_check: false,
        reject_thin: false,
    }))
}

/// The repository: a directory, or a name in a store.
fn place(
    options: &StoreOptions,
    directory: PathBuf,
    strict: bool,
    create_on_push: bool,
) -> Result<Place, String> {
    let file = options.config.as_deref().map(config::read).transpose()?.unwrap_or_default();
    let url = match &options.store {
        Some(url) => Some(StoreUrl::parse(url)?),
        None => StoreUrl::of_file(&file)?,
    };
    let name = directory.to_string_lossy().into_owned();
    let mut routes = StoreUrl::routes_of_file(&file)?;
    match url {
        Some(url) if options.store.is_some() => routes = vec![(String::new(), url)],
        Some(url) => routes.push((String::new(), url)),
        None if routes.is_empty() => {
            return match (create_on_push, &options.config) {
                (true, _) => Err("--create-on-push needs a store".to_owned()),
                (_, Some(file)) => Err(format!("'{}' names no store", file.display())),
                (false, None) => Ok(Place::Directory { path: directory, strict }),
            };
        }
        None => {}
    }
    let mut stores = StoresConfig::of_file(&file);
    // Others of these programs, one client's after another, are done soon.
    stores.kv.open_wait_ms.get_or_insert(OPEN_WAIT_MS);
    // Most of them write nothing.
    stores.bucket.probe_at_start.get_or_insert(false);
    // Of several, the one store it is in.
    let stem = name.strip_suffix(".git").unwrap_or(&name);
    routes.retain(|(below, _)| storage::is_below(stem, below));
    routes.sort_by_key(|(below, _)| std::cmp::Reverse(below.len()));
    routes.truncate(1);
    let shared = routes.iter().all(|(_, url)| url.is_shared());
    let store = Arc::new(open_routes(&routes, &stores)?);
    Ok(Place::Named {
        name,
        shared,
        catalogue: Box::new(|settings| Catalogue::of_store(store, settings)),
        create_on_push,
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
fn run(invocation: Result<Invocation, String>) -> ExitCode {
    let served = invocation.and_then(|invocation| {
        front_stdio::serve_process(invocation).map_err(|error| error.to_string())
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            eprintln!("fatal: {words}");
            ExitCode::from(front_stdio::FATAL)
        }
    }
}
