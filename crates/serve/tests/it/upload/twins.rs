//! Twin clients: whatever one fetches from this server, the other fetches from stock git's;
//! after every step both must hold the same objects, refs and boundary.

use std::path::{Path, PathBuf};

use testkit::{RealGit, Scenario};

use super::server::listen;

/// A served repository and two clients of it.
pub struct Twins {
    pub git: RealGit,
    pub served: PathBuf,
    version: Option<u8>,
    ours: PathBuf,
    stock: PathBuf,
    url: String,
    work: Option<PathBuf>,
}

/// Plays a script against the scenario in versions 0 and 2 of the protocol.
///
/// A script is made of lines: `clone OPTIONS` for the clients; `server ARGS`, git in the
/// served repository; `grow FILE`, a commit on the server's `main`; `! ARGS`, a command
/// that must fail for both clients; anything else is a git command of both clients.
pub fn check(scenario: &Scenario, script: &str) {
    for version in [0, 2] {
        Twins::new(Some(version), scenario).play(script);
    }
}

/// Plays a script once, in git's default version: for what does not differ between them.
pub fn check_once(scenario: &Scenario, script: &str) {
    Twins::new(None, scenario).play(script);
}

impl Twins {
    /// Clients that speak a version of the protocol, or git's default.
    pub fn new(version: Option<u8>, scenario: &Scenario) -> Self {
        let git = RealGit::new();
        let git = match version {
            Some(version) => git.protocol(version),
            None => git,
        };
        let served = scenario.build(&git, "served.git");
        for permitted in ["allowFilter", "allowAnySHA1InWant"] {
            git.ok(&served, &["config", &format!("uploadpack.{permitted}"), "true"]);
        }
        let url = listen(served.clone(), "");
        let (ours, stock) = (git.path("ours"), git.path("stock"));
        Twins { git, served, version, ours, stock, url, work: None }
    }

    pub fn play(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
            let words: Vec<&str> = rest.split_whitespace().collect();
            match verb {
                "server" => drop(self.git.ok(&self.served, &words)),
                "grow" => self.grow(rest),
                "clone" => self.clone_both(&words),
                "!" => {
                    self.git.fail(&self.ours, &words);
                    self.git.fail(&self.stock, &words);
                }
                _ => {
                    let mut all = vec![verb];
                    all.extend(words);
                    self.git.ok(&self.ours, &all);
                    self.git.ok(&self.stock, &all);
                }
            }
            if !matches!(verb, "server" | "grow") {
                self.compare(line);
            }
        }
    }

    /// The client of this server.
    pub fn client(&self) -> &Path {
        &self.ours
    }

    fn clone_both(&self, options: &[&str]) {
        self.clone_ours(options);
        // A URL, since a path would be copied and not fetched.
        self.clone_from(&format!("file://{}", self.served.display()), &self.stock, options);
    }

    /// Makes the client of this server alone.
    pub fn clone_ours(&self, options: &[&str]) {
        self.clone_from(&self.url, &self.ours, options);
    }

    fn clone_from(&self, url: &str, dir: &Path, options: &[&str]) {
        let mut args = vec!["clone", "--quiet"];
        args.extend(options);
        args.extend([url, dir.to_str().expect("UTF-8")]);
        self.git.ok(self.git.root(), &args);
    }

    fn grow(&mut self, file: &str) {
        let work = self.work.get_or_insert_with(|| self.git.clone(&self.served, "work", &[""; 0]));
        let work = work.clone();
        self.git.commit_file(&work, file, format!("{file} has grown\n"));
        self.git.ok(&work, &["push", "--quiet", "origin", "HEAD:main"]);
    }

    fn compare(&self, step: &str) {
        let (ours, stock) = (self.state(&self.ours), self.state(&self.stock));
        let version = self.version.map_or("default".into(), |version| version.to_string());
        if ours != stock {
            let only = |some: &str, other: &str| -> Vec<String> {
                let other: Vec<&str> = other.lines().collect();
                some.lines().filter(|line| !other.contains(line)).map(str::to_owned).collect()
            };
            panic!(
                "after `{step}`, protocol version {version}: only here {:#?}, only with git {:#?}",
                only(&ours, &stock),
                only(&stock, &ours)
            );
        }
        self.git.ok(&self.ours, &["fsck", "--no-dangling", "--no-progress"]);
    }

    /// Refs, HEAD, boundary and objects of a client.
    fn state(&self, client: &Path) -> String {
        let inner = client.join(".git");
        let git_dir = if inner.exists() { inner } else { client.to_owned() };
        let shallow = std::fs::read_to_string(git_dir.join("shallow"));
        let mut shallow: Vec<String> =
            shallow.unwrap_or_default().lines().map(|id| format!("shallow {id}")).collect();
        shallow.sort();
        let head = std::fs::read_to_string(git_dir.join("HEAD")).expect("HEAD");
        let refs = self.git.refs(client);
        format!("{head}{refs}\n{}\n{}", shallow.join("\n"), objects(&self.git, client))
    }
}

/// Every object a repository holds, with its kind, sorted.
pub fn objects(git: &RealGit, dir: &Path) -> String {
    let args = ["cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)"];
    git.ok(dir, &args)
}
