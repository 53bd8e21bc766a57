//! Which packs to join so that each of those left is at least some times as large as the next.
//!
//! A row of such packs has a length logarithmic in the number of objects, and each object is
//! copied as often as it moves up in that row: the way of git's `repack --geometric`.

/// How many packs from the front of `sizes`, which are object counts in ascending order, to
/// join with `loose` objects in no pack. 0: none.
///
/// What stays has, pack by pack, at least `factor` times as many objects as the one before it,
/// the joined one included.
pub(super) fn packs_to_join(sizes: &[u32], loose: u64, factor: u32) -> usize {
    let factor = u64::from(factor.max(1));
    let in_row = |pair: &[u32]| u64::from(pair[1]) >= factor * u64::from(pair[0]);
    // The row of those that stay begins behind the last pair that is out of proportion.
    let mut joined = sizes.windows(2).rposition(|pair| !in_row(pair)).map_or(0, |at| at + 2);
    let mut total: u64 = loose + sizes[..joined].iter().copied().map(u64::from).sum::<u64>();
    // The new pack may be too large for its neighbour.
    while total > 0 && joined < sizes.len() && u64::from(sizes[joined]) < factor * total {
        total += u64::from(sizes[joined]);
        joined += 1;
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn joins_what_is_out_of_proportion() {
        assert_eq!(packs_to_join(&[], 0, 2), 0);
        assert_eq!(packs_to_join(&[7], 0, 2), 0);
        assert_eq!(packs_to_join(&[1, 2, 4, 8], 0, 2), 0);
        assert_eq!(packs_to_join(&[3, 3, 400_000], 0, 2), 2);
        assert_eq!(packs_to_join(&[1, 1, 3, 50], 0, 2), 3, "the new one would crowd the third");
        assert_eq!(packs_to_join(&[10, 1000], 1, 2), 0, "one loose object beside ten");
        assert_eq!(packs_to_join(&[10, 1000], 6, 2), 1);
        assert_eq!(packs_to_join(&[10, 1000], 600, 2), 2);
    }

    proptest! {
        #[test]
        fn the_row_holds_afterwards(
            mut sizes in proptest::collection::vec(1..10_000u32, 0..20),
            loose in 0..5000u64,
            factor in 1..5u32,
        ) {
            sizes.sort_unstable();
            let joined = packs_to_join(&sizes, loose, factor);
            let new = loose + sizes[..joined].iter().copied().map(u64::from).sum::<u64>();
            let mut row: Vec<u64> = sizes[joined..].iter().copied().map(u64::from).collect();
            if new > 0 {
                row.insert(0, new);
            }
            for pair in row.windows(2) {
                prop_assert!(pair[1] >= u64::from(factor) * pair[0], "{row:?}");
            }
        }
    }
}
