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
fn of_many_pushers_one_wins_every_round() {
    const PUSHERS: usize = 20;
    const ROUNDS: usize = 3;
    let scene = Scene::new();
    for round in 0..ROUNDS {
        let base = scene.git.rev_parse(&scene.served, "main").to_hex();
        scene.git.ok(&scene.work, &["fetch", "-q", shown(&scene.served), "main"]);
        for number in 0..PUSHERS {
            let branch = format!("r{round}-{number}");
            scene.git.ok(&scene.work, &["checkout", "-q", "-B", &branch, &base]);
            scene.commit(&format!("{branch}\n"));
        }
        // Everybody wants `main`, and a branch of their own with it.
        let won: Vec<String> = std::thread::scope(|scope| {
            let pushers: Vec<_> = (0..PUSHERS)
                .map(|number| {
                    let scene = &scene;
                    scope.spawn(move || {
                        let own = format!("r{round}-{number}");
                        let said = scene.push(&[&format!("{own}:main"), &own]).error_text();
                        assert!(said.contains(&format!("{own} -> {own}")), "{said}");
                        let lost = said.contains("rejected]");
                        (!lost).then_some(own)
                    })
                })
                .collect();
            pushers.into_iter().filter_map(|pusher| pusher.join().expect("a pusher")).collect()
        });
        assert_eq!(won.len(), 1, "{won:?}");
        let head = scene.git.rev_parse(&scene.served, "main");
        assert_eq!(scene.git.rev_parse(&scene.work, &won[0]), head);
        for number in 0..PUSHERS {
            let own = format!("r{round}-{number}");
            let pushed = scene.git.rev_parse(&scene.served, &own);
            assert_eq!(pushed, scene.git.rev_parse(&scene.work, &own));
        }
        scene.git.fsck_strict(&scene.served);
    }
    let left = scene.everything();
    assert!(!left.iter().any(|file| file.contains(".lock ") || file.contains("tmp_")), "{left:?}");
}

fn shown(path: &std::path::Path) -> &str {
    path.to_str().expect("UTF-8")
}
