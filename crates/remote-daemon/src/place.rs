//! Where a daemon in the background has its lock, status and log.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, getpid, test_kill_process};

use crate::git::Repository;

/// Behind the process in a lock, when that looks after other repositories, too.
const FOR_ALL: &str = "all";

/// The file with the lock: in it is who has it.
const LOCK: &str = "lock";
/// How long somebody may take to give a lock back who is not in it any more, or to write himself into it.
const SHORT_TIME: Duration = Duration::from_millis(200);

/// A daemon's files.
pub struct Place {
    folder: PathBuf,
}

/// A lock of this process.
pub struct Lock {
    file: File,
    is_ours: bool,
}

/// Whoever has a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// The process.
    pub process: Pid,
    /// Whether it looks after all repositories.
    pub for_all: bool,
}

impl Place {
    /// That of one repository.
    pub fn of(repository: &Repository) -> Self {
        Place { folder: repository.common_dir.join("remote-daemon") }
    }

    /// That of the one for all repositories: below the user's own state (XDG Base Directory Specification).
    ///
    /// # Errors
    /// In words, when nobody knows where that is.
    pub fn of_all() -> Result<Self, String> {
        let variable =
            |name: &str| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
        let state = variable("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let state = state.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".local/state")));
        let state = state.ok_or("neither HOME nor XDG_STATE_HOME is set")?;
        Ok(Place { folder: state.join("git-remote-daemon") })
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The lock, with this process in it, if nobody has it.
    ///
    /// # Errors
    /// When the disk does not let us.
    pub fn take(&self, for_all: bool) -> io::Result<Option<Lock>> {
        std::fs::create_dir_all(&self.folder)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false);
        let mut lock = Lock { file: file.open(self.path(LOCK))?, is_ours: false };
        let begun = Instant::now();
        while let Err(error) = flock(&lock.file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(error.into());
            }
            // Somebody has it; or had it a moment ago.
            if self.running()?.is_some() || begun.elapsed() > SHORT_TIME {
                return Ok(None);
            }
            std::thread::sleep(SHORT_TIME / 20);
        }
        lock.is_ours = true;
        lock.file.set_len(0)?;
        let process = getpid();
        let born = born(process).unwrap_or_default();
        let for_all = if for_all { FOR_ALL } else { "" };
        lock.file.write_all(format!("{process} {born} {for_all}\n").as_bytes())?;
        Ok(Some(lock))
    }

    /// Whoever has the lock, if somebody has.
    ///
    /// # Errors
    /// When the disk does not let us look.
    pub fn running(&self) -> io::Result<Option<Running>> {
        match std::fs::read_to_string(self.path(LOCK)) {
            Ok(text) => Ok(Running::read(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // What a process leaves that dies says nothing to anybody, either: it is not there any more.
        if self.is_ours {
            let _ = self.file.set_len(0);
        }
    }
}

impl Running {
    /// Unless that process is not there any more.
    fn read(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let process = words.next()?.parse().ok().filter(|process| *process > 0);
        let process = process.and_then(Pid::from_raw)?;
        let is_there = test_kill_process(process) != Err(rustix::io::Errno::SRCH);
        let is_it = born(process).unwrap_or_default() == words.next()?;
        (is_there && is_it).then_some(Running { process, for_all: words.next() == Some(FOR_ALL) })
    }
}

/// When a process began, in the system's own count (proc(5), `starttime`): another one of its number began at another
/// time. `None` where the system does not say.
fn born(process: Pid) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the program's name, which may be anything, comes the third field; this is the 22nd.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    // What is dead stays until its parent looks.
    let is_dead = matches!(fields.next()?, "Z" | "X");
    fields.nth(22 - 4).filter(|_| !is_dead).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_lock_is_known_and_who_had_it_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Place { folder: folder.path().join("remote-daemon") };
        assert_eq!(place.running().expect("a look"), None);
        let lock = place.take(true).expect("a folder that can be written").expect("it is free");
        let own = Running { process: getpid(), for_all: true };
        assert_eq!(place.running().expect("a look"), Some(own));
        assert!(place.take(false).expect("a look").is_none());
        assert_eq!(place.running().expect("a look"), Some(own));
        drop(lock);
        assert_eq!(place.running().expect("a look"), None);
        assert!(place.take(false).expect("a folder that can be written").is_some());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_that_has_the_number_of_another_is_not_it() {
        let own = born(getpid()).expect("a system that says it");
        let read = |text: String| Running::read(&text).map(|running| running.for_all);
        assert_eq!(read(format!("{} {own} \n", getpid())), Some(false));
        assert_eq!(read(format!("{} {own} all\n", getpid())), Some(true));
        // Half a line, another time, a process that is gone, and what is no process.
        assert_eq!(read(format!("{} {own}", getpid())), None);
        assert_eq!(read(format!("{} 1{own}\n", getpid())), None);
        assert_eq!(read(format!("4194304 {own}\n")), None);
        for text in ["", "\n", "x 1\n", "0 1\n", "-1 1\n"] {
            assert_eq!(read(text.to_owned()), None, "{text:?}");
        }
    }
}
