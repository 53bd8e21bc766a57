//! A server of HTTP that is told things, answers as it is told, and remembers all of it.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::wait_until;

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// `POST /path HTTP/1.1`.
    pub line: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body, which has to be text.
    pub body: String,
}

impl Received {
    /// A header's value.
    ///
    /// # Panics
    /// When it is not there.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }
}

/// A server of HTTP. It takes what comes unless it is told otherwise.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    received: Vec<Received>,
    /// Status and further headers of the next answers.
    answers: VecDeque<(u16, String)>,
}

impl Receiver {
    /// Listens at a free port of this machine.
    ///
    /// # Panics
    /// When there is none.
    pub fn start() -> Self {
        Self::at("127.0.0.1:0".parse().expect("an address"))
    }

    /// Listens at an address.
    ///
    /// # Panics
    /// When somebody else does.
    pub fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("the port is free");
        let address = listener.local_addr().expect("a socket has an address");
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let ours = Arc::downgrade(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Some(shared), Ok(stream)) = (ours.upgrade(), stream) else { return };
                std::thread::spawn(move || drop(answer(stream, &shared)));
            }
        });
        Receiver { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path there.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers the next requests so: a status, and further lines of the head, each with its end.
    pub fn answer_next(&self, status: u16, head: &str) {
        self.shared().answers.push_back((status, head.to_owned()));
    }

    /// All that came so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared().received.clone()
    }

    /// Waits until so many have come.
    ///
    /// # Panics
    /// When they never do.
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        wait_until("a delivery", || self.shared().received.len() >= count);
        self.received()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Nobody listens to the one who is waited for; who comes now is let go, and so is the port.
        let shared = std::mem::take(&mut self.shared);
        drop(shared);
        let _ = TcpStream::connect(self.address);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(stream: TcpStream, shared: &Mutex<Shared>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? <= 2 {
            break;
        }
        let (name, value) = header.split_once(':').unwrap_or_default();
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8(body).map_err(std::io::Error::other)?;
    let (status, head) = {
        let mut shared = lock(shared);
        shared.received.push(Received { line: line.trim_end().to_owned(), headers, body });
        shared.answers.pop_front().unwrap_or((200, String::new()))
    };
    let answer =
        format!("HTTP/1.1 {status} X\r\nContent-Length: 4\r\nConnection: close\r\n{head}\r\nseen");
    reader.get_mut().write_all(answer.as_bytes())
}
