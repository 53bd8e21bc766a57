//! One session: a command, the conversation it begins, and how it ended.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use host::{
    Admitted, Caller, EventForm, EventStream, Exchange, Refusal, RepositoryName, Request, Road,
    Task, WatchedRefs,
};
use russh::server::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::runtime::Handle;
use wire::ssh_command::{AnnexCommand, SshCommand, read_command};
use wire::{Protocol, Service, Sink};

use crate::Front;
use crate::greeting::greeting;

/// What a session is asked for.
pub(crate) enum Asked {
    /// To run something.
    Command { command: Vec<u8>, protocol: Protocol },
    /// To run a shell.
    Greeting { is_terminal: bool },
}

/// Exit status of git's programs when they give up.
const FATAL: u32 = 128;
/// Of a shell that does not know a command.
const UNKNOWN: u32 = 127;

/// What goes to standard error (RFC 4254 section 5.2).
const STDERR: u32 = 1;

/// Bytes that are gathered before they are handed on.
const GATHERED_BYTES: usize = 128 << 10;

/// Serves a session to its end.
pub(crate) async fn serve(front: Arc<Front>, channel: Channel<Msg>, caller: Caller, asked: Asked) {
    let (read, write) = channel.split();
    let write = Arc::new(write);
    let idle_timeout = front.settings.idle_timeout;
    let heartbeat = front.settings.heartbeat;
    let answered = {
        let write = write.clone();
        tokio::task::spawn_blocking(move || match asked {
            Asked::Greeting { is_terminal } => {
                Conversed::Ended(Ended::said(greeting(&front.host, &caller), is_terminal))
            }
            Asked::Command { command, protocol } => {
                run(&front, (read, write), caller, &command, protocol)
            }
        })
    };
    let failed = || Ended {
        status: FATAL,
        output: String::new(),
        words: "the server failed; its log says why\n".into(),
    };
    let ended = match answered.await {
        Ok(Conversed::Ended(ended)) => ended,
        Ok(Conversed::Watches(read, watched, form)) => {
            let events = EventStream::new(*watched, form);
            watch(read, &write, events, (heartbeat, idle_timeout)).await
        }
        Err(_) => failed(),
    };
    // A client that takes nothing is not waited for.
    let _ = tokio::time::timeout(idle_timeout, end(&write, ended)).await;
}

/// What became of a command.
enum Conversed {
    Ended(Ended),
    /// The client is told what happens from now on.
    Watches(ChannelReadHalf, Box<WatchedRefs>, EventForm),
}

/// Tells a client what happens, until it goes, takes nothing, or nothing more will.
async fn watch(
    mut read: ChannelReadHalf,
    write: &ChannelWriteHalf<Msg>,
    mut events: EventStream,
    (heartbeat, idle_timeout): (Duration, Duration),
) -> Ended {
    let told = async {
        while let Some(bytes) = next(&mut events, heartbeat).await {
            if bytes.is_empty() {
                continue;
            }
            let sent = tokio::time::timeout(idle_timeout, write.data_bytes(bytes)).await;
            if !matches!(sent, Ok(Ok(()))) {
                break;
            }
        }
    };
    let gone = async {
        while !matches!(read.wait().await, None | Some(ChannelMsg::Eof | ChannelMsg::Close)) {}
    };
    tokio::select! {
        () = told => {}
        () = gone => {}
    }
    Ended::well()
}

/// What comes next. Accounts, of which there are some wherever SSH is, are asked where a thread may wait.
async fn next(events: &mut EventStream, heartbeat: Duration) -> Option<Bytes> {
    let coming =
        std::future::poll_fn(|context| tokio::task::block_in_place(|| events.poll_bytes(context)));
    match tokio::time::timeout(heartbeat, coming).await {
        Ok(bytes) => bytes,
        Err(_) => Some(tokio::task::block_in_place(|| events.beat())),
    }
}

/// How a command ended.
struct Ended {
    status: u32,
    /// For standard output.
    output: String,
    /// For standard error.
    words: String,
}

impl Ended {
    fn well() -> Self {
        Ended { status: 0, output: String::new(), words: String::new() }
    }

    fn said(text: String, is_terminal: bool) -> Self {
        let output = if is_terminal { text.replace('\n', "\r\n") } else { text };
        Ended { output, ..Self::well() }
    }

    fn fatal(status: u32, words: &str) -> Self {
        let words = format!("fatal: {}\n", words.trim_end());
        Ended { status, words, ..Self::well() }
    }
}

async fn end(write: &ChannelWriteHalf<Msg>, ended: Ended) -> Result<(), russh::Error> {
    write.data_bytes(ended.output).await?;
    write.extended_data_bytes(STDERR, ended.words).await?;
    write.exit_status(ended.status).await?;
    write.eof().await?;
    write.close().await
}

fn run(
    front: &Front,
    (read, write): (ChannelReadHalf, Arc<ChannelWriteHalf<Msg>>),
    caller: Caller,
    command: &[u8],
    protocol: Protocol,
) -> Conversed {
    let begun = Instant::now();
    let from = caller.address;
    let named = |path: &[u8]| {
        RepositoryName::new(repository(path))
            .map_err(|error| Ended::fatal(FATAL, &error.to_string()))
    };
    let (conversed, command, path) = match read_command(command) {
        Ok(SshCommand::Git { service, path }) => {
            let conversed = named(&path)
                .and_then(|name| converse(front, (read, write), caller, (service, name, protocol)));
            (conversed, service.name(), path)
        }
        Ok(SshCommand::Annex { command, path, uuid }) => {
            let uuid = uuid.as_ref().map(|uuid| uuid.to_string());
            let conversed = named(&path)
                .and_then(|name| annex(front, read, caller, (command, name, uuid.as_deref())));
            (conversed, command.name(), path)
        }
        Ok(SshCommand::Nothing) => return Conversed::Ended(Ended::well()),
        Err(error) => return Conversed::Ended(Ended::fatal(UNKNOWN, &error.to_string())),
    };
    let conversed = conversed.unwrap_or_else(Conversed::Ended);
    let status = match &conversed {
        Conversed::Ended(ended) => ended.status,
        Conversed::Watches(..) => 0,
    };
    let took_ms = begun.elapsed().as_millis() as u64;
    tracing::info!(?from, command, %path, status, took_ms, "ssh request");
    conversed
}

/// The repository a path names: here, everybody's home is where repositories are.
fn repository(path: &[u8]) -> &[u8] {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    path.strip_prefix(b"~/").unwrap_or(path)
}

fn admit(
    front: &Front,
    caller: Caller,
    repository: RepositoryName,
    task: Task,
) -> Result<Admitted, Ended> {
    let request = Request { repository, task, caller, road: Road::Ssh };
    front.host.admit(request).map_err(refused)
}

fn refused(refusal: Refusal) -> Ended {
    match refusal {
        Refusal::Unavailable { .. } => tracing::warn!(%refusal, "cannot serve"),
        _ => tracing::info!(%refusal, "refused"),
    }
    Ended::fatal(FATAL, &refusal.words_for_peer())
}

fn converse(
    front: &Front,
    (read, write): (ChannelReadHalf, Arc<ChannelWriteHalf<Msg>>),
    caller: Caller,
    (service, repository, protocol): (Service, RepositoryName, Protocol),
) -> Result<Conversed, Ended> {
    let protocol = protocol.of_service(service);
    let task = Task::Smart { service, exchange: Exchange::Conversation, protocol };
    let admitted = admit(front, caller, repository, task)?;
    let (runtime, timeout) = (Handle::current(), front.settings.idle_timeout);
    let mut input =
        Input { read, current: Bytes::new(), runtime: runtime.clone(), timeout, is_over: false };
    let mut output = Output { write, gathered: BytesMut::new(), runtime, timeout };
    let conversed = admitted.converse(&mut input, &mut output);
    let flushed = output.flush();
    let ended = match conversed {
        Ok(Some(watched)) if flushed.is_ok() => {
            let watched = Box::new(watched);
            return Ok(Conversed::Watches(input.read, watched, EventForm::PACKETS));
        }
        Ok(_) => Ended::well(),
        Err(error) if error.was_told() => Ended { status: FATAL, ..Ended::well() },
        Err(error) => Ended::fatal(FATAL, &error.words_for_peer()),
    };
    Ok(Conversed::Ended(match flushed {
        Ok(()) => ended,
        Err(_) => Ended { status: FATAL, ..ended },
    }))
}

/// Answers as git-annex-shell(1) does.
fn annex(
    front: &Front,
    read: ChannelReadHalf,
    caller: Caller,
    (command, repository, uuid): (AnnexCommand, RepositoryName, Option<&str>),
) -> Result<Conversed, Ended> {
    let task = match command {
        AnnexCommand::ConfigList => Task::File { path: "config".into() },
        AnnexCommand::NotifyChanges => Task::Watch { since: None, prefixes: Vec::new() },
    };
    let admitted = admit(front, caller, repository, task)?;
    let known = admitted.annex_uuid().unwrap_or_default();
    if let Some(uuid) = uuid
        && uuid != known
    {
        let words = format!("the repository has the UUID '{known}', not '{uuid}'");
        return Err(Ended::fatal(1, &words));
    }
    match command {
        AnnexCommand::ConfigList => {
            let list = format!("annex.uuid={known}\ncore.gcrypt-id=\n");
            Ok(Conversed::Ended(Ended::said(list, false)))
        }
        AnnexCommand::NotifyChanges => {
            let watched = Box::new(admitted.watch().map_err(refused)?);
            Ok(Conversed::Watches(read, watched, EventForm::CHANGE_LINES))
        }
    }
}

/// What the client sends, for a thread.
struct Input {
    read: ChannelReadHalf,
    current: Bytes,
    runtime: Handle,
    /// The longest silence.
    timeout: Duration,
    is_over: bool,
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() && !self.is_over {
            let next = self
                .runtime
                .block_on(async { tokio::time::timeout(self.timeout, self.read.wait()).await });
            match next {
                Ok(Some(ChannelMsg::Data { data })) => self.current = data,
                Ok(None | Some(ChannelMsg::Eof | ChannelMsg::Close)) => self.is_over = true,
                Ok(Some(_)) => {}
                Err(_) => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the client fell silent"));
                }
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, count: usize) {
        self.current.advance(count);
    }
}

/// What the client is sent, from a thread.
struct Output {
    write: Arc<ChannelWriteHalf<Msg>>,
    gathered: BytesMut,
    runtime: Handle,
    /// The longest wait for the client to take something.
    timeout: Duration,
}

impl Sink for Output {
    fn send(&mut self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.gathered.capacity() == 0 {
                self.gathered.reserve(GATHERED_BYTES);
            }
            let count = bytes.len().min(GATHERED_BYTES - self.gathered.len());
            self.gathered.extend_from_slice(&bytes[..count]);
            bytes.advance(count);
            if self.gathered.len() == GATHERED_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.gathered).freeze();
        let timeout = self.timeout;
        let sent = self
            .runtime
            .block_on(async { tokio::time::timeout(timeout, self.write.data_bytes(bytes)).await });
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, error)),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")),
        }
    }
}
