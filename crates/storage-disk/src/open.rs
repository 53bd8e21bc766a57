//! From a git directory to the parts a repository is made of.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bstr::ByteSlice as _;
use gitconfig::{Config, ConfigError, IncludeContext, Scope};
use storage::{BlobStore, Error, LocalPaths, Parts, RefStore, Result};

use crate::alternates;
use crate::blobs::DiskBlobs;
use crate::disk::{BeforeChange, Disk, Durability};
use crate::format::{RefFormat, RepositoryFormat};
use crate::gitdir::{self, common_dir};
use crate::refs::{FilesRefs, RefSettings};
use crate::shared::SharedPermissions;
use crate::table_refs::TableRefs;
use crate::worktree::RefDirs;

/// Looks up an environment variable.
pub type Variable = Arc<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// What, beside the repository itself, decides how it is opened.
#[derive(Clone)]
pub struct OpenOptions {
    /// The environment that configuration is read by (`HOME`, `GIT_CONFIG_NOSYSTEM`,
    /// `GIT_CONFIG_PARAMETERS`, …). Default: no variable is set.
    pub variable: Variable,
    /// Settings that win over all others. Default: none.
    pub config: Config,
    /// The objects directory, in place of the repository's own (`GIT_OBJECT_DIRECTORY`).
    pub objects_dir: Option<PathBuf>,
    /// More objects directories to borrow from (`GIT_ALTERNATE_OBJECT_DIRECTORIES`).
    pub alternate_dirs: Option<OsString>,
    /// Whether acknowledged changes are synced. Default: unless `core.fsync` is `none`.
    pub durability: Option<Durability>,
    /// A transaction that changes at least this many refs that are not loose, with known peeled
    /// values, writes them straight into `packed-refs`, all at once. Default: 50.
    pub packed_refs_min: usize,
    /// Whoever watches refs looks at them this often although nothing was heard of a change, for disks
    /// that tell nothing of what other machines do. Default: a minute.
    pub watch_poll: Duration,
    /// Called before every change of the file system. Default: nothing.
    pub before_change: Option<BeforeChange>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions {
            variable: Arc::new(|_| None),
            config: Config::empty(),
            objects_dir: None,
            alternate_dirs: None,
            durability: None,
            packed_refs_min: 50,
            watch_poll: Duration::from_secs(60),
            before_change: None,
        }
    }
}

/// Opens the repository whose git directory `discover` found.
///
/// # Errors
/// [`Error::NotFound`] when it is none, [`Error::Unsupported`] when its format is not
/// understood, [`Error::Corrupt`] for a broken configuration.
pub fn open(git_dir: &Path, options: &OpenOptions) -> Result<Parts> {
    let git_dir =
        std::path::absolute(git_dir).map_err(|source| Error::io(git_dir.display(), source))?;
    if !gitdir::is_git_directory(&git_dir) {
        return Err(Error::not_found(format!("repository '{}'", git_dir.display())));
    }
    let common_dir = common_dir(&git_dir)?;
    let format = read_format(&common_dir)?;
    let config = load_config(&git_dir, &common_dir, options)?;
    let disk = Disk {
        durability: options.durability.unwrap_or_else(|| durability_of(&config)),
        shared: SharedPermissions::from_config(&config)?,
        before_change: options.before_change.clone(),
        syncs: Default::default(),
    };
    let objects_dir = options.objects_dir.clone().unwrap_or_else(|| common_dir.join("objects"));
    let alternate_dirs = alternates::find(&objects_dir, options.alternate_dirs.as_deref())?;
    let work_tree = work_tree(&git_dir, &common_dir, &config);
    let settings = RefSettings {
        packed_refs_min: options.packed_refs_min,
        watch_poll: options.watch_poll,
        ..RefSettings::from_config(&config, work_tree.is_none())?
    };
    let dirs = RefDirs { git_dir: git_dir.clone(), common_dir: common_dir.clone() };
    let refs = refs_of(dirs, &format, settings, &config, &disk)?;
    let alternate_refs = alternate_dirs.iter().filter_map(|dir| alternate_refs(dir, &format));
    Ok(Parts {
        refs,
        blobs: Arc::new(DiskBlobs::with_disk(&objects_dir, disk.clone())),
        alternates: alternate_dirs
            .iter()
            .map(|dir| Arc::new(DiskBlobs::with_disk(dir, disk.clone())) as Arc<dyn BlobStore>)
            .collect(),
        alternate_refs: alternate_refs.collect(),
        alternate_refs_prefixes: config
            .string("core.alternateRefsPrefixes")
            .map(|list| list.fields().map(|prefix| prefix.into()).collect())
            .unwrap_or_default(),
        hash: format.hash,
        config,
        local: Some(LocalPaths { git_dir, common_dir, work_tree, objects_dir, alternate_dirs }),
    })
}

/// The refs, in the form they are kept in.
fn refs_of(
    dirs: RefDirs,
    format: &RepositoryFormat,
    settings: RefSettings,
    config: &Config,
    disk: &Disk,
) -> Result<Arc<dyn RefStore>> {
    match format.refs {
        RefFormat::Files => Ok(Arc::new(FilesRefs::new(dirs, format.hash, settings, disk.clone()))),
        RefFormat::Tables if dirs.git_dir != dirs.common_dir => Err(Error::Unsupported {
            what: dirs.git_dir.display().to_string(),
            detail: format!(
                "{}: a linked work tree of a repository with reftables is not supported yet",
                dirs.git_dir.display()
            ),
        }),
        RefFormat::Tables => {
            let settings = RefSettings { lock_wait: TableRefs::lock_wait(config)?, ..settings };
            Ok(Arc::new(TableRefs::new(dirs, format.hash, settings, disk.clone())))
        }
    }
}

fn read_format(common_dir: &Path) -> Result<RepositoryFormat> {
    let file = common_dir.join("config");
    // The format counts as it stands in this file; includes are for other settings.
    let text = match gitdir::read_limited(&file, u64::MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(|source| Error::io(file.display(), source))?,
    };
    let local = Config::parse(&text, Scope::Local, &file).map_err(|e| config_error(&file, e))?;
    RepositoryFormat::read(&local, common_dir)
}

fn load_config(git_dir: &Path, common_dir: &Path, options: &OpenOptions) -> Result<Config> {
    let branch = gitdir::read_limited(&git_dir.join("HEAD"), 4096).ok().and_then(|head| {
        let target = head.strip_prefix(b"ref:")?.trim().strip_prefix(b"refs/heads/")?;
        Some(target.into())
    });
    let context =
        IncludeContext { git_dir: Some(git_dir.to_owned()), branch, ..IncludeContext::default() };
    let file = common_dir.join("config");
    let worktree = git_dir.join("config.worktree");
    let variable = |name: &str| (options.variable)(name);
    let mut config = Config::load_standard(&variable, Some(&file), Some(&worktree), &context)
        .map_err(|error| config_error(&file, error))?;
    config.append(options.config.clone());
    Ok(config)
}

fn config_error(file: &Path, error: ConfigError) -> Error {
    Error::corrupt(file.display(), error)
}

/// Only `none` turns syncing off; a choice of components is git's fine tuning, not ours.
fn durability_of(config: &Config) -> Durability {
    match config.string("core.fsync") {
        Some(value) if value == "none" => Durability::None,
        _ => Durability::Fsync,
    }
}

/// The directory files are checked out in; `None` for a bare repository.
fn work_tree(git_dir: &Path, common_dir: &Path, config: &Config) -> Option<PathBuf> {
    if git_dir != common_dir {
        // A linked work tree: `gitdir` names the `.git` file in it.
        let link = gitdir::read_limited(&git_dir.join("gitdir"), 1 << 16).ok()?;
        let link = git_dir.join(OsStr::from_bytes(link.trim_end()));
        return link.parent().map(Path::to_owned);
    }
    let named_dot_git = git_dir.file_name() == Some(OsStr::new(".git"));
    if config.bool("core.bare").ok().flatten().unwrap_or(!named_dot_git) {
        return None;
    }
    match config.path("core.worktree") {
        Ok(Some(path)) => Some(git_dir.join(path)),
        _ if named_dot_git => git_dir.parent().map(Path::to_owned),
        _ => None,
    }
}

/// The refs of the repository an alternate objects directory belongs to, if it is one whose
/// refs can be read here.
fn alternate_refs(objects_dir: &Path, own: &RepositoryFormat) -> Option<Arc<dyn RefStore>> {
    let git_dir = objects_dir.parent().filter(|_| objects_dir.ends_with("objects"))?;
    if !git_dir.join("refs").is_dir() {
        return None;
    }
    match read_format(git_dir) {
        Ok(format) if format.hash == own.hash => {
            let dirs = RefDirs { git_dir: git_dir.to_owned(), common_dir: git_dir.to_owned() };
            let (settings, disk) = (RefSettings::default(), Disk::default());
            refs_of(dirs, &format, settings, &Config::empty(), &disk).ok()
        }
        Ok(_) => None,
        Err(error) => {
            tracing::warn!("leaving out the refs of an alternate: {error}");
            None
        }
    }
}
