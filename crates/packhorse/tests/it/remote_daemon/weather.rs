//! A network that fails in every way, from a seed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use testkit::{BadRoad, HUNG, Random};

use super::Scene;

/// Each is a branch of its own; more with `cargo xtask soak`.
fn pushes() -> usize {
    if std::env::var_os("PACKHORSE_SOAK").is_some() { 1000 } else { 60 }
}

/// Every push is told and fetched, once, whatever becomes of connections; and nobody is asked all the time.
#[test]
fn nothing_is_missed_on_a_bad_road() {
    let scene = Scene::new();
    let server = scene.server.url("");
    let server = server.trim_start_matches("http://").trim_end_matches('/');
    // A server gives signs of life each 500 ms here.
    let road = BadRoad::to(server, 20_261_123, Duration::from_millis(3000));
    let away = &scene.away;
    scene.config(away, "remote.origin.url", &format!("http://{}/r.git", road.address()));
    for (key, seconds) in [("silenceMax", "1.5"), ("retryMax", "0.5")] {
        scene.config(away, &format!("remoteDaemon.{key}"), seconds);
    }
    scene.config(away, "remote.origin.daemon", "fetch");
    // git itself has no other way to notice.
    scene.config(away, "http.lowSpeedLimit", "1");
    scene.config(away, "http.lowSpeedTime", "2");
    let mut daemon = scene.foreground(away, &["--act"]);
    let mut random = Random::new(7);
    let begun = Instant::now();
    let mut told = BTreeMap::<String, usize>::new();
    let mut hear = |line: Option<String>| {
        let Some(names) = line.as_deref().and_then(|line| line.strip_prefix("CHANGED origin "))
        else {
            return line.is_some();
        };
        for name in names.split(' ') {
            *told.entry(name.to_owned()).or_default() += 1;
        }
        true
    };
    let count = pushes();
    for number in 0..count {
        scene.push(&format!("b/{number}"), &format!("commit {number}"));
        while hear(daemon.next_within(Duration::from_millis(random.below(40) as u64))) {}
    }
    road.be_good();
    let expected = scene.git.ok(
        &scene.served,
        &["for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads"],
    );
    let kept = || {
        scene.git.ok(
            away,
            &["for-each-ref", "--format=%(refname:lstrip=3) %(objectname)", "refs/remotes/origin"],
        )
    };
    let is_all = || {
        let kept = kept();
        expected.lines().all(|line| kept.contains(line))
    };
    let waited = Instant::now();
    while !is_all() {
        assert!(
            waited.elapsed() < HUNG,
            "expected {expected}\nkept {}\n{}",
            kept(),
            daemon.errors()
        );
        while hear(daemon.next_within(Duration::from_millis(50))) {}
    }
    while hear(daemon.next_within(Duration::from_millis(500))) {}
    let missed: Vec<usize> = (0..count)
        .filter(|number| told.get(&format!("refs/heads/b/{number}")) != Some(&1))
        .collect();
    assert!(missed.is_empty(), "not told once: {missed:?} of {told:?}");
    // Each push is fetched at most once, a connection or two each; what fails is tried again, but not at once.
    let most = 3 * count + 8 * begun.elapsed().as_secs() as usize + 20;
    assert!(road.connections() < most, "{} connections, {most} at most", road.connections());
    daemon.close();
    assert_eq!(daemon.wait().code(), Some(0));
}
