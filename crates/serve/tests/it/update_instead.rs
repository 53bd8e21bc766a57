//! `receive.denyCurrentBranch = updateInstead`: work trees that follow a push.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use testkit::Random;

use crate::bridge::Scene;

/// A served repository whose `main` is checked out beside it.
struct Site {
    scene: Scene,
    tree: PathBuf,
}

impl Site {
    fn new() -> Self {
        Self::over(Scene::new())
    }

    fn over(scene: Scene) -> Self {
        let tree = scene.git.path("checkout");
        fs::create_dir(&tree).expect("work tree");
        scene.git.ok(&scene.served, &["config", "core.bare", "false"]);
        scene.config("core.worktree", tree.to_str().expect("UTF-8"));
        scene.config("receive.denyCurrentBranch", "updateInstead");
        let site = Site { scene, tree };
        site.git(&["reset", "--quiet", "--hard"]);
        site
    }

    /// Runs git in the work tree.
    fn git(&self, args: &[&str]) -> String {
        let served = format!("--git-dir={}", self.scene.served.display());
        let mut all = vec![served.as_str()];
        all.extend(args);
        self.scene.git.ok(&self.tree, &all)
    }

    /// Commits whatever the clone's work tree holds.
    fn commit_all(&self) {
        let git = &self.scene.git;
        git.ok(&self.scene.work, &["add", "--all"]);
        git.ok(&self.scene.work, &["commit", "--quiet", "--allow-empty", "-m", "x"]);
    }

    /// Writes a file of the clone.
    fn write(&self, path: &str, text: &str) {
        write(&self.scene.work, path, text);
    }

    fn push_ok(&self) {
        self.scene.push_ok(&["main"]);
        self.assert_follows();
    }

    fn push_fails(&self, words: &[&str]) {
        let state = || (files(&self.tree), self.scene.refs(), self.scene.written_bytes("index"));
        let before = state();
        let output = self.scene.push(&["main"]);
        assert!(!output.status.success(), "{}", output.error_text());
        let said = output.error_text();
        for word in words {
            assert!(said.contains(word), "{word:?} is missing in:\n{said}");
        }
        assert_eq!(state(), before);
    }

    /// Stock git finds nothing to say, and the files are those of the clone.
    fn assert_follows(&self) {
        assert_eq!(self.git(&["status", "--porcelain", "--ignored"]), "");
        // Without a refresh: what the index remembers of each file is true.
        self.git(&["diff-files", "--quiet", "--ignore-submodules"]);
        self.git(&["diff-index", "--quiet", "--cached", "HEAD"]);
        assert_eq!(files(&self.tree), files(&self.scene.work));
    }
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
    fs::write(path, text).expect("write a file");
}

/// Every file below a work tree with mode and content, and every empty directory.
fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut entries = fs::read_dir(&folder).expect("a folder").flatten().peekable();
        if entries.peek().is_none() {
            found.push(format!("{} is empty", folder.display()).replace(&shown(root), ""));
        }
        for entry in entries.filter(|entry| entry.file_name() != ".git") {
            let path = entry.path();
            let name = path.strip_prefix(root).expect("below").display().to_string();
            let metadata = path.symlink_metadata().expect("metadata");
            if metadata.is_dir() {
                folders.push(path);
            } else if metadata.is_symlink() {
                found.push(format!("{name} -> {}", fs::read_link(&path).expect("link").display()));
            } else {
                let bit = metadata.permissions().mode() & 0o100;
                found.push(format!("{name} {bit:o} {:?}", fs::read(&path).expect("content")));
            }
        }
    }
    found.sort();
    found
}

fn shown(root: &Path) -> String {
    root.display().to_string()
}

#[test]
fn files_come_change_and_go() {
    let site = Site::new();
    for (path, text) in [("a", "1"), ("dir/b", "2"), ("dir/deep/c", "3"), ("gone/only", "4")] {
        site.write(path, text);
    }
    symlink("a", site.scene.work.join("link")).expect("link");
    site.commit_all();
    site.push_ok();

    let work = &site.scene.work;
    site.write("a", "changed");
    fs::remove_file(work.join("gone/only")).expect("gone");
    fs::remove_dir(work.join("gone")).expect("gone");
    fs::set_permissions(work.join("dir/b"), fs::Permissions::from_mode(0o755)).expect("mode");
    fs::remove_file(work.join("link")).expect("link");
    symlink("dir/b", work.join("link")).expect("link");
    site.commit_all();
    site.push_ok();

    // A file becomes a directory, a directory a file, a link a file.
    fs::remove_file(work.join("a")).expect("gone");
    site.write("a/b/c", "below");
    fs::remove_dir_all(work.join("dir")).expect("gone");
    site.write("dir", "a file now");
    fs::remove_file(work.join("link")).expect("link");
    site.write("link", "no link");
    site.commit_all();
    site.push_ok();
    assert!(!site.scene.served.join("index.lock").exists());
    let left = fs::read_dir(&site.scene.served).expect("git directory").flatten();
    let left = left.filter(|entry| entry.file_name().to_string_lossy().contains("updating"));
    assert_eq!(left.count(), 0);
}

#[test]
fn any_tree_follows_any_other() {
    let site = Site::new();
    let mut random = Random::new(7);
    let names = ["a", "a/b", "a/b/c", "a.b", "a0", "d/e", "d/e/f", "d/g", "d", "z/y/x/w", "z/y"];
    for _ in 0..25 {
        let git = site.scene.work.join(".git");
        let aside = site.scene.git.path("aside.git");
        fs::rename(&git, &aside).expect("move .git");
        fs::remove_dir_all(&site.scene.work).expect("clear");
        fs::create_dir(&site.scene.work).expect("clear");
        fs::rename(&aside, &git).expect("move .git");
        site.write("stays", "as it is");
        for name in names {
            let path = site.scene.work.join(name);
            let above = path.parent().expect("a folder");
            let kind = random.below(4);
            if kind == 0 || fs::create_dir_all(above).is_err() || path.exists() {
                continue;
            }
            if kind == 1 {
                symlink(format!("to{}", random.below(3)), &path).expect("link");
                continue;
            }
            let text = format!("text {}", random.below(3));
            site.write(name, &text);
            if kind == 2 {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
            }
        }
        site.commit_all();
        site.push_ok();
    }
}

#[test]
fn every_index_version_and_hash_is_read() {
    for version in ["2", "3", "4"] {
        let site = Site::new();
        for number in 0..40 {
            site.write(&format!("some/long/folder/{number}"), "x");
        }
        site.commit_all();
        site.push_ok();
        site.git(&["update-index", "--index-version", version]);
        site.write("some/long/folder/7", "y");
        site.commit_all();
        site.push_ok();
    }
    let site = Site::over(Scene::of_hash(object::HashKind::Sha256));
    site.write("new", "x");
    site.commit_all();
    site.push_ok();
}

#[test]
fn a_branch_without_commits_is_filled() {
    let site = Site::new();
    site.git(&["checkout", "--quiet", "--orphan", "fresh"]);
    site.git(&["rm", "--quiet", "-r", "-f", "."]);
    site.scene.push_ok(&["main:fresh"]);
    site.assert_follows();
}

#[test]
fn what_could_be_lost_stops_the_push() {
    let site = Site::new();
    site.write("tracked", "1");
    site.write("dir/file", "1");
    site.commit_all();
    site.push_ok();
    site.write("tracked", "2");
    site.write("new/file", "2");
    site.commit_all();

    write(&site.tree, "tracked", "mine");
    site.push_fails(&["(Working directory has unstaged changes)", "'tracked'"]);
    site.git(&["add", "tracked"]);
    site.push_fails(&["(Working directory has staged changes)", "'tracked'"]);
    site.git(&["reset", "--quiet", "--hard"]);

    // Same size, same second.
    write(&site.tree, "tracked", "x");
    site.push_fails(&["(Working directory has unstaged changes)"]);
    write(&site.tree, "tracked", "1");

    write(&site.tree, "new", "untracked file in a folder's place");
    site.push_fails(&["(Could not update working tree to new HEAD)", "untracked 'new'"]);
    fs::remove_file(site.tree.join("new")).expect("gone");
    write(&site.tree, "new/file", "untracked");
    site.push_fails(&["untracked 'new/file'"]);
    fs::remove_dir_all(site.tree.join("new")).expect("gone");

    fs::write(site.scene.served.join("index.lock"), "").expect("lock");
    site.push_fails(&["(Up-to-date check failed)", "cannot lock the index"]);
    fs::remove_file(site.scene.served.join("index.lock")).expect("unlock");

    // Files somebody only promised not to change are looked at before they are replaced.
    site.git(&["update-index", "--assume-unchanged", "tracked"]);
    write(&site.tree, "tracked", "mine");
    site.push_fails(&["(Working directory has unstaged changes)"]);
    write(&site.tree, "tracked", "1");
    site.push_ok();
}

#[test]
fn untracked_files_elsewhere_stay() {
    let site = Site::new();
    site.write("dir/tracked", "1");
    site.commit_all();
    site.push_ok();
    write(&site.tree, "dir/mine", "untracked");
    fs::remove_dir_all(site.scene.work.join("dir")).expect("gone");
    site.commit_all();
    site.scene.push_ok(&["main"]);
    assert_eq!(site.git(&["status", "--porcelain"]), "?? dir/");
    // A file cannot take the folder's place now.
    site.write("dir", "a file");
    site.commit_all();
    site.push_fails(&["untracked 'dir/mine'"]);
}

#[test]
fn nothing_outside_the_work_tree_is_touched() {
    let site = Site::new();
    site.write("dir/file", "1");
    site.commit_all();
    site.push_ok();
    // The folder is a link to a place with the same file.
    let outside = site.scene.git.path("outside");
    fs::rename(site.tree.join("dir"), &outside).expect("move");
    symlink(&outside, site.tree.join("dir")).expect("link");
    site.write("dir/file", "2");
    site.commit_all();
    site.push_fails(&["(Working directory has unstaged changes)"]);
    assert_eq!(fs::read_to_string(outside.join("file")).expect("still there"), "1");

    // New files do not go through an untracked link either.
    fs::remove_file(site.tree.join("dir")).expect("gone");
    fs::rename(&outside, site.tree.join("dir")).expect("move back");
    fs::create_dir(&outside).expect("outside");
    symlink(&outside, site.tree.join("other")).expect("link");
    site.write("other/file", "2");
    site.commit_all();
    site.push_fails(&["untracked 'other'"]);
    assert_eq!(fs::read_dir(&outside).expect("outside").count(), 0);
}

#[test]
fn trees_with_names_that_escape_are_refused() {
    let site = Site::new();
    let git = &site.scene.git;
    let work = &site.scene.work;
    let blob = git.ok_with_input(work, &["hash-object", "-w", "--stdin"], b"evil").text();
    for name in ["..", ".git", ".GIT", "git~1", ".git ", "a\\.git", "."] {
        let line = format!("100644 blob {blob}\t{name}\n");
        let tree = git.ok_with_input(work, &["mktree"], line.as_bytes()).text();
        let args = ["commit-tree", "-p", "main", "-m", "evil", &tree];
        let commit = git.ok(work, &args);
        git.ok(work, &["update-ref", "refs/heads/evil", &commit]);
        let before = files(&site.tree);
        let words = site.scene.push(&["evil:main"]).error_text();
        assert!(words.contains("(Could not update working tree to new HEAD)"), "{name}: {words}");
        assert_eq!(files(&site.tree), before);
    }
}

#[test]
fn a_push_that_fails_later_takes_the_files_back() {
    let site = Site::new();
    for (path, text) in [("a", "1"), ("dir/b", "2"), ("gone/only", "4")] {
        site.write(path, text);
    }
    site.commit_all();
    site.push_ok();
    let index = site.scene.written_bytes("index");
    fs::remove_dir_all(site.scene.work.join("dir")).expect("gone");
    fs::remove_dir_all(site.scene.work.join("gone")).expect("gone");
    fs::remove_file(site.scene.work.join("a")).expect("gone");
    site.write("a/now/deeper", "1");
    site.write("dir", "2");
    site.write("file", "changed");
    site.commit_all();
    site.scene.hook("reference-transaction", "test \"$1\" != prepared");
    let before = files(&site.tree);
    let words = site.scene.push(&["main"]).error_text();
    assert!(words.contains("reference-transaction hook"), "{words}");
    assert_eq!(files(&site.tree), before);
    assert_eq!(site.scene.written_bytes("index"), index);
    assert!(!site.scene.served.join("index.lock").exists());
    fs::remove_file(site.scene.served.join("hooks/reference-transaction")).expect("gone");
    site.push_ok();
}

#[test]
fn contents_that_need_conversion_are_refused() {
    let site = Site::new();
    site.write(".gitattributes", "* text=auto\n*.bin -text filter=none\n");
    site.write("file.bin", "\r\n");
    site.commit_all();
    site.push_ok();
    site.scene.config("filter.none.clean", "cat");
    site.write("file.bin", "\n");
    site.commit_all();
    site.push_fails(&["does not support the attribute 'filter=none' (.gitattributes)"]);
    site.git(&["config", "--unset", "filter.none.clean"]);
    site.scene.config("core.autocrlf", "true");
    site.push_fails(&["does not support core.autocrlf"]);
    site.git(&["config", "--unset", "core.autocrlf"]);
    site.push_ok();
}

#[test]
fn submodules_are_empty_folders() {
    let site = Site::new();
    let git = &site.scene.git;
    let head = git.rev_parse(&site.scene.work, "HEAD").to_hex();
    let entry = format!("160000,{head},some/sub");
    git.ok(&site.scene.work, &["update-index", "--add", "--cacheinfo", &entry]);
    git.ok(&site.scene.work, &["commit", "--quiet", "-m", "sub"]);
    site.scene.push_ok(&["main"]);
    assert!(site.tree.join("some/sub").is_dir());
    assert_eq!(site.git(&["status", "--porcelain"]), "");
    git.ok(&site.scene.work, &["rm", "--quiet", "--cached", "some/sub"]);
    git.ok(&site.scene.work, &["commit", "--quiet", "-m", "no sub"]);
    site.scene.push_ok(&["main"]);
    assert!(!site.tree.join("some").exists());
    assert_eq!(site.git(&["status", "--porcelain"]), "");
}

#[test]
fn linked_work_trees_follow_their_branches() {
    let scene = Scene::new();
    let linked = scene.git.path("linked");
    let args = ["worktree", "add", "--quiet", "-b", "side", linked.to_str().expect("UTF-8")];
    scene.git.ok(&scene.served, &args);
    scene.commit("two\n");
    let words = scene.push_fails(&["main:side"]);
    assert!(words.contains("(branch is currently checked out)"), "{words}");
    scene.config("receive.denyCurrentBranch", "updateInstead");
    scene.push_ok(&["main:side"]);
    assert_eq!(fs::read_to_string(linked.join("file")).expect("a file"), "two\n");
    assert_eq!(scene.git.ok(&linked, &["status", "--porcelain"]), "");
    let words = scene.push_fails(&[":side"]);
    assert!(words.contains("(deletion of the current branch prohibited)"), "{words}");
    // The branch nobody has checked out moves as always.
    scene.push_ok(&["main"]);
}

#[test]
fn the_push_to_checkout_hook_decides_alone() {
    let site = Site::new();
    site.scene.hook("push-to-checkout", "echo \"$GIT_WORK_TREE $1\" >\"$GIT_DIR/seen\"");
    site.write("file", "two\n");
    site.commit_all();
    let head = site.scene.git.rev_parse(&site.scene.work, "main");
    site.scene.push_ok(&["main"]);
    assert_eq!(site.scene.written("seen"), format!("{} {head}\n", site.tree.display()));
    assert_eq!(fs::read_to_string(site.tree.join("file")).expect("a file"), "one\n");
    site.scene.hook("push-to-checkout", "echo not now >&2; exit 1");
    site.write("file", "three\n");
    site.commit_all();
    site.push_fails(&["(push-to-checkout hook declined)", "remote: not now"]);
}
