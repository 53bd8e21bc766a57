//! All webhooks of a server.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use host::{Host, Listener, Pushed};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::desk::{Desk, News};
use crate::event::{Change, EventKind};
use crate::receiver::Receiver;
use crate::spool::SpoolError;
use crate::{Hears, Hook, Settings, changes};

/// Who is told of what, and what waits to be told. Starts with nobody.
pub struct Webhooks {
    desk: RwLock<Option<Arc<Desk>>>,
    /// Changes with the desk.
    changed: watch::Sender<u64>,
}

/// A task that ends with whoever holds it.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Default for Webhooks {
    fn default() -> Self {
        Webhooks { desk: RwLock::default(), changed: watch::Sender::new(0) }
    }
}

impl Webhooks {
    /// From now on, these are told. What waits for one that goes on waits on.
    ///
    /// # Errors
    /// When the folder cannot be used; then everything stays as it was.
    pub fn configure(&self, wanted: Option<(Settings, Vec<Hook>)>) -> Result<(), SpoolError> {
        let before = self.desk();
        let desk = match wanted {
            None => None,
            Some((settings, hooks)) => {
                Some(Arc::new(Desk::new(settings, hooks, before.as_deref())?))
            }
        };
        *self.desk.write().unwrap_or_else(PoisonError::into_inner) = desk;
        self.changed.send_modify(|number| *number += 1);
        Ok(())
    }

    fn desk(&self) -> Option<Arc<Desk>> {
        self.desk.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Delivers, as long as it is polled. What is on its way when it is dropped is sent again by whoever comes next.
    pub async fn run(&self, host: &Arc<Host>) {
        let mut changed = self.changed.subscribe();
        let mut tasks: BTreeMap<String, (Arc<Receiver>, Task)> = BTreeMap::new();
        let mut _watching = None;
        loop {
            changed.borrow_and_update();
            let desk = self.desk();
            let receivers = desk.as_ref().map(|desk| desk.receivers().clone()).unwrap_or_default();
            tasks.retain(|name, (running, _)| {
                receivers.get(name).is_some_and(|wanted| Arc::ptr_eq(wanted, running))
            });
            for (name, receiver) in receivers {
                tasks.entry(name).or_insert_with(|| {
                    let task = Task(tokio::spawn(receiver.clone().run()));
                    (receiver, task)
                });
            }
            // The old one ends first.
            drop(_watching.take());
            _watching = desk
                .filter(|desk| desk.watches())
                .map(|desk| Task(tokio::spawn(changes::run(desk, host.clone()))));
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Listener for Webhooks {
    fn pushed(&self, push: &Pushed<'_>) -> Result<(), String> {
        let Some(desk) = self.desk() else { return Ok(()) };
        let identity = push.caller.identity.as_ref();
        let shown = |id: &host::ObjectId| (!id.is_null()).then(|| id.to_string());
        let changes: Vec<Change> = push
            .updates
            .iter()
            .map(|update| Change {
                name: update.name.to_string(),
                old: shown(&update.old),
                new: shown(&update.new),
            })
            .collect();
        desk.tell(
            Hears::Pushes,
            &News {
                kind: EventKind::Refs,
                repository: push.repository,
                pusher: identity.map(|identity| identity.user.as_str()),
                road: Some(push.road),
                changes: &changes,
                cursor: None,
            },
        )
    }
}
