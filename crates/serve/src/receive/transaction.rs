//! Moving refs: one batch becomes one transaction of the store, between the states of the
//! `reference-transaction` hook.

use std::collections::HashSet;

use bstr::{BString, ByteSlice as _};
use object::ObjectId;
use storage::{CommitError, Prepared, RefEdit, RefTransaction};

use crate::Error;
use crate::checkout::Deployment;
use crate::hooks::Call;

use super::commands::Command;
use super::context::{Context, Now};
use super::messages::Messages;

/// Changes that go into one transaction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub planned: Vec<Planned>,
    /// Commits that become shallow with it.
    pub shallow_add: Vec<ObjectId>,
}

/// The change one command asks for.
#[derive(Debug)]
pub(super) struct Planned {
    /// Which command.
    pub at: usize,
    /// The stored name the client asked to change; symbolic refs are not followed in it.
    pub asked: BString,
    pub old: ObjectId,
    pub new: ObjectId,
    pub edit: RefEdit,
    /// The work tree that has been brought along; taken back when the change does not happen.
    pub deployment: Option<Deployment>,
}

/// Whether one change may fail alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Together {
    /// All or nothing (`atomic`).
    Yes,
    /// Each for itself: a change that fails leaves the others standing.
    No,
}

/// The whole batch did not happen; the words are the reason in the report.
pub(super) struct Failed(pub String);

/// Commits the batch. Changes that fail alone are refused in `commands`.
pub(super) fn commit(
    context: &Context<'_>,
    now: &Now<'_>,
    mut batch: Batch,
    together: Together,
    commands: &mut [Command],
    messages: &mut Messages<'_>,
) -> Result<Result<(), Failed>, Error> {
    let generic = match together {
        Together::Yes => "atomic transaction failed",
        Together::No => "failed to update refs",
    };
    if let Some(name) = twice(&batch) {
        messages.error(format!("multiple updates for ref '{name}' not allowed"));
        return Ok(Err(Failed(generic.into())));
    }
    let hook = TransactionHook::new(context);
    if let Err(failed) = hook.ask("preparing", &batch, Names::AsAsked, messages) {
        return Ok(Err(failed));
    }
    let mut rejected = reject_unfit(now, &batch)?;
    let prepared = loop {
        for (at, rejection) in rejected.drain(..) {
            messages.error(&rejection.words);
            if together == Together::Yes {
                return Ok(Err(Failed(generic.into())));
            }
            commands[at].refuse(rejection.reason);
            batch.planned.retain(|planned| planned.at != at);
        }
        if batch.planned.is_empty() {
            return Ok(Ok(()));
        }
        match context.repo.refs().prepare(transaction(&batch)) {
            Ok(prepared) => break prepared,
            Err(error) => match rejection_of(&batch, &error) {
                Some(rejection) => rejected.push(rejection),
                None => {
                    messages.error(error.to_string());
                    return Ok(Err(Failed(generic.into())));
                }
            },
        }
    };
    let done = finish(prepared, &hook, &batch, generic, messages);
    if let Ok(Ok(())) = done {
        finish_deployments(batch, messages);
    }
    done
}

/// The refs have moved: the work trees of theirs stay as they are now.
fn finish_deployments(batch: Batch, messages: &mut Messages<'_>) {
    for deployment in batch.planned.into_iter().filter_map(|planned| planned.deployment) {
        if let Err(error) = deployment.finish() {
            messages.error(format!("could not update the index of the work tree: {error}"));
        }
    }
}

/// From locked refs to moved ones.
fn finish(
    prepared: Box<dyn Prepared + '_>,
    hook: &TransactionHook<'_>,
    batch: &Batch,
    generic: &str,
    messages: &mut Messages<'_>,
) -> Result<Result<(), Failed>, Error> {
    if let Err(failed) = hook.ask("prepared", batch, Names::AsStored, messages) {
        drop(prepared);
        hook.tell("aborted", batch, messages);
        return Ok(Err(failed));
    }
    if let Err(error) = prepared.commit() {
        messages.error(error.to_string());
        return Ok(Err(Failed(generic.into())));
    }
    hook.tell("committed", batch, messages);
    Ok(Ok(()))
}

fn transaction(batch: &Batch) -> RefTransaction {
    RefTransaction {
        edits: batch.planned.iter().map(|planned| planned.edit.clone()).collect(),
        shallow_add: batch.shallow_add.clone(),
        shallow_remove: Vec::new(),
    }
}

/// A ref that two changes of the batch name.
fn twice(batch: &Batch) -> Option<&BString> {
    let mut asked = HashSet::new();
    let mut stored = HashSet::new();
    for planned in &batch.planned {
        if !asked.insert(&planned.asked) || !stored.insert(planned.edit.name.as_bstr()) {
            return Some(&planned.asked);
        }
    }
    None
}

struct Rejection {
    /// For the pusher's terminal.
    words: String,
    /// For the report.
    reason: &'static str,
}

/// Finds the changes that cannot happen before any lock is taken, so that many stale
/// commands cost one look each and not one attempt each.
fn reject_unfit(now: &Now<'_>, batch: &Batch) -> Result<Vec<(usize, Rejection)>, Error> {
    let mut rejected = Vec::new();
    for planned in &batch.planned {
        let name = &planned.edit.name;
        let found = now.snapshot.get(name.as_bstr())?.map(|found| found.target);
        let expected = planned.edit.expected.target().cloned();
        if found != expected {
            let error = CommitError::Lost { name: name.clone(), expected, found };
            rejected.extend(rejection_of(batch, &error));
        }
    }
    Ok(rejected)
}

/// Which change a failed attempt is about, and how it is refused; `None` when it concerns
/// the store as a whole.
fn rejection_of(batch: &Batch, error: &CommitError) -> Option<(usize, Rejection)> {
    let reason = match error {
        CommitError::Lost { expected: None, .. } => "reference already exists",
        CommitError::Lost { found: None, .. } => "reference does not exist",
        CommitError::Lost { .. } => "incorrect old value provided",
        CommitError::NameConflict { .. } | CommitError::EditConflict { .. } => "refname conflict",
        CommitError::Locked { .. } => "failed to update ref",
        CommitError::Storage(_) => return None,
    };
    let name = error.name()?;
    let planned = batch.planned.iter().find(|planned| planned.edit.name == *name)?;
    Some((planned.at, Rejection { words: error.to_string(), reason }))
}

/// Which names the hook is told.
#[derive(Clone, Copy)]
enum Names {
    /// As the client asked: symbolic refs by their own name.
    AsAsked,
    /// The refs that really change.
    AsStored,
}

struct TransactionHook<'a> {
    context: &'a Context<'a>,
    exists: bool,
}

impl<'a> TransactionHook<'a> {
    fn new(context: &'a Context<'a>) -> Self {
        TransactionHook { context, exists: context.has_hook("reference-transaction") }
    }

    /// Runs the hook in a state in which it can refuse.
    fn ask(
        &self,
        state: &str,
        batch: &Batch,
        names: Names,
        messages: &mut Messages<'_>,
    ) -> Result<(), Failed> {
        if !self.run(state, batch, names, messages) {
            return Ok(());
        }
        let words = format!("in '{state}' phase, update aborted by the reference-transaction hook");
        messages.error(&words);
        Err(Failed("update aborted by the reference-transaction hook".into()))
    }

    /// Runs the hook in a state in which it only hears.
    fn tell(&self, state: &str, batch: &Batch, messages: &mut Messages<'_>) {
        self.run(state, batch, Names::AsStored, messages);
    }

    fn run(&self, state: &str, batch: &Batch, names: Names, messages: &mut Messages<'_>) -> bool {
        if !self.exists {
            return false;
        }
        let mut stdin = Vec::new();
        for planned in &batch.planned {
            let name = match names {
                Names::AsAsked => planned.asked.as_bstr(),
                Names::AsStored => planned.edit.name.as_bstr(),
            };
            stdin.extend_from_slice(format!("{} {} ", planned.old, planned.new).as_bytes());
            stdin.extend_from_slice(name);
            stdin.push(b'\n');
        }
        let args = vec![state.into()];
        let call =
            Call { event: "reference-transaction", args, stdin: Some(stdin), ..Call::default() };
        self.context.run_hook(&call, messages).refuses()
    }
}
