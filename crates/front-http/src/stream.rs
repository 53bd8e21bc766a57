//! A connection that is given up when its other end does not keep up.
//!
//! Two kinds of silence are ended here, because nothing above can see them: a client that
//! connects and says nothing, and one that does not take what it asked for. Silence in the
//! middle of a request body is `body.rs`' affair; silence while an answer is made is right.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What a client says at least when it opens a connection: as many bytes are read to find out
/// which version of HTTP it speaks.
const OPENING_BYTES: usize = 24;

/// A stream with a deadline for its first bytes and for every wait to write.
pub(crate) struct TimedStream<S> {
    stream: S,
    opening: Option<Pin<Box<Sleep>>>,
    opening_bytes_left: usize,
    stall_timeout: Duration,
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S> TimedStream<S> {
    pub fn new(stream: S, opening_timeout: Duration, stall_timeout: Duration) -> Self {
        TimedStream {
            stream,
            opening: Some(Box::pin(sleep(opening_timeout))),
            opening_bytes_left: OPENING_BYTES,
            stall_timeout,
            stall: None,
        }
    }

    /// Waits with a deadline for what `written` waits for.
    fn timed(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let timeout = self.stall_timeout;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(stall.as_mut().poll(context));
        Poll::Ready(Err(timed_out("the client takes nothing")))
    }
}

fn timed_out(words: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, words)
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let Some(opening) = &mut this.opening else { return read };
        if read.is_pending() {
            ready!(opening.as_mut().poll(context));
            return Poll::Ready(Err(timed_out("the client says nothing")));
        }
        let count = buffer.filled().len() - before;
        this.opening_bytes_left = this.opening_bytes_left.saturating_sub(count);
        if this.opening_bytes_left == 0 {
            this.opening = None;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.timed(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.timed(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
