//! The same asked for again: the same bytes, with a checksum that is theirs.

use object::{Checksum, HashKind};
use repository::{Filter, PackRequest};
use testkit::{RealGit, Scenario};

use crate::bare::Bare;
use crate::plan::{STORAGE, ids, pack_for, stored};

fn ends_in_its_checksum(pack: &[u8]) {
    let (bytes, sum) = pack.split_at(pack.len() - HashKind::Sha1.len());
    let mut checksum = Checksum::new(HashKind::Sha1);
    checksum.update(bytes);
    assert_eq!(checksum.finish().as_bytes(), sum);
}

#[test]
fn the_same_again_ends_in_the_same_checksum() {
    for name in STORAGE {
        let git = RealGit::new();
        let bare = Bare::open(&stored(&git, name, Scenario::realistic(400, 7)));
        let request = |wants: &str| PackRequest {
            wants: ids(&git, &bare.dir, &[wants]),
            ofs_delta: true,
            thin: true,
            ..PackRequest::default()
        };
        let all = request("main");
        let without_blobs = PackRequest { filter: Some(Filter::BlobNone), ..all.clone() };
        let requests = [
            PackRequest { ofs_delta: false, ..without_blobs.clone() },
            PackRequest { shallow: ids(&git, &bare.dir, &["main"]), ..all.clone() },
            PackRequest { haves: ids(&git, &bare.dir, &["main~3"]), ..all.clone() },
            without_blobs,
            all,
            request("main~1"),
        ];
        let mut sent = Vec::new();
        for _ in 0..3 {
            for request in &requests {
                let pack = pack_for(&bare.repository, request);
                ends_in_its_checksum(&pack);
                sent.push(pack);
            }
        }
        let rounds: Vec<_> = sent.chunks(requests.len()).collect();
        assert!(rounds.iter().all(|round| *round == rounds[0]), "{name}");
        // The same objects, stored in another way.
        git.ok(&bare.dir, &["repack", "-adfq", "--depth=2", "--window=3"]);
        for request in &requests {
            ends_in_its_checksum(&pack_for(&bare.repository, request));
        }
    }
}
