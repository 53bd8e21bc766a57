//! A `git://` server of one repository, inside the test: a thread per connection.

use std::fs;
use std::io::{self, BufReader, Read as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object::HashKind;
use repository::{Repository, Settings};
use serve::hooks::HookEnvironment;
use serve::receive::{Outcome, Pusher, ReceivePack, ReceiveSettings};
use serve::{Error, Exchange, Namespace, ServerInfo};
use testkit::{GitOutput, RealGit};
use wire::{Limits, PacketReader, Protocol, Sink, WriteSink};

/// What a test changes about a session.
type Adjust = Arc<dyn Fn(&mut ReceivePack<'_>) + Send + Sync>;

/// A bare repository served for pushes, and a clone to push from.
pub struct Scene {
    pub git: RealGit,
    pub served: PathBuf,
    pub work: PathBuf,
}

impl Scene {
    /// A served repository with one commit on `main`, and a clone of it.
    pub fn new() -> Self {
        Self::adjusted(|_| {})
    }

    /// The same, with changed sessions.
    pub fn adjusted(adjust: impl Fn(&mut ReceivePack<'_>) + Send + Sync + 'static) -> Self {
        Self::build(HashKind::Sha1, adjust)
    }

    /// The same with another hash.
    pub fn of_hash(hash: HashKind) -> Self {
        Self::build(hash, |_| {})
    }

    fn build(
        hash: HashKind,
        adjust: impl Fn(&mut ReceivePack<'_>) + Send + Sync + 'static,
    ) -> Self {
        let git = RealGit::new();
        let served = git.init_bare_of("served.git", hash);
        let work = git.path("work");
        let format = format!("--object-format={}", hash.name());
        git.ok(git.root(), &["init", "--quiet", &format, "work"]);
        git.commit_file(&work, "file", "one\n");
        git.ok(&work, &["push", "--quiet", served.to_str().expect("UTF-8"), "main"]);
        let url = listen(served.clone(), Arc::new(adjust));
        git.ok(&work, &["remote", "add", "origin", &url]);
        git.ok(&work, &["update-ref", "refs/remotes/origin/main", "main"]);
        Scene { git, served, work }
    }

    /// A setting of the served repository.
    pub fn config(&self, key: &str, value: &str) {
        self.git.ok(&self.served, &["config", "--add", key, value]);
    }

    /// Adds a commit to the clone.
    pub fn commit(&self, text: &str) {
        self.git.commit_file(&self.work, "file", text);
    }

    /// `git push origin …`, whatever comes of it.
    pub fn push(&self, args: &[&str]) -> GitOutput {
        let mut all = vec!["push", "origin"];
        all.extend(args);
        self.git.run(&self.work, &all)
    }

    /// A push that succeeds; what git said.
    pub fn push_ok(&self, args: &[&str]) -> String {
        let output = self.push(args);
        assert!(output.status.success(), "push {args:?}: {}", output.error_text());
        self.git.fsck_strict(&self.served);
        output.error_text()
    }

    /// A push that fails, and leaves nothing behind; what git said.
    pub fn push_fails(&self, args: &[&str]) -> String {
        let before = self.everything();
        let output = self.push(args);
        assert!(!output.status.success(), "push {args:?}: {}", output.error_text());
        assert_eq!(self.everything(), before);
        output.error_text()
    }

    /// Refs of the served repository.
    pub fn refs(&self) -> String {
        self.git.refs(&self.served)
    }

    /// An executable hook of the served repository.
    pub fn hook(&self, name: &str, script: &str) {
        let path = self.served.join("hooks").join(name);
        fs::create_dir_all(self.served.join("hooks")).expect("hooks folder");
        fs::write(&path, format!("#!/bin/sh\n{script}")).expect("hook");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("hook mode");
    }

    /// What a hook wrote into a file of the git directory.
    pub fn written(&self, name: &str) -> String {
        fs::read_to_string(self.served.join(name)).unwrap_or_default()
    }

    /// A file of the git directory, byte for byte.
    pub fn written_bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.served.join(name)).unwrap_or_default()
    }

    /// Every file of the served repository but what hooks of tests write.
    pub fn everything(&self) -> Vec<String> {
        let mut files = Vec::new();
        list(&self.served, &self.served, &mut files);
        files.retain(|file| !file.starts_with("seen"));
        files.sort();
        files
    }
}

fn list(root: &Path, dir: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            list(root, &path, files);
        } else {
            let content = fs::read(&path).unwrap_or_default();
            let name = path.strip_prefix(root).expect("below root").display();
            let sum =
                content.iter().fold(0u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
            files.push(format!("{name} {} {sum:x}", content.len()));
        }
    }
}

/// Serves a repository on a free port, for the life of the test process.
fn listen(served: PathBuf, adjust: Adjust) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (served, adjust) = (served.clone(), Arc::clone(&adjust));
            std::thread::spawn(move || {
                // How a session ends is seen from the client's side.
                let _ = session(&served, &*adjust, stream);
            });
        }
    });
    format!("git://{address}/served.git")
}

fn session(
    served: &Path,
    adjust: &(dyn Fn(&mut ReceivePack<'_>) + Send + Sync),
    stream: TcpStream,
) -> Result<Outcome, Error> {
    let mut input = BufReader::new(stream.try_clone()?);
    let mut reader = PacketReader::new(&mut input);
    let request = reader.next()?;
    let extra = request.text().unwrap_or_default().rsplit(|byte| *byte == 0).nth(1);
    let protocol = Protocol::from_git_protocol(extra.unwrap_or_default());
    reader.into_inner();

    let mut output = WriteSink::new(stream.try_clone()?);
    let outcome = receive(served, protocol, adjust, &mut input, &mut output);
    let _ = output.flush();
    // The client may still be sending: closing now would cut off what it has yet to read.
    stream.shutdown(Shutdown::Write)?;
    io::copy(&mut stream.take(u64::MAX), &mut io::sink())?;
    outcome
}

/// Runs one session over any pair of streams.
pub fn receive(
    served: &Path,
    protocol: Protocol,
    adjust: &(dyn Fn(&mut ReceivePack<'_>) + Send + Sync),
    input: &mut dyn io::BufRead,
    output: &mut dyn Sink,
) -> Result<Outcome, Error> {
    receive_into(parts_of(served)?, protocol, adjust, input, output)
}

/// What a served repository is opened from.
pub fn parts_of(served: &Path) -> Result<storage::Parts, storage::Error> {
    storage_disk::open(served, &storage_disk::OpenOptions::default())
}

/// Runs one session with a repository over any stores.
pub fn receive_into(
    parts: storage::Parts,
    protocol: Protocol,
    adjust: &(dyn Fn(&mut ReceivePack<'_>) + Send + Sync),
    input: &mut dyn io::BufRead,
    output: &mut dyn Sink,
) -> Result<Outcome, Error> {
    let repo = Repository::open(parts, Settings::default());
    let settings = ReceiveSettings::from_config(repo.config())?;
    let server = ServerInfo {
        agent: "packhorse/test".into(),
        session_id: "session".into(),
        sideband_all: false,
    };
    let environment = HookEnvironment::minimal();
    let mut session = ReceivePack {
        guard: None,
        repo: &repo,
        protocol,
        exchange: Exchange::Conversation,
        limits: &Limits::default(),
        server: &server,
        namespace: Namespace::default(),
        settings,
        environment: &environment,
        pusher: Pusher { name: "Pusher".into(), email: "pusher@example.org".into() },
        repository_name: "/served.git".into(),
        now_seconds: 1_800_000_000,
        skip_connectivity_check: false,
        reject_thin: false,
    };
    adjust(&mut session);
    session.run(input, output, None)
}
