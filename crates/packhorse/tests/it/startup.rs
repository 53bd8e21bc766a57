//! What is served, under which names, and what the server says when it starts.

use std::os::unix::fs::symlink;

use testkit::{RealGit, Scenario};

use crate::serving::{Serving, packhorse};

const NONE: &[&str] = &[];

fn head(git: &RealGit, url: String) -> String {
    git.ok(git.root(), &["ls-remote", &url, "HEAD"])
}

#[test]
fn a_folder_is_served_with_everything_below_it() {
    let git = RealGit::new();
    Scenario::linear(2).build(&git, "srv/one.git");
    Scenario::linear(3).build(&git, "srv/deep/er/two");
    let work = git.clone(git.path("srv/one.git"), "srv/tree", NONE);
    Scenario::linear(1).build(&git, "outside.git");
    symlink(git.path("outside.git"), git.path("srv/link.git")).expect("a link");
    let mut server = Serving::start(&git, git.path("srv"), &[]);
    for name in ["one", "one.git", "deep/er/two", "deep/er/two.git", "tree", "tree.git"] {
        assert!(!head(&git, server.url(name)).is_empty(), "{name}");
    }
    let tip = git.rev_parse(&work, "HEAD").to_string();
    assert!(head(&git, server.url("tree")).starts_with(&tip));
    for name in ["link", "two", "deep", "outside", "one.git.git", "tree/.git", "ONE"] {
        git.fail(git.root(), &["ls-remote", &server.url(name)]);
    }
    let base = server.url("");
    let printed = server.process().printed();
    for name in ["one.git", "deep/er/two.git", "tree.git"] {
        assert!(printed.contains(&format!("{base}{name}\n")), "{printed}");
    }
}

#[test]
fn repositories_made_and_removed_while_serving_come_and_go() {
    let git = RealGit::new();
    std::fs::create_dir(git.path("srv")).expect("a folder");
    let server = Serving::start(&git, git.path("srv"), &[]);
    git.fail(git.root(), &["ls-remote", &server.url("late")]);
    let late = Scenario::linear(2).build(&git, "srv/late.git");
    let first = head(&git, server.url("late"));
    std::fs::remove_dir_all(&late).expect("remove it");
    git.fail(git.root(), &["ls-remote", &server.url("late")]);
    Scenario::linear(4).build(&git, "srv/late.git");
    assert_ne!(head(&git, server.url("late")), first);
}

#[test]
fn one_repository_is_announced_by_its_name_and_answers_to_any() {
    let git = RealGit::new();
    let bare = Scenario::linear(2).build(&git, "project.git");
    let work = git.clone(&bare, "tree", NONE);
    for (dir, name) in [(&bare, "project"), (&work, "tree")] {
        let server = Serving::start(&git, dir, &[]);
        assert!(!head(&git, server.url(name)).is_empty());
        assert!(!head(&git, server.url(&format!("{name}.git"))).is_empty());
        assert!(!head(&git, server.url("other.git")).is_empty(), "nothing else can be meant");
        git.fail(git.root(), &["ls-remote", &server.url("other/part")]);
    }
    let mut command = packhorse(&git);
    command.current_dir(&work).args(["serve", ".", "--listen", "127.0.0.1:0"]);
    let server = Serving::spawn(&git, command);
    assert!(!head(&git, server.url("tree.git")).is_empty(), "`.` has a name too");
}

#[test]
fn many_repositories_are_summed_up() {
    let git = RealGit::new();
    for number in 0..25 {
        git.init_bare(format!("srv/{number:02}.git"));
    }
    let mut server = Serving::start(&git, git.path("srv"), &[]);
    let url = server.url("");
    server.process().terminate();
    assert!(server.process().wait().success());
    let printed = server.process().printed();
    assert!(printed.contains("25 repositories, such as"), "{printed}");
    assert!(!printed.contains(&format!("{url}24.git")), "{printed}");
}

#[test]
fn the_start_says_what_is_off_and_how_to_turn_it_on() {
    let git = RealGit::new();
    std::fs::create_dir(git.path("srv")).expect("a folder");
    let printed = |listen: &str, options: &[&str]| {
        let mut command = packhorse(&git);
        command.arg("serve").arg(git.path("srv")).args(["--listen", listen]).args(options);
        let mut server = Serving::spawn(&git, command);
        server.process().terminate();
        assert!(server.process().wait().success());
        server.process().printed()
    };
    let loopback = printed("127.0.0.1:0", &[]);
    assert!(loopback.contains("no repository in"), "{loopback}");
    assert!(loopback.contains("from this machine (--read-only"), "{loopback}");
    assert!(loopback.contains("--create-on-push"), "{loopback}");
    assert!(loopback.contains("--listen"), "{loopback}");
    let open = printed("0.0.0.0:0", &[]);
    assert!(open.contains("pushes: off") && open.contains("--allow-anonymous-push"), "{open}");
    let trusting = printed("0.0.0.0:0", &["--allow-anonymous-push"]);
    assert!(trusting.contains("from anybody"), "{trusting}");
    let reading = printed("127.0.0.1:0", &["--read-only"]);
    assert!(reading.contains("pushes: off (--read-only)"), "{reading}");
    assert!(!reading.contains("--create-on-push"), "{reading}");
}

#[test]
fn a_file_configures_the_server_and_options_win() {
    let git = RealGit::new();
    Scenario::linear(2).build(&git, "srv/a.git");
    let file = git.path("packhorse.toml");
    let text = "directory = 'srv'\nread_only = true\nlisten = '127.0.0.1:0'\n\
                [limits]\nrequests_max = 8\nidle_timeout_ms = 5000\n";
    std::fs::write(&file, text).expect("a file");
    let mut command = packhorse(&git);
    command.current_dir(git.home()).arg("serve").arg("--config").arg(&file);
    let server = Serving::spawn(&git, command);
    assert!(!head(&git, server.url("a")).is_empty(), "its folder is named from the file's place");
    let work = git.clone(server.url("a"), "work", NONE);
    let words = git.fail(&work, &["push", "origin", "HEAD:other"]);
    assert!(words.contains("read-only"), "{words}");

    for (text, key) in [
        ("liten = 'x'", "liten"),
        ("listen = 'nowhere'", "listen"),
        ("[limits]\nrequests_max = 'many'", "requests_max"),
        ("[limits]\nrequest_max = 1", "request_max"),
    ] {
        std::fs::write(&file, text).expect("a file");
        let output = packhorse(&git).arg("serve").arg("--config").arg(&file).output();
        let output = output.expect("it runs");
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(words.contains(key) && words.contains("packhorse.toml"), "{words}");
    }
}

#[test]
fn what_cannot_be_served_is_said_at_once() {
    let git = RealGit::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    let home = git.home().display().to_string();
    for (args, words) in [
        (["serve", "/no/such/folder"].as_slice(), "/no/such/folder"),
        (["serve", "/etc/passwd"].as_slice(), "/etc/passwd"),
        (["serve", "--config", "/no/file.toml"].as_slice(), "/no/file.toml"),
        (["serve", &home, "--listen", &address].as_slice(), address.as_str()),
    ] {
        let output = packhorse(&git).args(args).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(words), "{args:?}: {said}");
        assert!(!output.status.success());
    }
}

#[test]
fn the_server_needs_no_git_executable() {
    let git = RealGit::new();
    Scenario::branchy(4).build(&git, "srv/old.git");
    std::fs::create_dir(git.path("nothing")).expect("a folder");
    let mut command = packhorse(&git);
    command.arg("serve").arg(git.path("srv")).args(["--listen", "127.0.0.1:0", "--create-on-push"]);
    // Nothing can be found and started by its name.
    command.env("PATH", git.path("nothing")).env("GIT_EXEC_PATH", git.path("nothing"));
    let server = Serving::spawn(&git, command);
    let mirror = git.clone(server.url("old.git"), "mirror.git", &["--mirror"]);
    assert_eq!(git.refs(&mirror), git.refs(git.path("srv/old.git")));
    git.ok(&mirror, &["push", "--quiet", "--mirror", &server.url("new.git")]);
    assert_eq!(git.refs(git.path("srv/new.git")), git.refs(&mirror));
    git.fsck_strict(git.path("srv/new.git"));
    let work = git.clone(server.url("new.git"), "work", &["--depth=1"]);
    git.commit_file(&work, "added", "a line\n");
    git.ok(&work, &["push", "--quiet", "origin", "HEAD:refs/heads/added"]);
    git.fsck_strict(git.path("srv/new.git"));
}
