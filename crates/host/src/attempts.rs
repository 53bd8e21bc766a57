//! Addresses from which nobody manages to log in.
//!
//! A right key or token is let in from wherever it comes: nobody finds one by trying. What is
//! bounded is the work that wrong ones make.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::request::network;

/// How many attempts an address has.
#[derive(Debug, Clone)]
pub struct AttemptSettings {
    /// Logins that fail before an address has to wait.
    pub failures_max: u32,
    /// One failure is forgotten after so long.
    pub forgotten_after: Duration,
    /// Addresses that are remembered; of more, those that failed longest ago are forgotten.
    pub addresses_max: usize,
    /// Connections from one address at the same time.
    pub connections_max: usize,
    /// The clock.
    pub now: fn() -> Instant,
}

impl Default for AttemptSettings {
    fn default() -> Self {
        AttemptSettings {
            failures_max: 20,
            forgotten_after: Duration::from_secs(6),
            addresses_max: 10_000,
            connections_max: 256,
            now: Instant::now,
        }
    }
}

/// Failures by address.
pub(crate) struct Attempts {
    settings: AttemptSettings,
    failed: Mutex<HashMap<IpAddr, Failed>>,
    connected: Mutex<HashMap<IpAddr, usize>>,
}

/// Failures, and since when one after the other is forgotten.
#[derive(Clone, Copy)]
struct Failed {
    count: u32,
    since: Instant,
}

impl Failed {
    fn at(self, now: Instant, each: Duration) -> Self {
        let passed = now.saturating_duration_since(self.since).as_millis();
        let forgotten = u32::try_from(passed / each.as_millis().max(1)).unwrap_or(u32::MAX);
        match forgotten >= self.count {
            true => Failed { count: 0, since: now },
            false => Failed { count: self.count - forgotten, since: self.since + each * forgotten },
        }
    }
}

impl Attempts {
    pub fn new(settings: AttemptSettings) -> Self {
        Attempts { settings, failed: Mutex::default(), connected: Mutex::default() }
    }

    /// Somebody there did not manage to log in. How long to wait before the next attempt, if there
    /// were too many.
    pub fn failed(&self, address: IpAddr) -> Option<Duration> {
        let (now, each) = ((self.settings.now)(), self.settings.forgotten_after);
        let most = self.settings.failures_max;
        let mut failed = lock(&self.failed);
        if failed.len() >= self.settings.addresses_max && !failed.contains_key(&network(address)) {
            failed.retain(|_, one| one.at(now, each).count > 0);
            let oldest = failed.iter().min_by_key(|(_, one)| one.since).map(|(at, _)| *at);
            if let Some(oldest) = oldest.filter(|_| failed.len() >= self.settings.addresses_max) {
                failed.remove(&oldest);
            }
        }
        let one = failed.entry(network(address)).or_insert(Failed { count: 0, since: now });
        *one = one.at(now, each);
        // Whoever goes on and on waits no longer than whoever stops here.
        one.count = (one.count + 1).min(most.saturating_add(1));
        (one.count > most).then(|| (one.since + each).saturating_duration_since(now))
    }

    /// Whether there were so many that nothing from there is listened to for now; whoever goes on
    /// stays out.
    pub fn is_barred(&self, address: IpAddr) -> bool {
        let (now, each) = ((self.settings.now)(), self.settings.forgotten_after);
        let mut failed = lock(&self.failed);
        let Some(one) = failed.get_mut(&network(address)) else { return false };
        *one = one.at(now, each);
        let is_barred = one.count > self.settings.failures_max;
        if is_barred {
            one.since = now;
        }
        is_barred
    }

    /// Counts a connection from there; `None` when there are as many as are allowed.
    pub fn connect(&self, address: IpAddr) -> Option<IpAddr> {
        let address = network(address);
        let mut connected = lock(&self.connected);
        let count = connected.entry(address).or_insert(0);
        let fits = *count < self.settings.connections_max;
        *count += usize::from(fits);
        fits.then_some(address)
    }

    /// One that was counted has ended.
    pub fn disconnect(&self, address: IpAddr) {
        let mut connected = lock(&self.connected);
        if let Some(count) = connected.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                connected.remove(&address);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::LazyLock;

    use super::*;

    thread_local! {
        static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

    fn later(seconds: u64) {
        PASSED.set(PASSED.get() + Duration::from_secs(seconds));
    }

    fn attempts(failures_max: u32, addresses_max: usize) -> Attempts {
        Attempts::new(AttemptSettings {
            failures_max,
            addresses_max,
            forgotten_after: Duration::from_secs(10),
            connections_max: 2,
            now: || *BEGIN + PASSED.get(),
        })
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn who_fails_too_often_waits() {
        let attempts = attempts(2, 10);
        assert_eq!([attempts.failed(ip(1)), attempts.failed(ip(1))], [None, None]);
        assert!(!attempts.is_barred(ip(1)));
        assert_eq!(attempts.failed(ip(1)), Some(Duration::from_secs(10)));
        later(4);
        assert_eq!(attempts.failed(ip(1)), Some(Duration::from_secs(6)));
        assert!(attempts.is_barred(ip(1)) && !attempts.is_barred(ip(2)));
        later(10);
        assert!(!attempts.is_barred(ip(1)));
        assert_eq!(attempts.failed(ip(1)), Some(Duration::from_secs(10)));
        for _ in 0..5 {
            later(9);
            assert!(attempts.is_barred(ip(1)), "who goes on stays out");
        }
        later(100);
        assert_eq!(attempts.failed(ip(1)), None);
    }

    #[test]
    fn no_more_addresses_are_remembered_than_allowed() {
        let attempts = attempts(0, 3);
        for last in 0..100 {
            later(1);
            attempts.failed(ip(last));
        }
        assert_eq!(lock(&attempts.failed).len(), 3);
        assert!(attempts.is_barred(ip(99)) && !attempts.is_barred(ip(0)));
    }

    #[test]
    fn connections_are_counted() {
        let attempts = attempts(1, 10);
        let one = attempts.connect(ip(1)).expect("one");
        attempts.connect(ip(1)).expect("two");
        assert_eq!(attempts.connect(ip(1)), None);
        attempts.connect(ip(2)).expect("another address");
        attempts.disconnect(one);
        attempts.connect(ip(1)).expect("again");
    }
}
