//! Bodies of requests, and bodies of answers as streams.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};

use crate::packets::BoxRead;

/// Bytes of a stream that are sent at once, at most.
const PIECE_BYTES: usize = 64 << 10;

/// What a request carries.
pub(crate) struct Body {
    head: Bytes,
    /// What comes behind it, as long as there is something.
    rest: Option<BoxRead>,
    buffer: Option<Box<[u8]>>,
}

impl Body {
    /// Bytes that are all there.
    pub fn whole(bytes: Bytes) -> Self {
        Self::stream(bytes, None)
    }

    /// Bytes, and a stream behind them.
    pub fn stream(head: Bytes, rest: Option<BoxRead>) -> Self {
        Body { head, rest, buffer: None }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if !this.head.is_empty() {
            let head = std::mem::take(&mut this.head);
            return Poll::Ready(Some(Ok(Frame::data(head))));
        }
        let Some(rest) = &mut this.rest else { return Poll::Ready(None) };
        let buffer = this.buffer.get_or_insert_with(|| vec![0; PIECE_BYTES].into());
        let mut piece = ReadBuf::new(buffer);
        ready!(Pin::new(rest).poll_read(context, &mut piece))?;
        if piece.filled().is_empty() {
            (this.rest, this.buffer) = (None, None);
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(piece.filled())))))
    }

    fn is_end_stream(&self) -> bool {
        self.head.is_empty() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.rest {
            Some(_) => SizeHint::default(),
            None => SizeHint::with_exact(self.head.len() as u64),
        }
    }
}

/// The body of an answer, to be read.
pub(super) struct BodyReader {
    body: Incoming,
    current: Bytes,
}

impl BodyReader {
    pub fn new(body: Incoming) -> Self {
        BodyReader { body, current: Bytes::new() }
    }
}

impl AsyncRead for BodyReader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.current.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                None => return Poll::Ready(Ok(())),
                Some(Ok(frame)) => this.current = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let count = this.current.len().min(buffer.remaining());
        buffer.put_slice(&this.current[..count]);
        this.current.advance(count);
        Poll::Ready(Ok(()))
    }
}
