//! What somebody is told who comes without a command.

use std::fmt::Write as _;

use host::{Caller, Host};

/// Repositories named; of more, so many.
const NAMED_MAX: usize = 20;

/// Who he is, and what he may read.
pub(crate) fn greeting(host: &Host, caller: &Caller) -> String {
    let name = caller.identity.as_ref().map_or("somebody", |identity| identity.user.as_str());
    let mut text = format!("Hello {name}, this is {}. There is no shell here.\n", host.agent());
    match host.list(caller, NAMED_MAX) {
        Err(refusal) => {
            let _ = writeln!(text, "{}", refusal.words_for_peer());
        }
        Ok((names, _)) if names.is_empty() => {
            text.push_str("There is no repository you may read.\n")
        }
        Ok((names, more)) => {
            text.push_str("You may read:\n");
            for repository in &names {
                let _ = writeln!(text, "  {}", repository.name);
            }
            text.push_str(if more { "  and more\n" } else { "" });
        }
    }
    text
}
