//! Which stored deltas may stay: chains that are too deep are cut, rings cannot be kept.

use super::table::{Entry, Form, NONE};

/// Gives every kept delta its depth and every object stored whole its height. A delta that would
/// lie deeper than `depth` is kept no longer; what leans on it begins to count anew there.
pub(super) fn limit_depth(table: &mut [Entry], depth: u16) {
    let mut chain = Vec::new();
    for at in 0..table.len() {
        let mut next = at;
        // Kept deltas with a depth are done with.
        while table[next].form == Form::KeptDelta && table[next].depth == 0 {
            chain.push(next);
            if chain.len() > table.len() {
                // Stored deltas form no ring; if the impossible happens, it is broken here.
                keep_no_longer(&mut table[next]);
                chain.pop();
                break;
            }
            next = table[next].base as usize;
        }
        while let Some(at) = chain.pop() {
            if table[at].form != Form::KeptDelta {
                continue;
            }
            let base_depth = table[table[at].base as usize].depth;
            if base_depth >= depth {
                keep_no_longer(&mut table[at]);
            } else {
                table[at].depth = base_depth + 1;
            }
        }
    }
    for at in 0..table.len() {
        let depth = table[at].depth;
        let mut root = at;
        while table[root].form == Form::KeptDelta {
            root = table[root].base as usize;
        }
        table[root].height = table[root].height.max(depth);
    }
}

fn keep_no_longer(entry: &mut Entry) {
    (entry.form, entry.base, entry.delta_size, entry.depth) = (Form::Rebuilt, NONE, 0, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Slot;

    /// Objects of which each is a delta on the one named, if any.
    fn table(bases: &[Option<u32>]) -> Vec<Entry> {
        let entry = |(at, base): (usize, &Option<u32>)| Entry {
            base: base.unwrap_or(NONE),
            form: if base.is_some() { Form::KeptDelta } else { Form::Copied },
            ..Entry::new(Slot(at as u32))
        };
        bases.iter().enumerate().map(entry).collect()
    }

    #[test]
    fn deep_chains_are_cut_and_counted_anew() {
        let mut table = table(&[Some(1), Some(2), Some(3), Some(4), None, Some(4)]);
        limit_depth(&mut table, 2);
        let depths: Vec<_> = table.iter().map(|entry| (entry.depth, entry.height)).collect();
        assert_eq!(depths, [(1, 0), (0, 1), (2, 0), (1, 0), (0, 2), (1, 0)]);
        assert_eq!(table[1].form, Form::Rebuilt);
    }

    #[test]
    fn a_ring_is_broken() {
        let mut table = table(&[Some(1), Some(2), Some(0)]);
        limit_depth(&mut table, 50);
        assert_eq!(table.iter().filter(|entry| entry.form == Form::Rebuilt).count(), 1);
    }
}
