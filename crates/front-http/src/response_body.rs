//! A response on its way from the thread that makes it to a connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use wire::Sink;

use crate::events::EventBody;
use crate::reply::Reply;
use crate::rope::Rope;

/// Batches of a response that wait to be sent. A thread that found no room goes on when half of them are
/// sent: to wake it up for each costs more than to send it.
const QUEUE_BATCHES: usize = 8;
/// Response bytes gathered before they are sent without being asked for.
const BATCH_BYTES: usize = 256 << 10;

/// The body of a response.
pub(crate) enum ResponseBody {
    /// All there is.
    Whole(Option<Rope>),
    /// What a thread writes, until it says that it is done.
    Stream(Option<mpsc::Receiver<Batch>>),
    /// What happens, until it ends.
    Events(Box<EventBody>),
}

/// What goes through the queue of a streamed response.
pub(crate) enum Batch {
    More(Rope),
    End,
}

/// A response ended in its middle. The connection is broken off, so that no client takes the
/// part it has for the whole.
#[derive(Debug, thiserror::Error)]
#[error("the response was cut short")]
pub(crate) struct CutShort;

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        ResponseBody::Whole(Some(bytes.into()))
    }
}

impl Body for ResponseBody {
    type Data = Rope;
    type Error = CutShort;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Rope>, CutShort>>> {
        let stream = match self.get_mut() {
            ResponseBody::Whole(rope) => {
                let rope = rope.take().filter(|rope| !rope.is_empty());
                return Poll::Ready(rope.map(|rope| Ok(Frame::data(rope))));
            }
            ResponseBody::Stream(stream) => stream,
            ResponseBody::Events(events) => {
                let bytes = std::task::ready!(events.poll_bytes(context));
                return Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes.into()))));
            }
        };
        let Some(queue) = stream else { return Poll::Ready(None) };
        queue.poll_recv(context).map(|batch| match batch {
            Some(Batch::More(rope)) => Some(Ok(Frame::data(rope))),
            Some(Batch::End) => {
                *stream = None;
                None
            }
            None => {
                *stream = None;
                Some(Err(CutShort))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Whole(rope) => rope.as_ref().is_none_or(Rope::is_empty),
            ResponseBody::Stream(queue) => queue.is_none(),
            ResponseBody::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Whole(rope) => {
                SizeHint::with_exact(rope.as_ref().map_or(0, Rope::len) as u64)
            }
            ResponseBody::Stream(_) | ResponseBody::Events(_) => SizeHint::default(),
        }
    }
}

/// The right to answer one request, once.
pub(crate) struct Responder {
    reply: oneshot::Sender<Reply>,
    stall_timeout: Duration,
}

/// A right to answer, and where the answer arrives. A client that takes nothing of it for
/// `stall_timeout` is let go.
pub(crate) fn responder(stall_timeout: Duration) -> (Responder, oneshot::Receiver<Reply>) {
    let (reply, arrives) = oneshot::channel();
    (Responder { reply, stall_timeout }, arrives)
}

impl Responder {
    /// Answers with all there is to say.
    pub fn reply(self, reply: Reply) {
        // Nobody waits for it when the client is gone.
        let _ = self.reply.send(reply);
    }

    /// Answers with `head` as soon as there is something to follow it.
    pub fn stream(self, mut head: Reply) -> ResponseSink {
        let (queue, batches) = mpsc::channel(QUEUE_BATCHES);
        *head.body_mut() = ResponseBody::Stream(Some(batches));
        let stall_timeout = self.stall_timeout;
        let head = Some((self, head));
        ResponseSink { head, queue, batch: Rope::default(), stall_timeout }
    }
}

/// The writing end of a response, for a thread. Dropped before [`ResponseSink::finish`], it cuts
/// the response short.
pub(crate) struct ResponseSink {
    head: Option<(Responder, Reply)>,
    queue: mpsc::Sender<Batch>,
    batch: Rope,
    stall_timeout: Duration,
}

impl ResponseSink {
    /// Ends the response in good order.
    pub fn finish(mut self) {
        // A client that is gone has no use for the end either.
        let _ = self.flush().and_then(|()| {
            self.send_head();
            self.enqueue(Batch::End)
        });
    }

    /// Answers with `reply` in place of everything written, unless some of it is sent already.
    pub fn finish_with(mut self, reply: Reply) {
        match self.head.take() {
            Some((responder, _)) => responder.reply(reply),
            None => self.finish(),
        }
    }

    fn send_head(&mut self) {
        if let Some((responder, head)) = self.head.take() {
            responder.reply(head);
        }
    }

    fn enqueue(&mut self, batch: Batch) -> io::Result<()> {
        let batch = match self.queue.try_send(batch) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(hung_up()),
            Err(mpsc::error::TrySendError::Full(batch)) => batch,
        };
        let room = self.queue.reserve_many(QUEUE_BATCHES / 2);
        let room = tokio::time::timeout(self.stall_timeout, room);
        match Handle::current().block_on(room) {
            Ok(Ok(mut places)) => match places.next() {
                Some(place) => {
                    place.send(batch);
                    // The other places are free for what comes next: nobody else sends.
                    Ok(())
                }
                None => Err(hung_up()),
            },
            Ok(Err(_)) => Err(hung_up()),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes no more")),
        }
    }
}

fn hung_up() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the client hung up")
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
        self.send_head();
        let batch = std::mem::take(&mut self.batch);
        self.enqueue(Batch::More(batch))
    }
}
