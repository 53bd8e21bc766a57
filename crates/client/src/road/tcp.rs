//! git:// (gitprotocol-pack, "Git Transport").

use std::io;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use wire::{PacketWriter, Service};

use super::StreamRoad;
use crate::packets::Packets;
use crate::url::bare_host;
use crate::{Error, Options};

const PORT: u16 = 9418;

/// Connects, and asks for a service.
pub(super) async fn open(
    (host, port): (&str, Option<u16>),
    path: &str,
    service: Service,
    options: &Options,
) -> Result<StreamRoad, Error> {
    let stream = connect(bare_host(host), port.unwrap_or(PORT), options).await?;
    let (read, mut write) = stream.into_split();
    let authority = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let request = format!("{} {path}\0host={authority}\0\0version=2\0", service.name());
    write.write_all(&packet(request.as_bytes())?).await?;
    let packets = Packets::new(Box::new(read), options.silence_max);
    Ok(StreamRoad { packets, write: Box::new(write), program: None })
}

fn packet(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut writer = PacketWriter::new(&mut bytes);
    writer.data(data).and_then(|()| writer.flush())?;
    drop(writer);
    Ok(bytes)
}

/// Connects to a host.
pub(super) async fn connect(host: &str, port: u16, options: &Options) -> Result<TcpStream, Error> {
    let connecting =
        tokio::time::timeout(options.connect_timeout, TcpStream::connect((host, port)));
    let stream = connecting.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let stream = stream.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot connect to {host}:{port}: {error}"))
    })?;
    // Without it small requests wait; a stream that cannot have it still works.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
