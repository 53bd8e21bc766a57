//! Repositories we make, as stock git sees them.

use object::HashKind;
use testkit::RealGit;

#[test]
fn git_takes_our_repositories_for_its_own() {
    let git = RealGit::new();
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let path = git.path(format!("{}.git", hash.name()));
        storage_disk::init_bare(&path, hash, "trunk").expect("made");
        git.fsck_strict(&path);
        assert_eq!(git.ok(&path, &["rev-parse", "--is-bare-repository"]), "true");
        assert_eq!(git.ok(&path, &["rev-parse", "--show-object-format"]), hash.name());
        assert_eq!(git.ok(&path, &["symbolic-ref", "HEAD"]), "refs/heads/trunk");
        let theirs = git.init_bare_of(format!("theirs-{}.git", hash.name()), hash);
        for key in ["core.repositoryformatversion", "core.bare", "core.filemode"] {
            let value = |path: &std::path::Path| git.ok(path, &["config", key]);
            assert_eq!(value(&path), value(&theirs), "{key}");
        }
        git.ok(git.root(), &["clone", "--quiet", path.to_str().expect("UTF-8"), "clone"]);
        std::fs::remove_dir_all(git.path("clone")).expect("removed");
        assert_eq!(crate::support::open(&path).hash, hash);
    }
}

#[test]
fn nothing_is_overwritten_and_nothing_left_behind() {
    let git = RealGit::new();
    let path = git.path("r.git");
    storage_disk::init_bare(&path, HashKind::Sha1, "main").expect("made");
    let again = storage_disk::init_bare(&path, HashKind::Sha1, "main").expect_err("taken");
    assert!(again.to_string().contains("r.git"), "{again}");
    storage_disk::init_bare(&git.path("x.git"), HashKind::Sha1, "a..b").expect_err("a bad branch");
    let left = std::fs::read_dir(git.root()).expect("a directory");
    let names: Vec<_> = left.map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("packhorse")), "{names:?}");
}
