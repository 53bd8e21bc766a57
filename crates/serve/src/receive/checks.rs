//! The checks before one ref changes, in git's order and with git's words
//! (`update` in git's receive-pack).

use object::{Kind, ObjectId, RefName};
use repository::history;
use storage::{Change, Expected, Peeled, RefEdit, ReflogLine, Target};

use crate::Error;
use crate::hooks::Call;

use super::commands::Command;
use super::context::{Context, Now};
use super::deploy;
use super::explain;
use super::messages::Messages;
use super::refs;
use super::settings::DenyAction;
use super::transaction::{Batch, Planned};
use super::worktrees::WorkTree;

/// Why one ref stays as it is, in the words of the report.
pub(super) type Refusal = String;

/// Checks one command against the settings and the objects, without asking any hook. An inner
/// error is a refusal of this command; the outer one ends the push.
pub(super) fn examine(
    context: &Context<'_>,
    now: &Now<'_>,
    command: &mut Command,
    messages: &mut Messages<'_>,
) -> Result<Result<(), Refusal>, Error> {
    command.examined = true;
    let name = command.name.clone();
    if !is_proper_name(command) {
        messages.error(format!("refusing to update funny ref '{name}' remotely"));
        return refused("funny refname");
    }
    let work_tree = now.work_tree_of(&name);
    if work_tree.is_some() {
        match context.settings.deny_current_branch {
            DenyAction::Ignore | DenyAction::UpdateInstead => {}
            DenyAction::Warn => messages.warning("updating the current branch"),
            action @ (DenyAction::Refuse | DenyAction::Unconfigured) => {
                messages.error(format!("refusing to update checked out branch: {name}"));
                if action == DenyAction::Unconfigured {
                    messages.error(explain::CURRENT_BRANCH);
                }
                return refused("branch is currently checked out");
            }
        }
    }
    if !command.deletes() && !now.objects.contains(&command.new)? {
        messages.error(format!("unpack should have generated {}", command.new));
        return refused("bad pack");
    }
    if let Err(refusal) = check_deletion(context, now, command, work_tree, messages) {
        return Ok(Err(refusal));
    }
    if let Some(words) = unfit_for_branch(now, command)? {
        messages.error(words);
        return refused("invalid new value provided");
    }
    check_fast_forward(context, now, command, messages)
}

/// Asks the `update` hook, brings a work tree along, and adds the change to the batch.
pub(super) fn admit(
    context: &Context<'_>,
    now: &Now<'_>,
    at: usize,
    command: &mut Command,
    batch: &mut Batch,
    messages: &mut Messages<'_>,
) -> Result<Result<(), Refusal>, Error> {
    if !command.examined
        && let Err(refusal) = examine(context, now, command, messages)?
    {
        return Ok(Err(refusal));
    }
    if run_update_hook(context, command, messages) {
        messages.error(format!("hook declined to update {}", command.name));
        return refused("hook declined");
    }
    let mut deployment = None;
    if context.settings.deny_current_branch == DenyAction::UpdateInstead
        && let Some(work_tree) = now.work_tree_of(&command.name)
    {
        match deploy::deploy(context, now, work_tree, &command.new, messages) {
            Ok(done) => deployment = done,
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    let planned = plan(context, now, at, command, messages)?;
    Ok(planned.map(|planned| {
        batch.shallow_add.extend(command.shallow_roots.iter().copied());
        batch.planned.extend(planned.map(|planned| Planned { deployment, ..planned }));
    }))
}

fn refused(words: &str) -> Result<Result<(), Refusal>, Error> {
    Ok(Err(words.to_owned()))
}

/// `refs/…`, well formed; only something to delete may lie directly under `refs/`.
fn is_proper_name(command: &Command) -> bool {
    let Some(rest) = command.name.strip_prefix(b"refs/") else { return false };
    object::check_ref_format(&command.name).is_ok() && (command.deletes() || rest.contains(&b'/'))
}

fn check_deletion(
    context: &Context<'_>,
    now: &Now<'_>,
    command: &Command,
    work_tree: Option<&WorkTree>,
    messages: &mut Messages<'_>,
) -> Result<(), Refusal> {
    if !command.deletes() || command.old.is_null() {
        return Ok(());
    }
    let name = &command.name;
    if context.settings.deny_deletes && name.starts_with(b"refs/heads/") {
        messages.error(format!("denying ref deletion for {name}"));
        return Err("deletion prohibited".into());
    }
    let is_head = now.head.as_ref() == Some(&context.namespace.stored(name));
    if work_tree.is_none() && !is_head {
        return Ok(());
    }
    let action = context.settings.deny_delete_current;
    match action {
        DenyAction::Ignore => return Ok(()),
        DenyAction::Warn => {
            messages.warning("deleting the current branch");
            return Ok(());
        }
        DenyAction::Unconfigured => messages.error(explain::DELETE_CURRENT),
        DenyAction::Refuse | DenyAction::UpdateInstead => {}
    }
    messages.error(format!("refusing to delete the current branch: {name}"));
    Err("deletion of the current branch prohibited".into())
}

fn check_fast_forward(
    context: &Context<'_>,
    now: &Now<'_>,
    command: &Command,
    messages: &mut Messages<'_>,
) -> Result<Result<(), Refusal>, Error> {
    let name = &command.name;
    let moves = !command.old.is_null() && !command.deletes();
    if !context.settings.deny_non_fast_forwards || !moves || !name.starts_with(b"refs/heads/") {
        return Ok(Ok(()));
    }
    for id in [&command.old, &command.new] {
        if !matches!(now.objects.header(id)?, Some((Kind::Commit, _))) {
            messages.error(format!("bad sha1 objects for {name}"));
            return refused("bad ref");
        }
    }
    let behind = match history::unreachable(&now.objects, &[command.old], &[command.new]) {
        Ok(unreachable) => unreachable.is_empty(),
        // History ends at a shallow boundary before the old commit was met.
        Err(repository::Error::Missing { .. }) => false,
        Err(error) => return Err(error.into()),
    };
    if behind {
        return Ok(Ok(()));
    }
    messages.error(format!("denying non-fast-forward {name} (you should pull first)"));
    refused("non-fast-forward")
}

fn run_update_hook(context: &Context<'_>, command: &Command, messages: &mut Messages<'_>) -> bool {
    use std::os::unix::ffi::OsStringExt as _;
    let name = std::ffi::OsString::from_vec(command.name.to_vec());
    let args = vec![name, command.old.to_hex().into(), command.new.to_hex().into()];
    let call = Call { event: "update", args, ..Call::default() };
    context.run_hook(&call, messages).refuses()
}

/// The change of the ref that really changes; none when there is nothing to do.
fn plan(
    context: &Context<'_>,
    now: &Now<'_>,
    at: usize,
    command: &mut Command,
    messages: &mut Messages<'_>,
) -> Result<Result<Option<Planned>, Refusal>, Error> {
    let asked = context.namespace.stored(&command.name);
    let resolved = refs::resolve(now.snapshot, asked.as_ref())?;
    let Some(resolved) = resolved else { return Ok(Err("broken symref".into())) };
    let Ok(name) = RefName::new(&resolved.name) else { return Ok(Err("funny refname".into())) };

    let mut expected = match command.old.is_null() {
        true => Expected::MustNotExist,
        false => Expected::MustExistAndMatch(Target::Id(command.old)),
    };
    if command.deletes() && !is_present(now, command)? {
        match resolved.id {
            // Whatever it is now goes away: the client cannot have seen anything better.
            Some(id) => {
                messages.warning("allowing deletion of corrupt ref");
                expected = Expected::MustExistAndMatch(Target::Id(id));
            }
            None => {
                messages.warning("deleting a non-existent ref");
                command.did_not_exist = true;
                return Ok(Ok(None));
            }
        }
    }
    let (change, peeled) = match command.deletes() {
        true => (Change::Delete, Peeled::Unknown),
        false => (Change::Update(Target::Id(command.new)), peeled(now, &command.new)?),
    };
    let reflog = ReflogLine { committer: context.committer.clone(), message: "push".into() };
    let edit = RefEdit { name, expected, change, peeled, reflog: Some(reflog) };
    let (old, new) = (command.old, command.new);
    Ok(Ok(Some(Planned { at, asked, old, new, edit, deployment: None })))
}

/// What the new value peels to, so that the store can note it.
fn peeled(now: &Now<'_>, id: &ObjectId) -> Result<Peeled, Error> {
    Ok(match now.objects.header(id)? {
        None => Peeled::Unknown,
        Some((Kind::Tag, _)) => match now.objects.peel(id) {
            Ok(Some((target, _))) => Peeled::To(target),
            // A tag of something this repository lacks or cannot read.
            Ok(None) | Err(_) => Peeled::Unknown,
        },
        Some(_) => Peeled::NotATag,
    })
}

fn is_present(now: &Now<'_>, command: &Command) -> Result<bool, Error> {
    Ok(!command.old.is_null() && now.objects.contains(&command.old)?)
}

/// A branch may only name a commit. The words of git's refusal, if any.
fn unfit_for_branch(now: &Now<'_>, command: &Command) -> Result<Option<String>, Error> {
    let (name, new) = (&command.name, &command.new);
    if command.deletes() || !name.starts_with(b"refs/heads/") {
        return Ok(None);
    }
    if matches!(now.objects.header(new)?, Some((Kind::Commit, _))) {
        return Ok(None);
    }
    Ok(Some(format!("trying to write non-commit object {new} to branch '{name}'")))
}
