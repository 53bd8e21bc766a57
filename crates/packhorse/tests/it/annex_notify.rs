//! What `git-annex-shell notifychanges` tells, and git-annex' own daemon that listens to it.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use testkit::{LineProcess, RealGit, installed_programs, wait_until};

use crate::serving::{Serving, packhorse};
use crate::ssh_client::SshClient;

const UUID: &str = "6e3ee9c6-1a33-4b5b-9d4e-8f9c1b2a3d4e";

/// A server with a repository that git-annex may know, and somebody who may write there.
struct Scene {
    client: SshClient,
    server: Serving,
    git: RealGit,
    served: PathBuf,
    work: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let git = RealGit::new();
        let client = SshClient::new(&git);
        let programs = installed_programs();
        let path = std::env::var("PATH").expect("a path");
        let git = git
            .env("GIT_SSH_COMMAND", client.command())
            .env("GIT_ANNEX_USE_GIT_SSH", "1")
            .env("PATH", format!("{}:{path}", programs.display()));
        let served = git.init_bare("srv/r.git");
        git.ok(&served, &["config", "annex.uuid", UUID]);
        let text = format!(
            "[users.ann]\nkeys = ['{}']\n[[rules]]\nrepositories = ['r']\nwho = ['ann']\nallow = 'write'\n",
            client.public_key().trim()
        );
        fs::write(git.path("access.toml"), text).expect("a file");
        let text = "[access]\nfile = 'access.toml'\n[ssh]\nlisten = '127.0.0.1:0'\nhost_key = 'host_key'\n";
        fs::write(git.path("server.toml"), text).expect("a file");
        let mut command = packhorse(&git);
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(git.path("server.toml"));
        let server = Serving::spawn(&git, {
            command.arg(git.path("srv"));
            command
        });
        let url = format!("ssh://git@{}/r.git", server.ssh_authority());
        let work = git.clone(url, "work", &["-q"]);
        git.commit_file(&work, "file", "one");
        git.ok(&work, &["push", "-q", "origin", "HEAD:refs/heads/main"]);
        Scene { client, server, git, served, work }
    }

    fn shell(&self, command: &str) -> Command {
        let mut ssh = self.client.to(&self.git, &self.server.ssh_authority());
        ssh.arg(command);
        ssh
    }

    fn run(&self, command: &str) -> (String, String, i32) {
        self.client.run(&self.git, &self.server.ssh_authority(), command, b"")
    }

    /// Commits, and pushes to a branch; its id.
    fn push(&self, branch: &str, text: &str) -> String {
        self.git.commit_file(&self.work, "file", text);
        let to = format!("HEAD:refs/heads/{branch}");
        self.git.ok(&self.work, &["push", "-q", "origin", &to]);
        self.git.rev_parse(&self.work, "HEAD").to_string()
    }
}

#[test]
fn each_ref_that_moves_is_a_line() {
    let scene = Scene::new();
    let mut told = LineProcess::spawn(
        scene.shell(&format!("git-annex-shell 'notifychanges' '/r.git' --uuid {UUID}")),
    );
    // An empty list: whoever comes anew fetches, because nobody knows what he missed.
    let mut next = |expected: &str| assert_eq!(told.expect("a line", |_| true), expected);
    next("READY");
    next("CHANGED ");
    let two = scene.push("main", "two");
    next(&format!("CHANGED {two}"));
    // What nobody has to fetch is not told: a branch that is gone, HEAD.
    scene.git.ok(&scene.served, &["symbolic-ref", "HEAD", "refs/heads/other"]);
    scene.git.ok(&scene.served, &["branch", "-q", "-D", "main"]);
    let three = scene.push("side", "three");
    next(&format!("CHANGED {three}"));
    told.close();
    assert_eq!(told.wait().code(), Some(0));
}

#[test]
fn who_asks_for_another_repository_is_told_so() {
    let scene = Scene::new();
    let (said, _, status) = scene.run("git-annex-shell 'configlist' '/~/r.git'");
    assert_eq!((said, status), (format!("annex.uuid={UUID}\ncore.gcrypt-id=\n"), 0));
    for (command, words, expected) in [
        ("git-annex-shell 'notifychanges' '/r.git' --uuid 1-2", "not '1-2'", 1),
        ("git-annex-shell 'notifychanges' '/nothing'", "not found", 128),
        ("git-annex-shell 'notifychanges'", "takes a command and a repository", 127),
    ] {
        let (said, error, status) = scene.run(command);
        assert!(error.contains(words), "{command}: {error}");
        assert_eq!((said.as_str(), status), ("", expected), "{command}");
    }
}

#[test]
fn the_daemon_of_git_annex_fetches_by_itself() {
    let scene = Scene::new();
    let git = &scene.git;
    let url = format!("ssh://git@{}/r.git", scene.server.ssh_authority());
    let away = git.clone(&url, "away", &["-q"]);
    git.ok(&away, &["annex", "init", "-q", "away"]);
    let known = git.ok(&away, &["config", "remote.origin.annex-uuid"]);
    assert_eq!(known, UUID);
    let mut daemon = git.command(&away);
    daemon.args(["annex", "remotedaemon", "--foreground"]);
    let mut daemon = LineProcess::spawn(daemon);
    daemon.expect_start("CONNECTED ssh://");
    daemon.expect("the first fetch", |line| line.starts_with("DONESYNCING") && line.ends_with('1'));
    let arrived = |daemon: &mut LineProcess, id: &str| {
        let head = || git.ok(&away, &["for-each-ref", "--format=%(objectname)", "refs/remotes"]);
        while !head().contains(id) {
            daemon.expect_start("DONESYNCING");
        }
    };
    let two = scene.push("main", "two");
    arrived(&mut daemon, &two);
    // What comes while nobody listens is heard by whoever comes back, old refs that he knows or not.
    daemon.say("PAUSE");
    daemon.expect_start("DISCONNECTED ssh://");
    let three = scene.push("main", "three");
    daemon.say("RESUME");
    daemon.expect_start("CONNECTED ssh://");
    arrived(&mut daemon, &three);
    daemon.say("STOP");
    assert_eq!(daemon.wait().code(), Some(0));
}

/// A process with all it has started, which end with the test.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

/// git-annex' assistant at the one end, git-remote-daemon at the other, and a server between them.
#[test]
fn the_assistant_of_git_annex_keeps_in_step_with_another_daemon() {
    let scene = Scene::new();
    let git = &scene.git;
    let url = format!("ssh://git@{}/r.git", scene.server.ssh_authority());
    let away = git.clone(&url, "away", &["-q", "-b", "main"]);
    git.ok(&away, &["annex", "init", "-q", "away"]);
    // Files go into git: this is about refs.
    git.ok(&away, &["config", "annex.largefiles", "nothing"]);
    git.ok(&away, &["config", "annex.autocommit", "true"]);
    let log = fs::File::create(git.path("assistant.log")).expect("a file");
    let mut assistant = git.command(&away);
    assistant.args(["annex", "assistant", "--foreground", "--startdelay=0"]).process_group(0);
    assistant.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
    let _assistant = Group(assistant.spawn().expect("it starts"));
    let here = git.clone(&url, "here", &["-q", "-b", "main"]);
    git.ok(&here, &["config", "remote.origin.daemon", "sync"]);
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_git-remote-daemon"));
    git.isolate(&mut daemon);
    daemon.current_dir(&here).arg("run").process_group(0).stderr(Stdio::null());
    let _daemon = Group(daemon.spawn().expect("it starts"));
    // What is committed here arrives in the assistant's folder.
    git.commit_file(&here, "from-here", "one");
    wait_until("it is there", || away.join("from-here").exists());
    // What is put into that folder is committed, and arrives here.
    fs::write(away.join("from-there"), "two").expect("a file");
    wait_until("it is here", || here.join("from-there").exists());
    git.commit_file(&here, "from-here", "three");
    let is_three = || fs::read_to_string(away.join("from-here")).is_ok_and(|text| text == "three");
    wait_until("it is there, too", is_three);
}
