//! One receiver: what waits for it, and sending that.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use host::LineFile;
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_blocking};

use crate::log::{Attempt, Outcome};
use crate::queue::{Job, Lanes};
use crate::send::{Answer, attempt, send};
use crate::spool::{Kept, Spool, made_at};
use crate::{Hook, Settings};

/// One receiver.
pub(crate) struct Receiver {
    /// How it is reached now.
    how: RwLock<Arc<(Hook, Settings)>>,
    spool: Arc<Spool>,
    log: Arc<LineFile>,
    lanes: Mutex<Lanes>,
    /// There is something to send.
    more: Notify,
}

impl Receiver {
    /// With what waits for it in the folder.
    pub fn new(
        hook: Hook,
        settings: Settings,
        spool: Arc<Spool>,
        log: Arc<LineFile>,
    ) -> io::Result<Self> {
        spool.prepare(&hook.name)?;
        let seed = getrandom::u64().map_err(io::Error::other)?;
        let lanes = Lanes::new((settings.retry_first, settings.retry_max), seed);
        let how = RwLock::new(Arc::new((hook, settings)));
        let receiver = Receiver { how, spool, log, lanes: Mutex::new(lanes), more: Notify::new() };
        receiver.look()?;
        Ok(receiver)
    }

    /// From now on it is reached so.
    pub fn now(&self, hook: Hook, settings: Settings) {
        self.lanes().set_waits((settings.retry_first, settings.retry_max));
        let how = Arc::new((hook, settings));
        *self.how.write().unwrap_or_else(PoisonError::into_inner) = how;
        self.more.notify_one();
    }

    fn how(&self) -> Arc<(Hook, Settings)> {
        self.how.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn hook(&self) -> Hook {
        self.how().0.clone()
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a delivery. When this comes back it is durable.
    ///
    /// # Errors
    /// Words about why not; the log has them, too.
    pub fn put(&self, repository: &str, id: &str, body: String) -> Result<(), String> {
        let how = self.how();
        let (hook, settings) = &*how;
        let waiting = self.lanes().len();
        let words = if waiting >= settings.pending_max {
            format!("{waiting} deliveries wait for it already (webhooks.pending_max)")
        } else {
            let kept = Kept { repository: repository.to_owned(), body };
            match self.spool.put(&hook.name, id, &kept) {
                Ok(()) => {
                    self.lanes().add(repository, id, Instant::now());
                    self.more.notify_one();
                    return Ok(());
                }
                Err(error) => error.to_string(),
            }
        };
        tracing::error!(webhook = hook.name, repository, words, "a change is not told");
        let answer = Answer {
            outcome: Outcome::Dropped,
            status: None,
            took: Duration::ZERO,
            why: Some(words.clone()),
            answer: None,
            retry_after: None,
        };
        self.write(&attempt(hook, (id, Some(repository), 0), answer, None));
        Err(words)
    }

    /// Finds what others have put into the folder.
    fn look(&self) -> io::Result<()> {
        let name = self.hook().name;
        for id in self.spool.pending(&name)? {
            if self.lanes().contains(&id) {
                continue;
            }
            let Ok(Some(kept)) = self.spool.read(&name, &id).inspect_err(|error| {
                tracing::warn!(webhook = name, id, %error, "a delivery cannot be read");
            }) else {
                continue;
            };
            self.lanes().add(&kept.repository, &id, Instant::now());
        }
        Ok(())
    }

    /// Delivers, for ever.
    pub async fn run(self: Arc<Self>) {
        let mut running = JoinSet::new();
        let mut look = Instant::now() + self.how().1.look;
        loop {
            let (now, most) = (Instant::now(), self.how().1.at_once_max.max(1));
            while running.len() < most
                && let Some(job) = { self.lanes().take(now) }
            {
                running.spawn(self.clone().deliver(job));
            }
            if look <= now {
                let this = self.clone();
                let looked = spawn_blocking(move || this.look()).await;
                if let Ok(Err(error)) = looked {
                    tracing::warn!(webhook = self.hook().name, %error, "cannot look for deliveries");
                }
                look = Instant::now() + self.how().1.look;
                continue;
            }
            let due = self.lanes().next().filter(|_| running.len() < most);
            let next = due.map_or(look, |due| due.min(look));
            tokio::select! {
                Some(_) = running.join_next() => {}
                () = self.more.notified() => {}
                () = tokio::time::sleep_until(next.into()) => {}
            }
        }
    }

    async fn deliver(self: Arc<Self>, job: Job) {
        let how = self.how();
        let (hook, settings) = &*how;
        let read = {
            let (this, name, id) = (self.clone(), hook.name.clone(), job.id.clone());
            spawn_blocking(move || this.spool.read(&name, &id)).await
        };
        let answer = match read.unwrap_or_else(|error| Err(io::Error::other(error))) {
            // Somebody has taken it away.
            Ok(None) => return self.lanes().settle(&job, Instant::now()),
            Ok(Some(kept)) => send(hook, &job.id, kept.body, settings).await,
            Err(error) => Answer {
                outcome: Outcome::Failed,
                status: None,
                took: Duration::ZERO,
                why: Some(format!("cannot read it: {error}")),
                answer: None,
                retry_after: None,
            },
        };
        let this = self.clone();
        let ended = how.clone();
        let ended = spawn_blocking(move || this.end(&ended, &job, answer)).await;
        if let Err(error) = ended {
            tracing::error!(webhook = hook.name, %error, "a delivery was not ended");
        }
    }

    /// Does what follows from an attempt.
    fn end(&self, (hook, settings): &(Hook, Settings), job: &Job, mut answer: Answer) {
        let age = made_at(&job.id).and_then(|made| made.elapsed().ok()).unwrap_or_default();
        if answer.outcome == Outcome::Failed && age >= settings.give_up_after {
            answer.outcome = Outcome::GivenUp;
        }
        let now = Instant::now();
        let mut retry = None;
        let filed = match answer.outcome {
            Outcome::Delivered => self.spool.remove(&hook.name, &job.id),
            Outcome::GivenUp => self.spool.give_up(&hook.name, &job.id, settings.failed_max),
            _ => Ok(()),
        };
        match answer.outcome {
            Outcome::Failed => retry = Some(self.lanes().later(job, answer.retry_after, now)),
            _ => self.lanes().settle(job, now),
        }
        if let Err(error) = filed {
            tracing::error!(webhook = hook.name, id = job.id, %error, "a delivery stays in the queue");
        }
        let what = (job.id.as_str(), Some(job.repository.as_str()), job.attempt);
        self.write(&attempt(hook, what, answer, retry));
        self.more.notify_one();
    }

    fn write(&self, attempt: &Attempt) {
        if let Err(error) = self.log.write(attempt) {
            let file = self.log.path().display();
            tracing::error!(%file, %error, ?attempt, "cannot write the log of deliveries");
        }
    }
}
