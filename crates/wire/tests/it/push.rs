//! What receive-pack is asked.

use object::HashKind;
use wire::pktline::PacketReader;
use wire::push::read_push;
use wire::{Error, Limits, PushRequest, ReceivePackOffer};

use crate::transcript::{check, expand, pack, show_push};

pub fn everything() -> ReceivePackOffer {
    ReceivePackOffer {
        session_id: Some("server-session".into()),
        push_cert_nonce: Some("1700000000-abc".into()),
        push_options: true,
        ..ReceivePackOffer::new(HashKind::Sha1, "packhorse/1.0")
    }
}

fn read(bytes: &[u8], offer: &ReceivePackOffer) -> Result<Option<PushRequest>, Error> {
    read_push(&mut PacketReader::new(bytes), offer, &Limits::default())
}

/// A push with every kind of line in it.
pub const FULL_PUSH: &str = r"
    shallow {c}
    {0} {a} refs/heads/new\0 report-status-v2 report-status side-band-64k quiet atomic push-options object-format=sha1 agent=git/2.55.0 session-id=client
    {a} {b} refs/heads/moved
    {b} {0} refs/heads/gone
    0000
    ci.skip
    reviewer=somebody else
    0000";

#[test]
fn a_push_with_everything() {
    let mut bytes = pack(FULL_PUSH);
    bytes.extend_from_slice(b"PACK");
    let mut reader = PacketReader::new(&bytes[..]);
    let push = read_push(&mut reader, &everything(), &Limits::default()).unwrap().expect("a push");
    check(
        &show_push(&push),
        "0 -> a refs/heads/new
         a -> b refs/heads/moved
         b -> 0 refs/heads/gone
         shallow c
         option ci.skip
         option reviewer=somebody else
         agent git/2.55.0
         session-id client
         quiet atomic push-options | Large V2",
    );
    assert!(!push.deletes_only());
    assert!(push.commands[2].deletes());
    assert_eq!(reader.into_inner(), b"PACK", "the pack is left alone");
}

#[test]
fn the_plainest_push() {
    let push = read(&pack("{a} {0} refs/heads/x\n0000"), &everything()).unwrap().expect("a push");
    check(&show_push(&push), "a -> 0 refs/heads/x\n| None None");
    assert!(push.deletes_only());
    assert_eq!(read(b"0000", &everything()).unwrap(), None);
    assert_eq!(read(&pack("shallow {a}\n0000"), &everything()).unwrap(), None);
}

/// A signed push: raw text between `push-cert` and `push-cert-end`, a packet a line.
fn signed(options: &str) -> String {
    format!(
        r"push-cert\0report-status push-options
        certificate version 0.1
        pusher A U Thor <author@example.com> 1700000000 +0000
        pushee http://example.com/repo.git
        nonce 1700000000-abc
        {options}
        BLANK
        {{0}} {{a}} refs/heads/main
        {{a}} {{b}} refs/heads/other
        -----BEGIN PGP SIGNATURE-----
        xyz
        -----END PGP SIGNATURE-----
        push-cert-end
        0000
        one
        0000"
    )
}

fn pack_signed(options: &str) -> Vec<u8> {
    let text = pack(&signed(options));
    // A blank line of the certificate is a packet with a newline alone.
    let blank = bstr::ByteSlice::find(&text[..], b"000aBLANK\n").expect("written above");
    [&text[..blank], b"0005\n", &text[blank + 10..]].concat()
}

#[test]
fn a_signed_push() {
    let push = read(&pack_signed("push-option one"), &everything()).unwrap().expect("a push");
    check(
        &show_push(&push),
        "0 -> a refs/heads/main
         a -> b refs/heads/other
         option one
         push-options signed | None V1",
    );
    assert!(push.push_options_match_cert());
    let cert = push.push_cert.expect("signed");
    assert_eq!(cert.header("nonce").map(|n| n.as_ref()), Some(&b"1700000000-abc"[..]));
    assert_eq!(cert.header("nothing"), None);
    assert!(cert.payload().ends_with(expand("{a} {b} refs/heads/other\n").as_bytes()));
    assert!(cert.signature().starts_with(b"-----BEGIN PGP SIGNATURE-----\n"));
    assert_eq!(cert.as_bytes(), [cert.payload(), cert.signature()].concat());
}

#[test]
fn options_that_were_not_signed_are_told_apart() {
    let push = read(&pack_signed("push-option two"), &everything()).unwrap().expect("a push");
    assert!(!push.push_options_match_cert());
}

#[track_caller]
fn refused(transcript: &str, offer: &ReceivePackOffer, words: &str) {
    let error = read(&pack(transcript), offer).expect_err("refused");
    assert_eq!(error.to_string(), expand(words));
}

#[test]
fn refusals_in_gits_words() {
    let offer = everything();
    refused("hello\n0000", &offer, "protocol error: expected old/new/ref, got 'hello'");
    refused(
        "{a} {b}refs/heads/x\n0000",
        &offer,
        "protocol error: expected old/new/ref, got '{a} {b}refs/heads/x'",
    );
    refused("shallow me\n0000", &offer, "protocol error: expected shallow sha, got 'me'");
    refused(
        r"{a} {b} r\0object-format=sha256
        0000",
        &offer,
        "error: unsupported object format 'sha256'",
    );
    refused(
        "push-cert\ncertificate version 0.1\npush-cert-end\n0000",
        &offer,
        "malformed push certificate certificate version 0.1?",
    );
    refused("push-cert\nx\n0001", &offer, "protocol error: got an unexpected packet");
    let both = [pack("{0} {a} refs/heads/x"), pack_signed("x y")].concat();
    assert_eq!(
        read(&both, &offer).expect_err("refused").to_string(),
        "protocol error: got both push certificate and unsigned commands"
    );
}

#[test]
fn what_is_not_offered_is_refused() {
    let offer = ReceivePackOffer { atomic: false, ..ReceivePackOffer::new(HashKind::Sha1, "x") };
    let atomic = r"{0} {a} r\0atomic
        0000";
    refused(atomic, &offer, "unknown capability 'atomic'");
    let options = r"{0} {a} r\0push-options
        0000";
    refused(options, &offer, "unknown capability 'push-options'");
    refused("push-cert\nx\n0000", &offer, "unknown capability 'push-cert'");
}

#[test]
fn a_push_without_object_format_means_sha1() {
    let offer = ReceivePackOffer::new(HashKind::Sha256, "x");
    let [null, new] = ["0".repeat(64), "1".repeat(64)];
    let request = |asked: &str| format!("{null} {new} refs/heads/x\\0{asked}\n0000");
    refused(&request("quiet"), &offer, "error: unsupported object format 'sha1'");
    let push = read(&pack(&request("object-format=sha256")), &offer).unwrap().expect("a push");
    assert_eq!(push.commands[0].new.to_hex(), new);
}

#[test]
fn certificates_count_against_the_limit() {
    let limits = Limits { text_bytes_max: 100, ..Limits::default() };
    let bytes = pack_signed("push-option one");
    let error = read_push(&mut PacketReader::new(&bytes[..]), &everything(), &limits)
        .expect_err("too much");
    assert!(matches!(error, Error::Limit { setting: "text_bytes_max", .. }), "{error}");
}
