//! Full clones: everything reachable, to a client that has nothing.

use std::path::Path;
use std::process::Child;

use super::{Bench, Shown};
use crate::Outcome;
use crate::cost::{self, Answer};
use crate::programs::Side;
use crate::protocol::Client;
use crate::report::Goal;
use crate::transport::{Http, Road, Streams};

pub(crate) fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let plain = bench.fixtures.plain().to_owned();
    let bitmapped = bench.fixtures.bitmapped(bench.programs.git())?;
    let cpu = Shown::Cpu(Some(Goal::Ratio(0.5)));
    let memory = Shown::Anonymous(Some(Goal::Ratio(0.3)));
    let rest = [Shown::Wall(None), Shown::FirstByte(None), Shown::PackSize(None)];
    over_streams(bench, "no bitmap", &plain, &[&[cpu, memory], &rest[..]].concat())?;
    over_streams(
        bench,
        "bitmap",
        &bitmapped,
        &[&[cpu, Shown::Anonymous(None)], &rest[..]].concat(),
    )?;
    over_http(bench, "no bitmap, our HTTP", &plain)
}

fn over_streams(bench: &mut Bench<'_>, case: &str, dir: &Path, shown: &[Shown]) -> Outcome<()> {
    let costs = bench.in_turn(|first, side| {
        let command = bench.programs.upload_pack(side, dir);
        cost::of_program(command, |child: &mut Child| clone(&mut Streams::of(child)?, first))
            .map(Some)
    })?;
    bench.show("clone", case, &costs, shown);
    Ok(())
}

/// Packhorse over HTTP beside git over streams: stock git has no HTTP server of its own.
fn over_http(bench: &mut Bench<'_>, case: &str, dir: &Path) -> Outcome<()> {
    let Some(server) = bench.serve(dir) else { return Ok(()) };
    let pid = server.process.pid();
    let costs = bench.in_turn(|first, side| {
        let cost = match side {
            Side::Packhorse => cost::of_server(pid, || {
                clone(&mut Http::connect(server.process.authority(), &server.path)?, first)
            }),
            Side::Git => cost::of_program(bench.programs.upload_pack(side, dir), |child| {
                clone(&mut Streams::of(child)?, first)
            }),
        };
        cost.map(Some)
    })?;
    let shown =
        [Shown::Cpu(None), Shown::Anonymous(None), Shown::Wall(None), Shown::FirstByte(None)];
    bench.show("clone", case, &costs, &shown);
    Ok(())
}

fn clone(road: &mut dyn Road, verify: bool) -> Outcome<Answer> {
    let mut client = Client::open(road)?;
    let (_, wants) = client.ls_refs()?;
    let fetched = client.fetch(&wants, &[], verify)?;
    client.close()?;
    Ok(fetched)
}
