//! Where the entries of a stored pack went in the pack that is being sent.

/// A run of entries that were copied one behind the other.
struct Run {
    /// First and past-the-end offset in the stored pack.
    start: u64,
    end: u64,
    /// Where the run begins in the new pack.
    at: u64,
}

/// Entries of the present pack, in the order of their offsets. Deltas name bases by distance in
/// their own pack only, so those of packs that are done are forgotten.
#[derive(Default)]
pub(super) struct Sent {
    pack: u32,
    runs: Vec<Run>,
}

impl Sent {
    /// Notes that what lay at `start..end` of a pack begins at `at` of the new one.
    pub fn note(&mut self, pack: u32, start: u64, end: u64, at: u64) {
        if self.pack != pack {
            self.pack = pack;
            self.runs.clear();
        }
        match self.runs.last_mut() {
            Some(run) if run.end == start && run.at + (start - run.start) == at => run.end = end,
            _ => self.runs.push(Run { start, end, at }),
        }
    }

    /// Where the entry that begins at `offset` of a stored pack begins in the new one.
    pub fn place_of(&self, pack: u32, offset: u64) -> Option<u64> {
        if self.pack != pack {
            return None;
        }
        // Bases are near, most of them.
        if let Some(last) = self.runs.last().filter(|run| run.start <= offset) {
            return (offset < last.end).then(|| last.at + (offset - last.start));
        }
        let after = self.runs.partition_point(|run| run.start <= offset);
        let run = self.runs[..after].last().filter(|run| offset < run.end)?;
        Some(run.at + (offset - run.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_where_they_went() {
        let mut sent = Sent::default();
        sent.note(0, 12, 20, 12);
        sent.note(0, 20, 30, 20);
        sent.note(0, 40, 50, 30);
        sent.note(0, 50, 60, 41);
        assert_eq!(sent.runs.len(), 3);
        let places = [11, 12, 20, 30, 39, 40, 50, 60].map(|offset| sent.place_of(0, offset));
        let expected = [None, Some(12), Some(20), None, None, Some(30), Some(41), None];
        assert_eq!(places, expected);
        sent.note(1, 12, 20, 60);
        assert_eq!((sent.place_of(0, 12), sent.place_of(1, 12)), (None, Some(60)));
    }
}
