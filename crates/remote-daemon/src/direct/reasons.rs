//! Why git has to do something.

use std::path::Path;

use crate::git::Repository;
use crate::settings::Listed;

/// Why fetches and pushes of a remote are git's, if they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reasons {
    /// Why fetches are.
    pub fetch: Option<String>,
    /// Why pushes are.
    pub push: Option<String>,
}

/// Settings of which only the absence is known here: for both, for fetches, for pushes. Where a value is named, only
/// another one counts.
const BOTH: &[(&str, Option<&str>)] = &[
    ("submodule.recurse", Some("false")),
    ("extensions.partialclone", None),
    ("core.hookspath", None),
    ("core.alternaterefscommand", None),
    ("protocol.version", Some("2")),
];
const FETCH: &[(&str, Option<&str>)] = &[
    ("fetch.prune", Some("false")),
    ("fetch.prunetags", Some("false")),
    ("fetch.fsckobjects", Some("false")),
    ("transfer.fsckobjects", Some("false")),
    ("fetch.recursesubmodules", Some("false")),
    ("fetch.writecommitgraph", Some("false")),
    ("fetch.bundleuri", None),
];
const PUSH: &[(&str, Option<&str>)] = &[
    ("push.gpgsign", Some("false")),
    ("push.followtags", Some("false")),
    ("push.pushoption", None),
    ("push.recursesubmodules", Some("no")),
    ("remote.pushdefault", None),
];
/// The same of one remote.
const BOTH_OF_REMOTE: &[(&str, Option<&str>)] = &[
    ("promisor", Some("false")),
    ("partialclonefilter", None),
    ("vcs", None),
    ("proxy", None),
    ("serveroption", None),
    ("mirror", Some("false")),
];
const FETCH_OF_REMOTE: &[(&str, Option<&str>)] = &[
    ("prune", Some("false")),
    ("prunetags", Some("false")),
    ("tagopt", Some("--no-tags")),
    ("uploadpack", None),
    ("followremotehead", Some("never")),
];
const PUSH_OF_REMOTE: &[(&str, Option<&str>)] = &[("pushurl", None), ("receivepack", None)];

impl Reasons {
    /// What the configuration says about a remote.
    pub fn of(listed: &Listed, remote: &[u8]) -> Self {
        let is_set = |name: &[u8], known: Option<&str>| {
            listed.get(name).is_some_and(|value| known.is_none_or(|known| value != known))
        };
        let first = |common: &[(&str, Option<&str>)], own: &[(&str, Option<&str>)]| {
            let common = common
                .iter()
                .find(|(name, known)| is_set(name.as_bytes(), *known))
                .map(|(name, _)| (*name).to_owned());
            common.or_else(|| {
                let own = own.iter().find(|(name, known)| {
                    is_set(&[b"remote.", remote, b".", name.as_bytes()].concat(), *known)
                });
                own.map(|(name, _)| format!("remote.NAME.{name}"))
            })
        };
        let section = |start: &str| listed.has_section(start).then(|| format!("{start}*"));
        let both = first(BOTH, BOTH_OF_REMOTE)
            .or_else(|| section("submodule."))
            .or_else(|| section("hook."));
        let set = |name: String| format!("{name} is set");
        let fetch = both.clone().or_else(|| first(FETCH, FETCH_OF_REMOTE)).map(set);
        let push_to = !listed.subsections("url", "pushinsteadof").is_empty();
        let push = both
            .or_else(|| first(PUSH, PUSH_OF_REMOTE))
            .or_else(|| push_to.then(|| "url.*.pushInsteadOf".to_owned()))
            .map(set);
        Reasons { fetch, push }
    }

    /// What the repository is like now, before a fetch.
    pub fn before_fetch(repository: &Repository) -> Option<String> {
        before(repository, &["reference-transaction"])
    }

    /// And before a push.
    pub fn before_push(repository: &Repository) -> Option<String> {
        before(repository, &["reference-transaction", "pre-push"])
    }
}

fn before(repository: &Repository, hooks: &[&str]) -> Option<String> {
    let hook = hooks.iter().find(|name| is_hook(&repository.common_dir.join("hooks").join(name)));
    if let Some(name) = hook {
        return Some(format!("there is a hook '{name}'"));
    }
    if repository.common_dir.join("shallow").exists() {
        return Some("the repository is shallow".to_owned());
    }
    let has_modules =
        repository.has_work_tree && repository.git.folder.join(".gitmodules").exists();
    has_modules.then(|| "there are submodules".to_owned())
}

fn is_hook(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0)
}
