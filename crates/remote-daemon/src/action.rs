//! What is done about changes: fetch, follow, push. Fetches and pushes are done here ([`direct`]) where nothing but the
//! usual is asked for; whatever a hook, helper or setting has a say in is git's.

use std::ffi::OsStr;
use std::sync::atomic::{AtomicUsize, Ordering};

use bstr::{BStr, BString, ByteSlice as _};

use crate::direct::{self, Branch, Reasons};
use crate::git::{Ran, Repository};
use crate::settings::Remote;

/// How something ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It was done; words for a person, if there is something to say.
    Well(Option<String>),
    /// It cannot be done as things are here; somebody has to do something.
    Not(String),
    /// It cannot be done as long as the work tree is as it is.
    Later(String),
    /// It failed, and may succeed another time.
    Failed(String),
}

/// Fetches that were done here, after which git is asked whether there is something to tidy up.
const TIDY_EVERY: usize = 32;
static FETCHES: AtomicUsize = AtomicUsize::new(0);

/// Fetches from a remote: here, or, where that is not known here, with git.
pub async fn fetch(repository: &Repository, remote: &Remote) -> Done {
    let why = match remote.reasons.fetch.clone().or_else(|| Reasons::before_fetch(repository)) {
        Some(why) => why,
        None => match fetch_directly(repository, remote).await {
            Ok(done) => return done,
            Err(why) => why,
        },
    };
    match run(repository, &["fetch", "--no-write-fetch-head", "--"], remote.name.as_ref()).await {
        Ok(ran) if ran.status.success() => Done::Well(Some(format!("fetched (git: {why})"))),
        Ok(ran) => Done::Failed(format!("not fetched: {}", ran.words())),
        Err(words) => Done::Failed(words),
    }
}

/// From the first of its places that can be reached; why git has to do it, if it has to.
async fn fetch_directly(repository: &Repository, remote: &Remote) -> Result<Done, String> {
    let mut failures = Vec::new();
    let mut why = None;
    for node in &remote.nodes {
        if let Some(reason) = node.needs_git {
            why.get_or_insert_with(|| reason.to_owned());
            continue;
        }
        match direct::fetch(repository, remote, node).await {
            Ok(rejected) => {
                if FETCHES.fetch_add(1, Ordering::Relaxed) % TIDY_EVERY == TIDY_EVERY - 1 {
                    let tidied =
                        repository.git.output(&["maintenance", "run", "--auto", "--quiet"]);
                    let _ = tidied.await;
                }
                let mut words = format!("fetched (client, {})", node.shown());
                for name in rejected {
                    words.push_str(&format!("; {name}: [rejected] (non-fast-forward)"));
                }
                return Ok(Done::Well(Some(words)));
            }
            Err(unfit) if unfit.may_pass => failures.push(unfit.words),
            Err(unfit) => return Err(unfit.words),
        }
    }
    match (why, failures.is_empty()) {
        (Some(why), _) => Err(why),
        (None, false) => Ok(Done::Failed(format!("not fetched: {}", failures.join("; ")))),
        (None, true) => Err("it has no address".to_owned()),
    }
}

async fn run(repository: &Repository, arguments: &[&str], remote: &BStr) -> Result<Ran, String> {
    let remote = remote.to_os_str().map_err(|error| error.to_string())?;
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).chain([remote]).collect();
    repository.git.run(&arguments).await.map_err(|error| format!("cannot run git: {error}"))
}

/// Files in the git directory while something goes on that is not to be disturbed.
const IN_PROGRESS: &[(&str, &str)] = &[
    ("MERGE_HEAD", "a merge"),
    ("rebase-merge", "a rebase"),
    ("rebase-apply", "a rebase"),
    ("CHERRY_PICK_HEAD", "a cherry-pick"),
    ("REVERT_HEAD", "a revert"),
    ("BISECT_LOG", "a bisection"),
];

/// How a branch stands to its upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tracked {
    /// The branch, in full.
    branch: BString,
    /// The remote's name for its upstream.
    there: BString,
    /// Where that is kept here.
    upstream: BString,
    ahead: bool,
    behind: bool,
    gone: bool,
}

/// Branches that have their upstream in a remote.
async fn tracked(repository: &Repository, remote: &BStr, pattern: &str) -> Vec<Tracked> {
    let format = "--format=%(refname)%00%(upstream:remotename)%00%(upstream:remoteref)%00\
        %(upstream)%00%(upstream:track,nobracket)";
    let listed = repository.git.output(&["for-each-ref", format, pattern]).await;
    let listed = listed.unwrap_or_default();
    let read = |line: &[u8]| {
        let mut parts = line.split(|byte| *byte == 0);
        let branch = parts.next()?.into();
        let is_its = parts.next()? == remote.as_bytes();
        let (there, upstream) = (parts.next()?.into(), parts.next()?.into());
        let track = parts.next()?;
        let one = Tracked {
            branch,
            there,
            upstream,
            ahead: track.contains_str("ahead"),
            behind: track.contains_str("behind"),
            gone: track == b"gone",
        };
        is_its.then_some(one)
    };
    listed.lines().filter_map(read).collect()
}

fn short(branch: &BStr) -> &BStr {
    branch.strip_prefix(b"refs/heads/").unwrap_or(branch).as_bstr()
}

/// Lets the current branch follow its upstream in a remote, where that is a fast-forward.
pub async fn pull(repository: &Repository, remote: &BStr) -> Done {
    if !repository.has_work_tree {
        return Done::Not("not pulled: the repository has no work tree".to_owned());
    }
    let Some(head) = repository.git.line(&["symbolic-ref", "-q", "HEAD"]).await else {
        return Done::Not("not pulled: no branch is checked out".to_owned());
    };
    let mut found = tracked(repository, remote, &head).await.into_iter();
    let Some(one) = found.find(|one| one.branch == head.as_bytes()) else {
        return Done::Well(None);
    };
    let name = short(one.branch.as_ref());
    match (one.gone, one.ahead, one.behind) {
        (true, ..) | (_, _, false) => return Done::Well(None),
        (_, true, true) => {
            return Done::Not(format!("not pulled: {name} and its upstream have diverged"));
        }
        _ => {}
    }
    for (file, what) in IN_PROGRESS {
        if repository.git_dir.join(file).exists() {
            return Done::Later(format!("not pulled: {what} is going on"));
        }
    }
    let status = ["status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty"];
    match repository.git.output(&status).await {
        Some(changes) if changes.is_empty() => {}
        Some(_) => return Done::Later("not pulled: the work tree has changes".to_owned()),
        None => return Done::Failed("not pulled: git cannot say how the work tree is".to_owned()),
    }
    match run(repository, &["merge", "--ff-only", "--quiet"], one.upstream.as_ref()).await {
        Ok(ran) if ran.status.success() => Done::Well(Some(format!("pulled {name}"))),
        // Files that are in the way, mostly.
        Ok(ran) => Done::Later(format!("not pulled: {}", ran.words())),
        Err(words) => Done::Failed(words),
    }
}

/// Pushes the branches that are ahead of their upstream in a remote. When somebody asked for it, and there is none,
/// what git pushes by itself.
pub async fn push(repository: &Repository, settings: &Remote, was_asked: bool) -> Done {
    let remote = settings.name.as_bstr();
    let mut pushed = Vec::new();
    let mut diverged = Vec::new();
    for one in tracked(repository, remote, "refs/heads").await {
        let name = short(one.branch.as_ref()).to_owned();
        match (one.ahead, one.behind) {
            (true, true) => diverged.push(name),
            (true, false) => pushed.push((name, one)),
            (false, _) => {}
        }
    }
    if pushed.is_empty() && !was_asked {
        return match diverged.is_empty() {
            true => Done::Well(None),
            false => Done::Not(format!("not pushed: diverged: {}", joined(&diverged))),
        };
    }
    let names: Vec<BString> = pushed.iter().map(|(name, _)| name.clone()).collect();
    let branches: Vec<Tracked> = pushed.into_iter().map(|(_, one)| one).collect();
    let why = match why_not_directly(repository, settings, &branches) {
        Some(why) => why,
        None => match push_directly(repository, settings, &names, &branches).await {
            Ok(done) => return done,
            Err(why) => why,
        },
    };
    let refspec = |one: &Tracked| [&one.branch[..], b":", &one.there].concat().into();
    let refspecs: Vec<BString> = branches.iter().map(refspec).collect();
    let arguments: Result<Vec<&OsStr>, _> = refspecs.iter().map(|one| one.to_os_str()).collect();
    let Ok(arguments) = arguments else {
        return Done::Not("not pushed: a name is not to be written here".to_owned());
    };
    let Ok(remote) = remote.to_os_str() else { return Done::Well(None) };
    let start = ["push", "--porcelain", "--"].map(OsStr::new);
    let arguments = [&start[..], &[remote], &arguments].concat();
    match repository.git.run(&arguments).await {
        Ok(ran) if ran.status.success() => Done::Well(Some(match names.is_empty() {
            true => format!("pushed (git: {why})"),
            false => format!("pushed {} (git: {why})", joined(&names)),
        })),
        Ok(ran) => {
            let rejected: Vec<String> = ran.output.lines().filter_map(rejection).collect();
            match rejected.is_empty() {
                true => Done::Failed(format!("not pushed: {}", ran.words())),
                false => Done::Not(format!("not pushed: {}", rejected.join("; "))),
            }
        }
        Err(error) => Done::Failed(format!("cannot run git: {error}")),
    }
}

/// Why git has to push, if it has to.
fn why_not_directly(
    repository: &Repository,
    remote: &Remote,
    branches: &[Tracked],
) -> Option<String> {
    if branches.is_empty() {
        return Some("it knows what is pushed by itself".to_owned());
    }
    let own = remote.reasons.push.clone().or_else(|| Reasons::before_push(repository));
    own.or_else(|| match remote.nodes.as_slice() {
        [node] => node.needs_git.map(str::to_owned),
        _ => Some("the remote is in several places".to_owned()),
    })
}

/// Without git; why that cannot be, if it cannot.
async fn push_directly(
    repository: &Repository,
    remote: &Remote,
    names: &[BString],
    branches: &[Tracked],
) -> Result<Done, String> {
    let [node] = remote.nodes.as_slice() else { return Err("it has no address".to_owned()) };
    let branch = |one: &Tracked| Branch {
        name: one.branch.clone(),
        there: one.there.clone(),
        upstream: one.upstream.clone(),
    };
    match direct::push(repository, node, branches.iter().map(branch).collect()).await {
        Ok(pushed) if pushed.refused.is_empty() => {
            let words = format!("pushed {} (client, {})", joined(names), node.shown());
            Ok(Done::Well(Some(words)))
        }
        Ok(pushed) => {
            let said = |(name, why): &(BString, String)| format!("{}: {why}", short(name.as_ref()));
            let refused: Vec<String> = pushed.refused.iter().map(said).collect();
            Ok(Done::Not(format!("not pushed: {}", refused.join("; "))))
        }
        Err(unfit) if unfit.may_pass => Ok(Done::Failed(format!("not pushed: {}", unfit.words))),
        Err(unfit) => Err(unfit.words),
    }
}

/// `!<TAB>from:to<TAB>[rejected] (why)` (git-push(1), `--porcelain`).
fn rejection(line: &[u8]) -> Option<String> {
    let (refspec, why) = line.strip_prefix(b"!\t")?.split_once_str("\t")?;
    let to = refspec.split_once_str(":").map_or(refspec, |(_, to)| to);
    Some(format!("{}: {}", short(to.as_bstr()), why.to_str_lossy()))
}

fn joined(names: &[BString]) -> BString {
    bstr::join(", ", names).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_read() {
        let line = b"!\trefs/heads/a:refs/heads/b\t[rejected] (fetch first)";
        assert_eq!(rejection(line).as_deref(), Some("b: [rejected] (fetch first)"));
        assert_eq!(rejection(b" \trefs/heads/a:refs/heads/b\t1..2"), None);
        assert_eq!(rejection(b"Done"), None);
    }
}
