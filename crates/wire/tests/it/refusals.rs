//! The same broken requests to stock git and to us: the same words.

use crate::git;
use crate::transcript::{expand, pack, read_v0, read_v2};
use object::HashKind;
use wire::UploadPackOffer;

/// What git's own v2 server and ours say to a request, with nothing configured.
fn check_v2(request: &str) {
    let repository = git::empty_repository("sha1");
    let bytes = pack(request);
    let arguments = ["upload-pack", "--stateless-rpc", "."];
    let version = [("GIT_PROTOCOL", "version=2")];
    let theirs = git::fatal(&git::run(repository.path(), &arguments, &version, &[], &bytes));
    let offer = UploadPackOffer::new(HashKind::Sha1, "x");
    let ours = read_v2(&bytes, &offer).expect_err(request).to_string();
    assert_eq!(ours, theirs, "{request}");
}

#[test]
fn v2_keys_and_commands() {
    for request in [
        "foobar\n0000",
        "agent=git/test\nobject-format=sha1\n0000",
        "command=foo\n0000",
        "command=agent\n0000",
        "command=ls-refs\nfetch\n0000",
        "command=ls-refs=whatever\n0000",
        "command=ls-refs\ncommand=fetch\n0000",
        "command=object-info\n0000",
        "command=fetch\nobject-format=sha256\n0000",
        "command=fetch\nobject-format=sha3\n0000",
        "command=fetch\nobject-format\n0000",
        "command=fetch\nsession-id=x\n0000",
        "0001",
        "command=fetch",
    ] {
        check_v2(request);
    }
}

#[test]
fn v2_arguments() {
    for (command, argument) in [
        ("ls-refs", "no-such-arg"),
        ("ls-refs", "0001"),
        ("fetch", "no-such-arg"),
        ("fetch", "0001"),
        ("fetch", "want-ref refs/heads/main"),
        ("fetch", "filter blob:none"),
        ("fetch", "sideband-all"),
        ("fetch", "packfile-uris https"),
        ("fetch", "want x"),
        ("fetch", "have x"),
        ("fetch", "shallow x"),
        ("fetch", "deepen 0"),
        ("fetch", "deepen x"),
        ("fetch", "deepen-since x"),
    ] {
        check_v2(&format!("command={command}\n0001\n{argument}\n0000"));
    }
}

#[test]
fn v2_filters() {
    let repository = git::empty_repository("sha1");
    let mut offer = UploadPackOffer::new(HashKind::Sha1, "x");
    offer.filter = Some(wire::FilterRules {
        allow_unnamed: true,
        named: vec![("blob:none".into(), false), ("tree".into(), true)],
        tree_depth_max: 5,
    });
    let config = [
        ("uploadpack.allowFilter", "true"),
        ("uploadpackfilter.blob:none.allow", "false"),
        ("uploadpackfilter.tree.maxDepth", "5"),
    ];
    for filter in [
        "blob:none",
        "combine:blob:limit=1+blob:none",
        "tree:6",
        "tree:x",
        "nonsense",
        "blob:limit=1x",
        "sparse:path=x",
        "object:type=thing",
        "combine:",
        "combine:a,b",
        "combine:combine:tree:9",
        "tree:1\nfilter tree:2",
    ] {
        let bytes = pack(&format!("command=fetch\n0001\nfilter {filter}\n0000"));
        let arguments = ["upload-pack", "--stateless-rpc", "."];
        let version = [("GIT_PROTOCOL", "version=2")];
        let output = git::run(repository.path(), &arguments, &version, &config, &bytes);
        let ours = read_v2(&bytes, &offer).expect_err(filter).to_string();
        assert_eq!(ours, git::fatal(&output), "{filter}");
    }
}

#[test]
fn v0_lines() {
    let repository = git::empty_repository("sha1");
    let offer = UploadPackOffer::new(HashKind::Sha1, "x");
    for request in [
        "hello\n0000",
        "want x\n0000",
        "want {a}",
        "shallow x\n0000",
        "deepen -1\n0000",
        "deepen 99999999999999999999x\n0000",
        "deepen-since never\n0000",
        "filter blob:none\n0000",
        "ERR I give up",
    ] {
        let bytes = pack(request);
        // git looks for the object first where there is one to look for.
        let bytes = if request.starts_with("want {a}") { bytes[..20].to_vec() } else { bytes };
        let arguments = ["upload-pack", "--stateless-rpc", "."];
        let output = git::run(repository.path(), &arguments, &[], &[], &bytes);
        let ours = read_v0(&bytes, &offer).expect_err(request).to_string();
        assert_eq!(ours, git::fatal(&output), "{request}");
    }
}

#[test]
fn bytes_that_are_no_packets() {
    let repository = git::empty_repository("sha1");
    let offer = UploadPackOffer::new(HashKind::Sha1, "x");
    for bytes in [&b"GET /"[..], b"0003", b"fff5", b"ffff", b"fff0", b"00", b""] {
        let arguments = ["upload-pack", "--stateless-rpc", "."];
        let output = git::run(repository.path(), &arguments, &[], &[], bytes);
        let ours = read_v0(bytes, &offer).expect_err("broken").to_string();
        assert_eq!(ours, git::fatal(&output), "{bytes:?}");
    }
}

#[test]
fn an_empty_list_of_capabilities_refuses_what_only_others_offer() {
    let offer = UploadPackOffer::new(HashKind::Sha1, "x");
    for word in ["no-done", "filter", "session-id=x", "allow-tip-sha1-in-want"] {
        let request = pack(&expand(&format!("want {{a}} {word}\n0000")));
        let error = read_v0(&request, &offer).expect_err(word).to_string();
        assert_eq!(error, format!("unknown capability '{word}'"));
    }
}

#[test]
fn depth_and_time_exclude_each_other() {
    let offer = UploadPackOffer::new(HashKind::Sha1, "x");
    let words = "git upload-pack: deepen and deepen-since (or deepen-not) cannot be used together";
    let lines = "want {a}\ndeepen 1\ndeepen-not main\n0000";
    assert_eq!(read_v0(&pack(lines), &offer).expect_err("both").to_string(), words);
    let lines = format!("command=fetch\n0001\n{lines}");
    assert_eq!(read_v2(&pack(&lines), &offer).expect_err("both").to_string(), words);
}

#[test]
fn wanting_a_ref_twice() {
    let mut offer = UploadPackOffer::new(HashKind::Sha1, "x");
    offer.ref_in_want = true;
    let request = pack("command=fetch\n0001\nwant-ref refs/a\nwant-ref refs/a\n0000");
    let error = read_v2(&request, &offer).expect_err("twice").to_string();
    assert_eq!(error, "duplicate want-ref refs/a");
}

#[test]
fn pushes() {
    let repository = git::empty_repository("sha1");
    let config = [("receive.certNonceSeed", "seed"), ("receive.advertisePushOptions", "true")];
    let offer = wire::ReceivePackOffer {
        push_cert_nonce: Some("1-x".into()),
        push_options: true,
        ..wire::ReceivePackOffer::new(HashKind::Sha1, "x")
    };
    for request in [
        "hello\n0000",
        "{a}  {b} refs/heads/x\n0000",
        "{a} {b}\n0000",
        "shallow me\n0000",
        "shallow {a}",
        "{a} {b} refs/heads/x\\0object-format=sha256\n0000",
        "{a} {b} refs/heads/x\\0push-options\n0000\nan option",
        "push-cert\nx\n0001",
        "push-cert\nx\n",
    ] {
        let bytes = pack(request);
        let arguments = ["receive-pack", "--stateless-rpc", "."];
        let output = git::run(repository.path(), &arguments, &[], &config, &bytes);
        let mut reader = wire::PacketReader::new(&bytes[..]);
        let ours = wire::push::read_push(&mut reader, &offer, &wire::Limits::default())
            .expect_err(request)
            .to_string();
        assert_eq!(ours, git::fatal(&output), "{request}");
    }
}

/// Of the features of `fetch` exactly those are accepted that are advertised.
#[test]
fn v2_features_one_by_one() {
    let bare = || UploadPackOffer::new(HashKind::Sha1, "x");
    let with = |change: fn(&mut UploadPackOffer)| {
        let mut offer = bare();
        change(&mut offer);
        offer
    };
    let offers = [
        bare(),
        with(|offer| offer.filter = Some(wire::FilterRules::default())),
        with(|offer| offer.ref_in_want = true),
        with(|offer| offer.sideband_all = true),
    ];
    let features = [
        ("shallow", "deepen 1"),
        ("wait-for-done", "wait-for-done"),
        ("filter", "filter blob:none"),
        ("ref-in-want", "want-ref refs/heads/main"),
        ("sideband-all", "sideband-all"),
        ("packfile-uris", "packfile-uris https"),
    ];
    for offer in offers {
        let mut advertised = Vec::new();
        let mut writer = wire::PacketWriter::new(&mut advertised);
        wire::v2::advertise(&mut writer, &offer).expect("into memory");
        drop(writer);
        let advertised = crate::transcript::unpack(&advertised);
        let line = advertised.lines().find(|line| line.starts_with("fetch=")).expect("fetch");
        for (feature, argument) in features {
            let request = pack(&format!("command=fetch\n0001\n{argument}\n0000"));
            let accepted = read_v2(&request, &offer).is_ok();
            assert_eq!(accepted, line["fetch=".len()..].split(' ').any(|f| f == feature));
        }
    }
}
