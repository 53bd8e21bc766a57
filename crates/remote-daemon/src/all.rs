//! One process for all repositories that the user's configuration names (`remoteDaemon.repository`).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::background::{found, look_after, now, said};
use crate::git::{Git, Repository};
use crate::journal::journal;
use crate::note::Order;
use crate::place::Place;

/// How often it is looked whether the configuration is another, and who has ended.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a repository that cannot be looked after is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The repositories that are named, in order. Names begin with a slash or `~/`.
async fn named(git: &OsStr) -> Result<Vec<PathBuf>, String> {
    let git = Git { program: git.to_owned(), folder: "/".into() };
    let arguments =
        ["config", "--global", "-z", "--type=path", "--get-all", "remoteDaemon.repository"];
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    let ran = git.run(&arguments).await.map_err(|error| format!("cannot run git: {error}"))?;
    // There is none, or no such file.
    if ran.status.code() == Some(1) {
        return Ok(Vec::new());
    }
    if !ran.status.success() {
        return Err(ran.words());
    }
    use std::os::unix::ffi::OsStrExt as _;
    let names = ran.output.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut folders: Vec<PathBuf> =
        names.map(|name| PathBuf::from(OsStr::from_bytes(name))).collect();
    if let Some(bad) = folders.iter().find(|folder| !folder.is_absolute()) {
        let bad = bad.display();
        return Err(format!("remoteDaemon.repository: '{bad}' begins neither with / nor with ~/"));
    }
    folders.sort();
    folders.dedup();
    Ok(folders)
}

/// When the files changed in which they can be named.
fn config_times() -> [Option<SystemTime>; 2] {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let home = variable("HOME").unwrap_or_default();
    let files = match variable("GIT_CONFIG_GLOBAL") {
        Some(file) => [file, PathBuf::new()],
        None => {
            let xdg = variable("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
            [home.join(".gitconfig"), xdg.join("git/config")]
        }
    };
    files.map(|file| std::fs::metadata(file).and_then(|meta| meta.modified()).ok())
}

/// A repository that is looked after.
struct Cared {
    orders: mpsc::Sender<Order>,
}

struct All {
    git: OsString,
    detached: bool,
    named: Vec<PathBuf>,
    cared: BTreeMap<PathBuf, Cared>,
    running: JoinSet<(PathBuf, Result<(), String>)>,
    /// When those that failed are tried again, and why they failed, which is not said twice.
    failed: BTreeMap<PathBuf, (Instant, String)>,
}

/// Looks after all, until it is told to stop.
///
/// # Errors
/// In words.
pub async fn run(
    git: OsString,
    detached: bool,
    mut ordered: mpsc::Receiver<Order>,
) -> Result<(), String> {
    let (cared, failed) = (BTreeMap::new(), BTreeMap::new());
    let mut all = All { git, detached, named: Vec::new(), cared, running: JoinSet::new(), failed };
    let mut seen = config_times();
    tracing::info!("begins for all repositories (process {})", std::process::id());
    all.read().await;
    loop {
        all.look().await;
        tokio::select! {
            Some(ended) = all.running.join_next() => if let Ok((folder, ended)) = ended {
                all.cared.remove(&folder);
                let words = ended.err().unwrap_or_else(|| "was told to stop".to_owned());
                all.fail(&folder, words);
            },
            order = ordered.recv() => match order {
                None | Some(Order::Stop) => break,
                Some(order) => {
                    if order == Order::Reload {
                        all.read().await;
                        all.failed.clear();
                    }
                    all.tell(&order).await;
                }
            },
            () = tokio::time::sleep(LOOK_EVERY) => {
                let now = config_times();
                if now != seen {
                    seen = now;
                    all.read().await;
                    all.tell(&Order::Reload).await;
                }
            }
        }
    }
    all.tell(&Order::Stop).await;
    while all.running.join_next().await.is_some() {}
    tracing::info!("ends");
    Ok(())
}

impl All {
    async fn read(&mut self) {
        match named(&self.git).await {
            Ok(named) => self.named = named,
            Err(words) => tracing::error!("the repositories stay as they were: {words}"),
        }
    }

    async fn tell(&self, order: &Order) {
        for one in self.cared.values() {
            // It may have ended.
            let _ = one.orders.send(order.clone()).await;
        }
    }

    fn fail(&mut self, folder: &Path, words: String) {
        let before = self.failed.get(folder).map(|(_, words)| words);
        if before != Some(&words) {
            tracing::warn!("{}: {words}", folder.display());
        }
        self.failed.insert(folder.to_owned(), (Instant::now() + RETRY_AFTER, words));
    }

    /// Begins with those that are named, and ends those that are not.
    async fn look(&mut self) {
        let mut gone = self.cared.keys().cloned().collect::<Vec<_>>();
        gone.retain(|folder| !self.named.contains(folder));
        for folder in gone {
            if let Some(one) = self.cared.remove(&folder) {
                let _ = one.orders.send(Order::Stop).await;
            }
        }
        let (named, now) = (self.named.clone(), Instant::now());
        for folder in named {
            let waits = self.failed.get(&folder).is_some_and(|(when, _)| *when > now);
            if waits || self.cared.contains_key(&folder) {
                continue;
            }
            if let Err(words) = self.begin(&folder).await {
                self.fail(&folder, words);
            }
        }
        let Self { named, failed, .. } = self;
        failed.retain(|folder, _| named.contains(folder));
    }

    async fn begin(&mut self, folder: &Path) -> Result<(), String> {
        let repository = Repository::find(&self.git, folder).await?;
        let place = Place::of(&repository);
        let lock = place.take(true).map_err(said("the lock"))?;
        let lock = lock.ok_or("a daemon of its own looks after it")?;
        let start = format!("{}: ", folder.display());
        let terminal = if self.detached { None } else { Some(start.as_str()) };
        let journal = journal(place.path("log"), terminal).map_err(said("the log"))?;
        let (orders, ordered) = mpsc::channel(16);
        self.cared.insert(folder.to_owned(), Cared { orders });
        self.failed.remove(folder);
        let folder = folder.to_owned();
        self.running
            .spawn(async move { (folder, look_after(repository, lock, journal, ordered).await) });
        Ok(())
    }
}

/// How all are: whether there is a daemon for all, and what to show.
///
/// # Errors
/// In words.
pub fn status(git: &OsStr, json: bool) -> Result<(bool, String), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(said("cannot begin"))?;
    let running = Place::of_all()?.running().map_err(said("the lock"))?;
    let mut shown = match running {
        Some(running) => format!("running for all repositories (process {})\n", running.process),
        None => "not running\n".to_owned(),
    };
    let mut values = serde_json::Map::new();
    for folder in runtime.block_on(named(git))? {
        let name = folder.display().to_string();
        let status = match runtime.block_on(Repository::find(git, &folder)) {
            Ok(repository) => found(&Place::of(&repository)).map_err(said("the lock")),
            Err(words) => Err(words),
        };
        let text = match &status {
            Ok(Some(status)) => status.shown(now()),
            Ok(None) => "not running\n".to_owned(),
            Err(words) => format!("error: {words}\n"),
        };
        shown.push_str(&format!("\n{name}\n"));
        text.lines().for_each(|line| shown.push_str(&format!("  {line}\n")));
        let value = match status {
            Ok(status) => serde_json::to_value(status).unwrap_or_default(),
            Err(words) => json!({ "error": words }),
        };
        values.insert(name, value);
    }
    let process = running.map(|running| running.process.as_raw_nonzero().get());
    let value: Value = json!({ "process": process, "repositories": values });
    let text = if json { format!("{value:#}\n") } else { shown };
    Ok((running.is_some(), text))
}
