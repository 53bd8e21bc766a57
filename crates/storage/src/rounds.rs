//! What comes while others are at work is done in the next round, together.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

/// Jobs of many threads, done by one of them for all that wait: whoever finds nobody at work leads.
/// A round costs as much for many as for one, where what is costly is durability.
///
/// Jobs are done in the order in which they came.
pub struct Rounds<J, R> {
    state: Mutex<State<J, R>>,
    /// The most jobs of one round.
    most: usize,
}

struct State<J, R> {
    waiting: VecDeque<(J, Arc<Waiter<R>>)>,
    is_led: bool,
}

struct Waiter<R> {
    thread: Thread,
    turn: Mutex<Turn<R>>,
}

enum Turn<R> {
    Waits,
    /// It is to lead.
    Leads,
    Done(R),
    /// Whoever had it did not come to an end.
    Lost,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<R> Waiter<R> {
    fn is(&self, turn: Turn<R>) {
        *lock(&self.turn) = turn;
        self.thread.unpark();
    }
}

impl<J, R> Rounds<J, R> {
    /// Rounds of so many jobs at most, one at least.
    pub fn new(most: usize) -> Self {
        let state = State { waiting: VecDeque::new(), is_led: false };
        Rounds { state: Mutex::new(state), most: most.max(1) }
    }

    /// Has a job done; what came of it. `work` does all jobs of a round, perhaps those of others, and gives as
    /// many results.
    ///
    /// # Panics
    /// When the round it was in panicked, in whatever thread.
    pub fn run(&self, job: J, work: &dyn Fn(Vec<J>) -> Vec<R>) -> R {
        let turn = Mutex::new(Turn::Waits);
        let own = Arc::new(Waiter { thread: thread::current(), turn });
        {
            let mut state = lock(&self.state);
            state.waiting.push_back((job, own.clone()));
            if !std::mem::replace(&mut state.is_led, true) {
                *lock(&own.turn) = Turn::Leads;
            }
        }
        let mut lead = None;
        loop {
            let turn = std::mem::replace(&mut *lock(&own.turn), Turn::Waits);
            match turn {
                Turn::Done(result) => return result,
                Turn::Lost => panic!("the round that had this job panicked"),
                Turn::Leads => lead = Some(Lead { rounds: self, jobs: Vec::new() }),
                Turn::Waits => {}
            }
            match &mut lead {
                // Until its own job is done.
                Some(lead) => lead.round(work),
                None => thread::park(),
            }
        }
    }
}

/// The right to lead; the next one who waits gets it.
struct Lead<'r, J, R> {
    rounds: &'r Rounds<J, R>,
    /// Who is in the round.
    jobs: Vec<Arc<Waiter<R>>>,
}

impl<J, R> Lead<'_, J, R> {
    fn round(&mut self, work: &dyn Fn(Vec<J>) -> Vec<R>) {
        let jobs: Vec<J> = {
            let mut state = lock(&self.rounds.state);
            let count = state.waiting.len().min(self.rounds.most);
            let (jobs, waiters) = state.waiting.drain(..count).unzip();
            self.jobs = waiters;
            jobs
        };
        let results = work(jobs);
        assert_eq!(results.len(), self.jobs.len(), "as many results as jobs");
        for (waiter, result) in self.jobs.drain(..).zip(results) {
            waiter.is(Turn::Done(result));
        }
    }
}

impl<J, R> Drop for Lead<'_, J, R> {
    fn drop(&mut self) {
        self.jobs.drain(..).for_each(|waiter| waiter.is(Turn::Lost));
        let mut state = lock(&self.rounds.state);
        match state.waiting.front() {
            Some((_, next)) => next.is(Turn::Leads),
            None => state.is_led = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn each_gets_its_own_result_and_rounds_are_shared() {
        const THREADS: usize = 16;
        const EACH: usize = 200;
        let rounds = Rounds::new(5);
        let (at_work, count) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (rounds, at_work, count) = (&rounds, &at_work, &count);
                scope.spawn(move || {
                    let work = |jobs: Vec<usize>| {
                        assert_eq!(at_work.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
                        assert!((1..=5).contains(&jobs.len()));
                        count.fetch_add(1, Ordering::SeqCst);
                        thread::yield_now();
                        at_work.fetch_sub(1, Ordering::SeqCst);
                        jobs.into_iter().map(|job| job * 2).collect()
                    };
                    for number in 0..EACH {
                        let job = thread * EACH + number;
                        assert_eq!(rounds.run(job, &work), job * 2);
                    }
                });
            }
        });
        let count = count.into_inner();
        assert!((THREADS * EACH / 5..=THREADS * EACH).contains(&count), "{count}");
    }

    #[test]
    fn a_panic_is_told_and_others_go_on() {
        let rounds = Rounds::new(1);
        let panics = |_: Vec<u8>| -> Vec<u8> { panic!("as asked") };
        thread::scope(|scope| {
            let failed = scope.spawn(|| rounds.run(1, &panics));
            failed.join().expect_err("it panicked");
        });
        assert_eq!(rounds.run(2, &|jobs| jobs), 2);
    }
}
