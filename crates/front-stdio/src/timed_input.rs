//! Standard input that gives up on a client that falls silent.

use std::io::{self, Read};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Reads standard input, waiting at most so long for each read.
pub(crate) struct TimedInput {
    timeout: Timespec,
}

impl TimedInput {
    pub fn new(timeout: Duration) -> Self {
        let timeout =
            Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        TimedInput { timeout }
    }
}

impl Read for TimedInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stdin = rustix::stdio::stdin();
        loop {
            let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
            match poll(&mut ready, Some(&self.timeout)) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "timed out")),
                Ok(_) => return Ok(rustix::io::read(stdin, &mut *buffer)?),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
