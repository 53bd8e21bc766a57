//! Stock git in a scratch home, and the repositories the tests look at.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use object::{HashKind, ObjectId};

pub const BOTH: [HashKind; 2] = [HashKind::Sha1, HashKind::Sha256];

/// A scratch repository that goes away with the value.
pub struct Repo {
    dir: tempfile::TempDir,
    pub hash: HashKind,
}

impl Repo {
    pub fn init(hash: HashKind) -> Self {
        let repo = Repo { dir: tempfile::tempdir().expect("a scratch directory"), hash };
        let format = format!("--object-format={}", hash.name());
        repo.git(&["init", "-q", "-b", "main", &format, "."]);
        repo
    }

    /// 120 commits on crossing branches, an octopus merge, annotated tags, files that make
    /// deltas and one that does not compress.
    pub fn with_history(hash: HashKind) -> Self {
        let repo = Repo::init(hash);
        repo.fast_import(&history(120));
        repo.git(&["tag", "-a", "-m", "one", "v1", "main~20"]);
        repo.git(&["tag", "-a", "-m", "tag of a tag", "v1-again", "v1"]);
        repo
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn objects(&self) -> PathBuf {
        self.path().join(".git/objects")
    }

    pub fn read(&self, name: &str) -> Bytes {
        std::fs::read(self.objects().join(name)).expect("a file git has written").into()
    }

    pub fn git(&self, args: &[&str]) -> Vec<u8> {
        self.git_with(args, b"")
    }

    pub fn git_with(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new("git")
            .current_dir(self.path())
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").expect("git is found through PATH"))
            .env("HOME", self.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "A U Thor")
            .env("GIT_AUTHOR_EMAIL", "author@example.com")
            .env("GIT_AUTHOR_DATE", "1700000000 +0000")
            .env("GIT_COMMITTER_NAME", "C O Mitter")
            .env("GIT_COMMITTER_EMAIL", "committer@example.com")
            .env("GIT_COMMITTER_DATE", "1700000000 +0000")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("git runs");
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_vec();
        let feeder = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().expect("git ends");
        let _ = feeder.join();
        assert!(
            output.status.success(),
            "git {args:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    pub fn lines(&self, args: &[&str]) -> Vec<String> {
        let text = String::from_utf8(self.git(args)).expect("text");
        text.lines().map(str::to_owned).collect()
    }

    pub fn ids(&self, args: &[&str]) -> Vec<ObjectId> {
        self.lines(args).iter().map(|line| id(line)).collect()
    }

    pub fn fast_import(&self, stream: &str) {
        let packed = ["-c", "fastimport.unpackLimit=0", "fast-import", "--quiet", "--force"];
        self.git_with(&packed, stream.as_bytes());
    }

    /// Name stems of all packs, oldest name first: `pack/pack-<checksum>`.
    pub fn packs(&self) -> Vec<String> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.objects().join("pack")).expect("a pack directory") {
            let name = entry.expect("readable").file_name().into_string().expect("ASCII");
            if let Some(stem) = name.strip_suffix(".pack") {
                names.push(format!("pack/{stem}"));
            }
        }
        names.sort();
        names
    }

    pub fn only_pack(&self) -> String {
        let packs = self.packs();
        assert_eq!(packs.len(), 1, "exactly one pack");
        packs.into_iter().next().expect("counted")
    }
}

pub fn id(hex: &str) -> ObjectId {
    ObjectId::from_hex(hex.as_bytes()).expect("an id in hexadecimal")
}

/// A fast-import stream: `main` and `side` grow in turn and merge now and then.
pub fn history(commits: u32) -> String {
    let mut stream = String::new();
    for n in 1..=commits {
        let branch = if n % 3 == 0 { "side" } else { "main" };
        let (now, message) = (1_600_000_000 + n * 60, format!("commit {n}"));
        stream += &format!("commit refs/heads/{branch}\nmark :{n}\n");
        stream += &format!("committer C <c@example.com> {now} +0000\n");
        stream += &format!("data {}\n{message}\n", message.len());
        if n == 3 {
            stream += "from :1\n";
        } else if n % 17 == 0 && branch == "main" {
            stream += &format!("merge :{}\n", (n - 1) / 3 * 3);
            if n % 34 == 0 {
                stream += &format!("merge :{}\n", (n - 10) / 3 * 3);
            }
        }
        let text = lines_with_one_changed(n);
        stream += &format!("M 100644 inline dir{}/file{}\n", n % 4, n % 7);
        stream += &format!("data {}\n{text}\n", text.len());
        let noise = noise(n);
        stream += &format!("M 100644 inline noise{}\n", n % 5);
        stream += &format!("data {}\n{noise}\n", noise.len());
    }
    stream
}

fn lines_with_one_changed(n: u32) -> String {
    let mut text = String::new();
    for line in 0..200 {
        let word = if line == n % 200 { n } else { line * 7919 % 1000 };
        text += &format!("line {line} says {word}\n");
    }
    text
}

fn noise(seed: u32) -> String {
    let mut state = u64::from(seed) * 2 + 1;
    let mut text = String::new();
    for _ in 0..40 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text += &format!("{:016x}", state ^ state >> 29);
    }
    text
}
