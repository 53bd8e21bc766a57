//! A fetch of the last 100 commits: what a server does all day.

use std::path::Path;

use super::{Bench, Shown};
use crate::Outcome;
use crate::cost::{self, Answer};
use crate::programs::Side;
use crate::protocol::{Client, Fetch};
use crate::report::Goal;
use crate::transport::{Http, Road, Streams};

const COMMITS: [(&str, usize); 2] = [("newest commit", 1), ("last 100 commits", 100)];

pub(crate) fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let plain = bench.fixtures.plain().to_owned();
    let bitmapped = bench.fixtures.bitmapped(bench.programs.git())?;
    let goal = Some(Goal::Ratio(0.2));
    for (case, commits) in COMMITS {
        over_streams(bench, &format!("{case}, bitmap"), &bitmapped, commits, goal)?;
        over_http(bench, &format!("{case}, bitmap, our HTTP"), &bitmapped, commits)?;
        over_streams(bench, &format!("{case}, no bitmap"), &plain, commits, goal)?;
    }
    Ok(())
}

fn over_streams(
    bench: &mut Bench<'_>,
    case: &str,
    dir: &Path,
    commits: usize,
    wall: Option<Goal>,
) -> Outcome<()> {
    let (want, have) = ends(bench, dir, commits);
    let costs = bench.in_turn(|first, side| {
        cost::of_program(bench.programs.upload_pack(side, dir), |child| {
            fetch(&mut Streams::of(child)?, &want, &have, first)
        })
        .map(Some)
    })?;
    show(bench, case, &costs, wall);
    Ok(())
}

fn over_http(bench: &mut Bench<'_>, case: &str, dir: &Path, commits: usize) -> Outcome<()> {
    let Some(server) = bench.serve(dir) else { return Ok(()) };
    let (want, have) = ends(bench, dir, commits);
    let costs = bench.in_turn(|first, side| {
        let cost = match side {
            Side::Packhorse => cost::of_server(server.process.pid(), || {
                let mut road = Http::connect(server.process.authority(), &server.path)?;
                fetch(&mut road, &want, &have, first)
            }),
            Side::Git => cost::of_program(bench.programs.upload_pack(side, dir), |child| {
                fetch(&mut Streams::of(child)?, &want, &have, first)
            }),
        };
        cost.map(Some)
    })?;
    show(bench, case, &costs, None);
    Ok(())
}

fn show(bench: &mut Bench<'_>, case: &str, costs: &super::Costs, wall: Option<Goal>) {
    let shown =
        [Shown::Wall(wall), Shown::Cpu(None), Shown::Anonymous(None), Shown::PackSize(None)];
    bench.show("fetch", case, costs, &shown);
}

/// The tip, and the commit so many first parents before it (the first one of a short history).
fn ends(bench: &Bench<'_>, dir: &Path, commits: usize) -> (Vec<String>, Vec<String>) {
    let git = bench.programs.git();
    let count = format!("--max-count={}", commits + 1);
    let line = git.ok(dir, &["rev-list", "--first-parent", &count, "HEAD"]);
    let ids: Vec<String> = line.lines().map(str::to_owned).collect();
    (ids[..1].to_vec(), ids[ids.len() - 1..].to_vec())
}

fn fetch(road: &mut dyn Road, want: &[String], have: &[String], verify: bool) -> Outcome<Answer> {
    let mut client = Client::open(road)?;
    let fetched = client.fetch(&Fetch { wants: want, haves: have, ..Fetch::default() }, verify)?;
    client.close()?;
    Ok(fetched)
}
