//! Several pushers at once: one wins, the others are told that they lost.

use crate::bridge::Scene;

#[test]
fn a_push_that_lost_the_race_says_so() {
    let scene = Scene::new();
    scene.commit("two\n");
    // While this push runs its hook, somebody else moves the ref it wants.
    let other = scene.git.rev_parse(&scene.served, "main");
    scene.hook("update", &format!("git update-ref refs/heads/x {other}"));
    let words = scene.push(&["main:x"]).error_text();
    assert!(words.contains("[remote rejected]"), "{words}");
    assert!(words.contains("(reference already exists)"), "{words}");
    assert_eq!(scene.git.rev_parse(&scene.served, "x"), other);
}

#[test]
fn of_many_pushers_one_wins() {
    const PUSHERS: usize = 6;
    let scene = Scene::new();
    for number in 0..PUSHERS {
        scene.git.ok(&scene.work, &["checkout", "-q", "-B", &format!("b{number}"), "main"]);
        scene.commit(&format!("{number}\n"));
    }
    let won = std::thread::scope(|scope| {
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|number| {
                let scene = &scene;
                scope.spawn(move || {
                    let refspec = format!("b{number}:main");
                    scene.push(&[&refspec]).status.success()
                })
            })
            .collect();
        pushers
            .into_iter()
            .filter(|_| true)
            .map(|pusher| pusher.join())
            .filter(|end| matches!(end, Ok(true)))
            .count()
    });
    assert_eq!(won, 1);
    scene.git.fsck_strict(&scene.served);
    let head = scene.git.rev_parse(&scene.served, "main");
    let winner =
        (0..PUSHERS).find(|number| scene.git.rev_parse(&scene.work, &format!("b{number}")) == head);
    assert!(winner.is_some());
}
