//! The repository that is not there yet: what a push to a new name would find.

use std::sync::Arc;

use gitconfig::{Config, IncludeContext};
use object::RefName;
use repository::Repository;
use storage::{MemoryBlobs, MemoryRefs, Parts};

use crate::settings::{Settings, Variable};

/// An empty repository in memory, with the user's and the system's configuration, as
/// `create_on_push` would make it on disk.
pub(crate) fn repository(settings: &Settings) -> Result<Repository, storage::Error> {
    let config = standard_config(&settings.variable)?;
    let branch = format!("refs/heads/{}", settings.create_branch);
    let head = RefName::new(&branch).map_err(|error| storage::Error::corrupt(branch, error))?;
    let hash = settings.create_hash;
    let refs = Arc::new(MemoryRefs::new(hash, head));
    let parts = Parts::alone(refs, Arc::new(MemoryBlobs::new()), config, hash);
    Ok(Repository::open(parts, settings.engine.clone()))
}

/// What the system and the user have set, of which every repository's configuration begins.
pub(crate) fn standard_config(variable: &Variable) -> Result<Config, storage::Error> {
    Config::load_standard(&|name| variable(name), None, None, &IncludeContext::default())
        .map_err(|error| storage::Error::corrupt("configuration", error))
}
