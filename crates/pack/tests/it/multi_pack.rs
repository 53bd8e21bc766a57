//! multi-pack-index files and chains against the packs they describe.

use bytes::Bytes;
use object::HashKind;
use pack::midx::{CHAIN_NAME, FILE_NAME};
use pack::{Error, Index, MultiPackIndex};

use crate::git::{BOTH, Repo, history};

/// Four packs that share some objects.
pub fn with_packs(hash: HashKind) -> Repo {
    let repo = Repo::init(hash);
    repo.fast_import(&history(30));
    for commits in [60, 90, 120] {
        repo.fast_import(&history(commits));
    }
    repo.git(&["tag", "-a", "-m", "one", "v1", "main"]);
    repo.git(&["repack", "-q"]);
    repo
}

pub fn load(repo: &Repo, name: &str) -> Result<Option<Bytes>, Error> {
    match std::fs::read(repo.objects().join(name)) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn check_locations(repo: &Repo, midx: &MultiPackIndex) {
    let listed = repo.ids(&["rev-list", "--all", "--objects", "--no-object-names"]);
    assert!(listed.len() <= midx.count() as usize);
    let indices: Vec<Index> = (0..midx.pack_count())
        .map(|pack| {
            let name = midx.pack_name(pack).expect("below the count");
            let name = std::str::from_utf8(name).expect("ASCII");
            Index::open(repo.read(&format!("pack/{name}")), repo.hash).expect("an index")
        })
        .collect();
    assert_eq!(midx.pack_name(midx.pack_count()), None);
    for id in listed {
        let position = midx.lookup(&id).expect("an object of some pack");
        assert_eq!(midx.id_at(position), id);
        let at = midx.location_at(position).expect("in bounds");
        let index = &indices[at.pack as usize];
        assert_eq!(index.lookup_offset(&id).expect("in bounds"), Some(at.offset));
        let found: u32 = midx.prefix_ranges(&id, 40).into_iter().map(|r| r.len() as u32).sum();
        assert_eq!(found, 1);
    }
    assert!(midx.location_at(midx.count()).is_err());
}

#[test]
fn a_single_file_finds_every_object() {
    for hash in BOTH {
        let repo = with_packs(hash);
        repo.git(&["multi-pack-index", "write"]);
        let midx = MultiPackIndex::open(repo.read(FILE_NAME), hash).expect("git's own file");
        assert!(midx.pack_count() > 2);
        midx.verify_checksums().expect("intact");
        check_locations(&repo, &midx);
        assert!(!midx.has_bit_order());
        assert!(midx.position_of_bit(0).is_err());
    }
}

#[test]
fn the_bit_order_is_a_bijection_that_puts_the_preferred_pack_first() {
    let repo = with_packs(HashKind::Sha1);
    let preferred = repo.packs().pop().expect("packs");
    let preferred = format!("{}.idx", preferred.trim_start_matches("pack/"));
    let option = format!("--preferred-pack={preferred}");
    repo.git(&["multi-pack-index", "write", "--bitmap", &option]);
    let midx = MultiPackIndex::open(repo.read(FILE_NAME), HashKind::Sha1).expect("git's own");
    let pack = midx.preferred_pack().expect("a stored order");
    assert_eq!(midx.pack_name(pack), Some(preferred.as_bytes()));
    let mut seen = pack::BitSet::new(midx.count());
    for bit in 0..midx.count() {
        let position = midx.position_of_bit(bit).expect("in bounds");
        assert!(seen.set(position));
        assert_eq!(midx.bit_of_position(position).expect("in bounds"), Some(bit));
        let at = midx.location_at(position).expect("in bounds");
        let bits = midx.bits_of_pack(at.pack).expect("git writes BTMP");
        assert!(bits.contains(&bit));
    }
}

#[test]
fn a_chain_counts_through_its_layers() {
    let repo = Repo::init(HashKind::Sha1);
    for commits in [30, 60, 90] {
        repo.fast_import(&history(commits));
        repo.git(&["multi-pack-index", "write", "--incremental"]);
    }
    let chain = repo.read(CHAIN_NAME);
    let midx = MultiPackIndex::open_chain(&chain, HashKind::Sha1, |name| load(&repo, name))
        .expect("git's own chain")
        .expect("layers");
    assert!(midx.layers().count() > 1);
    midx.verify_checksums().expect("intact");
    check_locations(&repo, &midx);
    let none = MultiPackIndex::open_chain(&chain, HashKind::Sha1, |_| Ok::<_, Error>(None));
    assert!(none.expect("nothing wrong").is_none());
}

#[test]
fn damage_never_panics() {
    let repo = Repo::init(HashKind::Sha1);
    repo.fast_import(&history(3));
    repo.git(&["multi-pack-index", "write", "--bitmap"]);
    let good = repo.read(FILE_NAME);
    for len in 0..good.len() - 20 {
        assert!(MultiPackIndex::open(good.slice(..len), HashKind::Sha1).is_err(), "cut to {len}");
    }
    for at in 0..good.len() {
        let mut bad = good.to_vec();
        bad[at] ^= 0xff;
        let Ok(midx) = MultiPackIndex::open(bad.into(), HashKind::Sha1) else { continue };
        for position in 0..midx.count() {
            let _ = midx.lookup_location(&midx.id_at(position));
            let _ = midx.location_at(position);
            let _ = midx.bit_of_position(position);
        }
        for pack in 0..midx.pack_count() {
            let _ = (midx.pack_name(pack), midx.bits_of_pack(pack));
        }
    }
}
