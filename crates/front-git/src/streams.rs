//! Standard input and output, whatever is behind them, with a limit for each wait.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SendFlags;

/// What a pipe that is ready takes at once, bytes (`PIPE_BUF`).
const PIPE_BYTES: usize = 4096;

/// A file descriptor that is read or written.
pub(crate) struct Stream {
    fd: OwnedFd,
    /// The longest wait; without, there is no limit.
    pub timeout: Option<Duration>,
}

impl Stream {
    pub fn new(fd: OwnedFd) -> Self {
        Stream { fd, timeout: None }
    }

    /// The same once more.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Stream { fd: self.fd.try_clone()?, timeout: self.timeout })
    }

    fn wait(&self, events: PollFlags) -> io::Result<()> {
        let Some(timeout) = self.timeout else { return Ok(()) };
        let timeout =
            Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        loop {
            let mut ready = [PollFd::new(&self.fd, events)];
            match poll(&mut ready, Some(&timeout)) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "timed out")),
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(PollFlags::IN)?;
        Ok(rustix::io::read(&self.fd, &mut *buffer)?)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.timeout.is_none() {
            return Ok(rustix::io::write(&self.fd, bytes)?);
        }
        loop {
            self.wait(PollFlags::OUT)?;
            // A write that waits cannot be called back: a socket is asked not to wait, and a pipe that is ready
            // takes so much.
            match rustix::net::send(
                self.fd.as_fd(),
                bytes,
                SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
            ) {
                Ok(count) => return Ok(count),
                Err(rustix::io::Errno::AGAIN) => {}
                Err(rustix::io::Errno::NOTSOCK) => {
                    let most = bytes.len().min(PIPE_BYTES);
                    return Ok(rustix::io::write(&self.fd, &bytes[..most])?);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
