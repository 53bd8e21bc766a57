//! From names to repositories: a folder of them, one alone, any path of this machine, or a
//! store of many.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use repository::Repository;
use storage::{Parts, RepositoryStore, RoutedStore, Stored};
use storage_disk::{Discovered, OpenOptions};

use crate::empty::standard_config;
use crate::search::{Listed, search};
use crate::settings::{Settings, Variable};
use crate::{Location, PathRules, Refusal, RepositoryName, creation};

/// What is served.
enum Served {
    /// Every repository below a folder.
    Folder(PathBuf),
    /// One repository; the name is the one it is announced by.
    One { name: RepositoryName, git_dir: PathBuf },
    /// Every repository of a store.
    Store(Arc<dyn RepositoryStore>),
    /// Whatever path the caller names; it runs with the rights of whoever started it.
    AnyPath(PathRules),
}

/// The repositories of a host.
pub struct Catalogue {
    served: Served,
    /// Stores of repositories whose names lead there, beside what is served.
    beside: RoutedStore,
    options: OpenOptions,
    engine: repository::Settings,
    create: (object::HashKind, String),
    variable: Variable,
    open: Mutex<BTreeMap<Location, Open>>,
    open_max: usize,
}

/// A repository that is kept open, and what it was like when it was opened.
struct Open {
    repository: Repository,
    state: State,
    last_use: u64,
}

/// What a repository is opened anew for when it changes.
#[derive(PartialEq, Eq)]
enum State {
    /// Files that hold configuration: their size, time and number.
    Files(Vec<Option<(u64, SystemTime, u64)>>),
    Stored(Stored),
}

/// A repository found for a request.
pub(crate) struct Found {
    pub repository: Repository,
    pub exported_name: String,
    /// Where it lies, if it is anywhere yet.
    pub location: Option<Location>,
}

/// Repositories kept open between requests.
const OPEN_MAX: usize = 64;

impl Catalogue {
    /// All repositories below `folder`, or `folder` itself when it is one, bare or with a work
    /// tree. The names of a folder's repositories are their paths in it; a repository alone is
    /// announced by its folder's name and answers to any.
    ///
    /// # Errors
    /// When the folder cannot be read or has no name.
    pub fn of_folder(folder: &Path, settings: &Settings) -> Result<Self, storage::Error> {
        let folder = fs::canonicalize(folder)
            .map_err(|source| storage::Error::io(folder.display(), source))?;
        if !folder.is_dir() {
            let source = std::io::Error::from(std::io::ErrorKind::NotADirectory);
            return Err(storage::Error::io(folder.display(), source));
        }
        let served = match repository_at(&folder) {
            Some(git_dir) => {
                let name = folder.file_name().unwrap_or_default().to_string_lossy();
                let name = name.strip_suffix(".git").unwrap_or(&name).to_owned();
                let name = RepositoryName::new(name.as_bytes())
                    .or_else(|_| RepositoryName::new(b"repository"))
                    .map_err(|error| storage::Error::corrupt(folder.display(), error))?;
                Served::One { name, git_dir }
            }
            None => Served::Folder(folder),
        };
        Ok(Self::new(served, settings))
    }

    /// All repositories of a store.
    pub fn of_store(store: Arc<dyn RepositoryStore>, settings: &Settings) -> Self {
        Self::new(Served::Store(store), settings)
    }

    /// Any repository of this machine, by its path: for programs that serve one caller with
    /// the caller's own rights.
    pub fn of_any_path(rules: PathRules, settings: &Settings) -> Self {
        Self::new(Served::AnyPath(rules), settings)
    }

    fn new(served: Served, settings: &Settings) -> Self {
        let variable: Variable = settings.variable.clone();
        let options = OpenOptions {
            objects_dir: variable("GIT_OBJECT_DIRECTORY").map(PathBuf::from),
            alternate_dirs: variable("GIT_ALTERNATE_OBJECT_DIRECTORIES"),
            variable,
            watch_poll: settings.watch.disk_poll,
            ..OpenOptions::default()
        };
        Catalogue {
            served,
            beside: RoutedStore::new(),
            options,
            engine: settings.engine.clone(),
            create: (settings.create_hash, settings.create_branch.clone()),
            variable: settings.variable.clone(),
            open: Mutex::default(),
            open_max: OPEN_MAX,
        }
    }

    /// Repositories whose names lead to these stores are there, whatever else is served.
    pub fn with_stores(mut self, beside: RoutedStore) -> Self {
        self.beside = beside;
        self
    }

    /// The store of a name that has one.
    fn store_of(&self, name: &str) -> Option<&dyn RepositoryStore> {
        match &self.served {
            _ if self.beside.leads_to(name) => Some(&self.beside),
            Served::Store(store) => Some(&**store),
            _ => None,
        }
    }

    /// Whether one repository is served, and not a folder of them.
    pub fn is_one_repository(&self) -> bool {
        matches!(self.served, Served::One { .. })
    }

    /// The repositories served now, sorted by name, at most `most` of them, and whether there
    /// are more.
    pub fn list(&self, most: usize) -> (Vec<Listed>, bool) {
        let mut listed = Vec::new();
        match &self.served {
            Served::Folder(folder) => listed = search(folder, most + 1),
            Served::One { name, git_dir } => {
                let location = Location::Directory(git_dir.clone());
                listed.push(Listed { name: format!("{name}.git"), location });
            }
            Served::Store(store) => list_store(&**store, most, &mut listed),
            Served::AnyPath(_) => {}
        }
        listed.retain(|one| !self.beside.leads_to(one.name.trim_end_matches(".git")));
        list_store(&self.beside, most, &mut listed);
        let more = listed.len() > most;
        listed.truncate(most);
        listed.sort();
        (listed, more)
    }

    /// Where a repository of this name would lie; `None` where it cannot be any, and for paths.
    pub(crate) fn locate(&self, name: &RepositoryName) -> Option<Location> {
        let stored = stored_name(name).filter(|stored| self.beside.leads_to(stored));
        match &self.served {
            _ if let Some(stored) = stored => Some(Location::Named(stored)),
            Served::AnyPath(_) => None,
            // Nothing else can be meant: a repository alone answers to any name of one part,
            // so that a URL that was written down holds wherever it was cloned to.
            Served::One { git_dir, .. } if !name.as_bytes().contains(&b'/') => {
                Some(Location::Directory(git_dir.clone()))
            }
            Served::One { .. } => None,
            Served::Folder(folder) => folder_entry(folder, name).map(Location::Directory),
            Served::Store(_) => stored_name(name).map(Location::Named),
        }
    }

    /// The one name by which rules know a repository that may have several.
    pub(crate) fn known_as(&self, name: &RepositoryName, location: Option<&Location>) -> String {
        let path = match (&self.served, location) {
            (_, Some(Location::Named(stored))) => return stored.clone(),
            (Served::One { name, .. }, _) => return name.to_string(),
            (Served::Folder(folder), Some(Location::Directory(git_dir))) => {
                // Whatever links lead there: rules are about what is there.
                let real = fs::canonicalize(git_dir);
                let git_dir = real.as_deref().unwrap_or(git_dir);
                let git_dir = match git_dir.file_name() == Some(OsStr::new(".git")) {
                    true => git_dir.parent().unwrap_or(git_dir),
                    false => git_dir,
                };
                git_dir.strip_prefix(folder).ok().map(Path::to_owned)
            }
            _ => None,
        };
        let path = match path {
            Some(path) => String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned(),
            None => name.to_string(),
        };
        path.strip_suffix(".git").unwrap_or(&path).to_owned()
    }

    pub(crate) fn find(
        &self,
        name: &RepositoryName,
        location: Option<Location>,
    ) -> Result<Found, Refusal> {
        let not_found = || Refusal::NotFound { name: name.to_string() };
        if let Served::AnyPath(rules) = &self.served {
            return self.find_path(name, rules);
        }
        let location = location.ok_or_else(not_found)?;
        let repository = self.opened(&location).map_err(|error| match error {
            storage::Error::NotFound { .. } => not_found(),
            error => Refusal::Unavailable { name: name.to_string(), reason: error.to_string() },
        })?;
        Ok(Found { repository, exported_name: name.to_string(), location: Some(location) })
    }

    /// A path of the caller's own machine: errors are told in git's words, path and all.
    fn find_path(&self, name: &RepositoryName, rules: &PathRules) -> Result<Found, Refusal> {
        let path =
            name.as_local_path().ok_or_else(|| Refusal::NotFound { name: name.to_string() })?;
        let not_a_repository = |_| Refusal::NotARepository { path: path.display().to_string() };
        let found: Discovered =
            storage_disk::discover_with(path, rules.strict).map_err(not_a_repository)?;
        let parts = storage_disk::open(&found.git_dir, &self.options)
            .map_err(|error| Refusal::Forbidden { words: error.to_string() })?;
        if let Some(owner) = &rules.owner {
            storage_disk::check_owner(&found, &parts.config, owner)
                .map_err(|error| Refusal::Forbidden { words: error.to_string() })?;
        }
        rules.check(&found)?;
        let repository = Repository::open(parts, self.engine.clone());
        let exported_name = rules.path_of(&found).display().to_string();
        let location = Some(Location::Directory(found.git_dir));
        Ok(Found { repository, exported_name, location })
    }

    /// Whether a push may make a repository of this name.
    pub(crate) fn check_creatable(&self, name: &RepositoryName) -> Result<(), Refusal> {
        match stored_name(name).and_then(|stored| self.store_of(&stored)) {
            Some(store) => self.check_creatable_in(store, name).map(|_| ()),
            None => self.place_for(name).map(|_| ()),
        }
    }

    /// Makes the repository a push asks for.
    pub(crate) fn create(&self, name: &RepositoryName) -> Result<Found, Refusal> {
        if let Some(store) = stored_name(name).and_then(|stored| self.store_of(&stored)) {
            return self.create_in(store, name);
        }
        let path = self.place_for(name)?;
        match creation::make(&path, self.create.0, &self.create.1) {
            Ok(()) => tracing::info!(repository = %name, "made a repository for a push"),
            // Two pushes at once: the other one was first.
            Err(_) if repository_at(&path).is_some() => {}
            Err(error) => {
                let (name, reason) = (name.to_string(), error.to_string());
                return Err(Refusal::Unavailable { name, reason });
            }
        }
        self.find(name, self.locate(name))
    }

    /// The name a push may make; none inside of another repository, as in folders.
    fn check_creatable_in(
        &self,
        store: &dyn RepositoryStore,
        name: &RepositoryName,
    ) -> Result<String, Refusal> {
        let not_found = || Refusal::NotFound { name: name.to_string() };
        let stored = stored_name(name).ok_or_else(not_found)?;
        let above = stored.match_indices('/').map(|(at, _)| &stored[..at]);
        for above in above {
            let above = above.strip_suffix(".git").unwrap_or(above);
            if store.find(above).map_err(|error| unavailable(name, error))?.is_some() {
                return Err(not_found());
            }
        }
        Ok(stored)
    }

    fn create_in(
        &self,
        store: &dyn RepositoryStore,
        name: &RepositoryName,
    ) -> Result<Found, Refusal> {
        let stored = self.check_creatable_in(store, name)?;
        let made = creation::make_named(store, &stored, self.create.0, &self.create.1);
        if made.map_err(|error| unavailable(name, error))? {
            tracing::info!(repository = %name, "made a repository for a push");
        }
        self.find(name, self.locate(name))
    }

    fn place_for(&self, name: &RepositoryName) -> Result<PathBuf, Refusal> {
        let place = match &self.served {
            Served::Folder(folder) => creation::place(folder, name),
            Served::One { .. } | Served::AnyPath(_) | Served::Store(_) => None,
        };
        place.ok_or_else(|| Refusal::NotFound { name: name.to_string() })
    }

    /// The repository at a location, kept open while its configuration stays the same.
    pub(crate) fn opened(&self, location: &Location) -> Result<Repository, storage::Error> {
        let state = self.state(location)?;
        {
            let mut open = self.lock();
            let now = open.values().map(|open| open.last_use).max().unwrap_or(0) + 1;
            if let Some(known) = open.get_mut(location)
                && known.state == state
            {
                known.last_use = now;
                return Ok(known.repository.clone());
            }
        }
        let repository = Repository::open(self.parts(location, &state)?, self.engine.clone());
        let mut open = self.lock();
        let last_use = open.values().map(|open| open.last_use).max().unwrap_or(0) + 1;
        let entry = Open { repository: repository.clone(), state, last_use };
        open.insert(location.clone(), entry);
        if open.len() > self.open_max {
            let oldest =
                open.iter().min_by_key(|(_, open)| open.last_use).map(|(at, _)| at.clone());
            if let Some(oldest) = oldest {
                open.remove(&oldest);
            }
        }
        Ok(repository)
    }

    fn state(&self, location: &Location) -> Result<State, storage::Error> {
        match location {
            Location::Directory(git_dir) => Ok(State::Files(config_files(git_dir))),
            Location::Named(name) => {
                let found =
                    self.store_of(name).map(|store| store.find(name)).transpose()?.flatten();
                found.map(State::Stored).ok_or_else(|| storage::Error::not_found(name))
            }
        }
    }

    fn parts(&self, location: &Location, state: &State) -> Result<Parts, storage::Error> {
        let name = match location {
            Location::Directory(git_dir) => return storage_disk::open(git_dir, &self.options),
            Location::Named(name) => name,
        };
        let mut parts = match (self.store_of(name), state) {
            (Some(store), State::Stored(stored)) => store.parts_of(name, stored)?,
            _ => return Err(storage::Error::not_found(name)),
        };
        // As in a folder, the system's and the user's settings come first.
        let mut config = standard_config(&self.variable)?;
        config.append(parts.config);
        parts.config = config;
        Ok(parts)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Location, Open>> {
        self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn list_store(store: &dyn RepositoryStore, most: usize, listed: &mut Vec<Listed>) {
    match store.names("", most.saturating_add(1)) {
        Ok(names) => {
            listed.extend(names.into_iter().map(|name| Listed {
                name: format!("{name}.git"),
                location: Location::Named(name),
            }))
        }
        Err(error) => tracing::error!(%error, "repositories cannot be listed"),
    }
}

/// The name a repository has in a store: without `.git`.
fn stored_name(name: &RepositoryName) -> Option<String> {
    let name = std::str::from_utf8(name.as_bytes()).ok()?;
    let stem = name.strip_suffix(".git").unwrap_or(name);
    storage::check_repository_name(stem).is_ok().then(|| stem.to_owned())
}

fn unavailable(name: &RepositoryName, error: storage::Error) -> Refusal {
    Refusal::Unavailable { name: name.to_string(), reason: error.to_string() }
}

/// The files whose change makes a repository be opened anew.
fn config_files(git_dir: &Path) -> Vec<Option<(u64, SystemTime, u64)>> {
    let state = |name: &str| {
        let meta = fs::metadata(git_dir.join(name)).ok()?;
        Some((meta.len(), meta.modified().ok()?, meta.ino()))
    };
    ["config", "config.worktree", "commondir", "objects/info/alternates"].map(state).to_vec()
}

/// The git directory at a path, for a bare repository and for one with a work tree.
pub(crate) fn repository_at(path: &Path) -> Option<PathBuf> {
    let found = storage_disk::discover(path, true).ok();
    found.or_else(|| storage_disk::discover(&path.join(".git"), true).ok())
}

/// A repository of a served folder: `name`, or `name.git`; symbolic links that lead out of the
/// folder are not followed.
fn folder_entry(folder: &Path, name: &RepositoryName) -> Option<PathBuf> {
    let plain = name.below(folder);
    let mut with_git = plain.clone().into_os_string();
    with_git.push(".git");
    let mut candidates = vec![plain.clone(), with_git.into()];
    // A work tree is listed with `.git`, which its folder does not have.
    let stem = plain.as_os_str().as_bytes().strip_suffix(b".git");
    if let Some(stem) = stem.filter(|stem| !stem.ends_with(b".git")) {
        candidates.push(OsStr::from_bytes(stem).into());
    }
    let git_dir = candidates.iter().find_map(|path| repository_at(path))?;
    within(folder, &git_dir).then_some(git_dir)
}

pub(crate) fn within(folder: &Path, path: &Path) -> bool {
    fs::canonicalize(path).is_ok_and(|real| real.starts_with(folder))
}
