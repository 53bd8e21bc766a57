//! A bare repository that both stock git and this crate look at.

use std::path::{Path, PathBuf};

use object::HashKind;
use repository::incoming::{Incoming, IncomingOptions, Received};
use repository::{Error, Repository, Settings, Silent};
use testkit::RealGit;

pub struct Bare {
    pub dir: PathBuf,
    pub repository: Repository,
}

impl Bare {
    pub fn init(git: &RealGit, name: &str, hash: HashKind) -> Self {
        let dir = git.path(name);
        storage_disk::init_bare(&dir, hash, "main").expect("an empty folder");
        Self::open(&dir)
    }

    pub fn open(dir: &Path) -> Self {
        let parts = storage_disk::open(dir, &storage_disk::OpenOptions::default());
        let repository = Repository::open(parts.expect("a repository"), Settings::default());
        Bare { dir: dir.to_owned(), repository }
    }

    pub fn incoming(&self, options: IncomingOptions) -> Incoming {
        self.repository.incoming(options).expect("room for objects")
    }

    /// Receives a pack and publishes it.
    pub fn receive(&self, pack: &[u8], options: IncomingOptions) -> Result<Received, Error> {
        let mut incoming = self.incoming(options);
        let received = incoming.receive(&mut &*pack, &mut Silent)?;
        incoming.publish()?;
        Ok(received)
    }

    /// The words a pack is refused with, after a look that nothing was left behind.
    pub fn refusal(&self, pack: &[u8], options: IncomingOptions) -> String {
        let before = self.files();
        let error = self.receive(pack, options).expect_err("a pack to be refused");
        assert_eq!(self.files(), before, "left behind after: {error}");
        error.to_string()
    }

    /// All files below `objects`.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut dirs = vec![self.dir.join("objects")];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).expect("a directory") {
                let path = entry.expect("an entry").path();
                if path.is_dir() { dirs.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files
    }

    /// The bytes of the one file in `objects/pack` with this ending.
    pub fn pack_file(&self, ending: &str) -> Vec<u8> {
        let is_it = |path: &&PathBuf| path.extension().is_some_and(|found| found == ending);
        let files = self.files();
        let mut found = files.iter().filter(is_it);
        let (first, second) = (found.next(), found.next());
        assert!(second.is_none(), "two files end in {ending}");
        std::fs::read(first.expect("a file with this ending")).expect("readable")
    }
}

/// Options for a number of threads.
pub fn threads(threads: usize) -> IncomingOptions {
    IncomingOptions { threads, ..IncomingOptions::default() }
}

/// What `git index-pack` makes of a pack: its pack, index and reverse index.
pub fn indexed_by_git(git: &RealGit, name: &str, hash: HashKind, pack: &[u8]) -> [Vec<u8>; 3] {
    let bare = Bare::init(git, name, hash);
    git.ok_with_input(&bare.dir, &["index-pack", "--stdin", "--rev-index"], pack);
    ["pack", "idx", "rev"].map(|ending| bare.pack_file(ending))
}
