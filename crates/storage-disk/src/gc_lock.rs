//! `gc.pid`: how `git gc` keeps a second one out, and everybody who does the like.
//!
//! Git looks whether the file is younger than twelve hours and names a process that lives, or
//! one of another host; then somebody is at it (builtin/gc.c, `lock_repo_for_gc`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use storage::{Error, Result};

use crate::disk::{Directories, Disk};
use crate::lock::{LockFile, lock_path};

/// Git believes no older file.
const AGE_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// The lock is held; given up when this is dropped.
#[derive(Debug)]
pub struct GcLock {
    path: PathBuf,
    content: String,
}

impl GcLock {
    /// Takes the lock of the repository whose shared directory this is.
    ///
    /// # Errors
    /// [`Error::Locked`] when somebody else has it; errors of the file system.
    pub fn acquire(common_dir: &Path) -> Result<Self> {
        let path = common_dir.join("gc.pid");
        let at = |source: io::Error| Error::io(path.display(), source);
        let locked = |lock: String| Error::Locked { what: path.display().to_string(), lock };
        let disk = Disk::default();
        let mut changed = Directories::new();
        let lock = LockFile::acquire(&disk, common_dir, path.clone(), Duration::ZERO, &mut changed);
        let mut lock = lock.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => locked(lock_path(&path).display().to_string()),
            _ => at(error),
        })?;
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        if let Some(holder) = holder(&path, &host).map_err(at)? {
            return Err(locked(format!("{} of {holder}", path.display())));
        }
        let content = format!("{} {host}", std::process::id());
        lock.write(content.as_bytes()).and_then(|()| lock.replace_target()).map_err(at)?;
        Ok(GcLock { path, content })
    }
}

impl Drop for GcLock {
    fn drop(&mut self) {
        // Somebody may have thought us dead and taken it.
        if fs::read_to_string(&self.path).is_ok_and(|content| content == self.content)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Who holds the lock by right, in words.
fn holder(path: &Path, own_host: &str) -> io::Result<Option<String>> {
    let (content, meta) = match fs::read_to_string(path).and_then(|c| Ok((c, path.metadata()?))) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let age = SystemTime::now().duration_since(meta.modified()?).unwrap_or_default();
    let mut words = content.split_ascii_whitespace();
    let (Some(pid), Some(host)) = (words.next(), words.next()) else { return Ok(None) };
    let Ok(pid) = pid.parse::<i32>() else { return Ok(None) };
    let lives = host != own_host || is_alive(pid);
    Ok((age <= AGE_MAX && lives).then(|| format!("process {pid} on {host}")))
}

fn is_alive(pid: i32) -> bool {
    let Some(pid) = rustix::process::Pid::from_raw(pid) else { return false };
    match rustix::process::test_kill_process(pid) {
        Ok(()) | Err(rustix::io::Errno::PERM) => true,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_the_dead_do_not_count() {
        let dir = std::env::temp_dir().join(format!("packhorse-gc-lock-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a folder");
        let path = dir.join("gc.pid");
        let first = GcLock::acquire(&dir).expect("free");
        assert!(matches!(GcLock::acquire(&dir), Err(Error::Locked { .. })));
        drop(first);
        assert!(!path.exists());
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        fs::write(&path, format!("{} {host}", i32::MAX)).expect("written");
        drop(GcLock::acquire(&dir).expect("nobody lives there"));
        fs::write(&path, "1 another-host").expect("written");
        assert!(matches!(GcLock::acquire(&dir), Err(Error::Locked { .. })));
        fs::remove_dir_all(&dir).expect("removed");
    }
}
