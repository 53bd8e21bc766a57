//! `receive.denyCurrentBranch = updateInstead`: bringing a work tree to the commit that was
//! pushed to its branch, by the `push-to-checkout` hook where there is one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use gitconfig::{Config, IncludeContext, Scope};
use object::ObjectId;

use crate::checkout::{self, Deployment, Site};
use crate::hooks::Call;

use super::checks::Refusal;
use super::context::{Context, Now};
use super::messages::Messages;
use super::worktrees::WorkTree;

/// Updates the work tree, or says why the push must not touch its branch. What the hook did
/// cannot be taken back; what this server did is, when the deployment is dropped.
pub(super) fn deploy(
    context: &Context<'_>,
    now: &Now<'_>,
    work_tree: &WorkTree,
    new: &ObjectId,
    messages: &mut Messages<'_>,
) -> Result<Option<Deployment>, Refusal> {
    if context.has_hook("push-to-checkout") {
        return push_to_checkout(context, work_tree, new, messages).map(|()| None);
    }
    let config = match own_config(context.repo.config(), &work_tree.git_dir) {
        Ok(config) => config,
        Err(error) => {
            messages.error(error.to_string());
            return Err("Up-to-date check failed".into());
        }
    };
    let site = Site {
        work_tree: &work_tree.path,
        git_dir: &work_tree.git_dir,
        attribute_files: attribute_files(context, &config),
        config: &config,
        objects: &now.objects,
    };
    match checkout::deploy(&site, work_tree.commit.as_ref(), new) {
        Ok(deployment) => Ok(Some(deployment)),
        Err(refused) => {
            messages.error(refused.words);
            Err(refused.reason.into())
        }
    }
}

fn push_to_checkout(
    context: &Context<'_>,
    work_tree: &WorkTree,
    new: &ObjectId,
    messages: &mut Messages<'_>,
) -> Result<(), Refusal> {
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

/// The settings as they are seen from a work tree (git-worktree, "CONFIGURATION FILE").
fn own_config(shared: &Config, git_dir: &Path) -> Result<Config, gitconfig::ConfigError> {
    let mut config = shared.clone();
    let file = git_dir.join("config.worktree");
    if config.bool("extensions.worktreeConfig")?.unwrap_or(false) && file.is_file() {
        let own = Config::load_file(&file, Scope::Worktree, &IncludeContext::default())?;
        config.append(own);
    }
    Ok(config)
}

/// Where attributes are written down besides the work tree (gitattributes, "FILES").
fn attribute_files(context: &Context<'_>, config: &Config) -> Vec<PathBuf> {
    let variable = |name| context.environment.get(name).filter(|value| !value.is_empty());
    let mut files = vec![PathBuf::from("/etc/gitattributes")];
    files.extend(context.repo.local().map(|local| local.common_dir.join("info/attributes")));
    files.extend(config.path("core.attributesFile").ok().flatten().or_else(|| {
        let folder = variable("XDG_CONFIG_HOME").map(PathBuf::from);
        let folder = folder.or_else(|| Some(Path::new(variable("HOME")?).join(".config")));
        folder.map(|folder| folder.join("git/attributes"))
    }));
    files
}

fn absolute(path: &Path) -> OsString {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).into_os_string()
}
