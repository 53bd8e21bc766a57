//! Full clones: everything reachable, to a client that has nothing.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{Bench, Costs, MIB, Shown};
use crate::Outcome;
use crate::arguments::COPY_FILE;
use crate::cost::{self, Answer};
use crate::programs::Side;
use crate::protocol::{Client, Fetch};
use crate::report::Goal;
use crate::transport::{Http, Road, Streams};

pub(crate) fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let git = bench.programs.git();
    let plain = bench.fixtures.plain().to_owned();
    let bitmapped = bench.fixtures.bitmapped(git)?;
    let packs = bench.fixtures.many_packs(git)?;
    let cases = [
        ("one pack, bitmap", &bitmapped, 0.2),
        ("21 packs, bitmap", &packs, 0.03),
        ("one pack, no bitmap", &plain, 0.5),
    ];
    for (case, dir, cpu) in cases {
        let shown = [
            Shown::Cpu(Some(Goal::Ratio(cpu))),
            Shown::Anonymous(Some(Goal::AtMost(16.0 * MIB))),
            Shown::Wall(None),
            Shown::FirstByte(Some(Goal::Ratio(0.1))),
            Shown::PackSize(None),
        ];
        let costs = bench.over_streams(("clone", case), dir, &shown, ask)?;
        if dir == &bitmapped {
            beside_a_copy(bench, costs)?;
        }
    }
    over_http(bench, "no bitmap, our HTTP", &plain)
}

/// What the machine can do at best: the same bytes, read and written by a program that does
/// nothing else.
fn beside_a_copy(bench: &mut Bench<'_>, clone: Costs) -> Outcome<()> {
    let pack = bench.fixtures.pack()?;
    let costs = bench.in_turn(|_, side| {
        if side == Side::Packhorse {
            return Ok(None);
        }
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(COPY_FILE).arg(&pack).stdin(Stdio::null()).stdout(Stdio::piped());
        let copied = cost::of_program(command, |child| {
            let start = Instant::now();
            let mut output = child.stdout.take().ok_or("standard output is not piped")?;
            let (mut buffer, mut pack_bytes, mut first_byte) = (vec![0; 128 << 10], 0, None);
            loop {
                match output.read(&mut buffer)? {
                    0 => break,
                    count => pack_bytes += count as u64,
                }
                first_byte.get_or_insert_with(|| start.elapsed());
            }
            Ok(Answer { first_byte: first_byte.unwrap_or_default(), pack_bytes })
        });
        copied.map(Some)
    })?;
    let costs = Costs { packhorse: clone.packhorse, git: costs.git };
    let shown = [Shown::Wall(Some(Goal::Ratio(1.3))), Shown::Cpu(None), Shown::PackSize(None)];
    bench.show("clone", "one pack, bitmap; not git, a bare copy", &costs, &shown);
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
    let answer = ask(&mut client, verify)?;
    client.close()?;
    Ok(answer)
}

fn ask(client: &mut Client<'_>, verify: bool) -> Outcome<Answer> {
    let (_, wants) = client.ls_refs()?;
    client.fetch(&Fetch { wants: &wants, ..Fetch::default() }, verify)
}
