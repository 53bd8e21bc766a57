//! A proxy that counts requests of HTTP/1.1 by their method, and changes nothing.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::Outcome;

/// Bytes passed on at a time.
const PART_BYTES: usize = 64 << 10;

/// How many requests there were, by method.
pub(crate) type Counted = BTreeMap<String, usize>;

/// A proxy, until the program ends.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    counted: Arc<Mutex<Counted>>,
}

impl Proxy {
    /// Starts one before `HOST:PORT`.
    pub(crate) fn start(to: &str) -> Outcome<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let counted = Arc::<Mutex<Counted>>::default();
        let (to, all) = (to.to_owned(), counted.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (to, all) = (to.clone(), all.clone());
                thread::spawn(move || pass(&client, &to, &all));
            }
        });
        Ok(Proxy { port, counted })
    }

    /// Where it listens.
    pub(crate) fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What was counted since it was asked last.
    pub(crate) fn take(&self) -> Counted {
        std::mem::take(&mut self.counted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Passes on both ways until one side ends.
fn pass(client: &TcpStream, to: &str, counted: &Mutex<Counted>) {
    let Ok(server) = TcpStream::connect(to) else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut requests = Requests::default();
            let _ = copy(client, &server, |bytes| requests.count(bytes, counted));
            let _ = server.shutdown(Shutdown::Write);
        });
        let _ = copy(&server, client, |_| {});
        let _ = client.shutdown(Shutdown::Both);
    });
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, mut see: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; PART_BYTES];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => {
                see(&buffer[..count]);
                to.write_all(&buffer[..count])?;
            }
        }
    }
}

/// Where in a stream of requests it stands.
#[derive(Default)]
struct Requests {
    /// A head, as far as it came.
    head: Vec<u8>,
    /// What is left of a body.
    body_bytes: usize,
}

impl Requests {
    fn count(&mut self, mut bytes: &[u8], counted: &Mutex<Counted>) {
        while !bytes.is_empty() {
            if self.body_bytes > 0 {
                let skipped = self.body_bytes.min(bytes.len());
                self.body_bytes -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.head.push(bytes[0]);
            bytes = &bytes[1..];
            if self.head.ends_with(b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.head).into_owned();
                let method = head.split(' ').next().unwrap_or_default();
                let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
                *counted.entry(method.to_owned()).or_default() += 1;
                let length = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length")
                        .then(|| value.trim().parse().ok())?
                });
                self.body_bytes = length.unwrap_or(0);
                self.head.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_from_bodies_wherever_parts_end() {
        let stream = "PUT /a HTTP/1.1\r\nContent-Length: 19\r\n\r\nGET /b HTTP/1.1\r\n\r\n\
                      GET /c HTTP/1.1\r\n\r\nGET /d HTTP/1.1\r\nHost: x\r\n\r\n";
        for size in 1..stream.len() {
            let counted = Mutex::default();
            let mut requests = Requests::default();
            stream.as_bytes().chunks(size).for_each(|part| requests.count(part, &counted));
            let counted = counted.into_inner().expect("not poisoned");
            let expected = Counted::from([("PUT".to_owned(), 1), ("GET".to_owned(), 2)]);
            assert_eq!(counted, expected, "parts of {size}");
        }
    }
}
