//! A request's body on its way from a connection to the thread that answers.

use std::io::{self, BufRead, Read};

use bytes::{Buf as _, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use crate::server::HttpSettings;

/// Pieces of a request body that wait to be read.
const QUEUE_PIECES: usize = 4;

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

/// Starts to take a request's body in; it is read from the client at the reader's pace.
pub(crate) fn request_queue(body: Incoming, settings: &HttpSettings) -> RequestReader {
    let (sender, receiver) = mpsc::channel(QUEUE_PIECES);
    let settings = settings.clone();
    tokio::spawn(async move { take_in(body, &sender, &settings).await });
    RequestReader { queue: receiver, current: Bytes::new() }
}

async fn take_in(
    mut body: Incoming,
    queue: &mpsc::Sender<io::Result<Bytes>>,
    settings: &HttpSettings,
) {
    while let Some(piece) = next(&mut body, settings).await {
        let last = piece.is_err();
        if queue.send(piece).await.is_err() {
            return discard(body, settings).await;
        }
        if last {
            return;
        }
    }
}

/// Takes in what nobody reads any more. Most clients send all they have before they read the
/// answer, and a connection closed on them loses it: they would see a broken pipe in place of
/// the reason why their push was refused.
pub(crate) async fn discard(mut body: Incoming, settings: &HttpSettings) {
    let mut left = settings.discarded_bytes_max;
    while let Some(Ok(piece)) = next(&mut body, settings).await {
        match left.checked_sub(piece.len() as u64) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// The next piece of a body; `None` at its end.
async fn next(body: &mut Incoming, settings: &HttpSettings) -> Option<io::Result<Bytes>> {
    loop {
        return Some(match tokio::time::timeout(settings.idle_timeout, body.frame()).await {
            Ok(None) => return None,
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => Ok(data),
                Err(_trailers) => continue,
            },
            Ok(Some(Err(error))) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, error)),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client fell silent")),
        });
    }
}
