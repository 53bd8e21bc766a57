//! Indexing a received pack into an empty repository, from standard input.

use std::fs::File;

use super::{Bench, MIB, Shown};
use crate::Outcome;
use crate::cost::{self, Answer};
use crate::report::Goal;

pub(crate) fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let pack = bench.fixtures.pack()?;
    let git = bench.programs.git();
    let threads = bench.arguments.threads;
    let costs = bench.in_turn(|first, side| {
        let scratch = bench.fixtures.scratch();
        let dir = scratch.join("empty.git");
        git.ok(
            git.root(),
            &["init".as_ref(), "--quiet".as_ref(), "--bare".as_ref(), dir.as_os_str()],
        );
        let mut command = bench.programs.index_pack(side, &dir, threads);
        command.stdin(File::open(&pack)?);
        let cost = cost::of_program(command, |_| Ok(Answer::default()))?;
        if first {
            git.ok(&dir, &["verify-pack".as_ref(), only_index(&dir)?.as_os_str()]);
        }
        Ok(Some(cost))
    })?;
    let case = format!("{} MiB, {threads} threads", pack.metadata()?.len() >> 20);
    let shown = [
        Shown::Wall(Some(Goal::Ratio(0.6))),
        Shown::Cpu(None),
        Shown::Anonymous(Some(Goal::AtMost(64.0 * MIB))),
    ];
    bench.show("index", &case, &costs, &shown);
    Ok(())
}

fn only_index(dir: &std::path::Path) -> Outcome<std::path::PathBuf> {
    for entry in std::fs::read_dir(dir.join("objects/pack"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "idx") {
            return Ok(path);
        }
    }
    Err("no index was written".into())
}
