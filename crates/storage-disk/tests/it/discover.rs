//! Which paths lead to a repository, and which repositories are refused.

use std::fs;
use std::path::Path;

use gitconfig::{Config, Scope};
use storage::Error;
use storage_disk::{OwnerContext, check_owner, discover, discover_with};
use testkit::RealGit;

#[test]
fn paths_are_completed_as_git_completes_them() {
    let git = RealGit::new();
    let bare = git.init_bare("bare.git");
    git.ok(git.root(), &["init", "--quiet", "work"]);
    git.ok(git.root(), &["init", "--quiet", "--separate-git-dir=apart", "linked"]);
    git.ok(git.root(), &["init", "--quiet", "both.git"]);
    let found = |name: &str, strict: bool| {
        let path = discover(&git.path(name), strict).ok()?;
        Some(path.strip_prefix(git.root()).expect("below").display().to_string())
    };
    let apart = Some("apart".to_owned());
    for (asked, lenient, strict) in [
        ("bare", Some("bare.git"), None),
        ("bare.git", Some("bare.git"), Some("bare.git")),
        ("bare.git///", Some("bare.git"), Some("bare.git")),
        ("work", Some("work/.git"), None),
        ("work/.git", Some("work/.git"), Some("work/.git")),
        ("both", Some("both.git/.git"), None),
        ("none", None, None),
        ("bare.git/refs", None, None),
    ] {
        assert_eq!(found(asked, false).as_deref(), lenient, "{asked}");
        assert_eq!(
            found(asked, true).as_deref().map(|path| path.trim_end_matches('/')),
            strict,
            "{asked} strictly"
        );
    }
    assert_eq!(found("linked", false), apart);
    assert_eq!(found("linked/.git", true), apart);
    assert!(matches!(discover(Path::new(""), false), Err(Error::NotFound { .. })));
    fs::write(git.path("broken"), "gitdir: nowhere\n").expect("written");
    let said = discover(&git.path("broken"), false).expect_err("broken").to_string();
    assert!(said.contains("not a git repository"), "{said}");
    fs::write(git.path("odd"), "something else").expect("written");
    let said = discover(&git.path("odd"), false).expect_err("odd").to_string();
    assert!(said.contains("invalid gitfile format"), "{said}");
    drop(bare);
}

#[test]
fn strangers_repositories_need_an_exception() {
    let git = RealGit::new();
    let bare = git.init_bare("r.git");
    let found = discover_with(&bare, false).expect("found");
    let ours = OwnerContext::default();
    let stranger = OwnerContext { assume_different_owner: true, ..OwnerContext::default() };
    let config = |text: &str, scope| {
        Config::parse(text.as_bytes(), scope, Path::new("config")).expect("valid")
    };
    check_owner(&found, &Config::empty(), &ours).expect("our own");
    let said = check_owner(&found, &Config::empty(), &stranger).expect_err("refused").to_string();
    assert!(said.starts_with("detected dubious ownership in repository at '"), "{said}");
    let root = git.root().display();
    for (text, safe) in [
        (format!("[safe]\ndirectory = {root}/r.git"), true),
        (format!("[safe]\ndirectory = {root}/*"), true),
        (format!("[safe]\ndirectory = {root}/other"), false),
        (format!("[safe]\ndirectory = {root}/r.git\ndirectory ="), false),
        ("[safe]\ndirectory = *".to_owned(), true),
        ("[safe]\ndirectory = r.git".to_owned(), false),
    ] {
        let result = check_owner(&found, &config(&text, Scope::Global), &stranger);
        assert_eq!(result.is_ok(), safe, "{text}");
        let own = check_owner(&found, &config(&text, Scope::Local), &stranger);
        assert!(own.is_err(), "a repository cannot call itself safe");
    }
}

#[test]
fn formats_we_do_not_know_are_refused_in_words() {
    let git = RealGit::new();
    let bare = git.init_bare("r.git");
    git.ok(git.root(), &["init", "--quiet", "--ref-format=reftable", "table"]);
    git.commit_file(git.path("table"), "file", "text");
    git.ok(git.path("table"), &["worktree", "add", "-q", "../linked"]);
    let said = |path: &Path| match storage_disk::open(path, &crate::support::options()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("opened"),
    };
    assert!(said(&git.path("table/.git/worktrees/linked")).contains("linked work tree"));
    // Written by hand: git refuses to run where it does not know the format.
    let configure = |extension: &str| {
        let text = format!("[core]\nrepositoryFormatVersion = 1\n[extensions]\n{extension}\n");
        fs::write(bare.join("config"), text).expect("written");
    };
    configure("future = 1");
    assert!(said(&bare).ends_with("unknown repository extension found:\n\tfuture"));
    configure("relativeWorktrees = true");
    crate::support::open(&bare);
    fs::write(bare.join("config"), "[core\n").expect("written");
    assert!(said(&bare).contains("config"), "{}", said(&bare));
}
