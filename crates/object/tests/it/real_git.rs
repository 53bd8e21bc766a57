//! Stock git in a scratch repository, away from everybody's settings.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use object::{Kind, ObjectId};
use tempfile::TempDir;

pub struct RealGit {
    dir: TempDir,
}

impl RealGit {
    pub fn new() -> Self {
        let git = RealGit { dir: TempDir::new().expect("a scratch directory") };
        git.expect(&["init", "-q", "--bare", "."], b"");
        git
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn run(&self, args: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new("git")
            .args(args)
            .current_dir(self.path())
            .env("HOME", self.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("LC_ALL", "C")
            .env("GIT_AUTHOR_NAME", "A U Thor")
            .env("GIT_AUTHOR_EMAIL", "author@example.com")
            .env("GIT_AUTHOR_DATE", "1700000000 +0100")
            .env("GIT_COMMITTER_NAME", "C O Mitter")
            .env("GIT_COMMITTER_EMAIL", "committer@example.com")
            .env("GIT_COMMITTER_DATE", "1700000000 +0100")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("git runs");
        // Git may end before it has read everything.
        let _closed_early = child.stdin.take().expect("piped").write_all(input);
        child.wait_with_output().expect("git ends")
    }

    pub fn expect(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        let output = self.run(args, input);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?}: {words}");
        output.stdout
    }

    /// Writes an object, however broken.
    pub fn write(&self, kind: Kind, bytes: &[u8]) -> ObjectId {
        let args = ["hash-object", "--literally", "-w", "-t", kind.name(), "--stdin"];
        let hex = self.expect(&args, bytes);
        ObjectId::from_hex(hex.trim_ascii_end()).expect("git prints an id")
    }
}
