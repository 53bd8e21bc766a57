//! The daemon of one repository: listeners, what they hear, what is done about it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bstr::{BString, ByteSlice as _};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::action::{self, Done};
use crate::folder::FolderWatch;
use crate::git::Repository;
use crate::listener::{Heard, Listener, until};
use crate::needs::{Need, Needs};
use crate::network::{Network, Sleep};
use crate::note::{Note, Order};
use crate::settings::{self, Action, Remote, Settings};
use crate::transfer::{ANNEX, Outcome, Transfer, Transfers};
use client::Backoff;

/// How often it is looked whether the repository is still there, and its configuration the same.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long is waited after a change of branches, for others that come with it.
const SETTLE_TIME: Duration = Duration::from_millis(50);
/// How long is waited after a change of the network, for others that come with it.
const NETWORK_TIME: Duration = Duration::from_millis(500);
/// How often it is looked whether a work tree can follow by now.
const LATER_TIME: Duration = Duration::from_secs(30);
/// What is said where a remote is named.
const NO_REMOTE: &str = "there is no such remote, or it is off";
/// Notes that wait for listeners to be heard.
const HEARD_MAX: usize = 256;

/// How a daemon behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// What is done about remotes of which the configuration says nothing.
    pub usual: Action,
    /// Whether what is configured is done; else it is only told, and asked for.
    pub acts: bool,
}

/// Runs the daemon of a repository until it is told to stop.
///
/// # Errors
/// In words, when it cannot begin, or the repository is gone.
pub async fn serve(
    repository: Repository,
    mode: Mode,
    notes: mpsc::Sender<Note>,
    orders: mpsc::Receiver<Order>,
) -> Result<(), String> {
    let settings = settings::read(&repository, mode.usual).await?;
    let (heard, hears) = mpsc::channel(HEARD_MAX);
    let daemon = Daemon {
        repository: Arc::new(repository),
        mode,
        notes,
        paused: watch::channel(false).0,
        needs: Arc::new(Needs::default()),
        heard,
        remotes: BTreeMap::new(),
        told: BTreeMap::new(),
        transfers: Transfers::default(),
        later: BTreeMap::new(),
    };
    daemon.run(settings, hears, orders).await
}

/// A remote that is listened to.
struct Listened {
    remote: Arc<Remote>,
    /// Called when there is a reason to look now, one for each node.
    retries: Vec<Arc<Notify>>,
    /// Called when the network is another, one for each node.
    networks: Vec<Arc<Notify>>,
    /// Ended when this is dropped.
    _listeners: JoinSet<()>,
}

struct Daemon {
    repository: Arc<Repository>,
    mode: Mode,
    notes: mpsc::Sender<Note>,
    paused: watch::Sender<bool>,
    needs: Arc<Needs>,
    heard: mpsc::Sender<Heard>,
    remotes: BTreeMap<BString, Listened>,
    /// What was told last of each ref, of remotes with more than one node.
    told: BTreeMap<BString, BTreeMap<BString, Option<BString>>>,
    /// Contents that come and go.
    transfers: Transfers,
    /// Why something waits, which is not told twice.
    later: BTreeMap<BString, String>,
}

impl Daemon {
    async fn run(
        mut self,
        settings: Settings,
        mut hears: mpsc::Receiver<Heard>,
        mut orders: mpsc::Receiver<Order>,
    ) -> Result<(), String> {
        let config = self.repository.common_dir.join("config");
        let mut seen = modified(&config);
        self.take(settings).await;
        let own = FolderWatch::begin(&self.repository.git_dir);
        if own.is_none() && self.remotes.values().any(|one| one.remote.action.pushes()) {
            let words = "the repository's own refs cannot be watched; nothing is pushed by itself";
            self.error(&"".into(), words.to_owned()).await;
        }
        self.look_at_own().await;
        let network = Network::begin();
        let mut sleep = Sleep::new();
        let needs = self.needs.clone();
        let mut paused = self.paused.subscribe();
        loop {
            // What is done is done to its end, or until a pause.
            tokio::select! {
                Some(heard) = hears.recv() => self.hear(heard).await,
                order = orders.recv() => match order {
                    Some(order) => if !self.obey(order).await { return Ok(()) },
                    None => return Ok(()),
                },
                () = moved(own.as_ref()) => {
                    tokio::time::sleep(SETTLE_TIME).await;
                    self.look_at_own().await;
                }
                (remote, need) = next(&needs, &mut paused) => {
                    if !self.act(&remote, need, &mut hears, &mut orders).await {
                        return Ok(());
                    }
                }
                () = changed(network.as_ref()) => {
                    tokio::time::sleep(NETWORK_TIME).await;
                    let networks = self.remotes.values().flat_map(|one| &one.networks);
                    networks.for_each(|network| network.notify_one());
                    self.needs.hurry();
                }
                () = tokio::time::sleep(LOOK_EVERY) => {
                    if sleep.has_slept() {
                        self.wake().await;
                    }
                    let now = modified(&config);
                    if now.is_none() && !self.repository.common_dir.join("HEAD").exists() {
                        return Err("the repository is gone".to_owned());
                    }
                    if now != seen {
                        seen = now;
                        self.reload().await;
                    }
                }
            }
        }
    }

    async fn note(&self, note: Note) {
        // Whoever listened may have gone; then this ends soon.
        let _ = self.notes.send(note).await;
    }

    async fn error(&self, remote: &BString, words: String) {
        self.note(Note::Error { remote: remote.clone(), words }).await;
    }

    async fn status(&self, remote: &BString, words: String) {
        self.note(Note::Status { remote: remote.clone(), words }).await;
    }

    async fn reload(&mut self) {
        match settings::read(&self.repository, self.mode.usual).await {
            Ok(settings) => self.take(settings).await,
            Err(words) => self.error(&"".into(), words).await,
        }
    }

    /// Listens to the remotes of a configuration, and to no others. What is as it was goes on.
    async fn take(&mut self, settings: Settings) {
        for (remote, words) in settings.complaints {
            self.error(&remote, words).await;
        }
        let wanted: BTreeMap<BString, Remote> = settings
            .remotes
            .into_iter()
            .filter(|(_, remote)| remote.action != Action::Off && !remote.nodes.is_empty())
            .collect();
        let gone: Vec<BString> = self
            .remotes
            .iter()
            .filter(|(name, one)| {
                !wanted.get(*name).is_some_and(|remote| same(remote, &one.remote))
            })
            .map(|(name, _)| name.clone())
            .collect();
        let mut unsettled = Vec::new();
        for name in gone {
            self.remotes.remove(&name);
            self.told.remove(&name);
            unsettled.extend(self.transfers.end(&name));
            if !wanted.contains_key(&name) {
                self.status(&name, "not listened to any more".to_owned()).await;
            }
        }
        for (name, remote) in wanted {
            if !self.remotes.contains_key(&name) {
                let listened = self.listen(remote);
                self.remotes.insert(name, listened);
            }
        }
        // Of remotes that go on elsewhere, they do, too.
        for transfer in unsettled {
            self.transfer(transfer).await;
        }
        self.look_at_own().await;
    }

    fn listen(&self, remote: Remote) -> Listened {
        let remote = Arc::new(remote);
        let mut listeners = JoinSet::new();
        let (mut retries, mut networks) = (Vec::new(), Vec::new());
        for (number, node) in remote.nodes.iter().enumerate() {
            let retry = Arc::new(Notify::new());
            let network = Arc::new(Notify::new());
            retries.push(retry.clone());
            networks.push(network.clone());
            let listener = Listener {
                remote: remote.clone(),
                node: node.clone(),
                repository: self.repository.clone(),
                heard: self.heard.clone(),
                retry,
                network,
                cursor: None,
                known: None,
                backoff: Backoff::new(remote.times.retry_max, seed(number)),
                connected: None,
                failed: None,
            };
            listeners.spawn(listener.run(self.paused.subscribe()));
        }
        Listened { remote, retries, networks, _listeners: listeners }
    }

    async fn hear(&mut self, heard: Heard) {
        let (name, mut refs) = match heard {
            Heard::Note(note) => {
                if self.remotes.contains_key(note.remote()) {
                    self.note(note).await;
                }
                return;
            }
            Heard::Changed { remote, refs } => (remote, refs),
        };
        let Some(Listened { remote, .. }) = self.remotes.get(&name) else { return };
        let remote = remote.clone();
        if remote.nodes.len() > 1 {
            let told = self.told.entry(name.clone()).or_default();
            refs.retain(|(name, id)| told.insert(name.clone(), id.clone()).as_ref() != Some(id));
        }
        if refs.is_empty() {
            return;
        }
        let names = refs.iter().map(|(name, _)| name.clone()).collect();
        self.note(Note::Changed { remote: name.clone(), refs: names }).await;
        if self.mode.acts && remote.action.fetches() && self.lacks(&remote, &refs).await {
            let pull = remote.action.pulls();
            self.needs.add(&name, Need { fetch: true, pull, ..Need::default() });
        }
    }

    /// Whether something of it is not here: it may be what was pushed from here, or has been fetched.
    async fn lacks(&self, remote: &Remote, refs: &[(BString, Option<BString>)]) -> bool {
        let kept =
            self.repository.git.output(&["for-each-ref", "--format=%(refname) %(objectname)"]);
        let kept = kept.await.unwrap_or_default();
        let kept: BTreeMap<&[u8], &[u8]> =
            kept.lines().filter_map(|line| line.rsplit_once_str(" ")).collect();
        refs.iter().any(|(name, id)| match (remote.refspecs.kept_as(name), id) {
            (Some(here), Some(id)) => kept.get(&here[..]).is_none_or(|kept| *kept != id.as_slice()),
            // What is gone is not fetched; what is not kept may still be wanted.
            (Some(_), None) | (None, None) => false,
            (None, Some(_)) => remote.refspecs.wants(name),
        })
    }

    /// Whether it goes on.
    async fn obey(&mut self, order: Order) -> bool {
        match order {
            Order::Stop => return false,
            Order::Pause => {
                if !self.paused.send_replace(true) {
                    self.status(&"".into(), "paused".to_owned()).await;
                }
            }
            Order::Resume => {
                if self.paused.send_replace(false) {
                    self.status(&"".into(), "resumed".to_owned()).await;
                }
                self.retry();
            }
            Order::Retry => self.retry(),
            Order::Reload => self.reload().await,
            Order::Extend(names) => {
                let knows = self.repository.git.line(&["config", "annex.uuid"]).await.is_some();
                let wanted = names.iter().any(|name| *name == ANNEX) && knows;
                let names = if wanted { vec![ANNEX] } else { Vec::new() };
                self.note(Note::Extensions { names }).await;
            }
            Order::Transfer(transfer) => self.transfer(transfer).await,
            Order::Push(name) => match self.remotes.contains_key(&name) {
                true => {
                    let need = Need { push: true, was_asked: true, ..Need::default() };
                    self.needs.add(&name, need);
                }
                false => self.error(&name, NO_REMOTE.to_owned()).await,
            },
        }
        true
    }

    async fn transfer(&mut self, transfer: Transfer) {
        let Some(one) = self.remotes.get(&transfer.remote) else {
            self.note(transfer.ended(Outcome::Failed(NO_REMOTE.to_owned()))).await;
            return;
        };
        let around = (&self.repository, &self.notes, self.paused.subscribe());
        if let Err(note) = self.transfers.add(transfer, &one.remote, around) {
            self.note(note).await;
        }
    }

    fn retry(&self) {
        self.remotes.values().flat_map(|one| &one.retries).for_each(|retry| retry.notify_one());
        self.needs.hurry();
    }

    /// Whoever was connected before the machine slept has forgotten it.
    async fn wake(&mut self) {
        if self.paused.send_replace(true) {
            return;
        }
        self.status(&"".into(), "the machine has slept: connecting anew".to_owned()).await;
        tokio::time::sleep(SETTLE_TIME).await;
        self.paused.send_replace(false);
        self.retry();
    }

    /// Branches may have moved here.
    async fn look_at_own(&mut self) {
        if !self.mode.acts {
            return;
        }
        for (name, one) in &self.remotes {
            if one.remote.action.pushes() {
                self.needs.add(name, Need { push: true, ..Need::default() });
            }
        }
    }

    /// Does something, and hears and obeys meanwhile; whether it goes on.
    async fn act(
        &mut self,
        name: &BString,
        need: Need,
        hears: &mut mpsc::Receiver<Heard>,
        orders: &mut mpsc::Receiver<Order>,
    ) -> bool {
        let Some(one) = self.remotes.get(name) else { return true };
        let (remote, repository) = (one.remote.clone(), self.repository.clone());
        let mut paused = self.paused.subscribe();
        let steps = steps(repository, remote.clone(), need, self.notes.clone());
        tokio::pin!(steps);
        let done = loop {
            tokio::select! {
                done = &mut steps => break done,
                Some(heard) = hears.recv() => self.hear(heard).await,
                order = orders.recv() => match order {
                    Some(order) => if !self.obey(order).await { return false },
                    None => return false,
                },
                () = until(&mut paused, true) => {
                    // As soon as it goes on, from the beginning.
                    self.needs.add(name, need);
                    return true;
                }
            }
        };
        self.judge(&remote, need, done).await;
        true
    }

    async fn judge(&mut self, remote: &Remote, need: Need, done: Vec<(Need, Done)>) {
        let name = &remote.name;
        let mut later = None;
        for (step, done) in done {
            match done {
                Done::Well(words) => {
                    self.needs.went_well(name);
                    if let Some(words) = words {
                        self.status(name, words).await;
                    }
                }
                Done::Not(words) => later = Some(words),
                Done::Later(words) => {
                    self.needs.again_in(name, step, LATER_TIME);
                    later = Some(words);
                }
                Done::Failed(words) => {
                    self.needs.again(name, need, remote.times.retry_max);
                    self.error(name, words).await;
                }
            }
        }
        match later {
            Some(words) if self.later.get(name) != Some(&words) => {
                self.later.insert(name.clone(), words.clone());
                self.status(name, words).await;
            }
            Some(_) => {}
            None => drop(self.later.remove(name)),
        }
    }
}

/// What a need consists of, one after the other.
async fn steps(
    repository: Arc<Repository>,
    remote: Arc<Remote>,
    need: Need,
    notes: mpsc::Sender<Note>,
) -> Vec<(Need, Done)> {
    let name = remote.name.as_ref();
    let mut done = Vec::new();
    if need.fetch {
        let _ = notes.send(Note::Syncing { remote: remote.name.clone() }).await;
        let fetched = action::fetch(&repository, &remote).await;
        let well = matches!(fetched, Done::Well(_));
        let _ = notes.send(Note::Synced { remote: remote.name.clone(), well }).await;
        done.push((need, fetched));
        if !well {
            return done;
        }
    }
    if need.pull {
        let step = Need { pull: true, ..Need::default() };
        done.push((step, action::pull(&repository, name).await));
    }
    if need.push {
        let step = Need { push: true, was_asked: need.was_asked, ..Need::default() };
        done.push((step, action::push(&repository, &remote, need.was_asked).await));
    }
    done
}

async fn next(needs: &Needs, paused: &mut watch::Receiver<bool>) -> (BString, Need) {
    if paused.wait_for(|paused| !*paused).await.is_err() {
        std::future::pending::<()>().await;
    }
    needs.next().await
}

async fn moved(folder: Option<&FolderWatch>) {
    match folder {
        Some(folder) => folder.moved().await,
        None => std::future::pending().await,
    }
}

async fn changed(network: Option<&Network>) {
    match network {
        Some(network) => network.changed().await,
        None => std::future::pending().await,
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

/// Whether nothing is to be done because of a difference.
fn same(one: &Remote, other: &Remote) -> bool {
    let shown = |remote: &Remote| {
        let mut all = format!("{remote:?}");
        for node in &remote.nodes {
            all.push_str(&format!("{:?}{:?}{:?}", node.text, node.options.ssh, node.options.http));
        }
        all
    };
    shown(one) == shown(other)
}

/// A number that differs between processes and nodes.
fn seed(number: usize) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let process = u64::from(std::process::id());
    (now.as_nanos() as u64) ^ process.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (number as u64) << 32
}
