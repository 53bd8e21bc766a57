//! `receive.denyCurrentBranch = updateInstead`: bringing a work tree to the commit that was
//! pushed to its branch, by the `push-to-checkout` hook.

use std::ffi::OsString;
use std::path::Path;

use object::ObjectId;

use crate::hooks::Call;

use super::checks::Refusal;
use super::context::Context;
use super::messages::Messages;
use super::worktrees::WorkTree;

/// Updates the work tree, or says why the push must not touch its branch.
pub(super) fn deploy(
    context: &Context<'_>,
    work_tree: &WorkTree,
    new: &ObjectId,
    messages: &mut Messages<'_>,
) -> Result<(), Refusal> {
    if !context.has_hook("push-to-checkout") {
        messages.error("updateInstead needs a push-to-checkout hook in this repository");
        return Err("Could not update working tree to new HEAD".into());
    }
    let env: Vec<(OsString, OsString)> = vec![
        ("GIT_DIR".into(), absolute(&work_tree.git_dir)),
        ("GIT_WORK_TREE".into(), absolute(&work_tree.path)),
    ];
    let args = vec![new.to_hex().into()];
    let call = Call { event: "push-to-checkout", args, env, stdin: None };
    match context.run_hook(&call, messages).refuses() {
        true => Err("push-to-checkout hook declined".into()),
        false => Ok(()),
    }
}

fn absolute(path: &Path) -> OsString {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).into_os_string()
}
