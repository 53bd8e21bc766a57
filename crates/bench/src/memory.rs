//! Memory of a process and its descendants, from /proc.
//!
//! Counted is anonymous memory (`RssAnon` of proc_pid_status(5)): what a program asks
//! for itself. Mapped packs belong to the page cache and to everybody.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Outcome;

const SAMPLE_INTERVAL: Duration = Duration::from_millis(2);

/// Fails where the kernel does not list the children of a process.
pub(crate) fn check_supported() -> Outcome<()> {
    let me = std::process::id();
    match fs::metadata(format!("/proc/{me}/task/{me}/children")) {
        Ok(_) => Ok(()),
        Err(why) => Err(format!("/proc does not list children of processes: {why}").into()),
    }
}

/// Watches a process tree from a thread until it is stopped.
#[derive(Debug)]
pub(crate) struct MemorySampler {
    over: Arc<AtomicBool>,
    peak_bytes: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl MemorySampler {
    /// Starts sampling the trees below (and with) these processes.
    pub(crate) fn start(pids: Vec<u32>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let peak_bytes = Arc::new(AtomicU64::new(0));
        let (stop, peak) = (Arc::clone(&over), Arc::clone(&peak_bytes));
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let sum = pids.iter().map(|pid| tree_anonymous_bytes(*pid)).sum();
                peak.fetch_max(sum, Ordering::Relaxed);
                std::thread::sleep(SAMPLE_INTERVAL);
            }
        });
        MemorySampler { over, peak_bytes, thread }
    }

    /// The largest sum that was seen, in bytes.
    pub(crate) fn stop(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        self.peak_bytes.load(Ordering::Relaxed)
    }
}

/// Anonymous memory of a process and all its descendants at this moment, in bytes.
pub(crate) fn tree_anonymous_bytes(pid: u32) -> u64 {
    let own = status_bytes(pid, "RssAnon:");
    own + children(pid).into_iter().map(tree_anonymous_bytes).sum::<u64>()
}

/// Resident memory of one process, file mappings included, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmRSS:")
}

/// One line of /proc/PID/status; 0 for a process that is gone or a zombie.
fn status_bytes(pid: u32, field: &str) -> u64 {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return 0 };
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Children of every thread of a process.
fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut found = Vec::new();
    for thread in threads.flatten() {
        let listed = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        found.extend(listed.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    found
}
