//! Shallow clones: the newest commit of each branch and tag.

use super::{Bench, Shown};
use crate::Outcome;
use crate::protocol::Fetch;
use crate::report::Goal;

pub(crate) fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let plain = bench.fixtures.plain().to_owned();
    let shown = [
        Shown::Cpu(Some(Goal::Ratio(0.3))),
        Shown::Wall(None),
        Shown::Anonymous(Some(Goal::AtMost(16.0 * super::MIB))),
        Shown::PackSize(None),
    ];
    bench.over_streams(("shallow", "depth 1"), &plain, &shown, |client, first| {
        let (_, wants) = client.ls_refs()?;
        client.fetch(&Fetch { wants: &wants, depth: Some(1), ..Fetch::default() }, first)
    })?;
    Ok(())
}
