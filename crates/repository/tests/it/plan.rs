//! What a plan sends, against what stock git says is to be sent, on every shape of storage.

use std::collections::BTreeSet;
use std::path::Path;

use object::{HashKind, ObjectId};
use repository::{Filter, PackRequest, Repository, Silent, plan};
use testkit::{RealGit, Scenario};

use crate::bare::Bare;

/// The pack a request gets.
pub fn pack_for(repository: &Repository, request: &PackRequest) -> Vec<u8> {
    let objects = repository.objects().expect("a view");
    let plan = plan(&objects, request, &mut Silent).expect("a plan");
    let count = plan.object_count();
    let mut stream = plan.into_stream();
    let mut pack = Vec::new();
    while let Some(chunk) = stream.next().expect("a chunk") {
        pack.extend_from_slice(&chunk);
    }
    assert_eq!(pack[8..12], count.to_be_bytes(), "the header says what the plan says");
    assert_eq!(stream.written(), pack.len() as u64);
    pack
}

pub fn ids(git: &RealGit, dir: &Path, revisions: &[&str]) -> Vec<ObjectId> {
    revisions.iter().map(|revision| git.rev_parse(dir, revision)).collect()
}

/// Objects of the pack by git's account; for a thin pack, bases it leans on are in `have`.
fn sent(
    git: &RealGit,
    name: &str,
    pack: &[u8],
    hash: HashKind,
    have: Option<&Path>,
) -> BTreeSet<String> {
    let dir = git.init_bare_of(name, hash);
    if let Some(have) = have {
        let line = format!("{}\n", have.join("objects").display());
        std::fs::write(dir.join("objects/info/alternates"), line).expect("alternates");
    }
    git.ok_with_input(&dir, &["index-pack", "--stdin", "--fix-thin"], pack);
    std::fs::remove_file(dir.join("objects/info/alternates")).ok();
    git.ok(&dir, &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"])
        .lines()
        .map(str::to_owned)
        .collect()
}

fn expected(git: &RealGit, dir: &Path, args: &[&str]) -> BTreeSet<String> {
    let mut all = vec!["rev-list", "--objects", "--no-object-names"];
    all.extend(args);
    git.ok(dir, &all).lines().map(str::to_owned).collect()
}

/// Makes the storage of a repository what its name says.
pub fn stored(git: &RealGit, name: &str, scenario: Scenario) -> std::path::PathBuf {
    let dir = scenario.build(git, name);
    let run = |args: &[&str]| {
        git.ok(&dir, args);
    };
    match name {
        "loose" => {
            let packs: Vec<_> = Bare::open(&dir).files();
            for pack in packs.iter().filter(|path| path.extension().is_some_and(|e| e == "pack")) {
                let bytes = std::fs::read(pack).expect("a pack");
                for ending in ["pack", "idx", "rev"] {
                    std::fs::remove_file(pack.with_extension(ending)).ok();
                }
                git.ok_with_input(&dir, &["unpack-objects", "-q"], &bytes);
            }
        }
        "one-pack" => run(&["repack", "-adfq"]),
        "bitmap" => run(&["repack", "-adfbq"]),
        "many-packs" | "midx" | "midx-bitmap" => {
            // Old history in one pack, new history in others, and some objects in two.
            run(&["repack", "-adfq"]);
            for (count, from) in [(40, "main~6"), (20, "main~2")] {
                let list = git.ok(
                    &dir,
                    &["rev-list", "--objects", "--no-object-names", from, "-n", &count.to_string()],
                );
                git.ok_with_input(
                    &dir,
                    &["pack-objects", "-q", "objects/pack/pack"],
                    list.as_bytes(),
                );
            }
            match name {
                "midx" => run(&["multi-pack-index", "write"]),
                "midx-bitmap" => run(&["multi-pack-index", "write", "--bitmap"]),
                _ => {}
            }
        }
        other => unreachable!("{other}"),
    }
    dir
}

pub const STORAGE: [&str; 6] = ["loose", "one-pack", "bitmap", "many-packs", "midx", "midx-bitmap"];

#[test]
fn a_clone_gets_exactly_what_is_reachable_from_every_storage() {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        for name in STORAGE {
            let git = RealGit::new();
            let dir = stored(&git, name, Scenario::realistic(400, 7).hash(hash));
            let bare = Bare::open(&dir);
            for ofs_delta in [true, false] {
                let request = PackRequest {
                    wants: ids(&git, &dir, &["main"]),
                    ofs_delta,
                    ..Default::default()
                };
                let pack = pack_for(&bare.repository, &request);
                let target = format!("to-{ofs_delta}");
                let got = sent(&git, &target, &pack, hash, None);
                assert_eq!(got, expected(&git, &dir, &["main"]), "{name} {hash:?} {ofs_delta}");
            }
        }
    }
}

#[test]
fn a_fetch_gets_what_is_new_and_thin_packs_lean_on_what_the_client_has() {
    for name in STORAGE {
        let git = RealGit::new();
        let dir = stored(&git, name, Scenario::realistic(400, 8));
        let bare = Bare::open(&dir);
        let old = git.init_bare("old");
        git.ok(
            &old,
            &[
                "fetch",
                "-q",
                &dir.display().to_string(),
                &format!("{}:refs/heads/main", git.rev_parse(&dir, "main~4")),
            ],
        );
        for thin in [true, false] {
            let request = PackRequest {
                wants: ids(&git, &dir, &["main"]),
                haves: ids(&git, &dir, &["main~4"]),
                ofs_delta: true,
                thin,
                ..Default::default()
            };
            let pack = pack_for(&bare.repository, &request);
            let have = thin.then_some(old.as_path());
            let got = sent(&git, &format!("thin-{thin}"), &pack, HashKind::Sha1, have);
            let new = expected(&git, &dir, &["main", "^main~4"]);
            assert!(got.is_superset(&new), "{name}: everything new is there");
            if !thin {
                let whole = expected(&git, &dir, &["main"]);
                assert!(got.is_subset(&whole) && got.len() <= new.len() + 20, "{name}");
            }
        }
    }
}

#[test]
fn from_any_commit_to_any_other_everything_new_arrives() {
    const COMMITS: usize = 5;
    for (name, scenario) in [
        ("branchy", Scenario::branchy(30)),
        ("criss-cross", Scenario::criss_cross(6)),
        ("octopus", Scenario::octopus(5)),
        ("odd-names", Scenario::odd_file_names()),
        ("submodules", Scenario::submodule_entries()),
        ("realistic", Scenario::realistic(300, 12).with_bitmap()),
        ("graph", Scenario::realistic(300, 13).with_commit_graph()),
        ("loose", Scenario::linear(6).loose()),
    ] {
        let git = RealGit::new();
        let dir = scenario.build(&git, name);
        let bare = Bare::open(&dir);
        let history = git.ok(&dir, &["rev-list", "--all"]);
        let history: Vec<&str> = history.lines().collect();
        let step = history.len().div_ceil(COMMITS);
        let commits: Vec<&str> = history.iter().step_by(step).copied().collect();
        for have in &commits {
            // A client that has nothing but what this commit reaches.
            let client = git.init_bare(format!("has-{have}"));
            let source = dir.display().to_string();
            git.ok(&client, &["fetch", "-q", &source, &format!("{have}:refs/heads/main")]);
            for want in commits.iter().filter(|want| *want != have) {
                for filter in [None, Some(Filter::BlobLimit(100))] {
                    let request = PackRequest {
                        wants: ids(&git, &dir, &[want]),
                        haves: ids(&git, &dir, &[have]),
                        ofs_delta: true,
                        thin: true,
                        filter: filter.clone(),
                        ..Default::default()
                    };
                    let pack = pack_for(&bare.repository, &request);
                    let target = format!("{have}-{want}-{}", filter.is_some());
                    let got = sent(&git, &target, &pack, HashKind::Sha1, Some(&client));
                    let mut arguments = vec![*want, "--not", *have];
                    if filter.is_some() {
                        arguments.push("--filter=blob:limit=100");
                    }
                    let new = expected(&git, &dir, &arguments);
                    assert!(got.is_superset(&new), "{name}: from {have} to {want}");
                }
            }
        }
    }
}

#[test]
fn a_changed_file_costs_its_change() {
    let line = |number: u32| format!("{number} {}\n", number.wrapping_mul(0x9e37_79b9));
    for loose in [false, true] {
        let git = RealGit::new();
        let dir = git.init_bare("repository");
        let work = git.path("work");
        git.ok(git.root(), &["clone", "-q", "repository", "work"]);
        let text: String = (0..3000).map(line).collect();
        git.commit_file(&work, "deep/er/file", &text);
        git.ok(&work, &["push", "-q", "origin", "HEAD:main"]);
        let old = git.path("old");
        git.ok(git.root(), &["clone", "-q", "--bare", "--no-local", "repository", "old"]);
        for version in 1..4 {
            let text = text.replacen(&line(700), &format!("version {version}\n"), 1);
            git.commit_file(&work, "deep/er/file", text);
        }
        git.ok(&work, &["push", "-q", "origin", "HEAD:main"]);
        if !loose {
            git.ok(&dir, &["repack", "-adfq"]);
        }
        let request = PackRequest {
            wants: ids(&git, &dir, &["main"]),
            haves: ids(&git, &dir, &["main~3"]),
            ofs_delta: true,
            thin: true,
            ..Default::default()
        };
        let pack = pack_for(&Bare::open(&dir).repository, &request);
        assert!(pack.len() < 2500, "{} bytes, loose: {loose}", pack.len());
        let got = sent(&git, "new", &pack, HashKind::Sha1, Some(&old));
        assert!(got.is_superset(&expected(&git, &dir, &["main", "^main~3"])));
        // Whoever asks for no thin pack gets none.
        let pack = pack_for(&Bare::open(&dir).repository, &PackRequest { thin: false, ..request });
        let got = sent(&git, "whole", &pack, HashKind::Sha1, None);
        assert!(got.is_superset(&expected(&git, &dir, &["main", "^main~3"])));
    }
}

#[test]
fn versions_without_those_between_are_deltas_on_each_other() {
    let line = |number: u32| format!("{number} {}\n", number.wrapping_mul(0x9e37_79b9));
    let git = RealGit::new();
    let dir = git.init_bare("repository");
    let work = git.path("work");
    git.ok(git.root(), &["clone", "-q", "repository", "work"]);
    let mut text: String = (0..3000).map(line).collect();
    for version in 0..40 {
        text = text.replacen(&line(50 * version), &format!("version {version}\n"), 1);
        git.commit_file(&work, "deep/er/file", &text);
    }
    git.ok(&work, &["push", "-q", "origin", "HEAD:main"]);
    git.ok(&dir, &["repack", "-adfq"]);
    // One version in eight, and not the newest, which alone is stored whole.
    let tips: Vec<String> = (1..5).map(|tip| format!("main~{}", 8 * tip)).collect();
    let tips: Vec<&str> = tips.iter().map(String::as_str).collect();
    for ofs_delta in [true, false] {
        let request = PackRequest {
            wants: ids(&git, &dir, &tips),
            shallow: ids(&git, &dir, &tips),
            ofs_delta,
            ..Default::default()
        };
        let pack = pack_for(&Bare::open(&dir).repository, &request);
        let got = sent(&git, &format!("new-{ofs_delta}"), &pack, HashKind::Sha1, None);
        assert_eq!(got.len(), 5 * tips.len());
        let whole = pack_for(
            &Bare::open(&dir).repository,
            &PackRequest {
                wants: ids(&git, &dir, &tips[..1]),
                shallow: ids(&git, &dir, &tips[..1]),
                ..request
            },
        );
        assert!(pack.len() < whole.len() + whole.len() / 4, "{} {}", pack.len(), whole.len());
    }
}

#[test]
fn filters_leave_out_what_gits_do() {
    let filters: [(&str, Filter); 5] = [
        ("blob:none", Filter::BlobNone),
        ("blob:limit=200", Filter::BlobLimit(200)),
        ("tree:0", Filter::TreeDepth(0)),
        ("tree:2", Filter::TreeDepth(2)),
        (
            "combine:blob:limit=300+tree:3",
            Filter::Combine(vec![Filter::BlobLimit(300), Filter::TreeDepth(3)]),
        ),
    ];
    for name in STORAGE {
        let git = RealGit::new();
        let dir = stored(&git, name, Scenario::realistic(400, 9));
        let bare = Bare::open(&dir);
        for (at, (words, filter)) in filters.iter().enumerate() {
            let request = PackRequest {
                wants: ids(&git, &dir, &["main"]),
                filter: Some(filter.clone()),
                ofs_delta: true,
                ..Default::default()
            };
            let pack = pack_for(&bare.repository, &request);
            let got = sent(&git, &format!("filtered-{at}"), &pack, HashKind::Sha1, None);
            let filter = format!("--filter={words}");
            assert_eq!(got, expected(&git, &dir, &["main", &filter]), "{name} {words}");
        }
    }
}

#[test]
fn kind_and_size_are_known_without_rebuilding() {
    let git = RealGit::new();
    let dir = stored(&git, "one-pack", Scenario::realistic(3000, 10));
    let objects = Bare::open(&dir).repository.objects().expect("a view");
    let all = git.ok(&dir, &["cat-file", "--batch-all-objects", "--batch-check"]);
    for line in all.lines() {
        let [id, kind, size] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("odd line {line}")
        };
        let id = ObjectId::from_hex(id.as_bytes()).expect("an id");
        let (found, bytes) = objects.header(&id).expect("no damage").expect("it is there");
        assert_eq!((found.name(), bytes.to_string().as_str()), (kind, size), "{id}");
    }
}

#[test]
fn one_stored_pack_goes_out_as_it_lies() {
    let git = RealGit::new();
    let dir = stored(&git, "one-pack", Scenario::realistic(400, 11));
    let bare = Bare::open(&dir);
    let request =
        PackRequest { wants: ids(&git, &dir, &["main"]), ofs_delta: true, ..Default::default() };
    let mut wants = request.clone();
    let tips = git.ok(&dir, &["for-each-ref", "--format=%(objectname)"]);
    wants.wants.extend(tips.lines().filter_map(|hex| ObjectId::from_hex(hex.as_bytes())));
    assert_eq!(pack_for(&bare.repository, &wants), bare.pack_file("pack"));
}

#[test]
fn a_missing_object_is_damage_and_ends_the_plan() {
    let git = RealGit::new();
    let dir = stored(&git, "loose", Scenario::linear(3));
    let blob = git.rev_parse(&dir, "main^{tree}");
    let hex = blob.to_hex();
    std::fs::remove_file(dir.join("objects").join(&hex[..2]).join(&hex[2..])).expect("a tree");
    let bare = Bare::open(&dir);
    let request = PackRequest { wants: ids(&git, &dir, &["main"]), ..Default::default() };
    let objects = bare.repository.objects().expect("a view");
    let error = plan(&objects, &request, &mut Silent).err().expect("a missing tree");
    assert_eq!(error.to_string(), format!("missing tree {hex}"));
}
