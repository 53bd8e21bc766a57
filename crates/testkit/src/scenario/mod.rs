//! Repositories made to order, the same bytes every time.
//!
//! A [`Scenario`] is a recipe; [`Scenario::build`] makes a bare repository from
//! it through one `git fast-import`. The shapes are in `shapes.rs`, the
//! generated project in `realistic.rs`.

mod fast_import;
mod realistic;
mod shapes;

use std::fmt;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use object::HashKind;

use crate::RealGit;

pub use fast_import::{Change, FastImport, Mark};

type Fill = Box<dyn Fn(&mut FastImport<'_>) + Send + Sync>;
type Finish = Box<dyn Fn(&RealGit, &Path) + Send + Sync>;

/// A recipe for one bare repository.
pub struct Scenario {
    hash: HashKind,
    fill: Fill,
    finish: Vec<Finish>,
    delta_depth_max: Option<u32>,
    loose: bool,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario").field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl Scenario {
    /// A repository filled by any fast-import stream.
    pub fn new(fill: impl Fn(&mut FastImport<'_>) + Send + Sync + 'static) -> Self {
        Scenario {
            hash: HashKind::Sha1,
            fill: Box::new(fill),
            finish: Vec::new(),
            delta_depth_max: None,
            loose: false,
        }
    }

    /// The same repository with SHA-256 names.
    #[must_use]
    pub fn sha256(mut self) -> Self {
        self.hash = HashKind::Sha256;
        self
    }

    /// The same repository under the given object format.
    #[must_use]
    pub fn hash(mut self, hash: HashKind) -> Self {
        self.hash = hash;
        self
    }

    /// Leaves every object loose instead of in one pack.
    #[must_use]
    pub fn loose(mut self) -> Self {
        self.loose = true;
        self
    }

    /// Repacks with a delta search, as a maintained repository would be: `git repack -adf`.
    #[must_use]
    pub fn repacked(self) -> Self {
        self.then(|git, dir| drop(git.ok(dir, &["repack", "-adfq"])))
    }

    /// Repacks into one pack with a bitmap: `git repack -adb`.
    #[must_use]
    pub fn with_bitmap(self) -> Self {
        self.then(|git, dir| drop(git.ok(dir, &["repack", "-adbq"])))
    }

    /// Writes a commit-graph for everything reachable.
    #[must_use]
    pub fn with_commit_graph(self) -> Self {
        self.then(|git, dir| {
            git.ok(dir, &["commit-graph", "write", "--reachable", "--no-progress"]);
        })
    }

    /// Does one more thing to the finished repository.
    #[must_use]
    pub fn then(mut self, finish: impl Fn(&RealGit, &Path) + Send + Sync + 'static) -> Self {
        self.finish.push(Box::new(finish));
        self
    }

    /// Makes the bare repository `name` below `git`'s root and returns its path.
    pub fn build(&self, git: &RealGit, name: impl AsRef<Path>) -> PathBuf {
        let dir = git.init_bare_of(name, self.hash);
        self.import(git, &dir);
        for finish in &self.finish {
            finish(git, &dir);
        }
        dir
    }

    fn import(&self, git: &RealGit, dir: &Path) {
        let mut command = git.command(dir);
        if self.loose {
            command.args(["-c", "fastimport.unpackLimit=1000000000"]);
        }
        command.args(["fast-import", "--quiet", "--done"]);
        if let Some(depth) = self.delta_depth_max {
            command.arg(format!("--depth={depth}"));
        }
        let mut child =
            command.stdin(Stdio::piped()).spawn().expect("start git fast-import; is git on PATH?");
        let mut stream = BufWriter::new(child.stdin.take().expect("stdin is piped"));
        (self.fill)(&mut FastImport::new(&mut stream, self.hash));
        stream.write_all(b"done\n").expect("git fast-import reads its whole stream");
        drop(stream.into_inner().expect("git fast-import reads its whole stream"));
        let status = child.wait().expect("wait for git fast-import");
        assert!(status.success(), "git fast-import: {status}");
    }
}
