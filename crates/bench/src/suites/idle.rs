//! The server that waits: what it holds while nobody asks.

use std::time::Duration;

use super::{Bench, MIB};
use crate::Outcome;
use crate::memory::{resident_bytes, tree_anonymous_bytes};
use crate::report::{Figures, Goal, Unit};

/// Start-up work on other threads is over by then.
const SETTLED_AFTER: Duration = Duration::from_millis(500);

pub(crate) fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let plain = bench.fixtures.plain().to_owned();
    let Some(server) = bench.serve(&plain) else { return Ok(()) };
    std::thread::sleep(SETTLED_AFTER);
    let pid = server.process.pid();
    let lines = [
        ("anonymous memory", tree_anonymous_bytes(pid), 6.0),
        ("resident memory", resident_bytes(pid), 24.0),
    ];
    for (measure, bytes, most_mib) in lines {
        let packhorse = vec![bytes as f64];
        let figures = Figures { unit: Unit::Bytes, packhorse, git: Vec::new() };
        bench.report.add(
            "idle",
            "packhorse serve",
            measure,
            figures,
            &[Goal::AtMost(most_mib * MIB)],
        );
    }
    Ok(())
}
