//! A road to a server that is as bad as a seed makes it.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use crate::Random;

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is good.
    Good,
    /// It is reset at once.
    Refused,
    /// It is reset after so many bytes of the server's.
    Reset(usize),
    /// After so many bytes of the server's, nothing more comes by it, and nobody is told.
    HalfOpen(usize),
    /// After so many bytes of the server's, nothing comes by it for so long.
    Silent(usize, Duration),
}

/// A road that can be good or bad.
#[derive(Debug)]
pub struct BadRoad {
    address: SocketAddr,
    is_good: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
}

impl BadRoad {
    /// A road to where a server listens. Until it is told to be good, each connection has a fate of its own.
    ///
    /// # Panics
    /// When there is no port.
    pub fn to(server: &str, seed: u64, silence: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (is_good, connections) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (good, count, server) = (is_good.clone(), connections.clone(), server.to_owned());
        let random = Mutex::new(Random::new(seed));
        // It ends with the program.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let fate = match good.load(Ordering::SeqCst) {
                    true => Fate::Good,
                    false => fate(&mut random.lock().expect("no panic"), silence),
                };
                let (server, good) = (server.clone(), good.clone());
                thread::spawn(move || go(client, &server, fate, &good));
            }
        });
        BadRoad { address, is_good, connections }
    }

    /// Where it begins.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections are good from now on; those that hang end.
    pub fn be_good(&self) {
        self.is_good.store(true, Ordering::SeqCst);
    }

    /// Connections up to now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn fate(random: &mut Random, silence: Duration) -> Fate {
    let bytes = random.below(4000);
    match random.below(6) {
        0 => Fate::Refused,
        1 | 2 => Fate::Reset(bytes),
        3 => Fate::HalfOpen(bytes),
        4 => Fate::Silent(bytes, silence),
        _ => Fate::Good,
    }
}

/// Ends a connection as one that failed.
fn reset(stream: &TcpStream) {
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
    let _ = stream.shutdown(Shutdown::Both);
}

fn go(client: TcpStream, server: &str, fate: Fate, good: &AtomicBool) {
    if fate == Fate::Refused {
        return reset(&client);
    }
    let Ok(server) = TcpStream::connect(server) else { return reset(&client) };
    let (Ok(from), Ok(to)) = (client.try_clone(), server.try_clone()) else { return };
    thread::spawn(move || {
        // What a client says arrives, or it does not matter.
        let _ = carry(&from, &to, usize::MAX);
        let _ = to.shutdown(Shutdown::Write);
    });
    let bytes = match fate {
        Fate::Good | Fate::Refused => usize::MAX,
        Fate::Reset(bytes) | Fate::HalfOpen(bytes) | Fate::Silent(bytes, _) => bytes,
    };
    let ended = carry(&server, &client, bytes);
    match (fate, ended) {
        (Fate::Reset(_), Ok(false)) => {
            reset(&client);
            reset(&server);
        }
        (Fate::HalfOpen(_), Ok(false)) => {
            reset(&server);
            // Nobody is told, until the client goes.
            while !good.load(Ordering::SeqCst) && !is_gone(&client) {
                thread::sleep(Duration::from_millis(20));
            }
        }
        (Fate::Silent(_, silence), Ok(false)) => {
            thread::sleep(silence);
            let _ = carry(&server, &client, usize::MAX);
        }
        _ => {}
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

fn is_gone(stream: &TcpStream) -> bool {
    let _ = stream.set_nonblocking(true);
    let read = stream.peek(&mut [0]);
    match read {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

/// Carries so many bytes; whether the end came before.
fn carry(mut from: &TcpStream, mut to: &TcpStream, bytes: usize) -> io::Result<bool> {
    let mut left = bytes;
    let mut buffer = [0; 4096];
    while left > 0 {
        let room = left.min(buffer.len());
        let count = from.read(&mut buffer[..room])?;
        if count == 0 {
            return Ok(true);
        }
        to.write_all(&buffer[..count])?;
        left -= count;
    }
    Ok(false)
}
