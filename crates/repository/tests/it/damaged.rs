//! Stored files that are damaged, or cut while a pack is made of them.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use repository::{Error, Filter, PackRequest, Silent, plan};
use testkit::{RealGit, Scenario};

use crate::bare::Bare;
use crate::plan::{ids, stored};

fn one(bare: &Bare, ending: &str) -> PathBuf {
    let mut files = bare.files();
    files.retain(|file| file.extension().is_some_and(|found| found == ending));
    let path = files.pop().expect("a file with this ending");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("permissions");
    path
}

fn everything(git: &RealGit, bare: &Bare) -> PackRequest {
    let wants = ids(git, &bare.dir, &["main"]);
    PackRequest { wants, ofs_delta: true, ..PackRequest::default() }
}

/// Makes the pack, and looks at every byte of it.
fn bytes_of(
    bare: &Bare,
    request: &PackRequest,
    mut after_first: impl FnMut(),
) -> Result<u64, Error> {
    let objects = bare.repository.objects()?;
    let mut stream = plan(&objects, request, &mut Silent)?.into_stream();
    let mut sum = 0;
    let mut first = true;
    while let Some(chunk) = stream.next()? {
        if std::mem::take(&mut first) {
            after_first();
        }
        sum += chunk.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    }
    Ok(sum)
}

#[test]
fn a_reverse_index_out_of_order_is_damage() {
    for filter in [None, Some(Filter::BlobNone)] {
        let git = RealGit::new();
        let bare = Bare::open(&stored(&git, "bitmap", Scenario::realistic(400, 7)));
        let path = one(&bare, "rev");
        let mut bytes = fs::read(&path).expect("readable");
        let entries = (bytes.len() - 12 - 40) / 4;
        for at in (0..entries / 2 * 2).step_by(2).map(|entry| 12 + 4 * entry) {
            let pair: [u8; 8] = bytes[at..at + 8].try_into().expect("two entries");
            bytes[at..at + 4].copy_from_slice(&pair[4..]);
            bytes[at + 4..at + 8].copy_from_slice(&pair[..4]);
        }
        fs::write(&path, bytes).expect("written");
        // Part of the pack, so that its entries are passed one by one.
        let request = PackRequest { filter, ofs_delta: false, ..everything(&git, &bare) };
        let error = bytes_of(&bare, &request, || {}).expect_err("damage");
        assert!(matches!(error, Error::Format { .. }), "{error}");
    }
}

#[test]
fn a_pack_that_is_cut_while_it_is_sent_is_damage() {
    maps::guard_maps().expect("a handler");
    let git = RealGit::new();
    let bare = Bare::open(&stored(&git, "bitmap", Scenario::big_blob(4 << 20)));
    let request = everything(&git, &bare);
    let path = one(&bare, "pack");
    let whole = fs::read(&path).expect("readable");
    bytes_of(&bare, &request, || {}).expect("nothing is wrong yet");
    let cut = || {
        let file = File::options().write(true).open(&path).expect("writable");
        file.set_len(1 << 16).expect("cut");
    };
    let error = bytes_of(&bare, &request, cut).expect_err("damage");
    assert!(error.to_string().contains("cut"), "{error}");
    // What was mapped then is not used again, and the file is as good as it is now.
    bytes_of(&bare, &request, || {}).expect_err("still cut");
    fs::write(&path, whole).expect("mended");
    bytes_of(&bare, &request, || {}).expect("nothing is wrong any more");
}

#[test]
fn an_index_that_was_cut_is_read_anew() {
    maps::guard_maps().expect("a handler");
    let git = RealGit::new();
    let bare = Bare::open(&stored(&git, "one-pack", Scenario::realistic(1500, 9)));
    let request = everything(&git, &bare);
    bytes_of(&bare, &request, || {}).expect("nothing is wrong yet");
    let path = one(&bare, "idx");
    let whole = fs::read(&path).expect("readable");
    File::options().write(true).open(&path).expect("writable").set_len(4096).expect("cut");
    bytes_of(&bare, &request, || {}).expect_err("nothing is found without an index");
    fs::write(&path, whole).expect("mended");
    bytes_of(&bare, &request, || {}).expect("nothing is wrong any more");
}
