//! When a fetch may be worked out, and how much work it may be.

use std::any::Any;
use std::io;
use std::time::{Duration, Instant};

use repository::MemoryShare;

use crate::Error;

/// Lets fetches begin to work, some at a time.
pub trait FetchGate: Sync {
    /// Waits for a turn to work out an answer that holds at least `bytes` of memory. While it
    /// waits, `waiting` is told now and then how many fetches come before.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is no turn to be had in time, and what `waiting` answers.
    fn enter(
        &self,
        bytes: usize,
        waiting: &mut dyn FnMut(usize) -> io::Result<()>,
    ) -> Result<Turn, Error>;
}

/// The right to work out one answer.
pub struct Turn {
    /// Dropped when the answer is worked out and has only to be sent.
    pub work: Box<dyn Any + Send>,
    /// What the answer holds; it shrinks when less is needed.
    pub memory: MemoryShare,
}

/// What one fetch may cost; `None` is no bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchBudget {
    /// Objects in its pack.
    pub objects_max: Option<u64>,
    /// Bytes of its pack.
    pub bytes_max: Option<u64>,
    /// Time spent on finding and making what is sent; that of sending does not count.
    pub work_max: Option<Duration>,
}

/// A budget being spent.
pub(super) struct Spending<'b> {
    budget: &'b FetchBudget,
    now: fn() -> Instant,
    worked: Duration,
    since: Option<Instant>,
}

impl<'b> Spending<'b> {
    pub fn new(budget: &'b FetchBudget, now: fn() -> Instant) -> Self {
        Spending { budget, now, worked: Duration::ZERO, since: None }
    }

    /// Work begins, or goes on.
    pub fn resume(&mut self) {
        self.since = Some((self.now)());
    }

    /// Work ends, or waits for somebody.
    pub fn pause(&mut self) {
        if let Some(since) = self.since.take() {
            self.worked += (self.now)().saturating_duration_since(since);
        }
    }

    /// Whether the time is not spent yet.
    pub fn check_time(&self) -> Result<(), String> {
        let Some(most) = self.budget.work_max else { return Ok(()) };
        let running = self
            .since
            .map_or(Duration::ZERO, |since| (self.now)().saturating_duration_since(since));
        match self.worked + running <= most {
            true => Ok(()),
            false => Err(format!(
                "this fetch takes more than {} seconds of work (limits.fetch_work_ms_max); \
                 ask for less at a time, or for a shallow or partial clone",
                most.as_secs_f64()
            )),
        }
    }

    pub fn check_objects(&self, objects: u64) -> Result<(), String> {
        match self.budget.objects_max {
            Some(most) if objects > most => Err(format!(
                "this fetch needs more than {most} objects (limits.fetch_objects_max); \
                 ask for less at a time, or for a shallow or partial clone"
            )),
            _ => Ok(()),
        }
    }

    pub fn check_bytes(&self, bytes: u64) -> Result<(), String> {
        match self.budget.bytes_max {
            Some(most) if bytes > most => Err(format!(
                "this fetch needs more than {most} bytes (limits.fetch_bytes_max); \
                 ask for less at a time, or for a shallow or partial clone"
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static CLOCK: std::cell::Cell<Instant> = std::cell::Cell::new(Instant::now());
    }

    fn pass(seconds: u64) {
        CLOCK.set(CLOCK.get() + Duration::from_secs(seconds));
    }

    #[test]
    fn only_time_at_work_counts() {
        let budget = FetchBudget { work_max: Some(Duration::from_secs(5)), ..Default::default() };
        let mut spending = Spending::new(&budget, || CLOCK.get());
        for _ in 0..2 {
            spending.resume();
            pass(2);
            spending.check_time().expect("within");
            spending.pause();
            pass(100);
            spending.check_time().expect("sending is not working");
        }
        spending.resume();
        pass(2);
        let words = spending.check_time().expect_err("six seconds");
        assert!(words.contains("limits.fetch_work_ms_max"), "{words}");
    }

    #[test]
    fn without_a_bound_nothing_is_too_much() {
        let budget = FetchBudget::default();
        let mut spending = Spending::new(&budget, || CLOCK.get());
        spending.resume();
        pass(1 << 20);
        spending.check_time().expect("no bound");
        spending.check_objects(u64::MAX).expect("no bound");
        spending.check_bytes(u64::MAX).expect("no bound");
        let budget = FetchBudget { objects_max: Some(3), bytes_max: Some(4), work_max: None };
        let spending = Spending::new(&budget, || CLOCK.get());
        spending.check_objects(3).expect("as many");
        spending.check_bytes(4).expect("as many");
        assert!(spending.check_objects(4).is_err() && spending.check_bytes(5).is_err());
    }
}
