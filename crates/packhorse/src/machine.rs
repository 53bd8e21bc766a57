//! What the machine has, and what it is given back.

use std::fs;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// The part of the machine's memory that requests share unless told otherwise.
const SHARED_PART: u64 = 4;
/// Less than this is not worth sharing, bytes.
const SHARED_BYTES_MIN: u64 = 64 << 20;

/// Bytes that requests may share: a quarter of what this process may use.
pub fn shared_memory_bytes() -> usize {
    let total = memory_of_machine();
    let limits = [total, memory_of_group("memory.max"), memory_of_group("memory.high")];
    let usable = limits.into_iter().flatten().min().unwrap_or(0);
    usize::try_from((usable / SHARED_PART).max(SHARED_BYTES_MIN)).unwrap_or(usize::MAX)
}

/// Open files that a server may come to need: connections, packs and their indexes.
const FILES: u64 = 64 << 10;

/// Lets this process open as many files as it may need. Systems begin with 1024, for programs that count
/// them in bits (select(2)), and let others ask for more.
pub fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(FILES).min(FILES);
    if current.is_some_and(|current| current < wanted) {
        let limit = Rlimit { current: Some(wanted), maximum };
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "no more files can be opened than before");
        }
    }
}

/// Freed memory is given back this long after it was freed, all at once.
const GIVE_BACK_PAUSE: Duration = Duration::from_millis(50);

static FREED: OnceLock<SyncSender<()>> = OnceLock::new();

/// Notes that much memory was freed: soon the allocator gives it back to the system. Never waits.
///
/// An allocator keeps what many threads have freed, each a few megabytes, for as long as the process
/// runs; a small machine would like to use it otherwise.
pub fn memory_freed() {
    let sender = FREED.get_or_init(|| {
        let (sender, receiver) = sync_channel(1);
        let work = move || give_back(&receiver);
        if let Err(error) = std::thread::Builder::new().name("memory".to_owned()).spawn(work) {
            tracing::debug!("freed memory is kept: {error}");
        }
        sender
    });
    // Whoever finds it full has been heard already.
    let _ = sender.try_send(());
}

fn give_back(freed: &Receiver<()>) {
    while freed.recv().is_ok() {
        std::thread::sleep(GIVE_BACK_PAUSE);
        trim();
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn trim() {
    // SAFETY: malloc_trim(3) may be called by any thread at any time.
    #[allow(unsafe_code)]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Others give it back by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

/// `MemTotal` of proc_meminfo(5).
fn memory_of_machine() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// A limit of this process' control group (version 2); `None` where there is none.
fn memory_of_group(limit: &str) -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let text = fs::read_to_string(format!("/sys/fs/cgroup/{group}/{limit}")).ok()?;
    text.trim().parse().ok()
}

/// The clock that service managers compare by, microseconds.
pub fn monotonic_micros() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, micros) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() / 1000);
    seconds * 1_000_000 + micros
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_machine_is_shared() {
        let total = memory_of_machine().expect("Linux tells");
        assert!(total > 16 << 20, "{total}");
        let shared = shared_memory_bytes() as u64;
        assert!(
            shared >= SHARED_BYTES_MIN && shared <= (total / SHARED_PART).max(SHARED_BYTES_MIN)
        );
    }
}
