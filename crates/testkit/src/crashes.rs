//! Crash consistency: the same work, stopped at each of its writes in turn.

use std::sync::Arc;

use storage::faulty::{Fault, Faults};

/// No work that a test does needs more writes than this.
const WRITES_MAX: u64 = 100_000;

/// Runs `work` again and again: first it crashes at write 1, then at write 2, until a run gets
/// through without reaching its crash. Returns how many writes the whole work needs.
///
/// `work` makes its own fresh stores, wraps them with the given faults
/// ([`storage::faulty`]), does what it does, and then opens the stores *without* the
/// wrapper and verifies them: what was acknowledged is there, what is there is whole.
///
/// # Panics
/// When the work never gets through.
pub fn for_every_crash(mut work: impl FnMut(&Arc<Faults>)) -> u64 {
    for at in 1..=WRITES_MAX {
        let faults = Faults::new(Fault::CrashAtWrite(at));
        work(&faults);
        if !faults.crashed() {
            return faults.writes();
        }
    }
    panic!("the work needs more than {WRITES_MAX} writes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_write_crashes_once() {
        let mut done = Vec::new();
        let writes = for_every_crash(|faults| {
            done.push((0..3).take_while(|_| faults.before_write("a step").is_ok()).count());
        });
        assert_eq!((writes, done), (3, vec![0, 1, 2, 3]));
    }
}
