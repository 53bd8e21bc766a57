//! Bitmaps and multi-pack-indices this crate writes, by git's account and by our own reader's.

use std::collections::BTreeSet;
use std::path::Path;

use object::{HashKind, Kind, ObjectId};
use pack::bitmap::name_hash;
use pack::midx::FILE_NAME;
use pack::{BitmapIndex, Index, MultiPackIndex, PackOrder};
use repository::maintenance::bitmap::{Options, Outcome, Owner, Stats, Tips, write_bitmap};
use repository::maintenance::midx::write_multi_pack_index;
use repository::{PackRequest, Silent, plan};
use testkit::{Change, RealGit, Scenario};

use crate::bare::Bare;

fn only_stem(bare: &Bare) -> String {
    let stems = stems(bare);
    assert_eq!(stems.len(), 1, "one pack");
    stems.into_iter().next().expect("counted")
}

fn stems(bare: &Bare) -> Vec<String> {
    let stem = |path: &std::path::PathBuf| {
        let name = path.file_name()?.to_str()?.strip_suffix(".pack")?;
        Some(format!("pack/{name}"))
    };
    bare.files().iter().filter_map(stem).collect()
}

fn write_with(bare: &Bare, owner: Owner<'_>, tips: &Tips, options: Options) -> Outcome {
    let mut stage = bare.repository.blobs().stage().expect("room for a stage");
    let outcome = write_bitmap(&bare.repository, owner, tips, options, &mut *stage, &mut Silent);
    stage.publish().expect("a stage that is finished");
    outcome.expect("a repository without damage")
}

fn write(bare: &Bare, owner: Owner<'_>) -> Outcome {
    let tips = Tips::of(&bare.repository).expect("refs");
    write_with(bare, owner, &tips, Options::default())
}

fn stats(outcome: Outcome) -> Stats {
    match outcome {
        Outcome::Written(stats) => stats,
        other => panic!("not written: {other:?}"),
    }
}

/// What git says to a bitmap and to what it makes of it.
fn check_by_git(git: &RealGit, dir: &Path) {
    let newest = ["for-each-ref", "--sort=-committerdate", "--count=1", "refs/heads/"];
    let tip = git.ok(dir, &[&newest[..], &["--format=%(objectname)"]].concat());
    git.ok(dir, &["rev-list", "--test-bitmap", &tip]);
    let count = ["rev-list", "--objects", "--count", "--all"];
    let by_bitmap = git.ok(dir, &[&count[..], &["--use-bitmap-index"]].concat());
    assert_eq!(by_bitmap, git.ok(dir, &count));
    git.ok(dir, &["fsck", "--strict", "--no-dangling", "--no-progress"]);
}

fn reachable(git: &RealGit, dir: &Path, id: ObjectId) -> BTreeSet<ObjectId> {
    let listed = git.ok(dir, &["rev-list", "--objects", "--no-object-names", &id.to_hex()]);
    listed.lines().map(|hex| ObjectId::from_hex(hex.as_bytes()).expect("an id")).collect()
}

/// Compares the bitmaps of some forty commits with what git walks to.
fn check_sets(
    git: &RealGit,
    dir: &Path,
    bitmap: &BitmapIndex,
    id_at: impl Fn(u32) -> ObjectId,
    id_of_bit: impl Fn(u32) -> ObjectId,
) {
    bitmap.verify_checksum().expect("intact");
    let step = bitmap.commit_count() as usize / 40 + 1;
    for position in bitmap.commit_positions().step_by(step) {
        let set = bitmap.get(position).expect("intact").expect("listed");
        let found: BTreeSet<ObjectId> = set.iter().map(&id_of_bit).collect();
        assert_eq!(found, reachable(git, dir, id_at(position)), "{}", id_at(position));
    }
}

fn open_pack_bitmap(bare: &Bare, hash: HashKind) -> (Index, PackOrder, BitmapIndex) {
    let index = Index::open(bare.pack_file("idx").into(), hash).expect("an index");
    let order = PackOrder::of(&index, None).expect("in bounds");
    let bytes = bare.pack_file("bitmap").into();
    let bitmap = BitmapIndex::open(bytes, hash, index.count()).expect("our own bitmap");
    (index, order, bitmap)
}

/// Builds a repository in one pack, writes its bitmap, and checks it.
fn check_scenario(name: &str, scenario: Scenario, hash: HashKind) -> Stats {
    let git = RealGit::new();
    let dir = scenario.hash(hash).repacked().build(&git, name);
    let bare = Bare::open(&dir);
    let stem = only_stem(&bare);
    // What git wrote would stay.
    let _ = std::fs::remove_file(dir.join("objects").join(format!("{stem}.bitmap")));
    let stats = stats(write(&bare, Owner::Pack(&stem)));
    check_by_git(&git, &dir);
    let (index, order, bitmap) = open_pack_bitmap(&bare, hash);
    assert_eq!(stats.selected, bitmap.commit_count() as usize);
    assert_eq!(stats.objects, index.count());
    let id_of_bit = |bit| index.id_at(order.index_position(bit).expect("in bounds"));
    check_sets(&git, &dir, &bitmap, |position| index.id_at(position), id_of_bit);
    for kind in [Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag] {
        for bit in bitmap.kind_bitmap(kind).expect("intact").iter() {
            let id = id_of_bit(bit.expect("intact"));
            let objects = bare.repository.objects().expect("a view");
            assert_eq!(objects.header(&id).expect("intact").expect("there").0, kind);
        }
    }
    stats
}

#[test]
fn git_and_our_reader_agree_with_the_bitmaps_of_every_shape() {
    let shapes: [(&str, Scenario); 6] = [
        ("linear", Scenario::linear(5)),
        ("criss-cross", Scenario::criss_cross(12)),
        ("octopus", Scenario::octopus(5)),
        ("tags", Scenario::tags_of_tags(3)),
        ("submodules", Scenario::submodule_entries()),
        ("odd-names", Scenario::odd_file_names()),
    ];
    for (name, scenario) in shapes {
        let stats = check_scenario(name, scenario, HashKind::Sha1);
        assert_eq!(stats.selected, stats.commits, "{name} is small");
    }
}

#[test]
fn long_histories_get_a_bitmap_for_some_commits() {
    for (name, scenario, hash) in [
        ("branchy", Scenario::branchy(400), HashKind::Sha256),
        ("project", Scenario::realistic(3000, 5), HashKind::Sha1),
    ] {
        let stats = check_scenario(name, scenario, hash);
        assert!(stats.selected > 100 && stats.selected < stats.commits, "{name}: {stats:?}");
    }
}

/// A folder leaves and comes back in one branch only, while another branch had it all along:
/// its contents are new to the first and old to the walk.
#[test]
fn a_folder_that_was_met_on_another_branch_is_not_left_out() {
    let scenario = Scenario::new(|import| {
        let root = import.blob("root\n");
        let [x, y, z] = ["x\n", "y\n", "z\n"].map(|text| import.blob(text));
        let old = [Change::File(b"moved/deep/x", x), Change::File(b"moved/deep/y", y)];
        import.commit("a-first", "Had it before\n", &[], &old);
        let mut tip = import.commit("main", "Root\n", &[], &[Change::File(b"root", root)]);
        let mut one = |message: &str, changes: &[Change<'_>]| {
            tip = import.commit("main", message, &[tip], changes);
        };
        one("Nothing\n", &[]);
        one("Comes\n", &old);
        one("Becomes another\n", &[Change::File(b"moved/deep/y", z)]);
        one("Is what it was\n", &[Change::File(b"moved/deep/y", y)]);
        one("Leaves\n", &[Change::Delete(b"moved")]);
        for number in 0..200 {
            one(&format!("Filler {number}\n"), &[]);
        }
    });
    let stats = check_scenario("moved", scenario, HashKind::Sha1);
    assert!(stats.selected < stats.commits, "{stats:?}");
}

#[test]
fn name_hashes_are_those_of_paths() {
    let git = RealGit::new();
    let scenario = Scenario::new(|import| {
        let [a, b] = ["a\n", "b\n"].map(|text| import.blob(text));
        let changes = [Change::File(b"top level", a), Change::File(b"one/two/file.c", b)];
        import.commit("main", "One\n", &[], &changes);
    });
    let dir = scenario.build(&git, "named");
    let bare = Bare::open(&dir);
    let stem = only_stem(&bare);
    stats(write(&bare, Owner::Pack(&stem)));
    let (index, _, bitmap) = open_pack_bitmap(&bare, HashKind::Sha1);
    let hash_of = |revision: &str| {
        let position = index.lookup(&git.rev_parse(&dir, revision)).expect("packed");
        bitmap.name_hash(position).expect("stored")
    };
    for path in ["top level", "one", "one/two", "one/two/file.c"] {
        let expected = name_hash::extend(0, path.as_bytes());
        assert_eq!(hash_of(&format!("main:{path}")), expected, "{path}");
    }
    assert_eq!((hash_of("main"), hash_of("main:")), (0, 0));

    let path = dir.join("objects").join(format!("{stem}.bitmap"));
    std::fs::remove_file(path).expect("a bitmap");
    let tips = Tips::of(&bare.repository).expect("refs");
    let options = Options { name_hashes: false, lookup_table: false };
    stats(write_with(&bare, Owner::Pack(&stem), &tips, options));
    let (_, _, bitmap) = open_pack_bitmap(&bare, HashKind::Sha1);
    assert!(!bitmap.has_name_hashes());
    check_by_git(&git, &dir);
}

/// Old history in one pack, and some of its objects in two others as well.
fn with_copies(git: &RealGit, name: &str, hash: HashKind) -> Bare {
    let dir = Scenario::realistic(1200, 7).hash(hash).build(git, name);
    for (count, from) in [("40", "main~6"), ("20", "main~2")] {
        let list = ["rev-list", "--objects", "--no-object-names", from, "-n", count];
        let list = git.ok(&dir, &list);
        let pack = ["pack-objects", "-q", "objects/pack/pack"];
        git.ok_with_input(&dir, &pack, list.as_bytes());
    }
    Bare::open(&dir)
}

#[test]
fn packs_that_share_objects_get_an_index_and_a_bitmap_over_all_of_them() {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let git = RealGit::new();
        let bare = with_copies(&git, "copies", hash);
        let packs = stems(&bare);
        assert_eq!(packs.len(), 3);
        let mut stage = bare.repository.blobs().stage().expect("room for a stage");
        let preferred = Some(packs[1].as_str());
        let checksum = write_multi_pack_index(&bare.repository, &packs, preferred, &mut *stage)
            .expect("three good packs");
        let tips = Tips::of(&bare.repository).expect("refs");
        let outcome = write_bitmap(
            &bare.repository,
            Owner::MultiPackIndex,
            &tips,
            Options::default(),
            &mut *stage,
            &mut Silent,
        );
        let stats = stats(outcome.expect("nothing is damaged"));
        stage.publish().expect("a stage that is finished");

        git.ok(&bare.dir, &["multi-pack-index", "verify", "--no-progress"]);
        check_by_git(&git, &bare.dir);
        let read = |name: &str| {
            let bytes = std::fs::read(bare.dir.join("objects").join(name)).expect("a file");
            bytes::Bytes::from(bytes)
        };
        let midx = MultiPackIndex::open(read(FILE_NAME), hash).expect("our own");
        let top = midx.layers().next_back().expect("one layer");
        assert_eq!(top.checksum, checksum);
        assert_eq!(midx.count(), stats.objects);
        let preferred = midx.preferred_pack().and_then(|pack| midx.pack_name(pack));
        let expected = format!("{}.idx", packs[1].trim_start_matches("pack/"));
        assert_eq!(preferred, Some(expected.as_bytes()));
        let bitmap = BitmapIndex::open(read(&top.bitmap_name), hash, midx.count()).expect("ours");
        assert_eq!(bitmap.owner_checksum(), checksum);
        let id_of_bit = |bit| midx.id_at(midx.position_of_bit(bit).expect("in bounds"));
        check_sets(&git, &bare.dir, &bitmap, |position| midx.id_at(position), id_of_bit);

        let url = format!("file://{}", bare.dir.display());
        let clone = git.clone(&url, "clone", &["--mirror"]);
        assert_eq!(git.reachable(&clone), git.reachable(&bare.dir));
        let again = Bare::open(&bare.dir);
        let request = PackRequest {
            wants: vec![git.rev_parse(&bare.dir, "main")],
            ofs_delta: true,
            ..Default::default()
        };
        let objects = again.repository.objects().expect("a view");
        let planned = plan(&objects, &request, &mut Silent).expect("a plan").object_count();
        let expected = reachable(&git, &bare.dir, request.wants[0]).len();
        assert_eq!(planned as usize, expected);
    }
}

#[test]
fn a_pack_that_leans_on_others_gets_no_bitmap() {
    let git = RealGit::new();
    let bare = with_copies(&git, "leaning", HashKind::Sha1);
    let mut outcomes = Vec::new();
    for stem in stems(&bare) {
        outcomes.push(write(&bare, Owner::Pack(&stem)));
    }
    let written = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Written(_)));
    assert_eq!(written.count(), 1, "{outcomes:?}");
    let open = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::NotClosed(_)));
    assert_eq!(open.count(), 2, "{outcomes:?}");
}

#[test]
fn commits_newer_than_the_pack_lead_to_those_in_it() {
    let git = RealGit::new();
    let dir = Scenario::linear(30).repacked().build(&git, "newer");
    let tree = git.ok(&dir, &["rev-parse", "main^{tree}"]);
    let newer = git.ok(&dir, &["commit-tree", "-p", "main", "-m", "Newer", &tree]);
    git.ok(&dir, &["update-ref", "refs/heads/main", &newer]);
    let bare = Bare::open(&dir);
    let stem = only_stem(&bare);
    assert_eq!(stats(write(&bare, Owner::Pack(&stem))).commits, 30);
    git.ok(&dir, &["rev-list", "--test-bitmap", "main~1"]);
}

#[test]
fn without_whole_history_or_tips_there_is_no_bitmap() {
    let git = RealGit::new();
    let dir = Scenario::linear(3).build(&git, "no-tips");
    let bare = Bare::open(&dir);
    let stem = only_stem(&bare);
    let write = |tips| write_with(&bare, Owner::Pack(&stem), &tips, Options::default());
    assert_eq!(write(Tips::default()), Outcome::NoCommits);
    let tip = git.rev_parse(&dir, "main~1").to_hex();
    std::fs::write(dir.join("shallow"), format!("{tip}\n")).expect("a file");
    assert_eq!(write(Tips::of(&bare.repository).expect("refs")), Outcome::Shallow);
}
