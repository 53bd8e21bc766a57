//! The whole circle on one repository: everything a clone can become, and every kind of push,
//! with `git fsck --strict` after each step.
//!
//! Runs on a generated history; `PACKHORSE_CIRCLE_REPO` names a real repository instead. Real
//! histories hold objects that today's strict checks complain of, so each step is measured by
//! what git says of the original: nothing may be added to it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use testkit::{RealGit, Scenario};

use crate::serving::Serving;

/// The repository that the circle is run on, and what git says of it.
struct Original {
    git: RealGit,
    bare: PathBuf,
    complaints: BTreeSet<String>,
    passes: bool,
}

impl Original {
    fn new() -> Self {
        let git = RealGit::new();
        let bare = match std::env::var_os("PACKHORSE_CIRCLE_REPO") {
            Some(real) => git.clone(real, "srv/origin.git", &["--bare", "--no-local"]),
            None => Scenario::realistic(1500, 3).build(&git, "srv/origin.git"),
        };
        if !git.run(&bare, &["symbolic-ref", "-q", "HEAD"]).status.success() {
            git.ok(&bare, &["branch", "main", "HEAD"]);
            git.ok(&bare, &["symbolic-ref", "HEAD", "refs/heads/main"]);
        }
        git.ok(&bare, &["config", "uploadpack.allowFilter", "true"]);
        let (passes, complaints) = strictly(&git, &bare);
        Original { git, bare, complaints, passes }
    }

    /// Checks a repository that holds this history, or a part of it.
    fn fsck(&self, dir: &Path) {
        let (passes, complaints) = strictly(&self.git, dir);
        let new: Vec<&String> = complaints.difference(&self.complaints).collect();
        assert!(new.is_empty(), "{}: {new:#?}", dir.display());
        assert!(passes || !self.passes, "{}: git fsck --strict fails", dir.display());
    }
}

/// Whether `git fsck --strict` is content, and each line it says.
fn strictly(git: &RealGit, dir: &Path) -> (bool, BTreeSet<String>) {
    let args = ["fsck", "--strict", "--full", "--no-dangling", "--no-progress"];
    let output = git.run(dir, &args);
    let said = output.text() + "\n" + &output.error_text();
    let lines = said.lines().filter(|line| !line.is_empty() && !line.starts_with("notice:"));
    (output.status.success(), lines.map(str::to_owned).collect())
}

fn commits(git: &RealGit, dir: &Path) -> usize {
    git.ok(dir, &["rev-list", "--count", "HEAD"]).parse().expect("a number")
}

#[test]
fn fetches_of_every_kind() {
    let original = Original::new();
    let (git, origin) = (&original.git, &original.bare);
    let server = Serving::start(git, git.path("srv"), &[]);
    let url = server.url("origin.git");
    let whole = commits(git, origin);

    let mirror = git.clone(&url, "mirror.git", &["--mirror"]);
    assert_eq!(git.refs(&mirror), git.refs(origin));
    original.fsck(&mirror);

    let shallow = git.clone(&url, "shallow", &["--depth=2"]);
    original.fsck(&shallow);
    let before = commits(git, &shallow);
    git.ok(&shallow, &["fetch", "-q", "--deepen=3"]);
    original.fsck(&shallow);
    assert!(before < commits(git, &shallow) && commits(git, &shallow) <= whole);
    git.ok(&shallow, &["fetch", "-q", "--unshallow"]);
    original.fsck(&shallow);
    assert_eq!(commits(git, &shallow), whole);

    for filter in ["blob:none", "tree:0"] {
        // The checkout fetches what the filter left out.
        let option = format!("--filter={filter}");
        let partial = git.clone(&url, format!("partial-{}", &filter[..4]), &[option.as_str()]);
        assert_eq!(git.ok(&partial, &["status", "--porcelain"]), "");
        original.fsck(&partial);
    }

    let old = git.rev_parse(origin, "HEAD~4");
    let behind = git.init_bare("behind.git");
    git.ok(&behind, &["fetch", "-q", &url, &format!("{old}:refs/heads/here")]);
    git.ok(&behind, &["fetch", "-q", &url, "+HEAD:refs/heads/here"]);
    assert_eq!(git.rev_parse(&behind, "here"), git.rev_parse(origin, "HEAD"));
    original.fsck(&behind);
}

#[test]
fn pushes_of_every_kind() {
    let original = Original::new();
    let (git, origin) = (&original.git, &original.bare);
    let server = Serving::start(git, git.path("srv"), &["--create-on-push"]);
    let url = server.url("new.git");

    git.ok(origin, &["push", "-q", "--mirror", &url]);
    let new = git.path("srv/new.git");
    assert_eq!(git.refs(&new), git.refs(origin));
    original.fsck(&new);

    let work = git.clone(server.url("origin.git"), "work", &["--depth=20"]);
    git.ok(&work, &["fetch", "-q", "--unshallow"]);
    git.ok(&work, &["remote", "set-url", "origin", &url]);
    let branch = git.ok(&work, &["rev-parse", "--abbrev-ref", "HEAD"]);
    let one = git.commit_file(&work, "circle.txt", "one\n");
    git.ok(&work, &["push", "-q", "origin", "HEAD"]);
    assert_eq!(git.rev_parse(&new, &branch), one);
    original.fsck(&new);

    git.ok(&work, &["commit", "-q", "--amend", "-m", "another"]);
    git.fail(&work, &["push", "-q", "origin", "HEAD"]);
    assert_eq!(git.rev_parse(&new, &branch), one);
    git.ok(&work, &["push", "-q", "--force", "origin", "HEAD"]);
    assert_eq!(git.rev_parse(&new, &branch), git.rev_parse(&work, "HEAD"));
    original.fsck(&new);

    git.ok(&work, &["push", "-q", "origin", "HEAD:refs/heads/gone"]);
    git.ok(&work, &["push", "-q", "origin", ":gone"]);
    git.fail(&new, &["rev-parse", "--verify", "-q", "refs/heads/gone"]);
    original.fsck(&new);

    let lines: String = (0..1000).map(|at| format!("create refs/heads/many/{at} HEAD\n")).collect();
    git.ok_with_input(&work, &["update-ref", "--stdin"], lines.as_bytes());
    let all = "refs/heads/many/*:refs/heads/many/*";
    git.ok(&work, &["push", "-q", "--atomic", "origin", all]);
    let many = git.ok(&new, &["for-each-ref", "refs/heads/many"]);
    assert_eq!(many.lines().count(), 1000);
    original.fsck(&new);
}
