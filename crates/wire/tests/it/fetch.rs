//! What upload-pack is asked, in every version.

use object::HashKind;
use wire::pktline::PacketReader;
use wire::v0::{HaveLine, read_have};
use wire::{Command, Limits, Unborn, UploadPackOffer};

use crate::transcript::{check, everything, id, pack, read_v0, read_v2, show_fetch};

fn check_v2(request: &str, expected: &str) {
    match read_v2(&pack(request), &everything()) {
        Ok(Some(Command::Fetch(fetch))) => check(&show_fetch(&fetch), expected),
        other => panic!("not a fetch: {other:?}"),
    }
}

fn check_v0(request: &str, expected: &str) {
    match read_v0(&pack(request), &everything()) {
        Ok(Some(fetch)) => check(&show_fetch(&fetch), expected),
        other => panic!("not a fetch: {other:?}"),
    }
}

#[test]
fn v2_takes_every_argument() {
    check_v2(
        "command=fetch
         agent=git/2.55.0-Linux
         object-format=sha1
         session-id=client-session
         server-option=a=b
         server-option
         0001
         thin-pack
         no-progress
         include-tag
         ofs-delta
         shallow {c}
         deepen 3
         deepen-relative
         filter blob:limit=1k
         want {a}
         want {b}
         want {a}
         want-ref refs/heads/main
         have {d}
         have {e}
         wait-for-done
         sideband-all
         done
         0000",
        "want a
         want b
         have d
         have e
         shallow c
         want-ref refs/heads/main
         deepen 3
         filter blob:limit=1024
         agent git/2.55.0-Linux
         session-id client-session
         server-option a=b
         server-option
         done deepen-relative thin-pack no-progress include-tag ofs-delta wait-for-done sideband-all | Large None",
    );
}

#[test]
fn v2_deepens_by_time_and_ref() {
    check_v2(
        "command=fetch
         0001
         want {a}
         deepen-since 1700000000
         deepen-not refs/tags/v1
         deepen-not v2
         0000",
        "want a
         deepen-since 1700000000
         deepen-not refs/tags/v1
         deepen-not v2
         | Large None",
    );
}

#[test]
fn v2_needs_no_arguments() {
    check_v2("command=fetch\n0000", "| Large None");
}

#[test]
fn a_v2_conversation_has_many_commands_and_ends_quietly() {
    let bytes = pack(
        "command=ls-refs
         agent=git/2
         0001
         peel
         symrefs
         unborn
         ref-prefix refs/heads/
         ref-prefix HEAD
         0000
         command=object-info
         0001
         size
         oid {a}
         oid {b}
         0000
         0000",
    );
    let (offer, limits) = (everything(), Limits::default());
    let mut reader = PacketReader::new(&bytes[..]);
    let mut next = || wire::v2::read_command(&mut reader, &limits, &offer).expect("well formed");
    let Some(Command::LsRefs(refs)) = next() else { panic!("ls-refs first") };
    assert!(refs.peel && refs.symrefs && refs.unborn);
    assert_eq!(refs.prefixes, ["refs/heads/", "HEAD"]);
    assert_eq!(refs.agent, Some("git/2".into()));
    let Some(Command::ObjectInfo(info)) = next() else { panic!("object-info second") };
    assert!(info.size);
    assert_eq!(info.ids, [id('a'), id('b')]);
    assert_eq!(next(), None, "a flush alone ends it");
    assert_eq!(next(), None, "and so does the end of the stream");
}

#[test]
fn unborn_works_unless_it_is_ignored() {
    let request = pack("command=ls-refs\n0001\nunborn\n0000");
    for (unborn, works) in
        [(Unborn::Ignore, false), (Unborn::Allow, true), (Unborn::Advertise, true)]
    {
        let offer = UploadPackOffer { unborn, ..everything() };
        let Ok(Some(Command::LsRefs(refs))) = read_v2(&request, &offer) else {
            panic!("not ls-refs")
        };
        assert_eq!(refs.unborn, works, "{unborn:?}");
    }
}

#[test]
fn too_many_prefixes_are_no_prefixes() {
    let read = |count: usize, limits: &Limits| {
        let prefixes = "ref-prefix refs/heads/x\n".repeat(count);
        let bytes = pack(&format!("command=ls-refs\n0001\n{prefixes}0000"));
        match wire::v2::read_command(&mut PacketReader::new(&bytes[..]), limits, &everything()) {
            Ok(Some(Command::LsRefs(refs))) => refs.prefixes.len(),
            other => panic!("not ls-refs: {other:?}"),
        }
    };
    assert_eq!(read(65_535, &Limits::default()), 65_535);
    assert_eq!(read(65_536, &Limits::default()), 0);
    assert_eq!(read(3, &Limits { text_bytes_max: 30, ..Limits::default() }), 0);
}

#[test]
fn v0_takes_capabilities_and_lines() {
    check_v0(
        r"want {a} multi_ack_detailed multi_ack no-done side-band-64k side-band thin-pack no-progress include-tag ofs-delta deepen-relative filter agent=git/2.20 session-id=s object-format=sha1
         want {b}
         want {b}
         shallow {c}
         deepen 0x10
         filter tree:0
         0000",
        "want a
         want b
         shallow c
         deepen 16
         filter tree:0
         agent git/2.20
         session-id s
         deepen-relative thin-pack no-progress include-tag ofs-delta no-done | Large Detailed",
    );
}

#[test]
fn v0_old_clients_and_foreign_words() {
    check_v0("want {a} side-band multi_ack frobnicate x=y\n0000", "want a\n| Small Basic");
    check_v0("want {a}\n0000", "want a\n| None None");
}

#[test]
fn v0_without_wants_is_no_request() {
    assert_eq!(read_v0(b"0000", &everything()).unwrap(), None);
    assert_eq!(read_v0(&pack("shallow {a}\n0000"), &everything()).unwrap(), None);
}

#[test]
fn v0_negotiation_line_by_line() {
    let mut bytes = pack("have {a}\nhave {b}\n0000\nhave {c}\ndone");
    bytes.extend_from_slice(b"PACK");
    let mut reader = PacketReader::new(&bytes[..]);
    let mut next = || read_have(&mut reader, HashKind::Sha1).unwrap();
    assert_eq!(next(), HaveLine::Have(id('a')));
    assert_eq!(next(), HaveLine::Have(id('b')));
    assert_eq!(next(), HaveLine::Flush);
    assert_eq!(next(), HaveLine::Have(id('c')));
    assert_eq!(next(), HaveLine::Done);
    assert_eq!(reader.into_inner(), b"PACK");
    let mut empty = PacketReader::new(&b""[..]);
    assert_eq!(read_have(&mut empty, HashKind::Sha1).unwrap(), HaveLine::Eof);
}

#[test]
fn sha256_throughout() {
    let offer = UploadPackOffer::new(HashKind::Sha256, "x");
    let want = "ab".repeat(32);
    let v0 = pack(&format!("want {want} multi_ack object-format=sha256\n0000"));
    let fetch = read_v0(&v0, &offer).unwrap().expect("a request");
    assert_eq!(fetch.wants[0].to_hex(), want);
    let v2 = pack(&format!("command=fetch\nobject-format=sha256\n0001\nwant {want}\n0000"));
    let Ok(Some(Command::Fetch(fetch))) = read_v2(&v2, &offer) else { panic!("not a fetch") };
    assert_eq!(fetch.wants[0].to_hex(), want);
}

#[test]
fn limits_refuse_in_words_that_name_the_setting() {
    let limits = Limits { wants_max: 1, ..Limits::default() };
    let request = pack("command=fetch\n0001\nwant {a}\nwant {b}\n0000");
    let error =
        wire::v2::read_command(&mut PacketReader::new(&request[..]), &limits, &everything())
            .expect_err("one want too many");
    assert_eq!(error.to_string(), "too many wants: this server takes at most 1 (wants_max)");
}
