//! Listing refs: all of very many, and a few among them.

use std::cell::RefCell;

use super::{Bench, Shown};
use crate::Outcome;
use crate::cost::Answer;
use crate::report::Goal;

/// How many there are, and what part of git's time listing all of them may take.
const REFS: [(usize, f64); 2] = [(100_000, 0.5), (1_000_000, 0.3)];

pub(crate) fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    for (refs, goal) in REFS {
        let dir = bench.fixtures.many_refs(refs)?;
        let all = ["refs/heads/", "refs/tags/", "HEAD"];
        let few = ["refs/heads/main"];
        list(bench, &format!("all of {refs}"), &dir, &all, Some(Goal::Ratio(goal)))?;
        list(bench, &format!("one of {refs}"), &dir, &few, None)?;
    }
    Ok(())
}

fn list(
    bench: &mut Bench<'_>,
    case: &str,
    dir: &std::path::Path,
    prefixes: &[&str],
    goal: Option<Goal>,
) -> Outcome<()> {
    let counts = RefCell::new(Vec::new());
    let shown = [Shown::Cpu(goal), Shown::Wall(None), Shown::Anonymous(None)];
    bench.over_streams(("refs", case), dir, &shown, |client, _| {
        counts.borrow_mut().push(client.refs_under(prefixes)?.0);
        Ok(Answer::default())
    })?;
    let counts = counts.into_inner();
    match counts.iter().all(|count| *count == counts[0]) {
        true => Ok(()),
        false => Err(format!("both should list the same refs: {counts:?}").into()),
    }
}
