//! Many clones at the same time: one server of ours, beside as many `git upload-pack`.

use super::{Bench, MIB, Shown};
use crate::Outcome;
use crate::cost::{self, Answer};
use crate::programs::Side;
use crate::protocol::{Client, Fetch};
use crate::report::Goal;
use crate::transport::{Http, Road, Streams};

const CLONES: [usize; 4] = [1, 4, 16, 64];
/// With so many, the memory of the whole server has a goal.
const CLONES_OF_GOAL: usize = 16;

pub(crate) fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let dir = bench.fixtures.bitmapped(bench.programs.git())?;
    let Some(server) = bench.serve(&dir) else { return Ok(()) };
    let pid = server.process.pid();
    for count in CLONES {
        let costs = bench.in_turn(|_, side| {
            let cost = match side {
                Side::Packhorse => cost::of_server(pid, || {
                    cost::slowest(cost::at_once(&mut vec![(); count], |()| {
                        let authority = server.process.authority();
                        clone(&mut Http::connect(authority, &server.path)?)
                    }))
                }),
                Side::Git => {
                    let command = |_| bench.programs.upload_pack(side, &dir);
                    cost::of_programs((0..count).map(command).collect(), |child| {
                        clone(&mut Streams::of(child)?)
                    })
                }
            };
            cost.map(Some)
        })?;
        let most = Goal::AtMost(64.0 * MIB);
        let shown = [
            Shown::Cpu(Some(Goal::Ratio(0.2))),
            Shown::Wall(None),
            Shown::FirstByte(None),
            Shown::Anonymous((count <= CLONES_OF_GOAL).then_some(most)),
        ];
        bench.show("concurrent", &format!("{count} clones at once, bitmap"), &costs, &shown);
    }
    Ok(())
}

fn clone(road: &mut dyn Road) -> Outcome<Answer> {
    let mut client = Client::open(road)?;
    let (_, wants) = client.ls_refs()?;
    let answer = client.fetch(&Fetch { wants: &wants, ..Fetch::default() }, false)?;
    client.close()?;
    Ok(answer)
}
