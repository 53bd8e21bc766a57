//! What git's configuration says about the daemon and the remotes (docs/remote-daemon.md).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bstr::{BStr, BString, ByteSlice as _};
use client::{GitCredentials, HttpUrl, Options, RemoteUrl, Ssh, SshVariant};
use gitconfig::wildmatch;

use crate::direct::Reasons;
use crate::git::Repository;
use crate::refspec::Refspecs;

/// What is done about a remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Nothing, it is not even listened to.
    Off,
    /// Changes are told.
    Notify,
    /// Changes are fetched.
    Fetch,
    /// And the current branch follows, as far as that is a fast-forward.
    Pull,
    /// Branches that moved here are pushed; nothing is fetched.
    Push,
    /// Both.
    Sync,
}

impl Action {
    /// As `remote.NAME.daemon` has it.
    pub fn from_setting(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "off" | "false" | "no" | "0" => Action::Off,
            "notify" => Action::Notify,
            "fetch" => Action::Fetch,
            "pull" => Action::Pull,
            "push" => Action::Push,
            "sync" => Action::Sync,
            _ => return None,
        })
    }

    /// Whether changes there are fetched.
    pub fn fetches(self) -> bool {
        matches!(self, Action::Fetch | Action::Pull | Action::Sync)
    }

    /// Whether the current branch follows.
    pub fn pulls(self) -> bool {
        matches!(self, Action::Pull | Action::Sync)
    }

    /// Whether changes here are pushed.
    pub fn pushes(self) -> bool {
        matches!(self, Action::Push | Action::Sync)
    }
}

/// How long things take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Between two looks at a server that does not tell, at first.
    pub poll_min: Duration,
    /// And when nothing happened for long.
    pub poll_max: Duration,
    /// How long a server may say nothing at all.
    pub silence_max: Duration,
    /// How long a server that fails is left alone, at most.
    pub retry_max: Duration,
}

/// A remote.
#[derive(Debug, Clone)]
pub struct Remote {
    /// Its name.
    pub name: BString,
    /// What is done about it.
    pub action: Action,
    /// Where it is; each is a node of its own.
    pub nodes: Vec<Node>,
    /// What is fetched.
    pub refspecs: Refspecs,
    /// Refs that are told of begin so; none stand for all.
    pub prefixes: Vec<BString>,
    /// How long things take.
    pub times: Times,
    /// What git-annex knows it by, or each of its places.
    pub annex_uuids: Vec<BString>,
    /// Whether tags of what is fetched come along.
    pub follows_tags: bool,
    /// Why git fetches and pushes, where it has to.
    pub reasons: Reasons,
    /// Whether git-annex is to leave it alone.
    pub annex_ignore: bool,
}

/// One place of a remote.
#[derive(Clone)]
pub struct Node {
    /// As git is told, after `url.*.insteadOf`.
    pub text: BString,
    /// What it means; `None` for what git alone understands.
    pub url: Option<RemoteUrl>,
    /// How it is reached.
    pub options: Options,
    /// Why git itself has to carry it, if it has to.
    pub needs_git: Option<&'static str>,
}

/// Without its options, which have ways to logins.
impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

impl Node {
    /// Fit to be shown: without a password.
    pub fn shown(&self) -> String {
        match &self.url {
            Some(url) => url.to_string(),
            None => client::without_password(&self.text.to_str_lossy()),
        }
    }
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Every remote that has an address, by name.
    pub remotes: BTreeMap<BString, Remote>,
    /// What is wrong with it, in words: the remote, and what.
    pub complaints: Vec<(BString, String)>,
}

/// Settings, as `git config --list -z` gives them: lower-case names, last one counts.
pub(crate) struct Listed(Vec<(BString, BString)>);

impl Listed {
    fn new(output: &[u8]) -> Self {
        let entries = output.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
        let entries = entries.map(|entry| match entry.split_once_str("\n") {
            Some((name, value)) => (name.into(), value.into()),
            // A name alone is true.
            None => (entry.into(), "true".into()),
        });
        Listed(entries.collect())
    }

    fn all<'a>(&'a self, name: &'a [u8]) -> impl DoubleEndedIterator<Item = &'a BStr> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_ref())
    }

    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&BStr> {
        let name = name.as_ref();
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
    }

    fn bool(&self, name: impl AsRef<[u8]>) -> Option<bool> {
        let value = self.get(name)?.to_str_lossy().to_ascii_lowercase();
        match value.as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" | "" => Some(false),
            _ => None,
        }
    }

    /// Whether something begins so.
    pub fn has_section(&self, start: &str) -> bool {
        self.0.iter().any(|(name, _)| name.starts_with(start.as_bytes()))
    }

    /// `SECTION.SUBSECTION.KEY`: the subsections, in order, each once.
    pub fn subsections<'a>(&'a self, section: &str, key: &str) -> Vec<&'a BStr> {
        let (start, end) = (format!("{section}."), format!(".{key}"));
        let mut found: Vec<&BStr> = Vec::new();
        for (name, _) in &self.0 {
            let part = name
                .strip_prefix(start.as_bytes())
                .and_then(|name| name.strip_suffix(end.as_bytes()));
            if let Some(part) = part.filter(|part| !found.iter().any(|known| known == part)) {
                found.push(part.as_bstr());
            }
        }
        found
    }

    /// The value of `http.KEY`, or of the longest `http.URL.KEY` that the address begins with.
    fn http(&self, url: &HttpUrl, key: &str) -> Option<&BStr> {
        let shown = url.to_string();
        let fits = |pattern: &BStr| {
            let pattern = pattern.to_str_lossy();
            let pattern = pattern.trim_end_matches('/');
            let rest = shown.strip_prefix(pattern);
            let same = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':']));
            same || (pattern.contains('*') && wildmatch(pattern.as_bytes(), shown.as_bytes()))
        };
        let of_urls = self.subsections("http", key).into_iter().filter(|url| fits(url));
        let longest = of_urls.max_by_key(|url| url.len());
        match longest {
            Some(url) => self.get([b"http.", url.as_bytes(), b".", key.as_bytes()].concat()),
            None => self.get(format!("http.{key}")),
        }
    }
}

fn key(remote: &BStr, key: &str) -> Vec<u8> {
    [b"remote.", remote.as_bytes(), b".", key.as_bytes()].concat()
}

/// Reads what git's configuration says now. `usual` is what is done about remotes of which it says nothing.
///
/// # Errors
/// In words, when git cannot read it.
pub async fn read(repository: &Repository, usual: Action) -> Result<Settings, String> {
    let listed = repository.git.output(&["config", "--list", "-z"]).await;
    let listed = Listed::new(&listed.ok_or("git cannot read the configuration")?);
    let mut settings = Settings { remotes: BTreeMap::new(), complaints: Vec::new() };
    let usual = match listed.get("remotedaemon.action") {
        None => usual,
        Some(text) => Action::from_setting(&text.to_str_lossy()).unwrap_or_else(|| {
            let words = format!(
                "remoteDaemon.action: '{text}' is none of off, notify, fetch, pull, push and sync"
            );
            settings.complaints.push(("".into(), words));
            usual
        }),
    };
    for name in listed.subsections("remote", "url") {
        match remote(repository, &listed, name, usual) {
            Ok(remote) => drop(settings.remotes.insert(name.to_owned(), remote)),
            Err(words) => settings.complaints.push((name.to_owned(), words)),
        }
    }
    Ok(settings)
}

fn remote(
    repository: &Repository,
    listed: &Listed,
    name: &BStr,
    usual: Action,
) -> Result<Remote, String> {
    let action = match listed.get(key(name, "daemon")) {
        None => usual,
        Some(text) => Action::from_setting(&text.to_str_lossy()).ok_or_else(|| {
            format!(
                "remote.{name}.daemon: '{text}' is none of off, notify, fetch, pull, push and sync"
            )
        })?,
    };
    let seconds = |setting: &str, usual: u64| -> Result<Duration, String> {
        let own = listed.get(key(name, &format!("daemon{}", setting.to_lowercase())));
        let text = own.or_else(|| listed.get(format!("remotedaemon.{}", setting.to_lowercase())));
        let Some(text) = text else { return Ok(Duration::from_secs(usual)) };
        let seconds: Option<f64> = text.to_str_lossy().parse().ok();
        let seconds = seconds.filter(|seconds| (0.001..=1e7).contains(seconds));
        seconds
            .map(Duration::from_secs_f64)
            .ok_or_else(|| format!("remoteDaemon.{setting}: '{text}' is no number of seconds"))
    };
    let poll_min = seconds("interval", 30)?;
    let times = Times {
        poll_min,
        poll_max: seconds("intervalMax", 600)?.max(poll_min),
        silence_max: seconds("silenceMax", 90)?,
        retry_max: seconds("retryMax", 300)?,
    };
    let refspecs = Refspecs::new(listed.all(&key(name, "fetch")).map(|text| text.as_bytes()));
    let mut reasons = Reasons::of(listed, name);
    if !refspecs.are_plain(listed.all(&key(name, "fetch")).map(|text| text.as_bytes())) {
        reasons.fetch.get_or_insert_with(|| "remote.NAME.fetch is not the usual one".to_owned());
    }
    let own: Vec<BString> = listed.all(&key(name, "daemonrefs")).map(ToOwned::to_owned).collect();
    let prefixes = if own.is_empty() { refspecs.prefixes() } else { own };
    let urls = key(name, "url");
    let nodes = listed.all(&urls).map(|url| node(repository, listed, name, url, &times)).collect();
    Ok(Remote {
        name: name.to_owned(),
        action,
        nodes,
        refspecs,
        prefixes,
        times,
        follows_tags: listed.get(key(name, "tagopt")).is_none(),
        reasons,
        annex_uuids: listed.all(&key(name, "annex-uuid")).map(ToOwned::to_owned).collect(),
        annex_ignore: listed.bool(key(name, "annex-ignore")).unwrap_or(false),
    })
}

/// `url.BASE.insteadOf` (git-config(1)): the longest start that fits is replaced.
fn instead(listed: &Listed, url: &BStr) -> BString {
    let mut best: Option<(usize, &BStr)> = None;
    for base in listed.subsections("url", "insteadof") {
        let name = [b"url.", base.as_bytes(), b".insteadof"].concat();
        let starts = listed.all(&name).filter(|start| url.starts_with(start));
        if let Some(longest) = starts.map(|start| start.len()).max()
            && best.is_none_or(|(known, _)| known < longest)
        {
            best = Some((longest, base));
        }
    }
    match best {
        Some((len, base)) => [base.as_bytes(), &url[len..]].concat().into(),
        None => url.to_owned(),
    }
}

fn node(repository: &Repository, listed: &Listed, name: &BStr, url: &BStr, times: &Times) -> Node {
    let text = instead(listed, url);
    let mut url = text.to_str().ok().and_then(|text| text.parse::<RemoteUrl>().ok());
    if let Some(RemoteUrl::Local(path)) = &mut url {
        *path = repository.git.folder.join(&*path);
    }
    let needs_git = match &url {
        Some(RemoteUrl::Http(url)) => http_needs_git(listed, name, url),
        Some(RemoteUrl::Ssh { .. } | RemoteUrl::Local(_)) => {
            let own = listed.get(key(name, "uploadpack"));
            own.map(|_| "remote.NAME.uploadpack is set")
        }
        Some(RemoteUrl::Git { .. }) => listed.get("core.gitproxy").map(|_| "core.gitProxy is set"),
        Some(RemoteUrl::Helper { .. }) | None => Some("git alone understands the address"),
    };
    let options = options(repository, listed, url.as_ref(), times);
    Node { text, url, options, needs_git }
}

/// What the client library does not do.
fn http_needs_git(listed: &Listed, name: &BStr, url: &HttpUrl) -> Option<&'static str> {
    if listed.get(key(name, "proxy")).is_some() || listed.http(url, "proxy").is_some() {
        return Some("a proxy is set");
    }
    let variables = match url.is_tls {
        true => ["https_proxy", "HTTPS_PROXY", "all_proxy"],
        false => ["http_proxy", "all_proxy", "ALL_PROXY"],
    };
    let is_local = ["localhost", "127.0.0.1", "::1"].contains(&url.host_name());
    if !is_local && variables.iter().any(|name| std::env::var_os(name).is_some()) {
        return Some("a proxy is set");
    }
    let others = ["cookiefile", "sslcert", "sslcapath", "pinnedpubkey"];
    others
        .iter()
        .any(|key| listed.http(url, key).is_some())
        .then_some("settings of http are not known here")
}

fn options(
    repository: &Repository,
    listed: &Listed,
    url: Option<&RemoteUrl>,
    times: &Times,
) -> Options {
    let git = repository.git.program.clone();
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let setting =
        |name: &str| listed.get(name).and_then(|text| text.to_os_str().ok()).map(Into::into);
    let variant = std::env::var("GIT_SSH_VARIANT").ok();
    let variant = variant.or_else(|| listed.get("ssh.variant").map(|text| text.to_string()));
    let mut options = Options {
        silence_max: times.silence_max,
        git: git.clone(),
        ssh: Ssh {
            command: variable("GIT_SSH_COMMAND").or_else(|| setting("core.sshcommand")),
            program: variable("GIT_SSH").unwrap_or_else(|| "ssh".into()),
            variant: variant.and_then(|text| SshVariant::from_setting(&text)),
            is_batch: true,
        },
        credentials: Arc::new(GitCredentials {
            git,
            repository: repository.git.folder.clone(),
            may_ask: false,
        }),
        ..Options::default()
    };
    if let Some(RemoteUrl::Http(url)) = url {
        let http = &mut options.http;
        let truth = |text: &BStr| {
            !["false", "no", "off", "0"]
                .contains(&text.to_str_lossy().to_ascii_lowercase().as_str())
        };
        http.verifies = listed.http(url, "sslverify").is_none_or(truth)
            && std::env::var_os("GIT_SSL_NO_VERIFY").is_none();
        let file = listed.http(url, "sslcainfo").and_then(|text| text.to_path().ok());
        http.authorities =
            variable("GIT_SSL_CAINFO").map(PathBuf::from).or_else(|| file.map(Into::into));
        let headers = listed.http(url, "extraheader").map(|text| text.to_str_lossy().into_owned());
        let headers = headers.as_deref().and_then(|text| text.split_once(':'));
        http.headers = headers
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .into_iter()
            .collect();
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(entries: &[(&str, &str)]) -> Listed {
        Listed(entries.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn addresses_are_replaced_as_git_does_it() {
        let listed = listed(&[
            ("url.https://example.org/.insteadof", "ex:"),
            ("url.ssh://git@example.org/team/.insteadof", "ex:team/"),
        ]);
        for (url, expected) in [
            ("ex:a", "https://example.org/a"),
            ("ex:team/a", "ssh://git@example.org/team/a"),
            ("other:a", "other:a"),
        ] {
            assert_eq!(instead(&listed, url.into()), expected);
        }
    }

    #[test]
    fn settings_of_http_are_for_addresses() {
        let listed = listed(&[
            ("http.sslverify", "true"),
            ("http.https://example.org.sslverify", "false"),
            ("http.https://example.org/team.sslverify", "maybe"),
        ]);
        let get = |url: &str| {
            let Ok(RemoteUrl::Http(url)) = url.parse() else { panic!("{url}") };
            listed.http(&url, "sslverify").expect("set").to_string()
        };
        assert_eq!(get("https://example.com/x"), "true");
        assert_eq!(get("https://example.org/x"), "false");
        assert_eq!(get("https://example.org/team/x"), "maybe");
        assert_eq!(get("https://example.org/teams"), "false");
        let output = b"remote.a b.url\nx\0remote.a b.daemon\nsync\0core.bare\0";
        let listed = Listed::new(output);
        assert_eq!(listed.subsections("remote", "url"), ["a b"]);
        assert_eq!(listed.get(key("a b".into(), "daemon")).expect("set"), "sync");
        assert_eq!(listed.bool("core.bare"), Some(true));
    }
}
