//! Listing 100,000 refs.

use super::{Bench, Shown};
use crate::Outcome;
use crate::cost::{self, Answer};
use crate::protocol::Client;
use crate::report::Goal;
use crate::transport::Streams;

pub(crate) fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let dir = bench.fixtures.many_refs()?;
    let mut counts = Vec::new();
    let costs = bench.in_turn(|_, side| {
        let cost = cost::of_program(bench.programs.upload_pack(side, &dir), |child| {
            let mut road = Streams::of(child)?;
            let mut client = Client::open(&mut road)?;
            counts.push(client.ls_refs()?.0);
            client.close()?;
            Ok(Answer::default())
        });
        cost.map(Some)
    })?;
    if counts.iter().any(|count| *count != counts[0]) {
        return Err(format!("both should list the same refs: {counts:?}").into());
    }
    let case = format!("ls-refs, {} refs", counts[0]);
    let shown = [Shown::Cpu(Some(Goal::Ratio(0.5))), Shown::Wall(None), Shown::Anonymous(None)];
    bench.show("refs", &case, &costs, &shown);
    Ok(())
}
