//! .bitmap files against what `git rev-list` says is reachable.

use std::collections::HashSet;

use object::{HashKind, Kind, ObjectId};
use pack::midx::FILE_NAME;
use pack::{BitSet, BitmapIndex, Ewah, Index, MultiPackIndex, PackOrder};

use crate::git::{BOTH, Repo, history};
use crate::multi_pack;

const WITH_TABLE: [&str; 2] = ["-c", "pack.writeBitmapLookupTable=true"];
const WITHOUT_TABLE: [&str; 2] = ["-c", "pack.writeBitmapLookupTable=false"];

fn packed(hash: HashKind, options: &[&str]) -> (Repo, Index, PackOrder, BitmapIndex) {
    let repo = Repo::with_history(hash);
    repo.git(&[options, &["repack", "-adbq"]].concat());
    let stem = repo.only_pack();
    let index = Index::open(repo.read(&format!("{stem}.idx")), hash).expect("an index");
    let order = PackOrder::of(&index, None).expect("in bounds");
    let bytes = repo.read(&format!("{stem}.bitmap"));
    let bitmaps = BitmapIndex::open(bytes, hash, index.count()).expect("git's own bitmap");
    assert_eq!(bitmaps.owner_checksum(), index.pack_checksum());
    bitmaps.verify_checksum().expect("intact");
    (repo, index, order, bitmaps)
}

/// Every bitmapped commit's set is what git walks to; gives how many commits there were.
fn check_all(
    repo: &Repo,
    bitmaps: &BitmapIndex,
    id_at: impl Fn(u32) -> ObjectId,
    id_of_bit: impl Fn(u32) -> ObjectId,
) -> usize {
    let mut union = BitSet::new(bitmaps.bit_count());
    let mut scratch = BitSet::new(0);
    let mut tips = Vec::new();
    for position in bitmaps.commit_positions() {
        let tip = id_at(position).to_hex();
        let walked = repo.ids(&["rev-list", "--objects", "--no-object-names", &tip]);
        let set = bitmaps.get(position).expect("intact").expect("listed");
        let found: HashSet<_> = set.iter().map(&id_of_bit).collect();
        assert_eq!(found.len(), set.count() as usize);
        assert_eq!(found, walked.into_iter().collect());
        assert!(bitmaps.or_into(position, &mut scratch, &mut union).expect("intact"));
        assert!(set.is_subset(&union));
        tips.push(tip);
    }
    let mut args = vec!["rev-list", "--objects", "--no-object-names"];
    args.extend(tips.iter().map(String::as_str));
    assert_eq!(union.count() as usize, repo.ids(&args).len());
    tips.len()
}

fn check_kinds(repo: &Repo, bitmaps: &BitmapIndex, id_of_bit: impl Fn(u32) -> ObjectId) {
    let format = "--batch-check=%(objecttype) %(objectname)";
    let all = repo.lines(&["cat-file", "--batch-all-objects", format]);
    let mut left = BitSet::full(bitmaps.bit_count());
    for kind in [Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag] {
        let expected: HashSet<_> = all
            .iter()
            .filter_map(|line| line.strip_prefix(kind.name())?.strip_prefix(' '))
            .map(crate::git::id)
            .collect();
        let bitmap = bitmaps.kind_bitmap(kind).expect("intact");
        let found: HashSet<_> = bitmap.iter().map(|bit| id_of_bit(bit.expect("intact"))).collect();
        assert_eq!(found, expected);
        bitmap.and_not_into(&mut left).expect("room for all");
    }
    assert!(left.is_empty());
}

#[test]
fn a_packs_bitmaps_say_what_a_walk_finds() {
    for (hash, options) in [
        (HashKind::Sha1, WITHOUT_TABLE),
        (HashKind::Sha1, WITH_TABLE),
        (HashKind::Sha256, WITHOUT_TABLE),
    ] {
        let (repo, index, order, bitmaps) = packed(hash, &options);
        let id_of_bit = |bit| index.id_at(order.index_position(bit).expect("in bounds"));
        let commits = check_all(&repo, &bitmaps, |position| index.id_at(position), id_of_bit);
        assert_eq!(commits, bitmaps.commit_count() as usize);
        assert!(commits > 20, "the scenario has {commits} bitmaps");
        check_kinds(&repo, &bitmaps, id_of_bit);
        for position in 0..index.count() {
            let listed = bitmaps.commit_positions().any(|other| other == position);
            assert_eq!(bitmaps.contains(position), listed);
            assert_eq!(bitmaps.get(position).expect("intact").is_some(), listed);
        }
    }
}

#[test]
fn a_multi_pack_indexs_bitmaps_say_what_a_walk_finds() {
    for hash in BOTH {
        for options in [WITHOUT_TABLE, WITH_TABLE] {
            let repo = multi_pack::with_packs(hash);
            repo.git(&[&options[..], &["multi-pack-index", "write", "--bitmap"]].concat());
            let midx = MultiPackIndex::open(repo.read(FILE_NAME), hash).expect("git's own");
            let top = midx.layers().next_back().expect("one layer");
            let bitmaps = BitmapIndex::open(repo.read(&top.bitmap_name), hash, midx.count())
                .expect("git's own bitmap");
            assert_eq!(bitmaps.owner_checksum(), top.checksum);
            let id_of_bit = |bit| midx.id_at(midx.position_of_bit(bit).expect("in bounds"));
            check_all(&repo, &bitmaps, |position| midx.id_at(position), id_of_bit);
            check_kinds(&repo, &bitmaps, id_of_bit);
        }
    }
}

#[test]
fn name_hashes_tell_paths_apart() {
    let (repo, index, _, bitmaps) = packed(HashKind::Sha1, &[]);
    assert!(bitmaps.has_name_hashes());
    let hash_of = |path: &str| {
        let id = crate::git::id(&repo.lines(&["rev-parse", &format!("main:{path}")])[0]);
        bitmaps.name_hash(index.lookup(&id).expect("packed")).expect("stored")
    };
    let expected = |path: &str| {
        path.bytes().fold(0u32, |hash, byte| (hash >> 2).wrapping_add(u32::from(byte) << 24))
    };
    for path in ["noise1", "noise2", "dir1/file3"] {
        assert_eq!(hash_of(path), expected(path));
    }
    assert_eq!(bitmaps.name_hash(index.count()), None);
    let (_, _, _, without) = packed(HashKind::Sha1, &["-c", "pack.writeBitmapHashCache=false"]);
    assert!(!without.has_name_hashes());
}

/// Groups of the refs of each kind: some of their commits are in two.
const IN_GROUPS: [&str; 12] = [
    "-c",
    "bitmapPseudoMerge.all.pattern=refs/",
    "-c",
    "bitmapPseudoMerge.all.threshold=now",
    "-c",
    "bitmapPseudoMerge.all.stableSize=2",
    "-c",
    "bitmapPseudoMerge.heads.pattern=refs/heads/",
    "-c",
    "bitmapPseudoMerge.heads.threshold=now",
    "-c",
    "bitmapPseudoMerge.heads.stableThreshold=now",
];

#[test]
fn pseudo_merges_are_unions_of_what_their_commits_reach() {
    for table in [WITHOUT_TABLE, WITH_TABLE] {
        let options = [&table[..], &IN_GROUPS].concat();
        let (repo, index, order, bitmaps) = packed(HashKind::Sha1, &options);
        let id_of_bit = |bit| index.id_at(order.index_position(bit).expect("in bounds"));
        check_all(&repo, &bitmaps, |position| index.id_at(position), id_of_bit);
        let merges = bitmaps.pseudo_merges();
        assert!(merges.len() > 1, "git wrote {} pseudo-merges", merges.len());
        let mut commits_in_all = 0;
        let mut commits_of_any = HashSet::new();
        for n in 0..merges.len() {
            let ids = |bits: Ewah<'_>| -> Vec<ObjectId> {
                bits.iter().map(|bit| id_of_bit(bit.expect("intact"))).collect()
            };
            let commits = ids(merges.commits(n).expect("intact"));
            let hex: Vec<String> = commits.iter().map(ObjectId::to_hex).collect();
            let mut args = vec!["rev-list", "--objects", "--no-object-names"];
            args.extend(hex.iter().map(String::as_str));
            let walked: HashSet<_> = repo.ids(&args).into_iter().collect();
            let objects = ids(merges.objects(n).expect("intact"));
            assert_eq!(objects.into_iter().collect::<HashSet<_>>(), walked);
            commits_in_all += commits.len();
            commits_of_any.extend(commits);
        }
        assert!(commits_in_all > commits_of_any.len(), "no commit is in two groups");
    }
    let (_, _, _, without) = packed(HashKind::Sha1, &WITH_TABLE);
    assert!(without.pseudo_merges().is_empty());
}

#[test]
fn damage_never_panics() {
    for options in [&WITHOUT_TABLE[..], &WITH_TABLE, &IN_GROUPS] {
        let repo = Repo::init(HashKind::Sha1);
        repo.fast_import(&history(6));
        repo.git(&[options, &["repack", "-adbq"]].concat());
        let stem = repo.only_pack();
        let index = Index::open(repo.read(&format!("{stem}.idx")), repo.hash).expect("an index");
        let good = repo.read(&format!("{stem}.bitmap"));
        let open = |bytes| BitmapIndex::open(bytes, HashKind::Sha1, index.count());
        for len in 0..good.len() {
            let _ = open(good.slice(..len)).map(|bitmaps| try_all(&bitmaps, index.count()));
        }
        for at in 0..good.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bad = good.to_vec();
                bad[at] ^= flip;
                let _ = open(bad.into()).map(|bitmaps| try_all(&bitmaps, index.count()));
            }
        }
    }
}

fn try_all(bitmaps: &BitmapIndex, count: u32) {
    for position in 0..count {
        let _ = bitmaps.get(position);
        let _ = bitmaps.name_hash(position);
    }
    let merges = bitmaps.pseudo_merges();
    for n in 0..merges.len() {
        let sets = [merges.commits(n), merges.objects(n)].into_iter().flatten();
        sets.for_each(|set| drop(set.or_into(&mut BitSet::new(count))));
    }
    for kind in [Kind::Commit, Kind::Tag] {
        let _ = bitmaps.kind_bitmap(kind).map(|bitmap| bitmap.iter().take(10_000).count());
    }
}
