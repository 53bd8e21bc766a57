//! A client of server-sent events, as a browser is one.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SentEvent {
    /// What kind; empty for none.
    pub event: String,
    /// The id a client comes back with.
    pub id: String,
    /// Its lines of data.
    pub data: String,
}

/// A connection that events come by.
pub struct EventSource {
    lines: BufReader<Chunks<TcpStream>>,
    /// The last id that came.
    pub last_id: Option<String>,
}

/// The body of a response in chunks (RFC 9112, section 7.1).
struct Chunks<S> {
    connection: BufReader<S>,
    left: u64,
    ended: bool,
}

/// The body of the answer to a request, which goes on for as long as it does.
///
/// # Errors
/// Words with the status when it is not 200.
pub fn long_answer(host: &str, head: &str, body: &[u8]) -> io::Result<impl Read + Send + 'static> {
    let mut stream = TcpStream::connect(host)?;
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    stream.set_read_timeout(Some(super::HUNG))?;
    long_answer_of(stream)
}

/// [`long_answer`], of a request that was sent over a connection.
///
/// # Errors
/// As there.
pub fn long_answer_of<S: Read + Send + 'static>(
    stream: S,
) -> io::Result<impl Read + Send + 'static> {
    chunks(stream).map(|(_, chunks)| chunks)
}

/// The head of an answer, and what comes behind it.
fn chunks<S: Read>(stream: S) -> io::Result<(String, Chunks<S>)> {
    let mut connection = BufReader::with_capacity(4096, stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if connection.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(head));
    }
    Ok((head, Chunks { connection, left: 0, ended: false }))
}

impl EventSource {
    /// Connects to `http://HOST:PORT/PATH`; who was there before gives the last id he got.
    ///
    /// # Errors
    /// Words with the status when it is not 200.
    pub fn open(url: &str, last_id: Option<&str>) -> io::Result<Self> {
        let rest = url.strip_prefix("http://").ok_or(io::ErrorKind::InvalidInput)?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut stream = TcpStream::connect(host)?;
        let last = last_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        write!(
            stream,
            "GET /{path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n{last}\r\n"
        )?;
        stream.set_read_timeout(Some(super::HUNG))?;
        let (head, chunks) = chunks(stream)?;
        assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
        let lines = BufReader::with_capacity(4096, chunks);
        Ok(EventSource { lines, last_id: last_id.map(str::to_owned) })
    }

    /// The next event that has data; `None` at the end, and when nothing comes for so long.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn next_within(&mut self, most: Duration) -> io::Result<Option<SentEvent>> {
        let end = Instant::now() + most;
        let mut event = SentEvent::default();
        let mut line = String::new();
        loop {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.lines.get_ref().connection.get_ref().set_read_timeout(Some(left))?;
            match self.lines.read_line(&mut line) {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    match Instant::now() >= end {
                        true => return Ok(None),
                        false => continue,
                    }
                }
                Ok(0) => return Ok(None),
                read => read?,
            };
            let whole = std::mem::take(&mut line);
            match whole.trim_end_matches('\n').split_once(':') {
                None if event.data.is_empty() => event = SentEvent::default(),
                None => return Ok(Some(event)),
                Some(("event", text)) => event.event = text.trim_start().to_owned(),
                Some(("data", text)) => event.data.push_str(text.trim_start()),
                Some(("id", text)) => {
                    event.id = text.trim_start().to_owned();
                    self.last_id = Some(event.id.clone());
                }
                Some(_) => {}
            }
        }
    }

    /// As [`EventSource::next_within`], for a test that cannot go on without one.
    #[track_caller]
    pub fn expect(&mut self, kind: &str) -> SentEvent {
        let event = self.next_within(super::HUNG).expect("connected").expect("an event");
        assert_eq!(event.event, kind, "{event:?}");
        event
    }
}

impl SentEvent {
    /// Name, old and new value of each ref in the data; for names and values without quotes.
    pub fn moves(&self) -> Vec<(String, Option<String>, Option<String>)> {
        let value = |text: &str, key: &str| {
            let rest = text.split_once(&format!("\"{key}\":")).map(|(_, rest)| rest)?;
            Some(rest.strip_prefix('"')?.split('"').next()?.to_owned())
        };
        let moves = self.data.split("{\"name\":\"").skip(1);
        moves
            .map(|one| {
                let name = one.split('"').next().unwrap_or_default().to_owned();
                (name, value(one, "old"), value(one, "new"))
            })
            .collect()
    }
}

impl<S: Read> Read for Chunks<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 && !self.ended {
            // Waits here, where a timeout loses nothing; a line that has begun comes at once.
            if self.connection.fill_buf()?.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut line = String::new();
            self.connection.read_line(&mut line)?;
            let line = line.trim_end();
            if line.is_empty() {
                continue;
            }
            self.left = u64::from_str_radix(line, 16).map_err(io::Error::other)?;
            self.ended = self.left == 0;
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.connection.read(&mut buffer[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}
