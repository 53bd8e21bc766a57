//! Who is connected, and who has to go when there are too many.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

/// How long somebody who has to go may take, before whoever came is turned away in his place.
const LEAVING: Duration = Duration::from_secs(1);

/// The connections of a server that turns away whoever comes when it is full (git-daemon(1),
/// `--max-connections`).
pub(crate) struct Crowd {
    max: usize,
    guests: Mutex<Guests>,
    left: Notify,
}

#[derive(Default)]
struct Guests {
    next: u64,
    /// In the order in which they came.
    here: Vec<Guest>,
}

struct Guest {
    number: u64,
    address: IpAddr,
    /// As long as he has not said what he wants.
    can_go: Option<oneshot::Sender<()>>,
}

/// Counts one connection until it is dropped.
pub(crate) struct Ticket {
    crowd: Arc<Crowd>,
    number: u64,
}

impl Crowd {
    pub fn new(max: usize) -> Self {
        Crowd { max, guests: Mutex::default(), left: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets somebody in, if need be in place of another from an address with several, who has not yet said
    /// what he wants. With the ticket comes what tells him to go.
    pub async fn enter(
        self: &Arc<Self>,
        address: IpAddr,
    ) -> Option<(Ticket, oneshot::Receiver<()>)> {
        if self.is_full() && self.send_one_away() {
            let room = async {
                while self.is_full() {
                    self.left.notified().await;
                }
            };
            // Whether it came shows below.
            let _ = tokio::time::timeout(LEAVING, room).await;
        }
        let mut guests = self.lock();
        if guests.here.len() >= self.max {
            return None;
        }
        let (go, told) = oneshot::channel();
        let number = guests.next;
        guests.next += 1;
        guests.here.push(Guest { number, address, can_go: Some(go) });
        Some((Ticket { crowd: self.clone(), number }, told))
    }

    fn is_full(&self) -> bool {
        self.lock().here.len() >= self.max
    }

    fn send_one_away(&self) -> bool {
        let mut guests = self.lock();
        let several = |address: IpAddr| {
            guests.here.iter().filter(|guest| guest.address == address).count() > 1
        };
        let newest =
            guests.here.iter().rposition(|guest| guest.can_go.is_some() && several(guest.address));
        let go = newest.and_then(|at| guests.here[at].can_go.take());
        go.is_some_and(|go| go.send(()).is_ok())
    }
}

impl Ticket {
    /// From now on nobody tells him to go.
    pub fn stays(&self) {
        let mut guests = self.crowd.lock();
        let found = guests.here.iter_mut().find(|guest| guest.number == self.number);
        if let Some(guest) = found {
            guest.can_go = None;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.crowd.lock().here.retain(|guest| guest.number != self.number);
        self.crowd.left.notify_one();
    }
}
