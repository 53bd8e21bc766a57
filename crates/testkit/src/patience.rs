//! Waiting for what shows only to whoever looks.

use std::time::{Duration, Instant};

/// After so long something will never come. A machine may be busy.
pub const HUNG: Duration = Duration::from_secs(120);

/// Waits until something is so.
///
/// # Panics
/// When it never is.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < HUNG, "never came: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
