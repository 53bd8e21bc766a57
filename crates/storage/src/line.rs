//! A line of threads before a few places: who came first goes in first.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Places for so many at a time, and who waits for one. A mutex lets in whoever comes by at the right
/// moment, so that some of many wait for ever; here nobody is passed.
#[derive(Debug)]
pub struct Line {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    waiting: VecDeque<Arc<Waiter>>,
}

#[derive(Debug)]
struct Waiter {
    thread: Thread,
    /// It has the place of somebody who left.
    is_called: AtomicBool,
}

/// A place; the next in line gets it when this is dropped.
#[derive(Debug)]
pub struct Turn<'l> {
    line: &'l Line,
}

impl Line {
    /// A line before so many places, one at least.
    pub fn new(places: usize) -> Self {
        Line { state: Mutex::new(State { free: places.max(1), waiting: VecDeque::new() }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place; `None` when there is none for so long.
    pub fn enter(&self, wait: Duration) -> Option<Turn<'_>> {
        let until = Instant::now().checked_add(wait);
        let waiter = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Some(Turn { line: self });
            }
            let (thread, is_called) = (thread::current(), AtomicBool::new(false));
            let waiter = Arc::new(Waiter { thread, is_called });
            state.waiting.push_back(waiter.clone());
            waiter
        };
        loop {
            match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => break,
                Some(left) => thread::park_timeout(left),
                None => thread::park(),
            }
            if waiter.is_called.load(Ordering::Acquire) {
                return Some(Turn { line: self });
            }
        }
        let mut state = self.lock();
        // Under the lock nobody is called.
        if waiter.is_called.load(Ordering::Acquire) {
            return Some(Turn { line: self });
        }
        state.waiting.retain(|other| !Arc::ptr_eq(other, &waiter));
        None
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.line.lock();
        match state.waiting.pop_front() {
            Some(next) => {
                next.is_called.store(true, Ordering::Release);
                next.thread.unpark();
            }
            None => state.free += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn wait_for(line: &Line, count: usize) {
        while line.lock().waiting.len() != count {
            thread::yield_now();
        }
    }

    #[test]
    fn first_come_first_served() {
        let line = Line::new(2);
        let (first, second) = (line.enter(LONG), line.enter(Duration::ZERO));
        assert!(first.is_some() && second.is_some() && line.enter(Duration::ZERO).is_none());
        let (tell, told) = mpsc::channel();
        thread::scope(|scope| {
            for number in 0..20 {
                let (line, tell) = (&line, tell.clone());
                scope.spawn(move || {
                    let turn = line.enter(LONG).expect("a minute is enough");
                    tell.send(number).expect("somebody listens");
                    drop(turn);
                });
                wait_for(line, number + 1);
            }
            drop(first);
        });
        assert_eq!(told.try_iter().collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
        drop(second);
        assert_eq!(line.lock().free, 2);
    }

    #[test]
    fn who_gives_up_is_passed() {
        let line = Line::new(1);
        let turn = line.enter(LONG);
        thread::scope(|scope| {
            scope.spawn(|| assert!(line.enter(Duration::from_millis(1)).is_none()));
            wait_for(&line, 1);
            wait_for(&line, 0);
            let patient = scope.spawn(|| line.enter(LONG).is_some());
            wait_for(&line, 1);
            drop(turn);
            assert!(patient.join().expect("no panic"));
        });
        assert_eq!(line.lock().free, 1);
    }
}
