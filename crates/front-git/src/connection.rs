//! One connection: what it asks for, and the answer.

use std::io::{self, BufReader, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use host::{Caller, EventForm, EventStream, Exchange, Refusal, RepositoryName, Request, Road};
use host::{ServeError, Task, WatchedRefs};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wire::daemon::{DaemonRequest, HEAD_BYTES_MAX, read_head};
use wire::{Service, WriteSink};

use crate::daemon::{self, Client};
use crate::{Front, GitSettings, Place};

/// Input taken at a time, bytes.
pub(crate) const INPUT_BYTES: usize = 64 << 10;

/// Bytes of a client that are taken in although nobody reads them, so that it comes to read why.
const DISCARDED_BYTES_MAX: u64 = 64 << 20;

/// How a conversation ended.
pub(crate) enum Ended {
    /// All was said.
    Done,
    /// Early, and the client knows why.
    Told,
    /// Early; words for the client.
    Refused(String),
}

/// What became of a conversation.
enum Conversed {
    Ended(Ended),
    /// The client is told what happens from now on.
    Watches(Box<WatchedRefs>),
}

/// What is left to do for a connection, without a thread.
enum Left {
    /// Nothing.
    Nothing,
    /// To let the client read what it was told.
    Leave(std::net::TcpStream),
    /// To tell it what happens.
    Watch(std::net::TcpStream, Box<WatchedRefs>),
}

/// Serves one connection to its end; until it has said what it wants, it may be told to go.
pub(crate) async fn serve(
    front: Arc<Front>,
    mut stream: TcpStream,
    peer: SocketAddr,
    place: Place,
) {
    let (begun, idle_timeout) = (Instant::now(), front.settings.idle_timeout);
    // Without it small answers wait for the network; a stream that cannot have it still works.
    let _ = stream.set_nodelay(true);
    if let Some(rules) = &front.daemon {
        Client { host: &front.host, rules, peer: Some(peer) }.connected();
    }
    let head = tokio::time::timeout(front.settings.header_timeout, head(&mut stream));
    let head = match place {
        Place::Waited(_) => head.await,
        Place::InCrowd(ref ticket, go) => tokio::select! {
            head = head => {
                ticket.stays();
                head
            }
            _ = go => return,
        },
    };
    let message = match head {
        Ok(Ok(message)) => message,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "no request"),
        Err(_) => return tracing::debug!(%peer, "the client says nothing"),
    };
    let watching = front.clone();
    let answered = tokio::task::spawn_blocking(move || {
        let stream = blocking(stream, &front, &message)?;
        let conversed = match &front.daemon {
            Some(rules) => {
                let (input, output) = (stream.try_clone()?, stream.try_clone()?);
                let client = Client { host: &front.host, rules, peer: Some(peer) };
                Conversed::Ended(client.answer(&message, Box::new(input), Box::new(output)))
            }
            None => named(&front, &stream, peer, &message, begun),
        };
        Ok::<_, io::Error>(match conversed {
            Conversed::Watches(watched) => Left::Watch(stream, watched),
            Conversed::Ended(Ended::Done) => {
                // It may be gone already.
                let _ = stream.shutdown(Shutdown::Write);
                Left::Nothing
            }
            Conversed::Ended(Ended::Told) => Left::Leave(stream),
            Conversed::Ended(Ended::Refused(words)) => {
                let _ = refuse(&mut &stream, &words);
                Left::Leave(stream)
            }
        })
    });
    let left = match answered.await {
        Ok(Ok(Left::Leave(stream))) => leave(stream, idle_timeout).await,
        Ok(Ok(Left::Watch(stream, watched))) => watch(stream, *watched, &watching).await,
        Ok(Err(error)) => Err(error),
        _ => Ok(()),
    };
    if let Err(error) = left {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// Answers who asks for a repository by its name.
fn named(
    front: &Front,
    stream: &std::net::TcpStream,
    peer: SocketAddr,
    message: &[u8],
    begun: Instant,
) -> Conversed {
    let asked = read_head(message);
    let path = match &asked {
        Ok(asked) => String::from_utf8_lossy(&asked.path).into_owned(),
        Err(_) => String::new(),
    };
    let conversed = asked
        .map_err(|error| error.to_string())
        .and_then(|asked| answer(front, stream, peer, asked))
        .unwrap_or_else(|words| Conversed::Ended(Ended::Refused(words)));
    let took_ms = begun.elapsed().as_millis() as u64;
    let ok = !matches!(conversed, Conversed::Ended(Ended::Refused(_)));
    tracing::info!(%peer, path, ok, took_ms, "git request");
    conversed
}

/// The first message: a pkt-line of no more bytes than such a thing has.
async fn head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let mut message = vec![0; head_bytes(length)?];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// The length of a first message behind the four digits that say it.
pub(crate) fn head_bytes(length: [u8; 4]) -> io::Result<usize> {
    let invalid = |words| io::Error::new(io::ErrorKind::InvalidData, words);
    let digits = Some(&length).filter(|length| length.iter().all(u8::is_ascii_hexdigit));
    let length = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    let length = length.and_then(|digits| usize::from_str_radix(digits, 16).ok());
    let length = length.and_then(|length| length.checked_sub(4));
    let length = length.ok_or_else(|| invalid("this is not how git begins"))?;
    match length > HEAD_BYTES_MAX {
        true => Err(invalid("the first message is too long")),
        false => Ok(length),
    }
}

fn blocking(stream: TcpStream, front: &Front, message: &[u8]) -> io::Result<std::net::TcpStream> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    let timeout = match front.daemon {
        Some(_) => daemon::idle_timeout(message, front.settings.idle_timeout),
        None => Some(front.settings.idle_timeout),
    };
    stream.set_read_timeout(timeout)?;
    stream.set_write_timeout(timeout)?;
    Ok(stream)
}

/// Asks the host, and does what is asked for; whether the client has nothing more to say, or words for
/// one that has not been told yet.
fn answer(
    front: &Front,
    stream: &std::net::TcpStream,
    peer: SocketAddr,
    asked: DaemonRequest,
) -> Result<Conversed, String> {
    let path = String::from_utf8_lossy(&asked.path).into_owned();
    if asked.service == Service::ReceivePack && !front.settings.receive_pack {
        return Err(format!("service not enabled: '{path}' takes no pushes over git://"));
    }
    if asked.service == Service::UploadArchive && !front.settings.upload_archive {
        return Err(format!("service not enabled: '{path}' gives no archives over git://"));
    }
    let repository = RepositoryName::new(&asked.path).map_err(|error| error.to_string())?;
    let request = Request {
        repository,
        task: Task::Smart {
            service: asked.service,
            exchange: Exchange::Conversation,
            protocol: asked.protocol.of_service(asked.service),
        },
        caller: Caller { identity: None, address: Some(peer.ip()) },
        road: Road::Git,
    };
    let admitted = front.host.admit(request).map_err(|refusal| {
        match &refusal {
            Refusal::Unavailable { .. } => tracing::warn!(%peer, %refusal, "cannot serve"),
            _ => tracing::info!(%peer, %refusal, "refused"),
        }
        refusal.words_for_peer()
    })?;
    let second = |error: io::Error| error.to_string();
    let (input, output) =
        (stream.try_clone().map_err(second)?, stream.try_clone().map_err(second)?);
    let mut input = BufReader::with_capacity(INPUT_BYTES, input);
    match admitted.converse(&mut input, &mut WriteSink::new(output)) {
        Ok(None) => Ok(Conversed::Ended(Ended::Done)),
        Ok(Some(watched)) => Ok(Conversed::Watches(Box::new(watched))),
        // It has been told, or nobody is there to be told.
        Err(error) if error.was_told() => Ok(Conversed::Ended(Ended::Told)),
        Err(ServeError::Wire(wire::Error::HungUp)) => Ok(Conversed::Ended(Ended::Done)),
        Err(error) => Err(error.words_for_peer()),
    }
}

/// Says why, as git's clients understand it.
pub(crate) fn refuse(output: &mut dyn Write, words: &str) -> io::Result<()> {
    let mut words = words.replace('\n', " ");
    let mut most = words.len().min(1000);
    while !words.is_char_boundary(most) {
        most -= 1;
    }
    words.truncate(most);
    let line = format!("{:04x}ERR {words}", words.len() + 8);
    output.write_all(line.as_bytes())
}

/// Tells a client what happens, until it hangs up, takes nothing, or nothing more will.
async fn watch(stream: std::net::TcpStream, watched: WatchedRefs, front: &Front) -> io::Result<()> {
    let GitSettings { idle_timeout, heartbeat, .. } = front.settings;
    stream.set_nonblocking(true)?;
    let (mut read, mut write) = TcpStream::from_std(stream)?.into_split();
    let mut events = EventStream::new(watched, EventForm::PACKETS);
    let told = async {
        while let Some(bytes) = next(&mut events, heartbeat).await {
            tokio::time::timeout(idle_timeout, write.write_all(&bytes)).await??;
        }
        write.shutdown().await
    };
    let mut nowhere = tokio::io::sink();
    tokio::select! {
        told = told => told,
        // It has nothing to say but that it goes.
        gone = tokio::io::copy(&mut read, &mut nowhere) => gone.map(drop),
    }
}

/// What comes next. Accounts are asked where a thread may wait.
async fn next(events: &mut EventStream, heartbeat: Duration) -> Option<Bytes> {
    let may_wait = events.asks_accounts();
    let on_thread = |work: &mut dyn FnMut() -> Poll<Option<Bytes>>| match may_wait {
        true => tokio::task::block_in_place(work),
        false => work(),
    };
    let coming = std::future::poll_fn(|context| on_thread(&mut || events.poll_bytes(context)));
    match tokio::time::timeout(heartbeat, coming).await {
        Ok(bytes) => bytes,
        Err(_) if may_wait => Some(tokio::task::block_in_place(|| events.beat())),
        Err(_) => Some(events.beat()),
    }
}

/// Ends a connection on which the client may still be sending: closed on it, it would lose what it was
/// told. No thread waits for that.
async fn leave(stream: std::net::TcpStream, most: Duration) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_nonblocking(true)?;
    let mut rest = TcpStream::from_std(stream)?.take(DISCARDED_BYTES_MAX);
    let mut nowhere = tokio::io::sink();
    let discarded = tokio::io::copy(&mut rest, &mut nowhere);
    // Whoever has not read it by then does not read it.
    let _ = tokio::time::timeout(most, discarded).await;
    Ok(())
}
