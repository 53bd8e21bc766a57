//! Where answers go: an ordered stream of byte slices that are not copied.
//!
//! A front-end implements [`Sink`] over its transport; pack data reaches it as
//! slices of mapped files.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

use bytes::{Buf as _, Bytes};

/// Ordered output to one peer.
pub trait Sink {
    /// Appends bytes to the stream. They may stay in memory until [`Sink::flush`];
    /// an implementation bounds what it holds and blocks while the peer is slow.
    fn send(&mut self, bytes: Bytes) -> io::Result<()>;

    /// Hands everything sent so far to the transport.
    fn flush(&mut self) -> io::Result<()>;
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        (**self).send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (**self).flush()
    }
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        (**self).send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (**self).flush()
    }
}

/// Collects the whole stream in memory; for answers known to be small.
impl Sink for Vec<u8> {
    fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        self.extend_from_slice(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes a [`WriteSink`] holds before it writes without being asked: what a pipe takes at once.
/// Holding more gains nothing, and freeing more at once makes the allocator give pages back
/// that the next answer must fault in again.
const QUEUE_BYTES_MAX: usize = 64 * 1024;
/// Slices a [`WriteSink`] holds before it writes: half of Linux's `IOV_MAX`.
const QUEUE_SLICES_MAX: usize = 512;

/// A [`Sink`] over any writer: gathers slices and writes them with as few
/// vectored writes as the writer allows.
#[derive(Debug)]
pub struct WriteSink<W: Write> {
    writer: W,
    queue: VecDeque<Bytes>,
    queued_bytes: usize,
}

impl<W: Write> WriteSink<W> {
    /// A sink that writes to `writer`, which needs no buffer of its own.
    pub fn new(writer: W) -> Self {
        WriteSink { writer, queue: VecDeque::new(), queued_bytes: 0 }
    }

    /// The writer; bytes not yet flushed are dropped.
    pub fn into_inner(self) -> W {
        self.writer
    }

    fn write_queue(&mut self) -> io::Result<()> {
        while !self.queue.is_empty() {
            let slices: Vec<IoSlice<'_>> = self.queue.iter().map(|b| IoSlice::new(b)).collect();
            match self.writer.write_vectored(&slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn advance(&mut self, mut written: usize) {
        self.queued_bytes -= written;
        while let Some(front) = self.queue.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.queue.pop_front();
        }
    }
}

impl<W: Write> Sink for WriteSink<W> {
    fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.queued_bytes += bytes.len();
        self.queue.push_back(bytes);
        if self.queued_bytes >= QUEUE_BYTES_MAX || self.queue.len() >= QUEUE_SLICES_MAX {
            self.write_queue()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_queue()?;
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes at most seven bytes a call, to exercise partial vectored writes.
    struct Trickle(Vec<u8>);

    impl Write for Trickle {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(7);
            self.0.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn partial_writes_keep_order_and_lose_nothing() {
        let mut sink = WriteSink::new(Trickle(Vec::new()));
        let mut expected = Vec::new();
        for n in 0..40usize {
            let piece: Vec<u8> = (0..n).map(|at| (n * 7 + at) as u8).collect();
            expected.extend_from_slice(&piece);
            sink.send(Bytes::from(piece)).unwrap();
        }
        sink.flush().unwrap();
        assert_eq!(sink.into_inner().0, expected);
    }

    #[test]
    fn a_large_send_does_not_wait_for_flush() {
        let mut sink = WriteSink::new(Vec::new());
        sink.send(Bytes::from(vec![1; QUEUE_BYTES_MAX])).unwrap();
        assert_eq!(sink.into_inner().len(), QUEUE_BYTES_MAX);
    }
}
