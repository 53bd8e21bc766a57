//! Shallow clones: the newest commit of one branch, as `git clone --depth=1` asks for it, and of
//! each branch and tag.

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
    for (case, prefixes) in [
        ("depth 1, one branch", &["HEAD"][..]),
        ("depth 1, all branches and tags", &["HEAD", "refs/heads/", "refs/tags/"]),
    ] {
        bench.over_streams(("shallow", case), &plain, &shown, |client, first| {
            let (_, wants) = client.refs_under(prefixes)?;
            client.fetch(&Fetch { wants: &wants, depth: Some(1), ..Fetch::default() }, first)
        })?;
    }
    Ok(())
}
