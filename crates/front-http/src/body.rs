//! The two queues between a connection and the thread that answers its request.

use std::io::{self, BufRead, Read};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;
use wire::Sink;

use crate::rope::Rope;

/// Pieces of a request body that wait to be read.
const REQUEST_QUEUE: usize = 4;
/// Batches of a response that wait to be sent.
const RESPONSE_QUEUE: usize = 2;
/// Response bytes gathered before they are sent without being asked for.
const BATCH_BYTES: usize = 256 << 10;

/// The body of a response.
pub(crate) enum ResponseBody {
    /// All there is.
    Whole(Option<Rope>),
    /// What a thread writes, until it is done.
    Stream(mpsc::Receiver<Rope>),
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        ResponseBody::Whole(Some(bytes.into()))
    }
}

impl Body for ResponseBody {
    type Data = Rope;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Rope>, Self::Error>>> {
        match self.get_mut() {
            ResponseBody::Whole(rope) => {
                Poll::Ready(rope.take().filter(|rope| !rope.is_empty()).map(|rope| Ok(Frame::data(rope))))
            }
            ResponseBody::Stream(queue) => {
                queue.poll_recv(context).map(|batch| batch.map(|rope| Ok(Frame::data(rope))))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Whole(rope) => {
                SizeHint::with_exact(rope.as_ref().map_or(0, Rope::len) as u64)
            }
            ResponseBody::Stream(_) => SizeHint::default(),
        }
    }
}

/// The writing end of a streamed response, for a thread.
pub(crate) struct ResponseSink {
    queue: mpsc::Sender<Rope>,
    batch: Rope,
}

pub(crate) fn response_queue() -> (ResponseSink, ResponseBody) {
    let (sender, receiver) = mpsc::channel(RESPONSE_QUEUE);
    (ResponseSink { queue: sender, batch: Rope::default() }, ResponseBody::Stream(receiver))
}

impl Sink for ResponseSink {
    fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        self.batch.push(bytes);
        match self.batch.len() >= BATCH_BYTES {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the client hung up");
        self.queue.blocking_send(batch).map_err(gone)
    }
}

/// The reading end of a request body, for a thread.
pub(crate) struct RequestReader {
    queue: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for RequestReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for RequestReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() {
            match self.queue.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => break,
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, count: usize) {
        self.current.advance(count);
    }
}

/// Starts to take a request's body in; it is read from the other end at the reader's pace.
pub(crate) fn request_queue(body: Incoming, idle_timeout: Duration) -> RequestReader {
    let (sender, receiver) = mpsc::channel(REQUEST_QUEUE);
    tokio::spawn(take_in(body, sender, idle_timeout));
    RequestReader { queue: receiver, current: Bytes::new() }
}

async fn take_in(
    mut body: Incoming,
    queue: mpsc::Sender<io::Result<Bytes>>,
    idle_timeout: Duration,
) {
    loop {
        let piece = match tokio::time::timeout(idle_timeout, body.frame()).await {
            Ok(None) => return,
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => Ok(data),
                Err(_trailers) => continue,
            },
            Ok(Some(Err(error))) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, error)),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client fell silent")),
        };
        let last = piece.is_err();
        if queue.send(piece).await.is_err() || last {
            return;
        }
    }
}
