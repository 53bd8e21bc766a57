//! Which commits get a bitmap: all of the newest, fewer the older they are, as git chooses; and those
//! that no other one reaches, so that all refs together are a few bitmaps and nothing to walk.
//!
//! Source: `pack-bitmap-write.c`. What is not chosen is at most a window away from what is.

use std::cmp::Reverse;

/// Histories with fewer commits get a bitmap for each.
const EVERY_BELOW: usize = 100;
/// The newest commits, each of which gets a bitmap.
const NEWEST: usize = 100;
/// Commits from which on windows grow beyond [`WINDOW_MIN`].
const RECENT: usize = 20_000;
const WINDOW_MIN: usize = 100;
const WINDOW_MAX: usize = 5000;

/// Of commits that no other one reaches, the newest ones that get a bitmap in any case. A repository
/// of many forgotten branches would have more bitmaps than it gains by them.
const ENDS_MAX: usize = 256;

/// A commit that could get a bitmap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Committer time, seconds since 1970.
    pub time: i64,
    /// Its number in history, parents before children.
    pub number: u32,
    /// Whether it has more than one parent.
    pub is_merge: bool,
    /// Whether it is to be chosen before others near it.
    pub is_preferred: bool,
    /// Whether no other commit has it for a parent.
    pub is_end: bool,
}

/// The numbers of those that get a bitmap, in ascending order.
pub(super) fn select(mut candidates: Vec<Candidate>) -> Vec<u32> {
    candidates.sort_unstable_by_key(|candidate| Reverse((candidate.time, candidate.number)));
    let mut selected: Vec<u32> = Vec::new();
    if candidates.len() < EVERY_BELOW {
        selected.extend(candidates.iter().map(|candidate| candidate.number));
    } else {
        let mut at = 0;
        while let Some(window) = candidates.get(at..=at + window_len(at)) {
            selected.push(best(window).number);
            at += window.len();
        }
    }
    let ends = candidates.iter().filter(|candidate| candidate.is_end);
    selected.extend(ends.map(|end| end.number).take(ENDS_MAX));
    selected.sort_unstable();
    selected.dedup();
    selected
}

/// How many commits are passed over for the one chosen.
fn window_len(at: usize) -> usize {
    if at <= NEWEST {
        0
    } else if at <= RECENT {
        (at - NEWEST).min(WINDOW_MIN)
    } else {
        (at - RECENT).clamp(WINDOW_MIN, WINDOW_MAX)
    }
}

/// The first preferred one; else the last merge, which reaches most; else the last.
fn best(window: &[Candidate]) -> Candidate {
    let last = window[window.len() - 1];
    let preferred = window.iter().find(|candidate| candidate.is_preferred);
    let merge = || window.iter().rev().find(|candidate| candidate.is_merge);
    preferred.or_else(merge).copied().unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of commits, a second apart.
    fn line(count: u32) -> Vec<Candidate> {
        let commit = |number| Candidate {
            time: i64::from(number),
            number,
            is_merge: false,
            is_preferred: false,
            is_end: number + 1 == count,
        };
        (0..count).map(commit).collect()
    }

    #[test]
    fn all_of_a_short_history_are_selected() {
        assert_eq!(select(line(99)), (0..99).collect::<Vec<_>>());
        assert!(select(Vec::new()).is_empty());
    }

    #[test]
    fn windows_grow_with_age() {
        let selected = select(line(100_000));
        let gaps: Vec<u32> = selected.windows(2).rev().map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(selected.last(), Some(&99_999));
        assert!(gaps[..100].iter().all(|gap| *gap == 1));
        assert!(gaps.is_sorted() && *gaps.last().expect("many") == 5001);
        assert!((300..340).contains(&selected.len()), "{} selected", selected.len());
    }

    #[test]
    fn what_nothing_else_reaches_is_selected() {
        let mut commits = line(5000);
        for end in [0, 7, 1234, 4000] {
            commits[end].is_end = true;
        }
        let selected = select(commits.clone());
        assert!([0, 7, 1234, 4000, 4999].iter().all(|end| selected.contains(end)));
        assert!(selected.is_sorted());
        // The newest of very many.
        commits.iter_mut().for_each(|commit| commit.is_end = true);
        let selected = select(commits);
        assert!((5000 - 256..5000).all(|end| selected.contains(&end)));
        assert!(selected.len() < 256 + 100, "{}", selected.len());
    }

    #[test]
    fn preferred_commits_and_merges_win_their_window() {
        let mut commits = line(1000);
        commits[405].is_merge = true;
        commits[410].is_merge = true;
        let selected = select(commits.clone());
        assert!(selected.contains(&405) && !selected.contains(&410));
        commits[420].is_preferred = true;
        let selected = select(commits);
        assert!(selected.contains(&420) && !selected.contains(&405));
    }
}
