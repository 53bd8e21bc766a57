//! Advertisements: byte for byte those of stock git for the same configuration.

use bstr::{BStr, ByteSlice as _};
use object::HashKind;
use wire::advertise::{RefAdvertisement, service_header};
use wire::pktline::PacketWriter;
use wire::{FilterRules, Protocol, ReceivePackOffer, Service, Unborn, UploadPackOffer};

use crate::git;
use crate::transcript::{check, everything, id, unpack};

const AGENT: &str = "git/oracle";

/// The bytes of an advertisement.
fn written(write: impl FnOnce(&mut PacketWriter<'_>) -> std::io::Result<()>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = PacketWriter::new(&mut out);
    write(&mut writer).expect("into memory");
    drop(writer);
    out
}

/// What git advertises for an empty repository.
fn theirs(service: &str, hash: HashKind, version: &str, config: &[(&str, &str)]) -> Vec<u8> {
    let repository = git::empty_repository(hash.name());
    let environment = [("GIT_PROTOCOL", version), ("GIT_USER_AGENT", AGENT)];
    let arguments = [service, "--advertise-refs", "."];
    let output = git::run(repository.path(), &arguments, &environment, config, b"");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// The random value git chose for a capability.
fn value_of(name: &str, advertisement: &[u8]) -> Option<bstr::BString> {
    let at = advertisement.find(format!("{name}="))? + name.len() + 1;
    let end = advertisement[at..].find_byteset(b" \n").expect("a line ends");
    Some(advertisement[at..at + end].into())
}

fn check_v0(change: impl Fn(&mut UploadPackOffer), config: &[(&str, &str)]) {
    for (hash, protocol, version) in [
        (HashKind::Sha1, Protocol::V0, ""),
        (HashKind::Sha256, Protocol::V0, "version=0"),
        (HashKind::Sha1, Protocol::V1, "version=1"),
    ] {
        let theirs = theirs("upload-pack", hash, version, config);
        let mut offer = UploadPackOffer::new(hash, AGENT);
        offer.no_done = true;
        offer.session_id = value_of("session-id", &theirs);
        change(&mut offer);
        let ours = written(|w| RefAdvertisement::upload_pack(w, protocol, &offer)?.finish(&[]));
        assert_eq!(unpack(&ours), unpack(&theirs), "{config:?}");
        assert_eq!(ours, theirs);
    }
}

fn check_v2(change: impl Fn(&mut UploadPackOffer), config: &[(&str, &str)]) {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let theirs = theirs("upload-pack", hash, "version=2", config);
        let mut offer = UploadPackOffer::new(hash, AGENT);
        offer.session_id = value_of("session-id", &theirs);
        change(&mut offer);
        let ours = written(|w| wire::v2::advertise(w, &offer));
        assert_eq!(unpack(&ours), unpack(&theirs), "{config:?}");
        assert_eq!(ours, theirs);
    }
}

fn check_receive_pack(change: impl Fn(&mut ReceivePackOffer), config: &[(&str, &str)]) {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let theirs = theirs("receive-pack", hash, "version=2", config);
        let mut offer = ReceivePackOffer::new(hash, AGENT);
        offer.session_id = value_of("session-id", &theirs);
        offer.push_cert_nonce = value_of("push-cert", &theirs);
        change(&mut offer);
        let protocol = Protocol::V2.of_service(Service::ReceivePack);
        let ours = written(|w| RefAdvertisement::receive_pack(w, protocol, &offer)?.finish(&[]));
        assert_eq!(unpack(&ours), unpack(&theirs), "{config:?}");
        assert_eq!(ours, theirs);
    }
}

#[test]
fn v0_capabilities_are_gits() {
    check_v0(|_| {}, &[]);
    check_v0(
        |offer| offer.filter = Some(FilterRules::default()),
        &[("uploadpack.allowFilter", "1")],
    );
    check_v0(
        |offer| {
            offer.allow_tip_sha1_in_want = true;
            offer.allow_reachable_sha1_in_want = true;
            offer.filter = Some(FilterRules::default());
        },
        &[
            ("uploadpack.allowAnySHA1InWant", "1"),
            ("uploadpack.allowFilter", "1"),
            ("transfer.advertiseSID", "1"),
        ],
    );
}

#[test]
fn v2_capabilities_are_gits() {
    check_v2(|_| {}, &[]);
    check_v2(|offer| offer.unborn = Unborn::Allow, &[("lsrefs.unborn", "allow")]);
    check_v2(|offer| offer.unborn = Unborn::Ignore, &[("lsrefs.unborn", "ignore")]);
    check_v2(
        |offer| {
            offer.filter = Some(FilterRules::default());
            offer.ref_in_want = true;
            offer.sideband_all = true;
            offer.object_info = true;
        },
        &[
            ("uploadpack.allowFilter", "1"),
            ("uploadpack.allowRefInWant", "1"),
            ("uploadpack.allowSidebandAll", "1"),
            ("transfer.advertiseObjectInfo", "1"),
            ("transfer.advertiseSID", "1"),
        ],
    );
}

#[test]
fn receive_pack_capabilities_are_gits() {
    check_receive_pack(|_| {}, &[]);
    check_receive_pack(
        |offer| {
            offer.atomic = false;
            offer.ofs_delta = false;
        },
        &[("receive.advertiseAtomic", "0"), ("repack.useDeltaBaseOffset", "0")],
    );
    check_receive_pack(
        |offer| offer.push_options = true,
        &[
            ("receive.advertisePushOptions", "1"),
            ("receive.certNonceSeed", "seed"),
            ("transfer.advertiseSID", "1"),
        ],
    );
}

#[test]
fn refs_carry_the_capabilities_once() {
    let offer = UploadPackOffer { session_id: None, filter: None, ..everything() };
    let ours = written(|w| {
        service_header(w, Service::UploadPack)?;
        let mut refs = RefAdvertisement::upload_pack(w, Protocol::V1, &offer)?;
        refs.reference(&id('a'), BStr::new("HEAD"))?;
        refs.reference(&id('b'), BStr::new("refs/tags/v1"))?;
        refs.peeled(&id('a'), BStr::new("refs/tags/v1"))?;
        refs.finish(&[id('c')])
    });
    let [a, b, c] = ['a', 'b', 'c'].map(|digit| id(digit).to_hex());
    check(
        &unpack(&ours),
        &format!(
            "# service=git-upload-pack
             0000
             version 1
             {a} HEAD\\0multi_ack thin-pack side-band side-band-64k ofs-delta shallow deepen-since deepen-not deepen-relative no-progress include-tag multi_ack_detailed allow-tip-sha1-in-want allow-reachable-sha1-in-want no-done symref=HEAD:refs/heads/main object-format=sha1 agent=packhorse/1.0
             {b} refs/tags/v1
             {a} refs/tags/v1^{{}}
             shallow {c}
             0000"
        ),
    );
}

#[test]
fn objects_without_a_ref_are_haves() {
    let offer = ReceivePackOffer::new(HashKind::Sha1, "x");
    let ours = written(|w| {
        let mut refs = RefAdvertisement::receive_pack(w, Protocol::V0, &offer)?;
        refs.have(&id('a'))?;
        refs.have(&id('b'))?;
        refs.finish(&[])
    });
    let [a, b] = ['a', 'b'].map(|digit| id(digit).to_hex());
    check(
        &unpack(&ours),
        &format!(
            "{a} .have\\0report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta object-format=sha1 agent=x
             {b} .have
             0000"
        ),
    );
}
