//! Refs that cannot be made while others are there: `refs/a` beside `refs/a/b`.
//!
//! The store refuses them too, once the objects are published; who is refused here leaves
//! nothing behind.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use bstr::{BStr, BString, ByteSlice as _};
use object::RefName;
use storage::{CommitError, RefSnapshot, prefixes_of};

use crate::{Error, Namespace};

use super::commands::{Command, refuse_rest};
use super::messages::Messages;

/// Refuses the commands that would make a ref which one that stays is in the way of. Of an atomic
/// push all are refused then.
pub(super) fn check(
    snapshot: &dyn RefSnapshot,
    namespace: &Namespace,
    commands: &mut [Command],
    atomic: bool,
    messages: &mut Messages<'_>,
) -> Result<(), Error> {
    // Deletions come first, and make room.
    let deleted: BTreeSet<BString> = commands
        .iter()
        .filter(|command| command.deletes() && command.error.is_none())
        .map(|command| namespace.stored(&command.name))
        .collect();
    for command in commands.iter_mut() {
        let makes = command.old.is_null() && !command.deletes() && command.is_pending();
        // What the proc-receive hook takes over need not become a ref of this name.
        if !makes || command.proc_receive.scheduled {
            continue;
        }
        let stored = namespace.stored(&command.name);
        let Ok(name) = RefName::new(&stored) else { continue };
        let Some(with) = in_the_way(snapshot, stored.as_ref(), &deleted)? else { continue };
        messages.error(CommitError::NameConflict { name, with }.to_string());
        if atomic {
            refuse_rest(commands, "atomic transaction failed");
            return Ok(());
        }
        command.refuse("refname conflict");
    }
    Ok(())
}

/// A ref whose name is a folder of `name`, or lies in `name` as a folder.
fn in_the_way(
    snapshot: &dyn RefSnapshot,
    name: &BStr,
    deleted: &BTreeSet<BString>,
) -> Result<Option<BString>, Error> {
    for prefix in prefixes_of(name) {
        if !deleted.contains(prefix) && snapshot.get(prefix)?.is_some() {
            return Ok(Some(prefix.to_owned()));
        }
    }
    let folder = [name.as_bytes(), b"/"].concat();
    let mut found = None;
    snapshot.scan(folder.as_bstr(), &mut |inner| {
        if deleted.contains(inner.name) {
            return ControlFlow::Continue(());
        }
        found = Some(inner.name.to_owned());
        ControlFlow::Break(())
    })?;
    Ok(found)
}
