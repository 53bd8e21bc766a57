//! What the repositories that objects are borrowed from have: tips a client need not send.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read};
use std::ops::ControlFlow;
use std::process::Command;

use bstr::BString;
use object::{HashKind, ObjectId};
use repository::Repository;
use storage::RefSnapshot;

use crate::Error;
use crate::hooks::{Hooks, Launch, Program, Relay, converse};

use super::advertise::each_ref;

/// How many tips one alternate may name by `core.alternateRefsCommand`.
const TIPS_MAX: usize = 1 << 20;
/// The longest line of `core.alternateRefsCommand` that is read, in bytes.
const LINE_BYTES_MAX: u64 = 1 << 10;

/// Visits the tips of all alternates until `visit` breaks: what `core.alternateRefsCommand`
/// says where it is set and there is somebody to run it, otherwise their refs.
pub(super) fn each_tip(
    repo: &Repository,
    hooks: Option<&Hooks<'_>>,
    visit: &mut dyn FnMut(ObjectId) -> ControlFlow<()>,
) -> Result<(), Error> {
    let command = repo.config().string("core.alternateRefsCommand");
    if let (Some(command), Some(hooks), Some(local)) = (command, hooks, repo.local()) {
        for objects in &local.alternate_dirs {
            let Some(git_dir) = objects.parent().filter(|dir| dir.join("refs").is_dir()) else {
                continue;
            };
            let tips = ask(repo, hooks, os(command), git_dir.as_os_str().to_owned());
            if tips.into_iter().any(|tip| visit(tip).is_break()) {
                break;
            }
        }
        return Ok(());
    }
    for alternate in &repo.parts().alternate_refs {
        refs_of(repo, &*alternate.snapshot()?, visit)?;
    }
    Ok(())
}

fn refs_of(
    repo: &Repository,
    snapshot: &dyn RefSnapshot,
    visit: &mut dyn FnMut(ObjectId) -> ControlFlow<()>,
) -> Result<(), Error> {
    let whole = [BString::from("refs/")];
    let prefixes = match repo.parts().alternate_refs_prefixes.as_slice() {
        [] => &whole[..],
        prefixes => prefixes,
    };
    for prefix in prefixes {
        each_ref(snapshot, prefix.as_ref(), &mut |_, id| visit(id))?;
    }
    Ok(())
}

/// Runs the command for one alternate. It prints an id a line; anything else ends it.
fn ask(
    repo: &Repository,
    hooks: &Hooks<'_>,
    command: OsString,
    git_dir: OsString,
) -> Vec<ObjectId> {
    let prepare = |command: &mut Command| {
        hooks.prepare(command, &[]);
        // It is about another repository.
        command.env_remove("GIT_DIR");
    };
    let program = Program::Shell(command);
    let args = [git_dir];
    let launch =
        Launch { program: &program, args: &args, prepare: &prepare, limits: hooks.limits() };
    let hash = repo.hash();
    let ended = converse(&launch, &mut Unheard, |stdin, stdout| {
        drop(stdin);
        read_ids(stdout, hash)
    });
    match ended {
        Ok((status, (ids, understood))) => {
            if !understood || !status.is_some_and(|status| status.success()) {
                tracing::warn!("core.alternateRefsCommand failed or said something else");
            }
            ids
        }
        Err(error) => {
            tracing::warn!("cannot run core.alternateRefsCommand: {error}");
            Vec::new()
        }
    }
}

/// The ids, and whether there was nothing else.
fn read_ids(output: impl Read, hash: HashKind) -> (Vec<ObjectId>, bool) {
    let mut output = BufReader::new(output);
    let mut ids = Vec::new();
    while ids.len() < TIPS_MAX {
        let mut line = Vec::new();
        match (&mut output).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) => return (ids, true),
            Ok(_) => {}
            Err(_) => return (ids, false),
        }
        match ObjectId::from_hex_of(line.strip_suffix(b"\n").unwrap_or(&line), hash) {
            Some(id) => ids.push(id),
            None => return (ids, false),
        }
    }
    (ids, false)
}

/// Nobody listens before the refs are advertised.
struct Unheard;

impl Relay for Unheard {
    fn output(&mut self, bytes: &[u8]) {
        tracing::warn!("core.alternateRefsCommand: {}", String::from_utf8_lossy(bytes));
    }

    fn idle(&mut self) {}
}

fn os(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStringExt as _;
    OsString::from_vec(bytes.to_vec())
}
