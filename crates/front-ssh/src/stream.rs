//! A connection that is given up when its other end does not log in, or takes nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// A TCP stream with a deadline for the login, and one for every wait to write.
pub(crate) struct TimedStream {
    stream: TcpStream,
    login: Option<Pin<Box<Sleep>>>,
    is_known: Arc<AtomicBool>,
    stall_timeout: Duration,
    stall: Option<Pin<Box<Sleep>>>,
}

impl TimedStream {
    /// `is_known` turns true when the client has logged in.
    pub fn new(
        stream: TcpStream,
        (login_timeout, is_known): (Duration, Arc<AtomicBool>),
        stall_timeout: Duration,
    ) -> Self {
        let login = Some(Box::pin(sleep(login_timeout)));
        TimedStream { stream, login, is_known, stall_timeout, stall: None }
    }
}

fn timed_out(words: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, words)
}

impl AsyncRead for TimedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(login) = &mut this.login else {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        };
        if this.is_known.load(Ordering::Acquire) {
            this.login = None;
        } else if login.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(timed_out("nobody logs in")));
        }
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        if written.is_ready() {
            this.stall = None;
            return written;
        }
        let timeout = this.stall_timeout;
        let stall = this.stall.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(stall.as_mut().poll(context));
        Poll::Ready(Err(timed_out("the client takes nothing")))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
