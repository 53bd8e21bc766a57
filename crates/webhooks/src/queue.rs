//! What waits for one receiver, and when it is due. Deliveries of one repository go out one after the other, in the
//! order in which they were noted: one that fails holds back those behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use client::Backoff;

/// The deliveries of one receiver.
#[derive(Debug)]
pub(crate) struct Lanes {
    lanes: BTreeMap<String, Lane>,
    /// Lanes with something to send of which nothing is on its way, by when that is due.
    due: BTreeSet<(Instant, String)>,
    /// All ids.
    known: BTreeSet<String>,
    first: Duration,
    max: Duration,
    seed: u64,
}

/// Those of one repository.
#[derive(Debug)]
struct Lane {
    ids: BTreeSet<String>,
    /// When the first of them is due; `None` while it is on its way.
    due: Option<Instant>,
    attempts: u32,
    backoff: Backoff,
}

/// A delivery that is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub repository: String,
    pub id: String,
    /// Which attempt it is, from 1 on.
    pub attempt: u32,
}

impl Lanes {
    pub fn new((first, max): (Duration, Duration), seed: u64) -> Self {
        let (lanes, due) = (BTreeMap::new(), BTreeSet::new());
        Lanes { lanes, due, known: BTreeSet::new(), first, max, seed }
    }

    /// From now on, lanes that begin wait so long.
    pub fn set_waits(&mut self, (first, max): (Duration, Duration)) {
        (self.first, self.max) = (first, max);
    }

    /// Deliveries that wait, or are on their way.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether it is known already.
    pub fn contains(&self, id: &str) -> bool {
        self.known.contains(id)
    }

    /// One more; it may be known.
    pub fn add(&mut self, repository: &str, id: &str, now: Instant) {
        self.seed = self.seed.wrapping_add(1);
        let (first, max, seed) = (self.first, self.max, self.seed);
        let lane = self.lanes.entry(repository.to_owned()).or_insert_with(|| {
            self.due.insert((now, repository.to_owned()));
            let backoff = Backoff::between(first, max, seed);
            Lane { ids: BTreeSet::new(), due: Some(now), attempts: 0, backoff }
        });
        lane.ids.insert(id.to_owned());
        self.known.insert(id.to_owned());
    }

    /// What is to be sent now.
    pub fn take(&mut self, now: Instant) -> Option<Job> {
        let (when, repository) = self.due.first()?;
        if *when > now {
            return None;
        }
        let repository = repository.clone();
        self.due.pop_first();
        let lane = self.lanes.get_mut(&repository)?;
        lane.due = None;
        lane.attempts += 1;
        let (id, attempt) = (lane.ids.first()?.clone(), lane.attempts);
        Some(Job { repository, id, attempt })
    }

    /// When something is due next.
    pub fn next(&self) -> Option<Instant> {
        self.due.first().map(|(when, _)| *when)
    }

    /// A delivery need not be sent any more.
    pub fn settle(&mut self, job: &Job, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&job.repository) else { return };
        lane.ids.remove(&job.id);
        self.known.remove(&job.id);
        if lane.ids.is_empty() {
            self.lanes.remove(&job.repository);
            return;
        }
        lane.attempts = 0;
        lane.backoff.reset();
        lane.due = Some(now);
        self.due.insert((now, job.repository.clone()));
    }

    /// A delivery is to be tried again, not before the receiver wants it; how long that is.
    pub fn later(&mut self, job: &Job, wanted: Option<Duration>, now: Instant) -> Duration {
        let max = self.max;
        let Some(lane) = self.lanes.get_mut(&job.repository) else { return max };
        let wait = lane.backoff.wait().max(wanted.unwrap_or_default().min(max));
        let when = now + wait;
        lane.due = Some(when);
        self.due.insert((when, job.repository.clone()));
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_holds_back_its_repository_and_no_other() {
        let second = Duration::from_secs(1);
        let mut lanes = Lanes::new((second * 8, second * 60), 42);
        let now = Instant::now();
        for (repository, id) in [("a", "1"), ("a", "2"), ("b", "3"), ("a", "2")] {
            lanes.add(repository, id, now);
        }
        assert_eq!((lanes.len(), lanes.contains("2"), lanes.contains("4")), (3, true, false));
        let job = |repository: &str, id: &str, attempt| Job {
            repository: repository.into(),
            id: id.into(),
            attempt,
        };
        assert_eq!(lanes.take(now), Some(job("a", "1", 1)));
        assert_eq!(lanes.take(now), Some(job("b", "3", 1)));
        assert_eq!((lanes.take(now), lanes.next()), (None, None));
        let wait = lanes.later(&job("a", "1", 1), None, now);
        assert!(wait >= second * 4 && wait <= second * 8, "{wait:?}");
        lanes.settle(&job("b", "3", 1), now);
        assert_eq!((lanes.take(now), lanes.next()), (None, Some(now + wait)));
        assert_eq!(lanes.take(now + wait), Some(job("a", "1", 2)));
        // As long as it wants, but not for ever.
        let wanted = lanes.later(&job("a", "1", 2), Some(second * 30), now);
        assert_eq!(wanted, second * 30);
        assert_eq!(lanes.take(now + wanted), Some(job("a", "1", 3)));
        assert_eq!(lanes.later(&job("a", "1", 3), Some(second * 3600), now), second * 60);
        assert_eq!(lanes.take(now + second * 60), Some(job("a", "1", 4)));
        lanes.settle(&job("a", "1", 4), now);
        assert_eq!(lanes.take(now), Some(job("a", "2", 1)));
        lanes.settle(&job("a", "2", 1), now);
        assert_eq!((lanes.len(), lanes.next()), (0, None));
    }
}
