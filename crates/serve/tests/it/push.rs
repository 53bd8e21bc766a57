//! Pushes that succeed.

use crate::bridge::Scene;

#[test]
fn creates_moves_and_deletes_refs() {
    let scene = Scene::new();
    scene.commit("two\n");
    scene.git.ok(&scene.work, &["tag", "-a", "-m", "tag", "v1"]);
    scene.push_ok(&["main", "main:topic", "v1"]);
    let head = scene.git.rev_parse(&scene.work, "main");
    assert_eq!(scene.git.rev_parse(&scene.served, "main"), head);
    assert_eq!(scene.git.rev_parse(&scene.served, "v1^{}"), head);

    scene.git.ok(&scene.work, &["commit", "--amend", "-qm", "other"]);
    scene.push_ok(&["+main", ":topic"]);
    let head = scene.git.rev_parse(&scene.work, "main");
    assert_eq!(scene.git.rev_parse(&scene.served, "main"), head);
    assert!(!scene.refs().contains("topic"));
}

#[test]
fn pushes_whole_histories_and_thin_packs() {
    let scene = Scene::new();
    for number in 0..150 {
        let line = "the same line over and over\n".repeat(40);
        scene.commit(&format!("{line}{number}\n"));
    }
    scene.push_ok(&["main"]);
    scene.commit(&format!("{}the last\n", "the same line over and over\n".repeat(40)));
    scene.push_ok(&["main"]);
    assert_eq!(scene.git.reachable(&scene.work), scene.git.reachable(&scene.served));
}

#[test]
fn an_atomic_push_of_many_refs() {
    let scene = Scene::new();
    let refs: Vec<String> = (0..300).map(|at| format!("main:refs/heads/many/{at}")).collect();
    let mut args = vec!["--atomic"];
    args.extend(refs.iter().map(String::as_str));
    scene.push_ok(&args);
    assert_eq!(scene.refs().matches("many/").count(), 300);
}

#[test]
fn a_symbolic_ref_moves_its_target() {
    let scene = Scene::new();
    scene.git.ok(&scene.served, &["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
    scene.commit("two\n");
    scene.push_ok(&["main:alias"]);
    let head = scene.git.rev_parse(&scene.work, "main");
    assert_eq!(scene.git.rev_parse(&scene.served, "refs/heads/main"), head);
    let target = scene.git.ok(&scene.served, &["symbolic-ref", "refs/heads/alias"]);
    assert_eq!(target, "refs/heads/main");

    scene.commit("three\n");
    let words = scene.push_fails(&["+main~2:main", "+main:alias"]);
    assert!(words.contains("inconsistent aliased update"), "{words}");
}

#[test]
fn namespaces_keep_pushes_apart() {
    let scene = Scene::adjusted(|session| {
        session.namespace = serve::Namespace::new(b"tenant").expect("a name");
    });
    scene.push_ok(&["main:inside"]);
    assert!(scene.refs().contains("refs/namespaces/tenant/refs/heads/inside"));
}

#[test]
fn server_info_follows_when_asked() {
    let scene = Scene::new();
    scene.config("receive.updateServerInfo", "true");
    scene.commit("two\n");
    scene.push_ok(&["main"]);
    let head = scene.git.rev_parse(&scene.work, "main").to_hex();
    assert_eq!(scene.written("info/refs"), format!("{head}\trefs/heads/main\n"));
    assert!(scene.written("objects/info/packs").starts_with("P pack-"));
}

#[test]
fn small_pushes_are_unpacked_only_when_configured() {
    let scene = Scene::new();
    let packs =
        |scene: &Scene| scene.everything().iter().filter(|file| file.contains(".pack ")).count();
    let before = packs(&scene);
    scene.commit("two\n");
    scene.push_ok(&["main"]);
    assert_eq!(packs(&scene), before + 1);
    scene.config("receive.unpackLimit", "100");
    scene.commit("three\n");
    scene.push_ok(&["main"]);
    assert_eq!(packs(&scene), before + 1);
}

#[test]
fn many_new_refs_become_one_file() {
    for atomic in [true, false] {
        let scene = Scene::new();
        scene.git.ok(&scene.work, &["tag", "-a", "-m", "x", "annotated"]);
        let kinds = ["main:refs/heads/b", "main:refs/tags/t", "annotated:refs/tags/a"];
        let refs: Vec<String> =
            (0..60).flat_map(|at| kinds.map(|kind| format!("{kind}{at}"))).collect();
        let mut args = if atomic { vec!["--atomic"] } else { vec![] };
        args.extend(refs.iter().map(String::as_str));
        scene.push_ok(&args);
        let loose = scene.everything();
        let loose = loose.iter().filter(|file| file.starts_with("refs/"));
        assert_eq!(loose.count(), 1, "only the branch that was there before");
        let tag = scene.git.rev_parse(&scene.work, "annotated");
        let head = scene.git.rev_parse(&scene.work, "main");
        let line = format!("{tag} refs/tags/a7\n^{head}\n");
        assert!(scene.written("packed-refs").contains(&line));
        // Stock git packs them the same way.
        let before = scene.written("packed-refs");
        scene.git.ok(&scene.served, &["pack-refs", "--all"]);
        let mut lines: Vec<_> = before.lines().map(str::to_owned).collect();
        lines.push(format!("{head} refs/heads/main"));
        let after = scene.written("packed-refs");
        let mut after: Vec<_> = after.lines().map(str::to_owned).collect();
        lines.sort();
        after.sort();
        assert_eq!(after, lines);
    }
}

#[test]
fn one_bad_ref_among_many_stays_alone() {
    let scene = Scene::new();
    std::fs::write(scene.served.join("refs/heads/b7.lock"), "").expect("a lock");
    let refs: Vec<String> = (0..100).map(|at| format!("main:refs/heads/b{at}")).collect();
    let args: Vec<&str> = refs.iter().map(String::as_str).collect();
    let words = scene.push(&args).error_text();
    assert!(words.contains("main -> b7 (failed to update ref)"), "{words}");
    assert_eq!(scene.refs().matches("refs/heads/b").count(), 99);
    std::fs::remove_file(scene.served.join("refs/heads/b7.lock")).expect("the lock");
    scene.git.fsck_strict(&scene.served);
}

#[test]
fn sha256_repositories_take_pushes() {
    let scene = Scene::of_hash(object::HashKind::Sha256);
    scene.commit("two\n");
    scene.git.ok(&scene.work, &["tag", "-a", "-m", "x", "v1"]);
    scene.push_ok(&["main", "v1", "main:topic"]);
    scene.push_ok(&["--atomic", ":topic", "+main~1:main"]);
    let head = scene.git.rev_parse(&scene.work, "main~1");
    assert_eq!(scene.git.rev_parse(&scene.served, "main"), head);
    assert_eq!(head.to_hex().len(), 64);
}
