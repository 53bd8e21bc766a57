//! What goes wrong: it is refused in words, and what was there stays as it was.

use testkit::Scenario;

use super::Door;
use crate::raw::{PackBuilder, push_body};
use crate::serving::pack_of;

/// A source with something more than what is behind the door: its tip, and the pack for it.
fn with_more(door: &Door, name: &str) -> (std::path::PathBuf, String, Vec<u8>) {
    let git = &door.git;
    std::fs::create_dir_all(git.path(format!("faults/{name}"))).expect("a folder");
    let source = Scenario::linear(12).build(git, format!("faults/{name}/source.git"));
    git.ok(&source, &["push", "-q", &door.url(name), "main~4:refs/heads/main"]);
    let pack = pack_of(git, &source, "main\n^main~4\n");
    let tip = git.rev_parse(&source, "main").to_string();
    (source, tip, pack)
}

/// What there was before is there, whole, and the push that was meant goes through.
fn still_whole(door: &Door, name: &str, source: &std::path::Path, before: &str) {
    let git = &door.git;
    let url = door.url(name);
    assert_eq!(git.ok(git.root(), &["ls-remote", &url]), before);
    git.ok(source, &["push", "-q", &url, "main", "main:refs/heads/new"]);
    let clone = git.clone(&url, format!("faults/{name}/clone"), &["--mirror"]);
    git.fsck_strict(&clone);
    assert_eq!(git.rev_parse(&clone, "new"), git.rev_parse(source, "main"));
}

pub fn bad_packs(door: &Door, name: &str) {
    let (source, tip, pack) = with_more(door, name);
    let before = door.git.ok(door.git.root(), &["ls-remote", &door.url(name)]);
    let changed = |at: usize| {
        let mut pack = pack.clone();
        pack[at] ^= 0x55;
        pack
    };
    let unrelated = PackBuilder::new(1).blob(b"not what the tip needs").finish();
    for (what, pack) in [
        ("nothing", Vec::new()),
        ("half a header", pack[..7].to_vec()),
        ("half a pack", pack[..pack.len() / 2].to_vec()),
        ("no checksum", pack[..pack.len() - 20].to_vec()),
        ("a bit in an entry", changed(pack.len() / 2)),
        ("a bit in the checksum", changed(pack.len() - 1)),
        ("no commits", PackBuilder::new(0).finish()),
        ("another blob", unrelated),
    ] {
        let text = door.round("receive-pack", name, &push_body("refs/heads/new", &tip, &pack));
        let told = text.contains("unpack ") && text.contains("ng refs/heads/new");
        assert!(told || text.contains("ERR "), "{what}: {text}");
        assert!(!text.contains("\nok refs") && !text.contains("panic"), "{what}: {text}");
    }
    still_whole(door, name, &source, &before);
}

/// Connections that break at every stage of a push.
pub fn cut_off(door: &Door, name: &str) {
    let (source, tip, pack) = with_more(door, name);
    let before = door.git.ok(door.git.root(), &["ls-remote", &door.url(name)]);
    let body = push_body("refs/heads/new", &tip, &pack);
    let commands = body.len() - pack.len();
    for at in [0, 3, commands / 2, commands, commands + 9, commands + 40, body.len() - 1] {
        door.broken_round("receive-pack", name, body.len(), &body[..at]);
    }
    still_whole(door, name, &source, &before);
}

/// Names that are none, and repositories that are not there.
pub fn names(door: &Door, name: &str) {
    let (source, ..) = with_more(door, name);
    let git = &door.git;
    for bad in ["of/no-such.git", "of/names.git/inner.git"] {
        git.fail(git.root(), &["ls-remote", &door.url(bad)]);
    }
    if door.takes_paths() {
        return;
    }
    for bad in ["of/.hidden.git", "of/names.git/objects"] {
        let words = git.fail(&source, &["push", "-q", &door.url(bad), "main"]);
        assert!(!words.contains("panic"), "{bad}: {words}");
    }
}
