//! Commands that a proc-receive hook carries out.

use crate::bridge::Scene;

/// A hook that answers every command with `answer` (shell, in which `$ref` is the ref).
fn answering(scene: &Scene, answer: &str) {
    let script = format!(
        "pkt() {{ printf '%04x%s\\n' $((${{#1}} + 5)) \"$1\"; }}
        read_pkt() {{
            len=$(dd bs=1 count=4 2>/dev/null)
            test \"$len\" = 0000 && return 1
            line=$(dd bs=1 count=$((0x$len - 4)) 2>/dev/null | tr -d '\\0')
        }}
        while read_pkt; do :; done
        pkt version=1; printf 0000
        refs=
        while read_pkt; do refs=\"$refs ${{line##* }}\"; echo \"$line\" >>seen; done
        echo talked >&2
        for ref in $refs; do {answer}; done
        printf 0000\n"
    );
    scene.hook("proc-receive", &script);
    scene.config("receive.procReceiveRefs", "refs/for");
}

#[test]
fn the_hook_reports_another_ref() {
    let scene = Scene::new();
    answering(&scene, "pkt \"ok $ref\"; pkt \"option refname refs/pull/1/head\"");
    scene.hook("post-receive", "cat >>seen");
    let words = scene.push_ok(&["main:refs/for/main", "main:plain"]);
    let id = scene.git.rev_parse(&scene.work, "main");
    let null = "0".repeat(40);
    assert_eq!(
        scene.written("seen"),
        format!(
            "{null} {id} refs/for/main\n{null} {id} refs/pull/1/head\n{null} {id} refs/heads/plain\n"
        )
    );
    assert!(words.contains("remote: talked"), "{words}");
    assert!(words.contains("main -> refs/pull/1/head"), "{words}");
    assert!(!scene.refs().contains("refs/for"));
    assert!(scene.refs().contains("refs/heads/plain"));
}

#[test]
fn the_hook_refuses_or_passes_on() {
    let scene = Scene::new();
    answering(
        &scene,
        "case $ref in
            refs/for/no) pkt \"ng $ref not like this\";;
            *) pkt \"ok $ref\"; pkt \"option fall-through\";;
        esac",
    );
    let words = scene.push(&["main:refs/for/no", "main:refs/for/through"]).error_text();
    assert!(words.contains("(not like this)"), "{words}");
    assert!(scene.refs().contains("refs/for/through"));
    assert!(!scene.refs().contains("refs/for/no"));
}

#[test]
fn a_broken_hook_fails_its_own_commands() {
    let scene = Scene::new();
    scene.config("receive.procReceiveRefs", "refs/for");
    let words = scene.push(&["main:refs/for/main", "main:plain"]).error_text();
    assert!(words.contains("remote: error: cannot find hook 'proc-receive'"), "{words}");
    assert!(words.contains("(fail to run proc-receive hook)"), "{words}");
    assert!(scene.refs().contains("refs/heads/plain"));

    scene.hook("proc-receive", "exit 1");
    let words = scene.push(&["main:refs/for/main"]).error_text();
    let expected = "remote: error: fail to negotiate version with proc-receive hook";
    assert!(words.contains(expected), "{words}");

    answering(&scene, ":");
    let words = scene.push(&["--atomic", "main:refs/for/main", "main:other"]).error_text();
    assert!(words.contains("(proc-receive failed to report status)"), "{words}");
    assert!(!scene.refs().contains("refs/heads/other"));
}
