//! Names that a server keeps for itself for a while: an object beside them says so, and is written
//! anew as long as the server lives.
//!
//! Nobody compares clocks: who sees the same state of that object for as long as a lease takes it
//! over.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use storage::{Error, Result};

use crate::client::Client;
use crate::requests::Tag;

/// A lease is written anew so many times before it would run out.
const RENEWED_PER_LEASE: u32 = 3;

/// Leases of one server.
pub(crate) struct Leases {
    state: Arc<Mutex<State>>,
    /// Ends the thread when it is dropped.
    _stop: Sender<()>,
}

#[derive(Default)]
struct State {
    /// What is held, by key of the object that says so.
    held: HashMap<String, Held>,
    /// Others' leases: their last state, and when it was seen first.
    seen: HashMap<String, (Tag, Instant)>,
    renewals: u64,
}

struct Held {
    tag: Tag,
    renewed: Instant,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Leases {
    pub fn start(client: &Arc<Client>) -> Self {
        let (stop, stopped) = channel();
        let state: Arc<Mutex<State>> = Arc::default();
        let (client, theirs) = (Arc::downgrade(client), state.clone());
        let work = move || renew_all(&client, &theirs, &stopped);
        if let Err(error) = std::thread::Builder::new().name("object-lease".to_owned()).spawn(work)
        {
            tracing::warn!("leases are not renewed: {error}");
        }
        Leases { state, _stop: stop }
    }

    /// Takes a lease; [`Error::Locked`] when somebody else has it.
    pub fn take(&self, client: &Client, key: &str) -> Result<()> {
        let locked = || Error::Locked { what: key.to_owned(), lock: "another server".to_owned() };
        if lock(&self.state).held.contains_key(key) {
            return Err(locked());
        }
        let text = self.text();
        let tag = match client.put_new(key, text.clone())? {
            Some(tag) => tag,
            None => {
                let Some(present) = client.get(key)? else { return Err(locked()) };
                if !self.has_run_out(key, &present.tag, client.options.lease) {
                    return Err(locked());
                }
                client.put_over(key, text, &present.tag)?.ok_or_else(locked)?
            }
        };
        let mut state = lock(&self.state);
        state.seen.remove(key);
        state.held.insert(key.to_owned(), Held { tag, renewed: Instant::now() });
        Ok(())
    }

    /// Gives a lease back.
    pub fn release(&self, client: &Client, key: &str) {
        let held = lock(&self.state).held.remove(key);
        // What may be somebody else's by now is left to run out.
        let is_ours = held.is_some_and(|held| held.renewed.elapsed() < client.options.lease / 2);
        if is_ours && let Err(error) = client.delete(key) {
            tracing::warn!(%error, "a lease is left to run out");
        }
    }

    /// Refuses to go on when a lease may be somebody else's.
    pub fn check(&self, client: &Client, key: &str) -> Result<()> {
        let lease = client.options.lease;
        let lost = || Error::Locked {
            what: key.to_owned(),
            lock: "a server that took over when this one was silent".to_owned(),
        };
        match lock(&self.state).held.get(key) {
            Some(held) if held.renewed.elapsed() < lease / 2 => Ok(()),
            Some(_) => Err(lost()),
            None => Err(lost()),
        }
    }

    /// Whether this state of a lease has been seen for as long as a lease.
    fn has_run_out(&self, key: &str, tag: &Tag, lease: Duration) -> bool {
        let mut state = lock(&self.state);
        match state.seen.get(key) {
            Some((seen, since)) if seen == tag => since.elapsed() > lease,
            _ => {
                state.seen.insert(key.to_owned(), (tag.clone(), Instant::now()));
                false
            }
        }
    }

    /// Never the same twice.
    fn text(&self) -> Bytes {
        lock(&self.state).text()
    }
}

impl State {
    fn text(&mut self) -> Bytes {
        self.renewals += 1;
        format!("{:016x} {}\n", crate::store::random(), self.renewals).into()
    }
}

/// Until stopped.
fn renew_all(client: &Weak<Client>, state: &Mutex<State>, stopped: &Receiver<()>) {
    loop {
        let Some(pause) = client.upgrade().map(|client| client.options.lease / RENEWED_PER_LEASE)
        else {
            return;
        };
        if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let Some(client) = client.upgrade() else { return };
        let held: Vec<(String, Tag)> =
            lock(state).held.iter().map(|(key, held)| (key.clone(), held.tag.clone())).collect();
        for (key, tag) in held {
            let text = lock(state).text();
            let begun = Instant::now();
            let renewed = client.put_over(&key, text, &tag);
            let mut state = lock(state);
            match renewed {
                Ok(Some(tag)) => {
                    if let Some(held) = state.held.get_mut(&key) {
                        *held = Held { tag, renewed: begun };
                    }
                }
                Ok(None) => {
                    state.held.remove(&key);
                    tracing::warn!("{key}: a lease was taken over by another server");
                }
                Err(error) => tracing::warn!(%error, "a lease could not be renewed"),
            }
        }
    }
}
