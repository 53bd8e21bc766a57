//! Everything packed anew, with a search for deltas.

use std::fs;
use std::path::Path;

use super::{Bench, Shown};
use crate::Outcome;
use crate::cost::{self, Answer};
use crate::fixture::copy_links;
use crate::report::Goal;

/// Both look among so many neighbours, and make chains of at most so many deltas: git's own
/// defaults.
const WINDOW: &str = "10";
const DEPTH: &str = "50";

/// What else maintenance would do is left out: git's `repack` does none of it.
const PACK_ALONE: [(&str, &str); 5] = [
    ("repack.writeBitmaps", "false"),
    ("gc.writeCommitGraph", "false"),
    ("gc.packRefs", "false"),
    ("pack.window", WINDOW),
    ("pack.depth", DEPTH),
];

pub(crate) fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let git = bench.programs.git();
    let threads = bench.arguments.threads;
    let costs = bench.in_turn(|first, side| {
        let scratch = bench.fixtures.scratch();
        let dir = scratch.join("repack.git");
        copy_links(git, bench.fixtures.plain(), &dir);
        for (key, value) in PACK_ALONE {
            git.ok(&dir, &["config", key, value]);
        }
        let command = bench.programs.repack(side, &dir, threads);
        let mut cost = cost::of_program(command, |_| Ok(Answer::default()))?;
        cost.answer.pack_bytes = only_pack_bytes(&dir)?;
        if first {
            git.ok(&dir, &["fsck", "--connectivity-only"]);
        }
        Ok(Some(cost))
    })?;
    let shown = [
        Shown::Wall(Some(Goal::Ratio(0.8))),
        Shown::Cpu(None),
        Shown::Anonymous(None),
        Shown::PackSize(Some(Goal::Ratio(1.01))),
    ];
    bench.show("repack", &format!("deltas anew, {threads} threads"), &costs, &shown);
    Ok(())
}

fn only_pack_bytes(dir: &Path) -> Outcome<u64> {
    let mut sizes = Vec::new();
    for entry in fs::read_dir(dir.join("objects/pack"))? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "pack") {
            sizes.push(entry.metadata()?.len());
        }
    }
    match sizes[..] {
        [size] => Ok(size),
        _ => Err(format!("{} packs instead of one", sizes.len()).into()),
    }
}
