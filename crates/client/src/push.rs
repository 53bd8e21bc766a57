//! Pushes (gitprotocol-pack, "Pushing Data To a Server").

use std::io;

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use wire::client::{ReportReader, push_request};
use wire::{Protocol, PushReport, PushRequest, Service};

use crate::packets::{BoxRead, Packets};
use crate::road::{Body, Road};
use crate::{Connection, Error};

impl Connection {
    /// Pushes. `pack` has what the server lacks; none is sent when all commands delete. `progress` gets words for a person.
    ///
    /// # Errors
    /// [`Error`]. What the server made of each ref is in its report, refusals too; after an error nobody knows.
    pub async fn push(
        mut self,
        request: &PushRequest,
        pack: Option<BoxRead>,
        progress: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<PushReport, Error> {
        let capabilities = &self.advertised.capabilities;
        let (head, terms) = push_request(request, capabilities, &self.options.agent)?;
        let mut reader = ReportReader::new(terms, request.object_format, &self.options.limits);
        let read = match &mut self.road {
            Road::Http(road) => {
                let body = Body::stream(Bytes::from(head), pack);
                let mut answer = road.post(Service::ReceivePack, Protocol::V0, body).await?;
                let read = read_report(&mut answer.packets, &mut reader, progress).await;
                drop(answer.kept);
                read
            }
            Road::Stream(road) => {
                let write = &mut road.write;
                let send = async {
                    write.write_all(&head).await?;
                    if let Some(mut pack) = pack {
                        tokio::io::copy(&mut pack, write).await?;
                    }
                    write.flush().await
                };
                // A server that refuses says so while it is still being sent to.
                let read = read_report(&mut road.packets, &mut reader, progress);
                let (sent, read) = both(send, read).await;
                match (read, sent) {
                    (Ok(()), _) => Ok(()),
                    (Err(Error::Io(_) | Error::Wire(wire::Error::HungUp)), Err(error)) => {
                        Err(road.why(error.into()).await)
                    }
                    (Err(error), _) => Err(road.why(error).await),
                }
            }
        };
        read?;
        Ok(reader.finish()?)
    }
}

/// Sends and reads at once, until what is read has ended.
async fn both<R>(
    send: impl Future<Output = io::Result<()>>,
    read: impl Future<Output = R>,
) -> (io::Result<()>, R) {
    tokio::pin!(send, read);
    tokio::select! {
        read = &mut read => (Ok(()), read),
        sent = &mut send => (sent, read.await),
    }
}

async fn read_report(
    packets: &mut Packets,
    reader: &mut ReportReader,
    progress: &mut (dyn FnMut(&[u8]) + Send),
) -> Result<(), Error> {
    while let Some(words) = reader.take(packets.next().await?)? {
        if !words.is_empty() {
            progress(words);
        }
    }
    Ok(())
}
