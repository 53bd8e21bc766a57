//! Roads to a server: a stream of both directions, or requests of HTTP.

mod body;
mod http;
mod post;
mod program;
mod tcp;
mod tls;

use std::any::Any;

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use wire::client::{Advertised, AdvertisedReader};
use wire::{Packet, Protocol, Service};

use crate::packets::Packets;
use crate::{Error, Options, RemoteUrl};

pub(crate) use body::Body;
pub(crate) use http::HttpRoad;
pub use post::{Posted, post};
pub use program::shell_quoted;
pub(crate) use program::{ProgramEnd, program_stream, ssh_stream};

/// A stream that can be written.
pub type BoxWrite = Box<dyn AsyncWrite + Send + Unpin>;

/// How a server is spoken to.
pub(crate) enum Road {
    /// All requests and answers are on one stream.
    Stream(StreamRoad),
    /// Each request is one of its own.
    Http(HttpRoad),
}

/// A stream of both directions.
pub(crate) struct StreamRoad {
    pub packets: Packets,
    pub write: BoxWrite,
    /// What carries it, where that is a program.
    pub program: Option<ProgramEnd>,
}

/// What answers come from, and what has to live as long.
pub(crate) struct Answer {
    pub packets: Packets,
    pub kept: Box<dyn Any + Send>,
}

/// Reaches a server, and hears what it says first.
pub(crate) async fn open(
    url: &RemoteUrl,
    service: Service,
    options: &Options,
) -> Result<(Road, Advertised), Error> {
    match url {
        RemoteUrl::Http(url) => {
            let (road, advertised) = http::open(url, service, options).await?;
            Ok((Road::Http(road), advertised))
        }
        RemoteUrl::Ssh { user, host, port, path } => {
            let to = (user.as_deref(), host.as_str(), *port);
            begin(program::ssh(to, path, service, options)?, options).await
        }
        RemoteUrl::Local(path) => begin(program::local(path, service, options)?, options).await,
        RemoteUrl::Git { host, port, path } => {
            begin(tcp::open((host, *port), path, service, options).await?, options).await
        }
        RemoteUrl::Helper { name, .. } => {
            let words = format!("'{name}::' is carried by the program git-remote-{name}");
            Err(Error::Unsupported(words))
        }
    }
}

/// Hears what a server says first, on a stream.
pub(crate) async fn begin(
    mut road: StreamRoad,
    options: &Options,
) -> Result<(Road, Advertised), Error> {
    let advertised =
        tokio::time::timeout(options.connect_timeout, read_advertised(&mut road.packets, options));
    match advertised.await.unwrap_or(Err(Error::Silent(options.connect_timeout))) {
        Ok(advertised) => Ok((Road::Stream(road), advertised)),
        Err(error) => Err(road.why(error).await),
    }
}

/// Reads what a server says first.
async fn read_advertised(packets: &mut Packets, options: &Options) -> Result<Advertised, Error> {
    let mut reader = AdvertisedReader::new(&options.limits);
    while !reader.take(packets.next_line().await?)? {}
    Ok(reader.finish())
}

impl StreamRoad {
    /// A better reason than that the stream ended, if the program has one.
    pub async fn why(&mut self, error: Error) -> Error {
        let ended = matches!(&error, Error::Io(_) | Error::Wire(wire::Error::HungUp));
        match &mut self.program {
            Some(program) if ended => program.why().await.unwrap_or(error),
            _ => error,
        }
    }
}

impl Road {
    /// Sends a request; what comes is the answer.
    pub async fn ask(
        &mut self,
        service: Service,
        request: Vec<u8>,
    ) -> Result<Option<Answer>, Error> {
        match self {
            Road::Stream(road) => {
                let sent = async {
                    road.write.write_all(&request).await?;
                    road.write.flush().await
                };
                match sent.await {
                    Ok(()) => Ok(None),
                    Err(error) => Err(road.why(error.into()).await),
                }
            }
            Road::Http(road) => {
                let body = Body::whole(Bytes::from(request));
                road.post(service, Protocol::V2, body).await.map(Some)
            }
        }
    }

    /// Says goodbye, where there is somebody who waits for it.
    pub async fn close(self) {
        if let Road::Stream(mut road) = self {
            // The server may have gone already.
            let _ = road.write.write_all(b"0000").await;
            let _ = road.write.shutdown().await;
            if let Some(program) = road.program {
                program.ended().await;
            }
        }
    }
}

/// The answer to a request: on the same stream, or its own.
pub(crate) fn packets<'a>(road: &'a mut Road, answer: &'a mut Option<Answer>) -> &'a mut Packets {
    match (answer, road) {
        (Some(answer), _) => &mut answer.packets,
        (None, Road::Stream(road)) => &mut road.packets,
        (None, Road::Http(_)) => unreachable!("every request of HTTP has an answer"),
    }
}

/// Whether a packet ends an answer.
pub(crate) fn is_end(packet: &Packet<'_>) -> bool {
    matches!(packet, Packet::Flush | Packet::ResponseEnd | Packet::Eof)
}
