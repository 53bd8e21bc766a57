//! One ref under two names: a push to a symbolic ref and to its target at once.

use std::collections::HashMap;

use bstr::BString;
use storage::RefSnapshot;

use crate::{Error, Namespace};

use super::commands::{Command, abbreviated};
use super::messages::Messages;
use super::refs;

/// Sees to it that no ref is changed by two commands. Of two that agree, the one for the
/// target is carried out; two that contradict each other are both refused.
pub(super) fn check(
    snapshot: &dyn RefSnapshot,
    namespace: &Namespace,
    commands: &mut [Command],
    messages: &mut Messages<'_>,
) -> Result<(), Error> {
    let by_name: HashMap<BString, usize> =
        commands.iter().enumerate().map(|(at, command)| (command.name.clone(), at)).collect();
    for at in 0..commands.len() {
        if commands[at].error.is_some() {
            continue;
        }
        let stored = namespace.stored(&commands[at].name);
        let Some(resolved) = refs::resolve(snapshot, stored.as_ref())? else {
            let command = &mut commands[at];
            messages.error(format!("refusing update to broken symref '{}'", command.name));
            command.skip_update = true;
            command.refuse("broken symref");
            continue;
        };
        if !resolved.symbolic {
            continue;
        }
        let shown = namespace.shown(&resolved.name);
        if let Some(&target) = shown.and_then(|name| by_name.get(name)) {
            reconcile(commands, at, target, messages);
        }
    }
    Ok(())
}

fn reconcile(commands: &mut [Command], alias: usize, target: usize, messages: &mut Messages<'_>) {
    commands[alias].skip_update = true;
    let (one, other) = (&commands[alias], &commands[target]);
    if (one.old, one.new) == (other.old, other.new) {
        return;
    }
    messages.error(format!(
        "refusing inconsistent update between symref '{}' ({}..{}) and its target '{}' ({}..{})",
        one.name,
        abbreviated(&one.old),
        abbreviated(&one.new),
        other.name,
        abbreviated(&other.old),
        abbreviated(&other.new),
    ));
    commands[target].skip_update = true;
    for at in [alias, target] {
        commands[at].refuse("inconsistent aliased update");
    }
}
