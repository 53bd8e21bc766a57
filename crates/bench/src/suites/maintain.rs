//! Fetches while the repository is maintained on the same machine.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::ServerProcess;

use super::{Bench, Costs};
use crate::Outcome;
use crate::cost::{self, Cost};
use crate::fixture::copy_links;
use crate::programs::Side;
use crate::protocol::{Client, Fetch};
use crate::transport::{Http, Road, Streams};

/// How long the server leaves a repository alone after a push here.
const REST: Duration = Duration::from_millis(100);
/// How long maintenance may take to begin.
const BEGINS_WITHIN: Duration = Duration::from_secs(60);
/// Fetches that are measured while it runs, at most.
const FETCHES_MAX: usize = 200;
/// Between two of them: a server is not asked all the time.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let git = bench.programs.git();
    let scratch = bench.fixtures.scratch();
    let packs = bench.fixtures.many_packs(git)?;
    let (ours, theirs) = (scratch.join("packhorse.git"), scratch.join("git.git"));
    for dir in [&ours, &theirs] {
        copy_links(git, &packs, dir);
    }
    let file = scratch.join("server.toml");
    std::fs::write(&file, format!("[maintenance]\nrest_ms = {}\n", REST.as_millis()))?;
    let Some(mut command) = bench.programs.server(&ours) else { return Ok(()) };
    command.arg("--config").arg(&file);
    // The home it is started with keeps git, and so the server, from maintaining anything.
    command.env("GIT_CONFIG_GLOBAL", "/dev/null");
    let server = ServerProcess::spawn_http(command);
    let (authority, path) = (server.authority().to_owned(), "/packhorse.git".to_owned());
    let newest = git.ok(&ours, &["rev-parse", "HEAD"]);
    let before = git.ok(&ours, &["rev-parse", "HEAD~1"]);
    let (wants, haves) = ([newest], [before]);
    let ours_once = || {
        let mut road = Http::connect(&authority, &path)?;
        timed(|| fetch(&mut road, &wants, &haves))
    };
    let theirs_once = || {
        let mut child: Child = bench.programs.upload_pack(Side::Git, &theirs).spawn()?;
        let cost = timed(|| fetch(&mut Streams::of(&mut child)?, &wants, &haves))?;
        child.wait()?;
        Ok(cost)
    };

    let idle = bench.in_turn(|_, side| match side {
        Side::Packhorse => ours_once().map(Some),
        Side::Git => theirs_once().map(Some),
    })?;

    // A push is what sets the server going; stock git is told directly.
    let push = ["push", "--quiet"];
    let mut command = git.command(&theirs);
    command.args(push).arg(format!("http://{authority}{path}")).arg("HEAD:refs/heads/bench");
    cost::of_program(quiet(command), |_| Ok(Default::default()))?;
    let running = ours.join("gc.pid");
    let begun = Instant::now();
    while !running.exists() {
        if begun.elapsed() > BEGINS_WITHIN {
            return Err("the server does not begin with maintenance".into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let packhorse = while_it_runs(ours_once, || running.exists())?;
    let mut command = git.command(&theirs);
    command.args(["-c", "gc.auto=1", "-c", "gc.autoPackLimit=1", "gc", "--quiet"]);
    let mut gc = quiet(command).spawn()?;
    let during = while_it_runs(theirs_once, || matches!(gc.try_wait(), Ok(None)));
    gc.wait()?;
    let busy = Costs { packhorse, git: during? };
    for (case, costs) in [("idle", idle), ("maintenance runs", busy)] {
        bench.show_mean("maintain-under-load", &format!("newest commit, {case}"), &costs);
    }
    Ok(())
}

fn quiet(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn while_it_runs(
    once: impl Fn() -> Outcome<Cost>,
    mut runs: impl FnMut() -> bool,
) -> Outcome<Vec<Cost>> {
    let mut costs = vec![once()?];
    while runs() && costs.len() < FETCHES_MAX {
        costs.push(once()?);
        std::thread::sleep(PAUSE);
    }
    Ok(costs)
}

fn timed(act: impl FnOnce() -> Outcome<()>) -> Outcome<Cost> {
    let start = Instant::now();
    act()?;
    Ok(Cost { wall: start.elapsed(), ..Cost::default() })
}

fn fetch(road: &mut dyn Road, wants: &[String], haves: &[String]) -> Outcome<()> {
    let mut client = Client::open(road)?;
    client.fetch(&Fetch { wants, haves, ..Fetch::default() }, false)?;
    client.close()
}
