//! How long something that fails is left alone.

use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_secs(1);

/// Waits that become longer, each a random part of what it may be, so that clients of one server do not all come back at
/// once.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    next: Duration,
    max: Duration,
    random: u64,
}

impl Backoff {
    /// Waits from a second up to `max`; `seed` is any number.
    pub fn new(max: Duration, seed: u64) -> Self {
        Self::between(FIRST, max, seed)
    }

    /// Waits from `first` up to `max`.
    pub fn between(first: Duration, max: Duration, seed: u64) -> Self {
        // Seeds that are near to each other give numbers that are not (Steele and others 2014, SplitMix64).
        let mixed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let random = (mixed ^ mixed >> 31).max(1);
        Backoff { first: first.min(max), next: first.min(max), max, random }
    }

    /// It went well.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// How long to wait now: between a half and the whole of what it may be.
    pub fn wait(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.max);
        whole / 2 + (whole / 2).mul_f64(self.part())
    }

    /// A time that differs a little from another's.
    pub fn around(&mut self, time: Duration) -> Duration {
        time.mul_f64(0.9 + 0.2 * self.part())
    }

    /// Between 0 and 1 (xorshift64, Marsaglia 2003).
    fn part(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(60), 42);
        let mut whole = 1.0;
        for _ in 0..10 {
            let wait = backoff.wait().as_secs_f64();
            assert!(wait >= whole / 2.0 && wait <= whole, "{wait} of {whole}");
            whole = f64::min(whole * 2.0, 60.0);
        }
        backoff.reset();
        assert!(backoff.wait() <= Duration::from_secs(1));
        let around = backoff.around(Duration::from_secs(100)).as_secs_f64();
        assert!((90.0..=110.0).contains(&around));
        let mut other = Backoff::new(Duration::from_secs(60), 43);
        assert_ne!(other.wait(), Backoff::new(Duration::from_secs(60), 42).wait());
    }
}
