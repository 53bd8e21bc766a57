//! Deltas made here, beside those git makes between the same objects.

use std::collections::HashMap;

use pack::delta::{apply, create::BaseIndex};

use crate::git::{BOTH, Repo};

/// Every object of the repository by its id.
fn contents(repo: &Repo) -> HashMap<String, Vec<u8>> {
    let output = repo.git(&["cat-file", "--batch", "--batch-all-objects"]);
    let (mut objects, mut rest) = (HashMap::new(), &output[..]);
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let header = std::str::from_utf8(&rest[..end]).expect("text");
        let [id, _, size] = header.split(' ').collect::<Vec<_>>()[..] else { panic!("{header}") };
        let size: usize = size.parse().expect("a size");
        objects.insert(id.to_owned(), rest[end + 1..end + 1 + size].to_vec());
        rest = &rest[end + 1 + size + 1..];
    }
    objects
}

#[test]
fn deltas_are_as_small_as_gits() {
    for hash in BOTH {
        let repo = Repo::with_history(hash);
        repo.git(&["repack", "-adfq", "--threads=1"]);
        let contents = contents(&repo);
        let idx = format!(".git/objects/{}.idx", repo.only_pack());
        let (mut gits, mut ours, mut count) = (0, 0, 0);
        for line in repo.lines(&["verify-pack", "-v", &idx]) {
            // id, kind, bytes of the delta, bytes in the pack, offset, depth, base
            let fields: Vec<_> = line.split_whitespace().collect();
            let [id, _, size, _, _, _, base] = fields[..] else { continue };
            let (Some(target), Some(base)) = (contents.get(id), contents.get(base)) else {
                continue;
            };
            let (mut delta, mut made) = (Vec::new(), Vec::new());
            assert!(BaseIndex::new(base).create(base, target, usize::MAX, &mut delta));
            apply(base, &delta, &mut made, u64::MAX).expect("a good delta");
            assert_eq!(&made, target);
            gits += size.parse::<usize>().expect("a size");
            ours += delta.len();
            count += 1;
        }
        assert!(count > 100, "{count} deltas");
        assert!(ours <= gits + gits / 100, "{ours} bytes here, {gits} bytes in git");
    }
}
