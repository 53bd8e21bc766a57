//! Listening to one node of a remote: by whichever way it tells, or by asking from time to time.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bstr::{BString, ByteSlice as _};
use client::{Connection, Error, RemoteRef, RemoteUrl, Shell, WatchEvent};
use object::ObjectId;
use tokio::sync::{Notify, mpsc, watch};
use wire::v2::WatchRequest;
use wire::{LsRefsRequest, Service};

use crate::folder::FolderWatch;
use crate::git::Repository;
use crate::known::Known;
use crate::note::Note;
use crate::settings::{Node, Remote};
use client::Backoff;

/// A connection that lasted so long was a good one.
const GOOD_TIME: Duration = Duration::from_secs(10);
/// How long is waited after a change of a folder, for others that come with it.
const SETTLE_TIME: Duration = Duration::from_millis(5);

/// Where Gerrit listens for ssh, wherever it is.
const GERRIT_PORT: u16 = 29_418;

/// Whether an event of Gerrit's says that a ref of a project is another.
fn moved_in(line: &[u8], project: &str) -> bool {
    let Ok(event) = serde_json::from_slice::<serde_json::Value>(line) else { return false };
    event["type"] == "ref-updated" && event["refUpdate"]["project"] == project
}

/// What a listener tells the daemon.
#[derive(Debug)]
pub(crate) enum Heard {
    /// To be told as it is.
    Note(Note),
    /// Refs of a remote are others, and what they are now.
    Changed {
        /// The remote.
        remote: BString,
        /// Names, and ids of those that are there.
        refs: Vec<(BString, Option<BString>)>,
    },
}

/// Listens to one node.
pub(crate) struct Listener {
    pub remote: Arc<Remote>,
    pub node: Node,
    pub repository: Arc<Repository>,
    pub heard: mpsc::Sender<Heard>,
    /// Called when there is a reason to look now.
    pub retry: Arc<Notify>,
    /// Called when the network is another, which may help those that fail.
    pub network: Arc<Notify>,
    /// How the server said all refs are, when it did last.
    pub cursor: Option<BString>,
    pub known: Option<Known>,
    pub backoff: Backoff,
    /// By which way it is listened to, if it is.
    pub connected: Option<&'static str>,
    /// What went wrong last, which is not told twice.
    pub failed: Option<String>,
}

/// Ready when the daemon pauses, or does not.
pub(crate) async fn until(paused: &mut watch::Receiver<bool>, state: bool) {
    if paused.wait_for(|paused| *paused == state).await.is_err() {
        // Nobody can say so any more: the daemon ends.
        std::future::pending::<()>().await;
    }
}

impl Listener {
    /// Listens until it is dropped.
    pub async fn run(mut self, mut paused: watch::Receiver<bool>) {
        loop {
            until(&mut paused, false).await;
            let begun = Instant::now();
            let ended = tokio::select! {
                ended = self.listen() => Some(ended),
                () = until(&mut paused, true) => None,
            };
            self.disconnected().await;
            let Some(ended) = ended else { continue };
            if begun.elapsed() >= GOOD_TIME {
                self.backoff.reset();
            }
            let wait = match ended {
                Ok(()) => self.backoff.wait(),
                Err(error) => {
                    let wait = self.backoff.wait();
                    let may_pass = error.may_pass();
                    self.failed(error.to_string()).await;
                    if may_pass { wait } else { self.remote.times.retry_max }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.retry.notified() => {}
                () = self.network.notified() => {}
                () = until(&mut paused, true) => {}
            }
        }
    }

    async fn tell(&self, heard: Heard) {
        // If nobody listens any more, this ends soon.
        let _ = self.heard.send(heard).await;
    }

    async fn connected(&mut self, way: &'static str) {
        self.failed = None;
        if self.connected.replace(way) != Some(way) {
            let (remote, url) = (self.remote.name.clone(), self.node.shown());
            self.tell(Heard::Note(Note::Connected { remote, url, way })).await;
        }
    }

    async fn disconnected(&mut self) {
        if self.connected.take().is_some() {
            let (remote, url) = (self.remote.name.clone(), self.node.shown());
            self.tell(Heard::Note(Note::Disconnected { remote, url })).await;
        }
    }

    async fn failed(&mut self, words: String) {
        if self.failed.as_ref() != Some(&words) {
            self.failed = Some(words.clone());
            self.tell(Heard::Note(Note::Error { remote: self.remote.name.clone(), words })).await;
        }
    }

    /// Listens until that fails or ends.
    async fn listen(&mut self) -> Result<(), Error> {
        if self.node.needs_git.is_some() {
            return self.poll_by_git().await;
        }
        match self.node.url.clone() {
            None => self.poll_by_git().await,
            Some(RemoteUrl::Local(path)) => match FolderWatch::begin(&path) {
                Some(folder) => self.follow_folder(&folder).await,
                None => self.poll(None).await,
            },
            Some(url) => {
                let connection = self.open().await?;
                if connection.can_watch() {
                    return self.watch(connection).await;
                }
                let told = match &url {
                    RemoteUrl::Ssh { port: Some(GERRIT_PORT), path, .. } => {
                        connection.close().await;
                        self.gerrit(&url, path).await?
                    }
                    RemoteUrl::Ssh { .. } if !self.remote.annex_ignore => {
                        connection.close().await;
                        self.annex(&url).await?
                    }
                    _ => return self.poll(Some(connection)).await,
                };
                if told { Ok(()) } else { self.poll(None).await }
            }
        }
    }

    async fn open(&self) -> Result<Connection, Error> {
        let Some(url) = &self.node.url else {
            return Err(Error::Unsupported("git alone understands the address".to_owned()));
        };
        Connection::open(url, Service::UploadPack, &self.node.options).await
    }

    /// A server that tells what becomes of refs (docs/watch.md).
    async fn watch(&mut self, connection: Connection) -> Result<(), Error> {
        let request = WatchRequest {
            since: self.cursor.clone().filter(|_| self.known.is_some()),
            prefixes: self.remote.prefixes.clone(),
        };
        let knows = request.since.is_some();
        let mut watch = connection.watch(&request).await?;
        loop {
            let cursor = match watch.next().await? {
                WatchEvent::At(cursor) => {
                    if !knows {
                        self.list(None).await?;
                    }
                    self.connected("packhorse-watch").await;
                    cursor
                }
                WatchEvent::Relist(cursor) => {
                    self.list(None).await?;
                    self.connected("packhorse-watch").await;
                    cursor
                }
                WatchEvent::Moved(cursor, moves) => {
                    self.connected("packhorse-watch").await;
                    let known = self.known.get_or_insert_default();
                    let names = known.follow(moves);
                    self.changed(names).await;
                    cursor
                }
                WatchEvent::Passed(cursor) => {
                    self.connected("packhorse-watch").await;
                    cursor
                }
                WatchEvent::End => return Ok(()),
            };
            self.cursor = Some(cursor);
        }
    }

    /// A folder of this machine.
    async fn follow_folder(&mut self, folder: &FolderWatch) -> Result<(), Error> {
        loop {
            self.list(None).await?;
            self.connected("files").await;
            folder.moved().await;
            tokio::time::sleep(SETTLE_TIME).await;
        }
    }

    /// A host with git-annex, which says that something changed (git-annex-shell(1), `notifychanges`); false when there
    /// is none.
    async fn annex(&mut self, url: &RemoteUrl) -> Result<bool, Error> {
        let RemoteUrl::Ssh { path, .. } = url else { return Ok(false) };
        // With several, nobody knows which is here.
        let uuid = match self.remote.annex_uuids.as_slice() {
            [uuid] => Some(uuid),
            _ => None,
        };
        let uuid = uuid.filter(|uuid| uuid.bytes().all(|byte| byte.is_ascii_graphic()));
        let uuid = uuid.map_or_else(String::new, |uuid| format!(" --uuid {uuid}"));
        let quoted = client::shell_quoted(&client::annex_folder(path));
        let command = format!("git-annex-shell 'notifychanges' {quoted}{uuid}");
        let mut shell = Shell::open(url, &command, &self.node.options)?;
        match shell.line().await {
            Ok(Some(line)) if line == b"READY" => {}
            _ => return Ok(false),
        }
        self.list(None).await?;
        self.connected("git-annex-shell").await;
        while let Some(line) = shell.line().await? {
            if !line.starts_with(b"CHANGED") {
                let words = "git-annex-shell says what is not known here".to_owned();
                return Err(Error::Unsupported(words));
            }
            self.list(None).await?;
        }
        Ok(true)
    }

    /// Gerrit, which says what happens in all its projects (cmd-stream-events); false when it does not say so to
    /// everybody.
    async fn gerrit(&mut self, url: &RemoteUrl, path: &str) -> Result<bool, Error> {
        let mut shell =
            Shell::open(url, "gerrit stream-events -s ref-updated", &self.node.options)?;
        self.list(None).await?;
        let begun = Instant::now();
        let project = path.trim_matches('/').trim_end_matches(".git");
        self.connected("gerrit stream-events").await;
        loop {
            match shell.line().await {
                Ok(Some(line)) if moved_in(&line, project) => drop(self.list(None).await?),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) if begun.elapsed() < GOOD_TIME => return Ok(false),
                Ok(None) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    /// A server that has to be asked.
    async fn poll(&mut self, mut connection: Option<Connection>) -> Result<(), Error> {
        let mut interval = self.remote.times.poll_min;
        loop {
            let has_changed = self.list(connection.take()).await?;
            self.backoff.reset();
            self.connected("polling").await;
            interval = self.next_interval(interval, has_changed).await;
        }
    }

    /// What git alone reaches.
    async fn poll_by_git(&mut self) -> Result<(), Error> {
        let mut interval = self.remote.times.poll_min;
        loop {
            let refs = self.ls_remote().await?;
            let has_changed = self.take(refs).await;
            self.backoff.reset();
            self.connected("polling with git").await;
            interval = self.next_interval(interval, has_changed).await;
        }
    }

    /// Waits; where nothing happens, longer each time.
    async fn next_interval(&mut self, interval: Duration, has_changed: bool) -> Duration {
        let times = self.remote.times;
        let interval = if has_changed { times.poll_min } else { interval };
        let wait = self.backoff.around(interval);
        tokio::select! {
            () = tokio::time::sleep(wait) => (interval.mul_f64(1.5)).min(times.poll_max),
            () = self.retry.notified() => times.poll_min,
        }
    }

    async fn ls_remote(&self) -> Result<Vec<RemoteRef>, Error> {
        let failed = |words: String| Error::Program { program: "git ls-remote".into(), words };
        let text = self.node.text.to_os_str().map_err(|_| failed("no address".to_owned()))?;
        let arguments = ["ls-remote", "--refs", "--"].map(OsStr::new);
        let arguments = [&arguments[..], &[text]].concat();
        let ran = self.repository.git.run(&arguments).await?;
        if !ran.status.success() {
            return Err(failed(ran.words()));
        }
        let refs = ran.output.lines().filter_map(|line| {
            let (id, name) = line.split_once_str("\t")?;
            let id = Some(ObjectId::from_hex(id)?);
            Some(RemoteRef { name: name.into(), id, target: None, peeled: None })
        });
        let prefixes = &self.remote.prefixes;
        let is_asked_for = |one: &RemoteRef| {
            prefixes.is_empty() || prefixes.iter().any(|prefix| one.name.starts_with(prefix))
        };
        Ok(refs.filter(is_asked_for).collect())
    }

    /// Asks what the refs are, and tells what is another; whether anything is.
    async fn list(&mut self, connection: Option<Connection>) -> Result<bool, Error> {
        let mut connection = match connection {
            Some(connection) => connection,
            None => self.open().await?,
        };
        let prefixes = self.remote.prefixes.clone();
        let refs = connection.ls_refs(&LsRefsRequest { prefixes, ..Default::default() }).await?;
        connection.close().await;
        Ok(self.take(refs).await)
    }

    async fn take(&mut self, refs: Vec<RemoteRef>) -> bool {
        let refs: Vec<RemoteRef> = refs.into_iter().filter(|one| one.name != "HEAD").collect();
        let names = match &mut self.known {
            Some(known) => {
                let (moved, gone) = known.list(refs);
                [moved, gone].concat()
            }
            None => {
                // What is gone there may be kept here on purpose.
                let mut known = self.kept().await;
                let (moved, _) = known.list(refs);
                self.known = Some(known);
                moved
            }
        };
        let has_changed = !names.is_empty();
        self.changed(names).await;
        has_changed
    }

    /// What the repository has of the remote's refs.
    async fn kept(&self) -> Known {
        let listed =
            self.repository.git.output(&["for-each-ref", "--format=%(refname) %(objectname)"]);
        let listed = listed.await.unwrap_or_default();
        let refs = listed.lines().filter_map(|line| {
            let (name, id) = line.rsplit_once_str(" ")?;
            Some((self.remote.refspecs.kept(name)?, id.into()))
        });
        Known::new(refs)
    }

    async fn changed(&self, names: Vec<BString>) {
        if names.is_empty() {
            return;
        }
        let now = |name: BString| {
            let id = self.known.as_ref().and_then(|known| known.get(&name)).cloned();
            (name, id)
        };
        let refs = names.into_iter().map(now).collect();
        self.tell(Heard::Changed { remote: self.remote.name.clone(), refs }).await;
    }
}
