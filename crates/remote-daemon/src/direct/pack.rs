//! Packs between a connection, which is asynchronous, and a repository, which is not.

use std::io::{self, BufRead, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;

/// Pieces that wait.
pub(super) const PIECES_MAX: usize = 8;

/// A pack that comes from a connection, for a thread that waits. It ends when nobody sends any more.
pub(super) struct Arriving {
    pieces: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Arriving {
    pub fn new(pieces: mpsc::Receiver<Bytes>) -> Self {
        Arriving { pieces, current: Bytes::new() }
    }
}

impl BufRead for Arriving {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty()
            && let Some(piece) = self.pieces.blocking_recv()
        {
            self.current = piece;
        }
        Ok(&self.current)
    }

    fn consume(&mut self, count: usize) {
        self.current.advance(count);
    }
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

/// A pack that a thread makes, for a connection.
pub(super) struct Leaving {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Leaving {
    pub fn new(pieces: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Leaving { pieces, current: Bytes::new() }
    }
}

impl AsyncRead for Leaving {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.current.is_empty() {
            match ready!(this.pieces.poll_recv(context)) {
                None => return Poll::Ready(Ok(())),
                Some(piece) => this.current = piece?,
            }
        }
        let count = this.current.len().min(buffer.remaining());
        buffer.put_slice(&this.current[..count]);
        this.current.advance(count);
        Poll::Ready(Ok(()))
    }
}
