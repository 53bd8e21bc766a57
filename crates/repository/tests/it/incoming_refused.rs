//! Packs that are refused: in words, without a trace, and without the memory they ask for.

use object::fsck::FsckOptions;
use object::{HashKind, Kind};
use repository::Silent;
use repository::incoming::IncomingOptions;
use testkit::RealGit;

use crate::bare::{Bare, threads};
use crate::pack_builder::{PackBuilder, blob_id, delta, seal, size};

fn refusal(pack: &[u8], options: IncomingOptions) -> String {
    let git = RealGit::new();
    Bare::init(&git, "bare", HashKind::Sha1).refusal(pack, options)
}

fn small_pack() -> Vec<u8> {
    let base: Vec<u8> = b"some content that compresses, some content".to_vec();
    PackBuilder::new()
        .blob(&base)
        .ofs_delta(0, &delta(base.len(), 1, b"more"))
        .ref_delta(blob_id(&base), &delta(base.len(), 2, b""))
        .build()
}

#[test]
fn a_pack_cut_at_any_byte() {
    let git = RealGit::new();
    let bare = Bare::init(&git, "bare", HashKind::Sha1);
    let pack = small_pack();
    for len in 0..pack.len() {
        assert_eq!(bare.refusal(&pack[..len], threads(1 + len % 3)), "early EOF", "cut at {len}");
    }
    bare.receive(&pack, threads(2)).expect("the whole pack");
}

#[test]
fn a_pack_with_any_byte_changed() {
    let git = RealGit::new();
    let bare = Bare::init(&git, "bare", HashKind::Sha1);
    let pack = small_pack();
    for at in 0..pack.len() {
        // The version may be 3 as well as 2, but then the checksum is another.
        let mut changed = pack.clone();
        changed[at] ^= 1 << (at % 8);
        bare.refusal(&changed, threads(1 + at % 3));
        // With a checksum that fits, damage must show itself or be harmless.
        let mut sealed = changed[..pack.len() - 20].to_vec();
        sealed = seal(std::mem::take(&mut sealed), HashKind::Sha1);
        let mut incoming = bare.incoming(threads(1));
        let _either_way = incoming.receive(&mut &sealed[..], &mut Silent);
    }
    git.ok(&bare.dir, &["fsck", "--strict"]);
}

#[test]
fn damage_is_told_in_words() {
    let mut pack = small_pack();
    *pack.last_mut().expect("a trailer") ^= 1;
    assert!(refusal(&pack, threads(2)).starts_with("pack is corrupted"));
    assert_eq!(refusal(b"KCAP\0\0\0\x02\0\0\0\0", threads(2)), "pack signature mismatch");
    let words = refusal(&PackBuilder::new().blob_declared(3, b"four").build(), threads(2));
    assert_eq!(words, "pack has bad object at offset 12: inflated data is longer than declared");
    let words = refusal(&PackBuilder::new().blob_declared(5, b"four").build(), threads(2));
    assert_eq!(words, "pack has bad object at offset 12: inflated data is shorter than declared");
    let pack = PackBuilder::new().blob(b"base").ofs_delta(0, &delta(5, 1, b"")).build();
    assert!(refusal(&pack, threads(2)).contains("failed to apply delta"));
}

#[test]
fn deltas_without_a_base() {
    let missing = PackBuilder::new().ref_delta(blob_id(b"nowhere"), &delta(7, 1, b"!"));
    assert_eq!(refusal(&missing.build(), threads(2)), "pack has 1 unresolved delta");
    let circle = PackBuilder::new()
        .ref_delta(blob_id(b"base one"), &[8, 4, 0x90, 4])
        .ref_delta(blob_id(b"base"), &delta(4, 1, b" one"))
        .build();
    for count in [1, 2] {
        assert_eq!(refusal(&circle, threads(count)), "pack has 2 unresolved deltas");
    }
}

#[test]
fn sizes_over_a_limit() {
    let tight = IncomingOptions { max_input_size_bytes: Some(60), ..threads(2) };
    let words = refusal(
        &PackBuilder::new().blob(&[7; 50]).blob(b"two, three").blob(b"four").build(),
        tight,
    );
    assert_eq!(words, "pack exceeds maximum allowed size (60 bytes)");
    let tight = IncomingOptions { object_bytes_max: Some(3), ..threads(2) };
    assert!(refusal(&PackBuilder::new().blob(b"four").build(), tight).contains("object_bytes_max"));
    let tight = IncomingOptions { objects_max: 1, ..threads(2) };
    assert!(refusal(&small_pack(), tight).contains("objects_max"));
    let tight = IncomingOptions { delta_depth_max: 2, ..threads(2) };
    let chain = PackBuilder::new()
        .blob(b"a")
        .ofs_delta(0, &delta(1, 2, b""))
        .ofs_delta(1, &delta(2, 2, b""))
        .ofs_delta(2, &delta(4, 2, b""));
    assert!(refusal(&chain.build(), tight).contains("delta_depth_max"));
}

#[test]
fn bombs_are_not_inflated() {
    const TEN_GIB: u64 = 10 << 30;
    let words = refusal(&PackBuilder::new().blob_declared(TEN_GIB, &[0; 4096]).build(), threads(2));
    assert!(words.contains("shorter than declared"), "{words}");

    let mut promise = Vec::new();
    size(4, &mut promise);
    size(TEN_GIB, &mut promise);
    promise.extend_from_slice(&[0x90, 4]);
    let words =
        refusal(&PackBuilder::new().blob(b"base").ofs_delta(0, &promise).build(), threads(2));
    assert!(words.contains("held_object_bytes_max"), "{words}");

    // Each delta doubles its base.
    let mut bomb = PackBuilder::new().blob(&[7; 1024]);
    for step in 0..40 {
        bomb = bomb.ofs_delta(step, &delta(1024 << step.min(12), 2, b""));
    }
    let small = IncomingOptions { held_object_bytes_max: 1 << 20, ..threads(2) };
    let words = refusal(&bomb.build(), small);
    assert!(words.contains("held_object_bytes_max"), "{words}");

    let endless = vec![0; 8 << 20];
    let words = refusal(&PackBuilder::new().blob_declared(100, &endless).build(), threads(2));
    assert!(words.contains("longer than declared"), "{words}");
    let tree = PackBuilder::new().whole(Kind::Tree, &endless).build();
    let checked = IncomingOptions {
        held_object_bytes_max: 1 << 20,
        fsck: Some(FsckOptions::default()),
        ..threads(2)
    };
    assert!(refusal(&tree, checked).contains("held_object_bytes_max"));
}

#[test]
fn an_object_of_another_content_under_the_same_name() {
    let git = RealGit::new();
    let bare = Bare::init(&git, "bare", HashKind::Sha1);
    let (mine, theirs) = (blob_id(b"mine").to_hex(), blob_id(b"theirs").to_hex());
    git.ok_with_input(&bare.dir, &["hash-object", "-w", "--stdin"], b"theirs");
    let loose = |hex: &str| bare.dir.join("objects").join(&hex[..2]).join(&hex[2..]);
    std::fs::create_dir_all(loose(&mine).parent().expect("a directory")).expect("writable");
    std::fs::rename(loose(&theirs), loose(&mine)).expect("writable");
    for count in [1, 2] {
        let words = bare.refusal(&PackBuilder::new().blob(b"mine").build(), threads(count));
        assert_eq!(words, format!("SHA1 COLLISION FOUND WITH {mine} !"));
    }
}

#[test]
fn objects_that_fail_the_checks() {
    let git = RealGit::new();
    let bare = Bare::init(&git, "bare", HashKind::Sha1);
    let text = format!(
        "tree {}\nauthor A <a> 1 +0000\ncommitter C 1 +0000\n\n",
        "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    );
    let pack = PackBuilder::new().whole(Kind::Commit, text.as_bytes()).build();
    let checked = |options: FsckOptions| IncomingOptions { fsck: Some(options), ..threads(2) };
    let mut incoming = bare.incoming(checked(FsckOptions::default()));
    let error = incoming.receive(&mut &pack[..], &mut Silent).expect_err("a bad commit");
    assert_eq!(error.to_string(), "fsck error in packed object");
    let messages = incoming.messages();
    assert!(messages[0].starts_with("error: object "), "{messages:?}");
    assert!(messages[0].contains(": missingEmail: "), "{messages:?}");
    drop(incoming);

    let mut lenient = FsckOptions::default();
    lenient.set(b"missingEmail", b"warn").expect("a check's name");
    let mut incoming = bare.incoming(checked(lenient));
    incoming.receive(&mut &pack[..], &mut Silent).expect("only a warning");
    assert!(incoming.messages()[0].starts_with("warning: object "));

    let modules = b"[submodule \"../evil\"]\n\tpath = x\n\turl = y\n";
    let mut tree = b"100644 .gitmodules\0".to_vec();
    tree.extend_from_slice(blob_id(modules).as_bytes());
    let pack = PackBuilder::new().blob(modules).whole(Kind::Tree, &tree).build();
    let mut incoming = bare.incoming(checked(FsckOptions::default()));
    let error = incoming.receive(&mut &pack[..], &mut Silent).expect_err("a bad name");
    assert_eq!(error.to_string(), "fsck error in pack objects");
    assert!(incoming.messages()[0].contains("gitmodulesName"), "{:?}", incoming.messages());
}
