//! Whether one block is half of a collision along a disturbance vector.
//!
//! Stevens, "Counter-cryptanalysis", CRYPTO 2013: the other half is this message with the vector's
//! difference. In the middle of the computation both have the same state; going back from there
//! gives the chaining value the other half must have started from, going on gives where it ends.
//! When both halves end in the same value, the block is part of an attack.

use super::disturbance::{STEPS, VECTORS};
use super::registers::{ROUND, choose, majority, parity};

/// Whether a block is part of an attack along one of the `suspects`.
///
/// `words` are the block's expanded words, `before` and `after` its chaining values.
pub(super) fn is_attack(
    suspects: u32,
    words: &[u32; STEPS],
    before: [u32; 5],
    after: [u32; 5],
) -> bool {
    VECTORS.iter().enumerate().filter(|(bit, _)| suspects >> bit & 1 == 1).any(|(_, vector)| {
        let middle = forwards(before, words, 0..vector.same_state_at);
        let other: [u32; STEPS] = std::array::from_fn(|at| words[at] ^ vector.difference[at]);
        let start = backwards(middle, &other, vector.same_state_at);
        let end = forwards(middle, &other, vector.same_state_at..STEPS);
        (0..5).all(|at| start[at].wrapping_add(end[at]) == after[at])
    })
}

fn mix(step: usize, b: u32, c: u32, d: u32) -> u32 {
    let mixed = match step / 20 {
        0 => choose(b, c, d),
        2 => majority(b, c, d),
        _ => parity(b, c, d),
    };
    mixed.wrapping_add(ROUND[step / 20])
}

fn forwards(state: [u32; 5], words: &[u32; STEPS], steps: std::ops::Range<usize>) -> [u32; 5] {
    let [mut a, mut b, mut c, mut d, mut e] = state;
    for step in steps {
        let next = a
            .rotate_left(5)
            .wrapping_add(mix(step, b, c, d))
            .wrapping_add(e)
            .wrapping_add(words[step]);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
    }
    [a, b, c, d, e]
}

/// Undoes the steps before `end`.
fn backwards(state: [u32; 5], words: &[u32; STEPS], end: usize) -> [u32; 5] {
    let [mut a, mut b, mut c, mut d, mut e] = state;
    for step in (0..end).rev() {
        let (a_before, b_before) = (b, c.rotate_right(30));
        let e_before = a
            .wrapping_sub(a_before.rotate_left(5))
            .wrapping_sub(mix(step, b_before, d, e))
            .wrapping_sub(words[step]);
        (a, b, c, d, e) = (a_before, b_before, d, e, e_before);
    }
    [a, b, c, d, e]
}
