//! A connection that is given up when its other end does not keep up.
//!
//! Two kinds of silence are ended here, because nothing above can see them: a client that
//! connects and says nothing, and one that does not take what it asked for. Silence in the
//! middle of a request body is `body.rs`' affair; silence while an answer is made is right.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep, timeout};

/// What a client of HTTP/2 says first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of the first request that are read at once. They are handed on as one, so that a head that is no
/// longer fits into the room hyper has for it at first, which it otherwise doubles and keeps.
const FIRST_BYTES: usize = 1024;

/// A stream with a deadline for its first bytes and for every wait to write.
pub(crate) struct TimedStream<S> {
    stream: S,
    stall_timeout: Duration,
    stall: Option<Pin<Box<Sleep>>>,
    /// What was read to find out which version is spoken, and not handed on.
    first: Vec<u8>,
}

impl<S> TimedStream<S> {
    pub fn new(stream: S, stall_timeout: Duration) -> Self {
        TimedStream { stream, stall_timeout, stall: None, first: Vec::new() }
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

impl<S: AsyncRead + Unpin> TimedStream<S> {
    /// Whether the client speaks HTTP/2, by what it says first, for which it has so long.
    ///
    /// # Errors
    /// When the connection breaks, or too little is said in time.
    pub async fn opens_http2(&mut self, opening_timeout: Duration) -> io::Result<bool> {
        self.first.reserve_exact(FIRST_BYTES);
        let TimedStream { stream, first, .. } = self;
        let said = async {
            while first.len() < PREFACE.len() && PREFACE.starts_with(first) {
                if stream.read_buf(first).await? == 0 {
                    break;
                }
            }
            Ok(first.starts_with(PREFACE))
        };
        let said = timeout(opening_timeout, said).await;
        said.unwrap_or_else(|_| Err(timed_out("the client says nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.first.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let count = this.first.len().min(buffer.remaining());
        buffer.put_slice(&this.first[..count]);
        this.first.drain(..count);
        if this.first.is_empty() {
            this.first = Vec::new();
        }
        Poll::Ready(Ok(()))
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
