//! Repositories in folders of this machine: who is called when their refs move.

use std::path::Path;
use std::sync::Arc;

use storage::Watching;
use storage_disk::OpenOptions;
use tokio::sync::Notify;

/// Somebody who is called when refs of a folder move, whoever moves them, for as long as this lives.
pub struct FolderWatch {
    moved: Arc<Notify>,
    _watching: Watching,
}

impl FolderWatch {
    /// Begins to watch the repository in a folder; `None` where that cannot be done.
    pub fn begin(path: &Path) -> Option<Self> {
        let git_dir = storage_disk::discover(path, false).ok()?;
        let parts = storage_disk::open(&git_dir, &OpenOptions::default()).ok()?;
        let moved = Arc::new(Notify::new());
        let called = moved.clone();
        let watching = parts.refs.watch(Arc::new(move |_| called.notify_one())).ok()?;
        Some(FolderWatch { moved, _watching: watching })
    }

    /// Ready when something moved since the last time.
    pub async fn moved(&self) {
        self.moved.notified().await;
    }
}
