//! `packhorse serve`: from options to a running server, and what it says at start.

mod doors;
mod plan;
mod roads;
mod welcome;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use front_http::Server;
use host::Host;

use crate::cli::ServeOptions;
use crate::store::open_routes;

use doors::Doors;
use plan::{Plan, plan};
use welcome::welcome;

/// Repositories counted at start.
const COUNTED_MAX: usize = 10_000;

/// Runs the server until it is told to stop.
#[allow(clippy::print_stderr)] // A server that cannot start says so where it was started.
pub fn run(options: ServeOptions) -> ExitCode {
    start_log();
    match plan(options).and_then(serve) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("packhorse: some requests did not end in time and were cut off");
            ExitCode::FAILURE
        }
        Err(words) => {
            eprintln!("packhorse: {words}");
            ExitCode::FAILURE
        }
    }
}

fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PACKHORSE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

fn serve(plan: Plan) -> Result<bool, String> {
    let catalogue = plan.served.catalogue(&plan.settings)?;
    let catalogue = catalogue.with_stores(open_routes(&plan.routes, &plan.stores)?);
    let listed = catalogue.list(COUNTED_MAX);
    // Made here and dropped here: a store must not be asked, nor closed, where futures are run.
    let host = Arc::new(Host::new(catalogue, plan.settings.clone()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(plan.settings.requests_max.saturating_add(Server::SPARE_THREADS))
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let drained = runtime.block_on(async {
        let doors = Doors::open(&plan).await?;
        let stop = stop_signal().map_err(|error| format!("cannot listen for signals: {error}"))?;
        welcome(&plan, &listed, &doors);
        host.start_upkeep();
        Ok::<_, String>(doors.serve(&plan, &host, stop).await)
    });
    // Threads that still answer somebody are not waited for twice.
    runtime.shutdown_timeout(Duration::from_millis(100));
    drained
}

/// Ready at Ctrl-C or SIGTERM, from now on; a second Ctrl-C ends the process at once.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::warn!("stopping: running requests are finished first");
        tokio::spawn(async move {
            interrupt.recv().await;
            std::process::exit(130);
        });
    })
}
