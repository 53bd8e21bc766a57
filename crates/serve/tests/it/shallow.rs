//! Pushes from shallow clones.

use crate::bridge::Scene;

fn shallow_clone(scene: &Scene) -> std::path::PathBuf {
    scene.commit("two\n");
    scene.commit("three\n");
    let path = scene.git.path("shallow");
    let source = format!("file://{}", scene.work.display());
    let target = path.to_str().expect("UTF-8");
    scene.git.ok(scene.git.root(), &["clone", "-q", "--depth=1", &source, target]);
    let origin = scene.git.ok(&scene.work, &["remote", "get-url", "origin"]);
    scene.git.ok(&path, &["remote", "set-url", "origin", &origin]);
    path
}

#[test]
fn a_boundary_the_server_knows_is_no_matter() {
    let scene = Scene::new();
    let path = shallow_clone(&scene);
    scene.push_ok(&["main"]);
    scene.git.commit_file(&path, "file", "four\n");
    scene.git.ok(&path, &["push", "-q", "origin", "main"]);
    assert!(!scene.served.join("shallow").exists());
    scene.git.fsck_strict(&scene.served);
}

#[test]
fn a_new_boundary_needs_permission() {
    let scene = Scene::new();
    let path = shallow_clone(&scene);
    let words = scene.git.fail(&path, &["push", "origin", "main:cut"]);
    assert!(words.contains("(shallow update not allowed)"), "{words}");
    assert!(!scene.served.join("shallow").exists());

    scene.config("receive.shallowUpdate", "true");
    scene.git.ok(&path, &["push", "-q", "origin", "main:cut"]);
    let head = scene.git.rev_parse(&path, "main");
    assert_eq!(scene.written("shallow"), format!("{head}\n"));
    scene.git.fsck_strict(&scene.served);
}

#[test]
fn hooks_can_walk_a_cut_history() {
    let scene = Scene::new();
    let path = shallow_clone(&scene);
    scene.config("receive.shallowUpdate", "true");
    for hook in ["pre-receive", "update", "post-receive"] {
        scene.hook(
            hook,
            "git rev-list --count --all >/dev/null && echo \"$GIT_SHALLOW_FILE\" >>seen
            test $# = 3 && git rev-list --count \"$3\" >>seen; true",
        );
    }
    scene.git.ok(&path, &["push", "-q", "origin", "main:cut"]);
    let seen = scene.written("seen");
    assert_eq!(seen.lines().filter(|line| line.contains("/shallow_")).count(), 3, "{seen}");
    assert!(seen.lines().any(|line| line == "1"), "{seen}");
    let left = scene.everything();
    assert!(!left.iter().any(|file| file.starts_with("shallow_")), "{left:?}");
}
