//! Objects borrowed from other repositories: clients are told what need not be sent.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use object::ObjectId;
use serve::Exchange;

use crate::bridge::Scene;
use crate::stateless::round;

/// A served repository that borrows from one with more branches; their tips.
fn borrowing() -> (Scene, [ObjectId; 2]) {
    let scene = Scene::new();
    let lender = scene.git.init_bare("lender.git");
    let tips = ["open", "closed"].map(|branch| {
        let tip = scene.git.commit_file(&scene.work, branch, branch);
        let spec = format!("main:refs/heads/{branch}/tip");
        scene.git.ok(&scene.work, &["push", "-q", lender.to_str().expect("UTF-8"), &spec]);
        tip
    });
    let file = scene.served.join("objects/info/alternates");
    fs::create_dir_all(scene.served.join("objects/info")).expect("info");
    fs::write(file, format!("{}\n", lender.join("objects").display())).expect("alternates");
    (scene, tips)
}

fn haves(scene: &Scene) -> Vec<String> {
    let bytes = round(scene, Exchange::Advertise, 0, b"");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines = text.lines().filter_map(|line| line.strip_suffix(" .have"));
    lines.map(|line| line[line.len() - 40..].to_owned()).collect()
}

#[test]
fn tips_of_alternates_are_advertised() {
    let (scene, [open, closed]) = borrowing();
    let mut found = haves(&scene);
    found.sort();
    let mut expected = [open, closed].map(|id| id.to_hex());
    expected.sort();
    assert_eq!(found, expected);
    scene.config("core.alternateRefsPrefixes", "refs/heads/open");
    assert_eq!(haves(&scene), [open.to_hex()]);
    // A push of what is borrowed carries no objects.
    scene.push_ok(&["main"]);
    let packs = scene.everything().iter().filter(|file| file.contains(".pack ")).count();
    let objects = scene.git.ok(&scene.served, &["count-objects", "-v"]);
    assert!(objects.contains("packs: 1") || packs == 1, "{objects}");
}

#[test]
fn a_command_can_choose_the_tips() {
    let (scene, [_, closed]) = borrowing();
    let script = scene.served.join("choose");
    let text = "#!/bin/sh\ngit --git-dir=\"$1\" rev-parse refs/heads/closed/tip\n";
    fs::write(&script, text).expect("script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("mode");
    scene.config("core.alternateRefsCommand", "./choose");
    assert_eq!(haves(&scene), [closed.to_hex()]);
    // One that talks nonsense is not believed, and nothing breaks.
    scene.config("core.alternateRefsCommand", "echo nonsense");
    assert!(haves(&scene).is_empty());
    scene.push_ok(&["main"]);
}
