//! What is to be done, for each remote once, however often it is asked for.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bstr::BString;
use tokio::sync::Notify;

use client::Backoff;

/// What is to be done about a remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Need {
    /// Fetch.
    pub fetch: bool,
    /// Let the current branch follow.
    pub pull: bool,
    /// Push what is ahead.
    pub push: bool,
    /// Somebody asked for the push.
    pub was_asked: bool,
}

impl Need {
    fn and(self, other: Need) -> Need {
        Need {
            fetch: self.fetch || other.fetch,
            pull: self.pull || other.pull,
            push: self.push || other.push,
            was_asked: self.was_asked || other.was_asked,
        }
    }
}

#[derive(Debug)]
struct Waiting {
    need: Need,
    /// Not before this.
    from: Instant,
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Needs {
    waiting: Mutex<BTreeMap<BString, Waiting>>,
    backoffs: Mutex<BTreeMap<BString, Backoff>>,
    more: Notify,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Needs {
    /// Asks for something, now.
    pub fn add(&self, remote: &BString, need: Need) {
        self.add_from(remote, need, Instant::now());
    }

    fn add_from(&self, remote: &BString, need: Need, from: Instant) {
        let mut waiting = locked(&self.waiting);
        let one = waiting.entry(remote.clone()).or_insert(Waiting { need, from });
        one.need = one.need.and(need);
        one.from = one.from.min(from);
        drop(waiting);
        self.more.notify_one();
    }

    /// Asks for something once more, a while later.
    pub fn again_in(&self, remote: &BString, need: Need, wait: Duration) {
        self.add_from(remote, need, Instant::now() + wait);
    }

    /// Asks for something that failed, a while later, and longer each time.
    pub fn again(&self, remote: &BString, need: Need, wait_max: Duration) {
        let seed =
            remote.iter().fold(7, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(*byte));
        let mut backoffs = locked(&self.backoffs);
        let backoff =
            backoffs.entry(remote.clone()).or_insert_with(|| Backoff::new(wait_max, seed));
        let wait = backoff.wait();
        drop(backoffs);
        self.again_in(remote, need, wait);
    }

    /// It went well.
    pub fn went_well(&self, remote: &BString) {
        locked(&self.backoffs).remove(remote);
    }

    /// All of it is to be done now.
    pub fn hurry(&self) {
        let now = Instant::now();
        locked(&self.waiting).values_mut().for_each(|one| one.from = one.from.min(now));
        self.more.notify_one();
    }

    /// Takes the next thing to be done, when its time has come.
    pub async fn next(&self) -> (BString, Need) {
        loop {
            let now = Instant::now();
            let first = {
                let mut waiting = locked(&self.waiting);
                let first = waiting.iter().min_by_key(|(_, one)| one.from);
                let first = first.map(|(remote, one)| (remote.clone(), one.from));
                match first {
                    Some((remote, from)) if from <= now => {
                        if let Some(one) = waiting.remove(&remote) {
                            return (remote, one.need);
                        }
                        continue;
                    }
                    first => first,
                }
            };
            let wait = first.map(|(_, from)| from.saturating_duration_since(now));
            tokio::select! {
                () = self.more.notified() => {}
                () = sleep(wait) => {}
            }
        }
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_asked_for_often_is_done_once() {
        let needs = Needs::default();
        let (a, b) = (BString::from("a"), BString::from("b"));
        let push = Need { push: true, was_asked: true, ..Need::default() };
        for _ in 0..10 {
            needs.add(&a, push);
        }
        needs.add(&a, Need { fetch: true, ..Need::default() });
        assert_eq!(needs.next().await, (a.clone(), Need { fetch: true, ..push }));
        needs.again_in(&b, push, Duration::from_secs(3600));
        let soon = tokio::time::timeout(Duration::from_millis(20), needs.next()).await;
        assert!(soon.is_err(), "{soon:?}");
        needs.hurry();
        assert_eq!(needs.next().await, (b.clone(), push));
        needs.again(&a, push, Duration::from_millis(1));
        assert_eq!(needs.next().await, (a, push));
    }
}
