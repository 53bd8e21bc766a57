//! What hooks are told, what they say, and what they decide.

use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use wire::{Protocol, Sink};

use crate::bridge::{Scene, receive};
use crate::cut::whole_push;

#[test]
fn receive_hooks_see_commands_options_and_the_quarantine() {
    let scene = Scene::new();
    scene.config("receive.advertisePushOptions", "true");
    let tell = "echo \"$GIT_DIR $GIT_PUSH_OPTION_COUNT $GIT_PUSH_OPTION_0\" >>seen
        cat >>seen
        git cat-file -e \"$(tail -n1 seen | cut -d' ' -f2)\" && echo found >>seen
        test -n \"$GIT_QUARANTINE_PATH\" && echo quarantined >>seen
        echo said by a hook
        echo said to standard error >&2\n";
    scene.hook("pre-receive", tell);
    scene.hook("post-receive", tell);
    scene.hook("post-update", "echo \"$@\" >>seen");
    scene.commit("two\n");
    let old = scene.git.rev_parse(&scene.served, "main");
    let new = scene.git.rev_parse(&scene.work, "main");
    let words = scene.push_ok(&["--push-option=an option", "main"]);
    let line = format!("{old} {new} refs/heads/main");
    let expected = format!(
        ". 1 an option\n{line}\nfound\nquarantined\n\
         . 1 an option\n{line}\nfound\nrefs/heads/main\n"
    );
    assert_eq!(scene.written("seen"), expected);
    assert!(words.contains("remote: said by a hook"), "{words}");
    assert!(words.contains("remote: said to standard error"), "{words}");
}

#[test]
fn hooks_decide() {
    let scene = Scene::new();
    scene.commit("two\n");
    scene.hook("update", "test \"$1\" != refs/heads/bad");
    let words = scene.push(&["main:good", "main:bad"]).error_text();
    assert!(words.contains("(hook declined)"), "{words}");
    assert!(words.contains("remote: error: hook declined to update refs/heads/bad"), "{words}");
    assert!(scene.refs().contains("refs/heads/good"));
    assert!(!scene.refs().contains("refs/heads/bad"));

    scene.hook("pre-receive", "echo no; exit 1");
    let words = scene.push_fails(&["main:worse"]);
    assert!(words.contains("(pre-receive hook declined)"), "{words}");
    assert!(words.contains("remote: no"), "{words}");
}

#[test]
fn a_hook_need_not_read_and_needs_no_shebang() {
    let scene = Scene::new();
    scene.hook("pre-receive", "exit 0");
    let path = scene.served.join("hooks/post-receive");
    scene.hook("post-receive", "");
    std::fs::write(path, "echo plain >seen\n").expect("hook");
    scene.push_ok(&["main:x"]);
    assert_eq!(scene.written("seen"), "plain\n");
}

#[test]
fn a_hook_that_takes_too_long_is_killed_with_its_children() {
    let scene = Scene::adjusted(|session| session.settings.hook_limits.hook_timeout_ms = 300);
    scene.hook("pre-receive", "sleep 1000 & sleep 1000; echo never >seen");
    let words = scene.push_fails(&["main:x"]);
    assert!(words.contains("the pre-receive hook was killed after 300 ms"), "{words}");
    assert!(words.contains("(pre-receive hook declined)"), "{words}");
    assert_eq!(scene.written("seen"), "");
}

#[test]
fn configured_hooks_run_before_the_folder() {
    let scene = Scene::new();
    scene.config("hook.first.command", "echo first >>seen; cat >/dev/null");
    scene.config("hook.first.event", "pre-receive");
    scene.config("hook.second.command", "false");
    scene.config("hook.second.event", "pre-receive");
    scene.config("hook.second.enabled", "false");
    scene.hook("pre-receive", "echo folder >>seen");
    scene.push_ok(&["main:x"]);
    assert_eq!(scene.written("seen"), "first\nfolder\n");
}

#[test]
fn transactions_are_told_state_by_state() {
    let scene = Scene::new();
    scene.hook("reference-transaction", "echo \"$0 $1\" >>seen; cat >>seen");
    scene.push_ok(&["main:a", "main:b"]);
    let id = scene.git.rev_parse(&scene.work, "main");
    let null = "0".repeat(40);
    let lines = format!("{null} {id} refs/heads/a\n{null} {id} refs/heads/b\n");
    let state = |state: &str| format!("hooks/reference-transaction {state}\n{lines}");
    let expected = [state("preparing"), state("prepared"), state("committed")].concat();
    assert_eq!(scene.written("seen"), expected);

    scene.hook("reference-transaction", "test \"$1\" != prepared");
    let before = scene.refs();
    let words = scene.push(&["main:c"]).error_text();
    assert!(words.contains("in 'prepared' phase, update aborted"), "{words}");
    assert_eq!(scene.refs(), before);
}

#[test]
fn a_transaction_that_is_given_up_is_told_so() {
    let scene = Scene::new();
    scene.hook("reference-transaction", "echo \"$1\" >>seen; test \"$1\" != prepared");
    scene.push_fails(&["main:c"]);
    assert_eq!(scene.written("seen"), "preparing\nprepared\naborted\n");
}

/// Lets the hook go on once a sign of life was sent.
struct LetGo {
    sent: Vec<u8>,
    file: PathBuf,
}

impl Sink for LetGo {
    fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        self.sent.extend_from_slice(&bytes);
        if self.sent.windows(5).any(|packet| packet == b"0005\x01") {
            std::fs::write(&self.file, "")?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_silent_hook_is_covered_by_signs_of_life() {
    let scene = Scene::new();
    scene.config("receive.keepAlive", "1");
    scene.hook(
        "pre-receive",
        "for i in $(seq 2000); do test -e seen && exit 0; sleep 0.05; done; exit 1",
    );
    let push = whole_push(&scene);
    let mut output = LetGo { sent: Vec::new(), file: scene.served.join("seen") };
    let outcome = receive(&scene.served, Protocol::V0, &|_| {}, &mut &push[..], &mut output);
    assert_eq!(outcome.expect("a push").updated.len(), 1);
}

#[test]
fn a_hook_that_cannot_be_executed_is_pointed_out() {
    use std::os::unix::fs::PermissionsExt as _;
    let scene = Scene::new();
    scene.hook("update", "exit 1");
    let path = scene.served.join("hooks/update");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).expect("mode");
    let words = scene.push_ok(&["main:a"]);
    let advice = "hint: The 'hooks/update' hook was ignored because it's not set as executable.";
    assert!(words.contains(advice), "{words}");
    scene.config("advice.ignoredHook", "false");
    let words = scene.push_ok(&["main:b"]);
    assert!(!words.contains("hint:"), "{words}");
}
