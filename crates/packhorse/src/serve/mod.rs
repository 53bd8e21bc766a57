//! `packhorse serve`: from options to a running server, and what it says at start.

mod acme;
mod doors;
mod plan;
mod roads;
mod system;
mod welcome;

use std::convert::Infallible;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use front_http::Server;
use host::{Host, PushAccess, Settings};
use webhooks::Webhooks;

use crate::cli::ServeOptions;
use crate::machine;
use crate::store::open_routes;

use doors::Doors;
use plan::{Plan, plan};
use system::{Given, notify};
use welcome::welcome;

/// Repositories counted at start.
const COUNTED_MAX: usize = 10_000;

/// Runs the server until it is told to stop.
#[allow(clippy::print_stderr)] // A server that cannot start says so where it was started.
pub fn run(options: ServeOptions) -> ExitCode {
    start_log();
    machine::allow_many_files();
    match Given::take().and_then(|given| serve(&options, given)) {
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

fn serve(options: &ServeOptions, given: Given) -> Result<bool, String> {
    let plan = plan(options, &given)?;
    let catalogue = plan.served.catalogue(&plan.settings)?;
    let catalogue = catalogue.with_stores(open_routes(&plan.routes, &plan.stores)?);
    let listed = catalogue.list(COUNTED_MAX);
    // Made here and dropped here: a store must not be asked, nor closed, where futures are run.
    let webhooks = Arc::new(Webhooks::default());
    let failed = |error| format!("cannot keep webhooks: {error}");
    webhooks.configure(plan.webhooks.clone()).map_err(failed)?;
    let settings = Settings { listener: Some(webhooks.clone()), ..plan.settings.clone() };
    let host = Arc::new(Host::new(catalogue, settings));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(plan.settings.requests_max.saturating_add(Server::SPARE_THREADS))
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let drained = runtime.block_on(async {
        let doors = Doors::open(&plan, given).await?;
        let signals = |error| format!("cannot listen for signals: {error}");
        let stop = stop_signal().map_err(signals)?;
        let reload = reloads(options, &plan, &host, &webhooks).map_err(signals)?;
        welcome(&plan, &listed, &doors);
        notify("READY=1");
        host.start_upkeep();
        let acme = plan.https.as_ref().and_then(|https| https.acme.clone());
        let certificates = async {
            match acme {
                Some(acme) => acme.keep(plan.http.challenges.clone()).await,
                None => std::future::pending().await,
            }
        };
        let served = doors.serve(&plan, &host, stop);
        tokio::pin!(served);
        let well = tokio::select! {
            well = &mut served => well,
            never = reload => match never {},
            never = certificates => match never {},
            () = webhooks.run(&host) => false,
        };
        Ok::<_, String>(well)
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
        notify("STOPPING=1");
        tokio::spawn(async move {
            interrupt.recv().await;
            std::process::exit(130);
        });
    })
}

/// Reads the configuration again at each SIGHUP. What cannot be understood changes nothing.
fn reloads(
    options: &ServeOptions,
    plan: &Plan,
    host: &Arc<Host>,
    webhooks: &Arc<Webhooks>,
) -> std::io::Result<impl Future<Output = Infallible>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = signal(SignalKind::hangup())?;
    // What all requests share was made at the start.
    let memory = plan.settings.engine.memory.clone();
    Ok(async move {
        loop {
            hangup.recv().await;
            notify(&format!("RELOADING=1\nMONOTONIC_USEC={}", machine::monotonic_micros()));
            match plan::plan(options, &Given::default()) {
                Ok(anew) => {
                    let mut settings = anew.settings;
                    settings.engine.memory = memory.clone();
                    settings.listener = Some(webhooks.clone());
                    if let Err(error) = webhooks.configure(anew.webhooks) {
                        tracing::error!(%error, "webhooks stay as they were");
                    }
                    settings.cert_nonce_seed = plan.settings.cert_nonce_seed.clone();
                    // Where it listens stays as it is, and so does what follows from that.
                    settings.push_access = match settings.push_access {
                        PushAccess::ReadOnly => PushAccess::ReadOnly,
                        _ if plan.settings.push_access == PushAccess::ReadOnly => {
                            settings.push_access
                        }
                        _ => plan.settings.push_access,
                    };
                    host.reload(settings);
                    tracing::warn!("the configuration was read again");
                }
                Err(words) => tracing::error!("the configuration stays as it was: {words}"),
            }
            notify("READY=1");
        }
    })
}
