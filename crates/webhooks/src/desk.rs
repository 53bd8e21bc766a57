//! What is configured now: who is told of what.

use std::collections::BTreeMap;
use std::sync::Arc;

use access::Date;
use host::LineFile;

use crate::event::{Change, Event, EventKind};
use crate::log::LOG_FILE;
use crate::notebook::Notebook;
use crate::receiver::Receiver;
use crate::send::now_seconds;
use crate::spool::{Spool, SpoolError};
use crate::{Hears, Hook, Settings};

/// All receivers.
pub(crate) struct Desk {
    settings: Settings,
    spool: Arc<Spool>,
    log: Arc<LineFile>,
    notebook: Notebook,
    receivers: BTreeMap<String, Arc<Receiver>>,
}

/// What is to be told.
pub(crate) struct News<'a> {
    pub kind: EventKind,
    pub repository: &'a str,
    pub pusher: Option<&'a str>,
    pub road: Option<&'static str>,
    pub changes: &'a [Change],
    pub cursor: Option<String>,
}

impl Desk {
    /// A desk for these; receivers of the one before keep what waits for them.
    pub fn new(
        settings: Settings,
        hooks: Vec<Hook>,
        before: Option<&Desk>,
    ) -> Result<Self, SpoolError> {
        let failed = |error| SpoolError::Io(settings.folder.clone(), error);
        let before = before.filter(|before| before.spool.folder() == settings.folder);
        let (spool, log) = match before {
            Some(before) => (before.spool.clone(), before.log.clone()),
            None => {
                let spool = Arc::new(Spool::open(&settings.folder)?);
                let log = LineFile::open(&settings.folder.join(LOG_FILE)).map_err(failed)?;
                (spool, Arc::new(log))
            }
        };
        let notebook = Notebook::open(&settings.folder).map_err(failed)?;
        let mut receivers = BTreeMap::new();
        for hook in hooks {
            let name = hook.name.clone();
            let receiver = match before.and_then(|before| before.receivers.get(&name)) {
                Some(known) => {
                    known.now(hook, settings.clone());
                    known.clone()
                }
                None => {
                    let (spool, log) = (spool.clone(), log.clone());
                    Arc::new(Receiver::new(hook, settings.clone(), spool, log).map_err(failed)?)
                }
            };
            receivers.insert(name, receiver);
        }
        Ok(Desk { settings, spool, log, notebook, receivers })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn notebook(&self) -> &Notebook {
        &self.notebook
    }

    pub fn receivers(&self) -> &BTreeMap<String, Arc<Receiver>> {
        &self.receivers
    }

    /// Whether anybody hears of changes behind the server's back.
    pub fn watches(&self) -> bool {
        self.receivers.values().any(|receiver| receiver.hook().hears == Hears::Changes)
    }

    /// The names and patterns of repositories that are watched.
    pub fn watched(&self) -> Vec<access::Pattern> {
        let hooks = self.receivers.values().map(|receiver| receiver.hook());
        let hooks = hooks.filter(|hook| hook.hears == Hears::Changes);
        hooks.flat_map(|hook| hook.repositories.clone()).collect()
    }

    /// Notes news for all who hear of such. When this comes back it is durable.
    ///
    /// # Errors
    /// Words about those who will not be told.
    pub fn tell(&self, hears: Hears, news: &News<'_>) -> Result<(), String> {
        let mut missed = Vec::new();
        for receiver in self.receivers.values() {
            let hook = receiver.hook();
            if hook.hears != hears || !hook.wants_repository(news.repository) {
                continue;
            }
            let wanted = |change: &&Change| hook.wants_ref(change.name.as_bytes());
            let changes: Vec<Change> = news.changes.iter().filter(wanted).cloned().collect();
            if changes.is_empty() && news.kind == EventKind::Refs {
                continue;
            }
            let mut parts: Vec<&[Change]> =
                changes.chunks(self.settings.changes_max.max(1)).collect();
            if parts.is_empty() {
                parts.push(&[]);
            }
            for part in parts {
                if let Err(words) = self.note(receiver, news, part) {
                    missed.push(format!("the webhook '{}' is not told: {words}", hook.name));
                    break;
                }
            }
        }
        match missed.is_empty() {
            true => Ok(()),
            false => Err(missed.join("; ")),
        }
    }

    fn note(&self, receiver: &Receiver, news: &News<'_>, changes: &[Change]) -> Result<(), String> {
        let id = self.spool.id().map_err(|error| error.to_string())?;
        let event = Event {
            event: news.kind,
            id: id.clone(),
            time: Date(now_seconds()),
            repository: Some(news.repository.to_owned()),
            pusher: news.pusher.map(str::to_owned),
            road: news.road,
            changes: changes.to_vec(),
            cursor: news.cursor.clone(),
        };
        let body = serde_json::to_string(&event).map_err(|error| error.to_string())?;
        receiver.put(news.repository, &id, body)
    }
}
