//! Objects that pass by piece by piece, and names that are cut short.

use std::sync::Arc;

use object::{Kind, ObjectId};
use repository::{Objects, RangeReads, Repository};
use storage::metered::Meter;
use testkit::{RealGit, Scenario};

use crate::bare::Bare;
use crate::far::far;

fn passed(objects: &Objects, id: &ObjectId) -> Vec<u8> {
    let mut stream = objects.content(id, Kind::Blob).expect("a blob");
    let mut all = Vec::new();
    let mut piece = [0; 1000];
    loop {
        match stream.read(&mut piece).expect("no damage") {
            0 => break,
            count => all.extend_from_slice(&piece[..count]),
        }
    }
    assert_eq!(all.len() as u64, stream.size());
    all
}

fn blobs(git: &RealGit, bare: &Bare) -> Vec<ObjectId> {
    let format = "--batch-check=%(objectname) %(objecttype)";
    let list = git.ok(&bare.dir, &["cat-file", "--batch-all-objects", format]);
    let blobs = list.lines().filter_map(|line| line.strip_suffix(" blob"));
    blobs.filter_map(|hex| ObjectId::from_hex(hex.as_bytes())).collect()
}

fn check(git: &RealGit, bare: &Bare, repository: &Repository) {
    let objects = repository.objects().expect("a view");
    let blobs = blobs(git, bare);
    assert!(!blobs.is_empty());
    for id in &blobs {
        let whole = objects.read_expect(id, Kind::Blob).expect("a blob");
        assert_eq!(passed(&objects, id), *whole.data, "{id}");
        assert!(objects.content(id, Kind::Tree).is_err());
    }
}

#[test]
fn content_that_passes_by_is_the_content() {
    for scenario in [
        Scenario::deep_delta_chain(20),
        Scenario::linear(5).loose(),
        Scenario::big_blob(3 << 20),
        Scenario::big_blob(3 << 20).loose(),
    ] {
        let git = RealGit::new();
        let bare = Bare::open(&scenario.build(&git, "a.git"));
        check(&git, &bare, &bare.repository);
        let meter = Arc::new(Meter::default());
        check(&git, &bare, &far(&bare, &meter, RangeReads::default()));
    }
}

#[test]
fn damage_is_found_on_the_way() {
    let git = RealGit::new();
    let bare = Bare::open(&Scenario::big_blob(3 << 20).loose().build(&git, "a.git"));
    let file = bare.files().into_iter().max_by_key(|file| file.metadata().map_or(0, |m| m.len()));
    let file = file.expect("an object");
    let bytes = std::fs::read(&file).expect("readable");
    std::fs::remove_file(&file).expect("ours");
    std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("ours");
    let objects = bare.repository.objects().expect("a view");
    let name = file.strip_prefix(bare.dir.join("objects")).expect("below it").display().to_string();
    let id = ObjectId::from_hex(name.replace('/', "").as_bytes()).expect("an id");
    let mut stream = objects.content(&id, Kind::Blob).expect("its header is there");
    let mut piece = vec![0; 1 << 20];
    let error = loop {
        match stream.read(&mut piece) {
            Ok(0) => panic!("nobody noticed"),
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("damaged"), "{error}");
}

#[test]
fn short_ids_are_as_long_as_git_makes_them() {
    let git = RealGit::new();
    for scenario in
        [Scenario::linear(300), Scenario::linear(30).loose(), Scenario::linear(300).repacked()]
    {
        let name = format!("{}.git", git.root().read_dir().expect("readable").count());
        let bare = Bare::open(&scenario.build(&git, &name));
        let objects = bare.repository.objects().expect("a view");
        for id in blobs(&git, &bare) {
            let hex = id.to_hex();
            for least in [4, 7] {
                let option = format!("--short={least}");
                let short = git.ok(&bare.dir, &["rev-parse", &option, &hex]);
                let digits = objects.abbreviation(&id, Some(least)).expect("whole");
                assert_eq!(hex[..digits], short);
                assert_eq!(objects.by_prefix(short.as_bytes()).expect("whole"), Ok(id));
            }
        }
        assert_eq!(objects.by_prefix(b"000").expect("whole"), Err(0));
        assert_eq!(objects.by_prefix(b"wxyz").expect("whole"), Err(0));
    }
}
