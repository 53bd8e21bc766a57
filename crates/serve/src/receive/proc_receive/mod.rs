//! The proc-receive hook: commands that a hook carries out instead of this server
//! (githooks(5), "proc-receive"; `receive.procReceiveRefs`).

mod answer;
mod talk;

use bstr::{BStr, BString, ByteSlice as _};

use crate::hooks::{Hooks, Launch, Program, converse};

use super::commands::Command;
use super::messages::Messages;

/// Which refs go to the hook, and for which changes.
#[derive(Debug, Clone, Default)]
pub struct ProcReceiveRefs {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    create: bool,
    delete: bool,
    modify: bool,
    negated: bool,
    prefix: BString,
}

impl ProcReceiveRefs {
    /// Values of `receive.procReceiveRefs`: `[admc!]…:prefix` or only a prefix.
    pub fn new<'v>(values: impl IntoIterator<Item = &'v BStr>) -> Self {
        ProcReceiveRefs { patterns: values.into_iter().map(Pattern::parse).collect() }
    }

    /// Whether no ref goes to the hook.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    pub(super) fn covers(&self, command: &Command) -> bool {
        let (creates, deletes) = (command.old.is_null(), command.new.is_null());
        self.patterns
            .iter()
            .filter(|pattern| match (creates, deletes) {
                // A command that is both counts as the creation it claims to be first.
                (true, true) => pattern.create && pattern.delete,
                (true, false) => pattern.create,
                (false, true) => pattern.delete,
                (false, false) => pattern.modify,
            })
            .any(|pattern| pattern.is_prefix_of(&command.name) != pattern.negated)
    }
}

impl Pattern {
    fn parse(value: &BStr) -> Pattern {
        let (marks, prefix) = match value.split_once_str(":") {
            Some((marks, prefix)) => (marks, prefix),
            None => (&b"adm"[..], value.as_bytes()),
        };
        Pattern {
            create: marks.contains(&b'a'),
            delete: marks.contains(&b'd'),
            modify: marks.contains(&b'm'),
            negated: marks.contains(&b'!'),
            prefix: prefix.trim_end_with(|byte| byte == '/').into(),
        }
    }

    fn is_prefix_of(&self, name: &[u8]) -> bool {
        let rest = name.strip_prefix(self.prefix.as_slice());
        rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }
}

/// Marks the commands that the hook carries out; false when there are none.
pub(super) fn schedule(patterns: &ProcReceiveRefs, commands: &mut [Command]) -> bool {
    let mut any = false;
    for command in commands.iter_mut().filter(|command| command.is_pending()) {
        if patterns.covers(command) {
            command.proc_receive.scheduled = true;
            any = true;
        }
    }
    any
}

/// What was negotiated with the client and concerns the hook.
#[derive(Debug, Clone, Copy)]
pub(super) struct Negotiated<'a> {
    pub atomic: bool,
    /// The client's push options, when it may send any.
    pub push_options: Option<&'a [BString]>,
}

/// Runs the hook over the scheduled commands and writes down what it says of each.
/// False when the hook failed in a way that concerns commands it said nothing about.
pub(super) fn run(
    hooks: &Hooks<'_>,
    commands: &mut [Command],
    negotiated: Negotiated<'_>,
    messages: &mut Messages<'_>,
) -> bool {
    let Some(path) = hooks.in_folder("proc-receive") else {
        messages.error("cannot find hook 'proc-receive'");
        return false;
    };
    let request = talk::Request::new(commands, negotiated);
    let prepare = |command: &mut std::process::Command| hooks.prepare(command, &[]);
    let program = Program::File(path);
    let launch = Launch { program: &program, args: &[], prepare: &prepare, limits: hooks.limits() };
    let said = converse(&launch, messages, |stdin, stdout| talk::talk(&request, stdin, stdout));
    let (status, said) = match said {
        Ok(ended) => ended,
        Err(error) => {
            messages.error(format!("cannot run {}: {error}", program.display()));
            return false;
        }
    };
    let mut well = status.is_some_and(|status| status.success());
    let words = match said {
        Ok(lines) => answer::apply(&lines, commands, &mut well),
        Err(words) => {
            well = false;
            BString::from(words)
        }
    };
    if status.is_none() {
        let limit = hooks.limits().hook_timeout_ms;
        messages.error(format!("proc-receive hook was killed after {limit} ms"));
    }
    if !words.is_empty() {
        messages.error(words.trim_end_with(|byte| byte == '\n'));
    }
    well
}

#[cfg(test)]
mod tests {
    use super::super::commands::tests::command;
    use super::*;

    #[test]
    fn marks_choose_the_kind_of_change() {
        let covers = |values: &[&str], name: &str, old: u8, new: u8| {
            let patterns = ProcReceiveRefs::new(values.iter().map(|value| BStr::new(*value)));
            patterns.covers(&command(name, old, new))
        };
        assert!(covers(&["refs/for/"], "refs/for/main", 0, 1));
        assert!(!covers(&["refs/for"], "refs/forge", 0, 1));
        assert!(covers(&["ad:refs/heads"], "refs/heads/x", 1, 0));
        assert!(!covers(&["ad:refs/heads"], "refs/heads/x", 1, 2));
        assert!(!covers(&["!:refs/heads"], "refs/tags/x", 0, 0));
        assert!(covers(&["adm!:refs/heads"], "refs/tags/x", 0, 1));
    }
}
