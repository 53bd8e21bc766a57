//! `packhorse repo`: repositories from one place to another, and whether they are whole.

use std::ffi::OsStr;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use object::{HashKind, RefName};
use repository::{Progress, Repository, Silent, forks, transfer, verify};
use storage::{NewRepository, Parts, RepositoryStore, Target};

use crate::cli::{CopyOptions, RepoCommand};
use crate::store::{StoreUrl, StoresConfig};
use crate::terminal::Terminal;

/// Names that are asked for at a time.
const PAGE: usize = 1000;
/// How long somebody else may have a list that is to be changed.
const LOCK_WAIT: Duration = Duration::from_secs(60);
/// The branch of a repository whose `HEAD` names none.
const BRANCH_DEFAULT: &str = "main";

/// Does it, and says what went wrong.
#[allow(clippy::print_stderr)] // Where a command line program says what went wrong.
pub fn run(command: &RepoCommand) -> ExitCode {
    let mut stores = Stores::default();
    let done = match command {
        RepoCommand::Copy { from, to, options } => stores
            .place(from)
            .and_then(|from| Ok((from, stores.place(to)?)))
            .and_then(|(from, to)| copy(&from, &to, options)),
        RepoCommand::Import { from, store, name, options } => {
            import(&mut stores, from, (store, name.as_deref()), options)
        }
        RepoCommand::Export { store, name, directory, options } => {
            let last = name.rsplit('/').next().unwrap_or(name);
            let directory = directory.clone().unwrap_or_else(|| format!("{last}.git").into());
            StoreUrl::parse(store)
                .and_then(|url| stores.named(url, name))
                .and_then(|from| copy(&from, &Place::Directory(directory), options))
        }
        RepoCommand::Fsck { repositories, quiet } => fsck(&mut stores, repositories, *quiet),
        RepoCommand::List { store } => list(store),
        RepoCommand::Fork { from, name, wait } => fork(&mut stores, from, name, *wait),
        RepoCommand::Separate { repository, grace, quiet } => {
            separate(&mut stores, repository, *grace, *quiet)
        }
        RepoCommand::Config { repository, key, value, file } => configure(
            &mut stores,
            repository,
            key.as_deref().zip(value.as_deref()),
            file.as_deref(),
        ),
        RepoCommand::Remove { repository } => remove(&mut stores, repository),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(words) => {
            eprintln!("packhorse: {words}");
            ExitCode::FAILURE
        }
    }
}

/// Where a repository is, or is to be.
enum Place {
    Directory(PathBuf),
    Named { store: Arc<dyn RepositoryStore>, url: StoreUrl, name: String },
}

/// Stores that are open: each is opened once.
#[derive(Default)]
struct Stores(Vec<(StoreUrl, Arc<dyn RepositoryStore>)>);

impl Stores {
    /// A directory, or `STORE#NAME`.
    fn place(&mut self, text: &str) -> Result<Place, String> {
        match StoreUrl::parse_with_name(text)? {
            Some((url, name)) => self.named(url, &name),
            None => Ok(Place::Directory(text.into())),
        }
    }

    fn named(&mut self, url: StoreUrl, name: &str) -> Result<Place, String> {
        let name = name.strip_suffix(".git").unwrap_or(name).to_owned();
        storage::check_repository_name(&name).map_err(|error| error.to_string())?;
        let store = match self.0.iter().find(|(open, _)| *open == url) {
            Some((_, store)) => store.clone(),
            None => {
                let store = url.open(&StoresConfig::default())?;
                self.0.push((url.clone(), store.clone()));
                store
            }
        };
        Ok(Place::Named { store, url, name })
    }
}

impl Place {
    /// What the repository is opened from; `None` when there is none.
    fn parts(&self) -> Result<Option<Parts>, String> {
        let words = |error: storage::Error| format!("{self}: {error}");
        match self {
            Place::Directory(path) => match storage_disk::discover(path, false) {
                Ok(git_dir) => {
                    let variable = Arc::new(|name: &str| std::env::var_os(name));
                    let options = storage_disk::OpenOptions { variable, ..Default::default() };
                    storage_disk::open(&git_dir, &options).map(Some).map_err(words)
                }
                Err(storage::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(words(error)),
            },
            Place::Named { store, name, .. } => store.parts(name).map_err(words),
        }
    }

    fn open(&self) -> Result<Repository, String> {
        let parts = self.parts()?.ok_or_else(|| format!("there is no repository at '{self}'"))?;
        Ok(Repository::open(parts, repository::Settings::default()))
    }

    /// The repository's own configuration, as text.
    fn config(&self, parts: &Parts) -> Result<Vec<u8>, String> {
        let words = |error: &dyn std::fmt::Display| format!("{self}: {error}");
        match (self, &parts.local) {
            (Place::Named { store, name, .. }, _) => {
                let stored = store.find(name).map_err(|error| words(&error))?;
                Ok(stored.map(|stored| stored.config).unwrap_or_default())
            }
            (Place::Directory(_), Some(local)) => {
                let text = std::fs::read(local.common_dir.join("config"))
                    .map_err(|error| words(&error))?;
                Ok(for_a_copy(&text))
            }
            (Place::Directory(_), None) => Ok(Vec::new()),
        }
    }

    /// Makes an empty repository.
    fn create(&self, hash: HashKind, head: RefName, config: &[u8]) -> Result<(), String> {
        match self {
            Place::Directory(path) => {
                let head = head.to_string();
                let branch = head.strip_prefix("refs/heads/").unwrap_or(BRANCH_DEFAULT);
                storage_disk::init_bare_with(path, hash, branch, Some(config))
            }
            Place::Named { store, name, .. } => {
                store.create(name, &NewRepository { hash, head, config }).map(|_| ())
            }
        }
        .map_err(|error| format!("cannot make '{self}': {error}"))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Directory(path) => path.display().fmt(f),
            Place::Named { url, name, .. } => write!(f, "{url}#{name}"),
        }
    }
}

/// A configuration for a copy, which has no work tree and keeps refs in its own way.
fn for_a_copy(text: &[u8]) -> Vec<u8> {
    let mut copy = Vec::with_capacity(text.len() + 32);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let words = line.trim_ascii_start().to_ascii_lowercase();
        let names = [&b"worktree"[..], b"worktreeconfig", b"refstorage"];
        let is_about_it = names.iter().any(|name| {
            let rest = words.strip_prefix(*name).map(<[u8]>::trim_ascii_start);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"="))
        });
        if !is_about_it {
            copy.extend_from_slice(line);
        }
    }
    copy.extend_from_slice(b"\n[core]\n\tbare = true\n");
    copy
}

/// What a directory is called.
fn own_name(directory: &Path) -> Result<String, String> {
    let absolute = std::path::absolute(directory).map_err(|error| error.to_string())?;
    Ok(absolute.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

fn import(
    stores: &mut Stores,
    from: &Path,
    (store, name): (&str, Option<&str>),
    options: &CopyOptions,
) -> Result<bool, String> {
    let store = StoreUrl::parse(store)?;
    let Some(url) = from.to_str().filter(|text| !from.exists() && is_url(text)) else {
        let name = name.map_or_else(|| own_name(from), |name| Ok(name.to_owned()))?;
        return copy(&Place::Directory(from.to_owned()), &stores.named(store, &name)?, options);
    };
    let last = url.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
    let to = stores.named(store, name.unwrap_or(last))?;
    let scratch = tempfile::Builder::new().prefix("packhorse-import-").tempdir();
    let scratch = scratch.map_err(|error| format!("no room to clone '{url}': {error}"))?;
    let mirror = scratch.path().join("mirror.git");
    // Git knows the roads, the credentials and the user's settings for both.
    let git = |args: &[&OsStr]| {
        let status = std::process::Command::new("git").args(args).status();
        let status = status.map_err(|error| format!("cannot run git to clone '{url}': {error}"))?;
        status.success().then_some(()).ok_or_else(|| format!("git could not clone '{url}'"))
    };
    let progress = match !options.quiet && io::stderr().is_terminal() {
        true => "--progress",
        false => "--quiet",
    };
    let word = OsStr::new;
    let mirror_too = mirror.as_os_str();
    git(&[word("clone"), word("--mirror"), word(progress), word("--"), word(url), mirror_too])?;
    // Where it came from is nobody's affair, and may have a password in it.
    let origin = [word("config"), word("--remove-section"), word("remote.origin")];
    git(&[&[word("--git-dir"), mirror_too][..], &origin].concat())?;
    copy(&Place::Directory(mirror), &to, options)
}

/// Whether git takes it for a URL, or for `HOST:PATH` (git-clone(1), "GIT URLS").
fn is_url(text: &str) -> bool {
    let before_path = text.split('/').next().unwrap_or_default();
    text.contains("://") || before_path.contains(':')
}

#[allow(clippy::print_stdout)] // What was done is this command's answer.
fn copy(from: &Place, to: &Place, options: &CopyOptions) -> Result<bool, String> {
    let source = from.open()?;
    let hash = source.hash();
    match to.parts()? {
        None => {
            let head = source.refs().snapshot().and_then(|refs| refs.get("HEAD".into()));
            let head = head.map_err(|error| format!("{from}: {error}"))?.map(|head| head.target);
            let head = match head {
                Some(Target::Symbolic(name)) => name,
                _ => RefName::new(format!("refs/heads/{BRANCH_DEFAULT}")).expect("a valid name"),
            };
            to.create(hash, head, &from.config(source.parts())?)?;
        }
        Some(there) if there.hash != hash => {
            let (one, other) = (hash.name(), there.hash.name());
            return Err(format!("'{from}' names objects by {one}, '{to}' by {other}"));
        }
        Some(there) if !options.update && has_refs(&there).map_err(|e| e.to_string())? => {
            return Err(format!(
                "'{to}' has refs; --update makes it the same as '{from}', and removes refs that \
                 one does not have"
            ));
        }
        Some(_) => {}
    }
    let copied = with_progress(options.quiet, |progress| {
        transfer::copy(&source, &to.open()?, progress).map_err(|error| format!("{from}: {error}"))
    })?;
    if !options.quiet {
        let transfer::Transfer { files, bytes, kept, refs, moved, .. } = copied;
        println!(
            "{to}: {files} files copied ({bytes} bytes), {kept} were there; {refs} refs, {moved} \
             changed; nothing is missing"
        );
    }
    Ok(true)
}

fn has_refs(parts: &Parts) -> Result<bool, storage::Error> {
    let mut has_one = false;
    parts.refs.snapshot()?.scan("refs/".into(), &mut |_| {
        has_one = true;
        std::ops::ControlFlow::Break(())
    })?;
    Ok(has_one)
}

#[allow(clippy::print_stdout)] // What was found is this command's answer.
fn fsck(stores: &mut Stores, repositories: &[String], quiet: bool) -> Result<bool, String> {
    let mut whole = true;
    for text in repositories {
        let place = stores.place(text)?;
        let repository = place.open()?;
        let scratch = Scratch::new(repository.hash())?;
        let found = with_progress(quiet, |progress| {
            verify::verify(&repository, &scratch.repository()?, progress)
                .map_err(|error| format!("{place}: {error}"))
        })?;
        for line in &found.complaints {
            println!("{line}");
        }
        let verify::Verified { packs, packed, loose, refs, errors, .. } = found;
        whole &= errors == 0;
        if !quiet {
            let verdict = match errors {
                0 => "nothing is missing or damaged".to_owned(),
                1 => "1 error".to_owned(),
                errors => format!("{errors} errors"),
            };
            println!(
                "{place}: {packed} objects in {packs} packs, {loose} loose ones, {refs} refs; \
                 {verdict}"
            );
        }
    }
    Ok(whole)
}

/// A directory that packs are taken into and thrown away.
struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    fn new(hash: HashKind) -> Result<Self, String> {
        let directory = tempfile::Builder::new().prefix("packhorse-fsck-").tempdir();
        let directory = directory.map_err(|error| format!("no room to check packs in: {error}"))?;
        storage_disk::init_bare(&directory.path().join("scratch.git"), hash, BRANCH_DEFAULT)
            .map_err(|error| error.to_string())?;
        Ok(Scratch { directory })
    }

    fn repository(&self) -> Result<Repository, String> {
        let durability = Some(storage_disk::Durability::None);
        let options = storage_disk::OpenOptions { durability, ..Default::default() };
        let parts = storage_disk::open(&self.directory.path().join("scratch.git"), &options);
        let parts = parts.map_err(|error| error.to_string())?;
        Ok(Repository::open(parts, repository::Settings::default()))
    }
}

#[allow(clippy::print_stdout)] // What was found is this command's answer.
fn list(url: &str) -> Result<bool, String> {
    let store = StoreUrl::parse(url)?.open(&StoresConfig::default())?;
    let mut after = String::new();
    loop {
        let names = store.names(&after, PAGE).map_err(|error| format!("{url}: {error}"))?;
        let Some(last) = names.last() else { return Ok(true) };
        after.clone_from(last);
        names.iter().for_each(|name| println!("{name}"));
    }
}

fn fork(stores: &mut Stores, from: &str, name: &str, wait: u64) -> Result<bool, String> {
    let Place::Named { store, name: lender, url } = &stores.place(from)? else {
        return Err(format!(
            "'{from}' is not in a store; of a directory, git clone --shared makes one"
        ));
    };
    let name = name.strip_suffix(".git").unwrap_or(name);
    let made = forks::fork(&**store, lender, name, Duration::from_secs(wait));
    match made.map_err(|error| format!("{from}: {error}"))? {
        true => Ok(true),
        false => Err(format!("there is a repository at '{url}#{name}'")),
    }
}

/// Shows a repository's configuration, sets a key at its end, or puts a file in its place.
fn configure(
    stores: &mut Stores,
    text: &str,
    set: Option<(&str, &str)>,
    file: Option<&Path>,
) -> Result<bool, String> {
    let Place::Named { store, name, .. } = &stores.place(text)? else {
        return Err(format!("'{text}' is not in a store; git config is for directories"));
    };
    let words = |error: &dyn std::fmt::Display| format!("{text}: {error}");
    let found = store.find(name).map_err(|error| words(&error))?;
    let found = found.ok_or_else(|| format!("there is no repository at '{text}'"))?;
    let config = match (set, file) {
        (None, None) => {
            let mut out = io::stdout().lock();
            return out.write_all(&found.config).map(|()| true).map_err(|error| words(&error));
        }
        (Some((key, value)), _) => {
            let lines = gitconfig::entry_text(key, value).map_err(|error| words(&error))?;
            [&*found.config, b"\n", lines.as_bytes()].concat()
        }
        (None, Some(file)) if file == Path::new("-") => {
            let mut config = Vec::new();
            io::stdin().read_to_end(&mut config).map_err(|error| words(&error))?;
            config
        }
        (None, Some(file)) => {
            std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?
        }
    };
    let borrows = |config: &[u8]| {
        let config = gitconfig::Config::parse(config, gitconfig::Scope::Local, Path::new(name))?;
        config.bool(storage::forks::BORROWS_KEY)
    };
    let (before, after) =
        (borrows(&found.config), borrows(&config).map_err(|error| words(&error))?);
    if before.ok().flatten().unwrap_or(false) != after.unwrap_or(false) {
        let key = storage::forks::BORROWS_KEY;
        return Err(format!("{text}: {key} has to stay as it is; 'repo separate' ends borrowing"));
    }
    match store.configure(name, &found, &config).map_err(|error| words(&error))? {
        true => Ok(true),
        false => Err(format!("{text}: somebody else changed it at the same time; try again")),
    }
}

#[allow(clippy::print_stdout)] // What was done is this command's answer.
fn separate(stores: &mut Stores, text: &str, grace: u64, quiet: bool) -> Result<bool, String> {
    let Place::Named { store, name, .. } = &stores.place(text)? else {
        return Err(format!(
            "'{text}' is not in a store; in a directory, git repack -a -d does it"
        ));
    };
    let copied = with_progress(quiet, |progress| {
        forks::separate(&**store, name, (LOCK_WAIT, Duration::from_secs(grace)), progress)
            .map_err(|error| format!("{text}: {error}"))
    })?;
    if !quiet {
        let transfer::Transfer { files, bytes, .. } = copied;
        println!("{text}: {files} files copied ({bytes} bytes); it borrows nothing");
    }
    Ok(true)
}

fn remove(stores: &mut Stores, text: &str) -> Result<bool, String> {
    let Place::Named { store, name, .. } = &stores.place(text)? else {
        return Err(format!("'{text}' is not in a store; a directory is removed as any other"));
    };
    let removed = forks::remove(&**store, name, LOCK_WAIT);
    match removed.map_err(|error| format!("{text}: {error}"))? {
        true => Ok(true),
        false => Err(format!("there is no repository at '{text}'")),
    }
}

/// Shows progress where somebody looks.
fn with_progress<T>(quiet: bool, work: impl FnOnce(&mut dyn Progress) -> T) -> T {
    match !quiet && io::stderr().is_terminal() {
        true => work(&mut Terminal::default()),
        false => work(&mut Silent),
    }
}
