//! Standard output that gives up on a client that does not read.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes written at once: a client that takes so many in time is not stuck.
const WRITE_BYTES: usize = 64 << 10;

/// Writes a file, waiting at most so long for each write. A write that waits for a reader cannot
/// be called back, so a thread watches over it.
pub(crate) struct TimedOutput {
    file: File,
    timeout: Duration,
    watch: Arc<Watch>,
}

#[derive(Default)]
struct Watch {
    /// When the write that is under way has taken too long.
    deadline: Mutex<Option<Instant>>,
    begun: Condvar,
}

impl TimedOutput {
    /// `give_up` is called, on another thread, once a write takes longer than `timeout`.
    pub fn new(file: File, timeout: Duration, give_up: impl FnOnce() + Send + 'static) -> Self {
        let watch = Arc::<Watch>::default();
        let watched = watch.clone();
        std::thread::spawn(move || {
            watched.wait_for_a_late_write();
            give_up();
        });
        TimedOutput { file, timeout, watch }
    }

    fn watched<T>(&mut self, write: impl FnOnce(&mut File) -> T) -> T {
        *self.watch.lock() = Instant::now().checked_add(self.timeout);
        self.watch.begun.notify_one();
        let written = write(&mut self.file);
        *self.watch.lock() = None;
        written
    }
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_a_late_write(&self) {
        let mut deadline = self.lock();
        loop {
            deadline = match *deadline {
                None => self.begun.wait(deadline).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return;
                    }
                    let waited = self.begun.wait_timeout(deadline, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl Write for TimedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(WRITE_BYTES)];
        self.watched(|file| file.write(bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut bytes = 0;
        let few = slices.iter().take_while(|slice| {
            bytes += slice.len();
            bytes <= WRITE_BYTES
        });
        match few.count() {
            0 => self.write(slices.first().map_or(&[], |slice| slice)),
            few => self.watched(|file| file.write_vectored(&slices[..few])),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
