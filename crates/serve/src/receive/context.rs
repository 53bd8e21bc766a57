//! What every step of a push needs to know of the repository and the session.

use bstr::BString;
use repository::{Objects, Repository};
use storage::RefSnapshot;

use crate::hooks::{Call, HookEnvironment, Hooks, Verdict};
use crate::{Error, Namespace};

use super::messages::Messages;
use super::settings::ReceiveSettings;
use super::worktrees::{self, WorkTree};

/// The repository and the session of one push.
pub(super) struct Context<'a> {
    pub repo: &'a Repository,
    pub settings: &'a ReceiveSettings,
    pub namespace: &'a Namespace,
    /// `None` where the repository is not on this machine's disk: it then has no hooks.
    pub hooks: Option<&'a Hooks<'a>>,
    /// What the session was started with.
    pub environment: &'a HookEnvironment,
    /// Who reflogs say moved the refs: `Name <email> seconds +hhmm`.
    pub committer: BString,
}

impl Context<'_> {
    pub fn has_hook(&self, event: &str) -> bool {
        self.hooks.is_some_and(|hooks| hooks.exists(event))
    }

    /// Runs the hooks of an event; says so when they ran out of time.
    pub fn run_hook(&self, call: &Call<'_>, messages: &mut Messages<'_>) -> Verdict {
        let Some(hooks) = self.hooks else { return Verdict::Absent };
        let verdict = hooks.run(call, messages);
        if verdict == Verdict::TimedOut {
            let limit = hooks.limits().hook_timeout_ms;
            messages.error(format!("the {} hook was killed after {limit} ms", call.event));
        }
        verdict
    }
}

/// The repository as it is when the refs are about to change.
pub(super) struct Now<'a> {
    pub snapshot: &'a dyn RefSnapshot,
    /// Everything there is, what was pushed included.
    pub objects: Objects,
    pub work_trees: Vec<WorkTree>,
    /// The stored name HEAD leads to.
    pub head: Option<BString>,
}

impl<'a> Now<'a> {
    pub fn new(
        context: &Context<'_>,
        snapshot: &'a dyn RefSnapshot,
        objects: Objects,
    ) -> Result<Self, Error> {
        let work_trees = match context.repo.local() {
            Some(local) => worktrees::list(local, snapshot)?,
            None => Vec::new(),
        };
        let head = super::refs::resolve(snapshot, "HEAD".into())?.map(|head| head.name);
        Ok(Now { snapshot, objects, work_trees, head })
    }

    /// The work tree that a branch is checked out in.
    pub fn work_tree_of(&self, branch: &[u8]) -> Option<&WorkTree> {
        self.work_trees.iter().find(|tree| tree.holds(branch.into()))
    }
}
