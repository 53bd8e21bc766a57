//! What Linux tells of files (inotify(7)). One watch for each directory that can hold a ref.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bstr::ByteSlice as _;
use object::RefName;
use reftable::stack::LIST;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use storage::Moved;

use crate::worktree::RefDirs;

/// Bytes of events that are read at once.
const BUFFER_BYTES: usize = 16 << 10;

/// The system's queue, and what its numbers stand for.
pub(crate) struct Queue {
    file: OwnedFd,
    /// By the system's numbers: it has one for each directory, whatever that is called.
    directories: Mutex<HashMap<i32, Vec<Owner>>>,
}

/// Whose refs are in a directory, and where that is for him: repositories may have several names, by links.
struct Owner {
    path: PathBuf,
    dirs: RefDirs,
}

/// What was heard.
pub(crate) enum Told<'a> {
    /// Refs of the repository with this git directory.
    Moved(&'a PathBuf, Moved<'a>),
    /// More than the system remembers.
    Lost,
}

/// What a name in a directory stands for.
#[derive(Debug, PartialEq, Eq)]
enum Entry {
    Ref(RefName),
    /// Many refs.
    Refs,
    /// Nothing about refs.
    Other,
}

impl Queue {
    /// `None`, and a word in the log, when the system gives none.
    pub fn open() -> Option<Self> {
        match inotify::init(CreateFlags::CLOEXEC) {
            Ok(file) => Some(Queue { file, directories: Mutex::default() }),
            Err(error) => {
                tracing::warn!("changes of files are not heard at once: {error}");
                None
            }
        }
    }

    fn directories(&self) -> MutexGuard<'_, HashMap<i32, Vec<Owner>>> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to all directories of a repository; whether that went well.
    pub fn listen(&self, dirs: &RefDirs) -> bool {
        let listened = self.listen_to(dirs);
        if let Err(error) = &listened {
            let at = dirs.git_dir.display();
            tracing::warn!(
                "changes in '{at}' are not heard at once: {error} \
                 (the system's limit is fs.inotify.max_user_watches)"
            );
        }
        listened.is_ok()
    }

    fn listen_to(&self, dirs: &RefDirs) -> io::Result<()> {
        let mut roots = vec![&dirs.common_dir];
        if dirs.git_dir != dirs.common_dir {
            roots.push(&dirs.git_dir);
        }
        for root in roots {
            self.add(root, dirs)?;
            self.add_below(&root.join("refs"), dirs)?;
        }
        match self.add(&dirs.common_dir.join("reftable"), dirs) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Listens to a directory and all below it; to what is gone meanwhile, nobody can.
    fn add_below(&self, directory: &Path, dirs: &RefDirs) -> io::Result<()> {
        let is_gone = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        };
        match self.add(directory, dirs) {
            Err(error) if is_gone(&error) => return Ok(()),
            added => added?,
        }
        // What is made from here on is told.
        let entries = match std::fs::read_dir(directory) {
            Err(error) if is_gone(&error) => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.add_below(&entry.path(), dirs)?;
            }
        }
        Ok(())
    }

    fn add(&self, directory: &Path, dirs: &RefDirs) -> io::Result<()> {
        let mut directories = self.directories();
        let number = inotify::add_watch(
            &self.file,
            directory,
            WatchFlags::CREATE
                | WatchFlags::CLOSE_WRITE
                | WatchFlags::DELETE
                | WatchFlags::MOVE
                | WatchFlags::ONLYDIR,
        )?;
        let owners = directories.entry(number).or_default();
        match owners.iter_mut().find(|owner| owner.dirs == *dirs) {
            // It may have another name than when it was met first.
            Some(owner) => directory.clone_into(&mut owner.path),
            None => owners.push(Owner { path: directory.to_owned(), dirs: dirs.clone() }),
        }
        Ok(())
    }

    /// Listens no more to what is there for this repository alone.
    pub fn ignore(&self, git_dir: &Path) {
        self.directories().retain(|number, owners| {
            owners.retain(|owner| owner.dirs.git_dir != git_dir);
            if owners.is_empty() {
                // Of a directory that is gone, the system has forgotten it already.
                let _ = inotify::remove_watch(&self.file, *number);
            }
            !owners.is_empty()
        });
    }

    /// Passes on what is told, for ever.
    ///
    /// # Errors
    /// What ends it.
    pub fn read(&self, tell: &mut dyn FnMut(Told<'_>)) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(&self.file, &mut buffer);
        loop {
            let event = match reader.next() {
                Err(rustix::io::Errno::INTR) => continue,
                event => event?,
            };
            let flags = event.events();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                tell(Told::Lost);
                continue;
            }
            if flags.contains(ReadFlags::IGNORED) {
                self.directories().remove(&event.wd());
                continue;
            }
            if let Some(name) = event.file_name() {
                let name = OsStr::from_bytes(name.to_bytes());
                self.pass_on(event.wd(), name, flags, tell);
            }
        }
    }

    fn pass_on(&self, number: i32, name: &OsStr, flags: ReadFlags, tell: &mut dyn FnMut(Told<'_>)) {
        let told: Vec<(PathBuf, RefDirs)> = match self.directories().get(&number) {
            Some(owners) => {
                owners.iter().map(|owner| (owner.path.join(name), owner.dirs.clone())).collect()
            }
            None => return,
        };
        for (path, dirs) in told {
            if flags.contains(ReadFlags::ISDIR) {
                if let Some(below) = below(&path, &dirs)
                    && (below == "refs" || below.starts_with(b"refs/") || below == "reftable")
                {
                    // Refs may have come into it before anybody listened.
                    if flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO)
                        && let Err(error) = self.add_below(&path, &dirs)
                    {
                        tracing::warn!("changes in '{}' are not heard: {error}", path.display());
                    }
                    tell(Told::Moved(&dirs.git_dir, Moved::Somehow));
                }
                continue;
            }
            match below(&path, &dirs).map_or(Entry::Other, entry) {
                Entry::Ref(name) => tell(Told::Moved(&dirs.git_dir, Moved::Names(&[name]))),
                Entry::Refs => tell(Told::Moved(&dirs.git_dir, Moved::Somehow)),
                Entry::Other => {}
            }
        }
    }
}

/// The path as seen from the repository.
fn below<'a>(path: &'a Path, dirs: &RefDirs) -> Option<&'a bstr::BStr> {
    let below = path.strip_prefix(&dirs.git_dir).or_else(|_| path.strip_prefix(&dirs.common_dir));
    below.ok().map(|below| below.as_os_str().as_bytes().as_bstr())
}

/// What a file stands for.
fn entry(below: &bstr::BStr) -> Entry {
    if below == "packed-refs" || below.strip_prefix(b"reftable/") == Some(LIST.as_bytes()) {
        return Entry::Refs;
    }
    if below == "HEAD" {
        return Entry::Ref(RefName::head());
    }
    match RefName::new(below.as_bytes()) {
        Ok(name) if below.starts_with(b"refs/") => Entry::Ref(name),
        _ => Entry::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart() {
        let name = |text: &str| Entry::Ref(RefName::new(text).expect("a name"));
        for (file, expected) in [
            ("refs/heads/a", name("refs/heads/a")),
            ("HEAD", name("HEAD")),
            ("packed-refs", Entry::Refs),
            ("reftable/tables.list", Entry::Refs),
            ("refs/heads/a.lock", Entry::Other),
            ("packed-refs.lock", Entry::Other),
            ("HEAD.lock", Entry::Other),
            ("config", Entry::Other),
            ("FETCH_HEAD", Entry::Other),
            ("reftable/0x1-0x2-3.ref", Entry::Other),
        ] {
            assert_eq!(entry(file.into()), expected, "{file}");
        }
    }
}
