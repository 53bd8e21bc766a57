//! What servers say is what clients read: both ends of each message, against each other.

use bstr::{BString, ByteSlice as _};
use object::{HashKind, ObjectId};

use super::*;
use crate::pktline::{Packet, PacketReader, PacketWriter, split_packet};
use crate::v2::WatchRequest;
use crate::{
    Command, Depth, FetchRequest, FilterRules, Limits, LsRefsRequest, Protocol, PushCommand,
    PushReport, PushRequest, ReceivePackOffer, RefOutcome, RefReport, ReportOptions, ReportStatus,
    UploadPackOffer,
};

fn offer() -> UploadPackOffer {
    UploadPackOffer {
        filter: Some(FilterRules::default()),
        ref_in_want: true,
        watch: true,
        ..UploadPackOffer::new(HashKind::Sha1, "server/1")
    }
}

fn id(digit: char) -> ObjectId {
    ObjectId::from_hex(digit.to_string().repeat(40).as_bytes()).expect("an id")
}

fn read(bytes: &[u8]) -> Result<Advertised, Error> {
    let mut packets = PacketReader::new(bytes);
    let mut reader = AdvertisedReader::new(&Limits::default());
    while !reader.take(packets.next_line()?)? {}
    Ok(reader.finish())
}

fn v2() -> Capabilities {
    let mut bytes = Vec::new();
    let mut writer = PacketWriter::new(&mut bytes);
    crate::v2::advertise(&mut writer, &offer()).expect("written");
    drop(writer);
    let advertised = read(&bytes).expect("read");
    assert_eq!(advertised.protocol, Protocol::V2);
    advertised.capabilities
}

fn served(request: &[u8]) -> Command {
    let mut reader = PacketReader::new(request);
    let command = crate::v2::read_command(&mut reader, &Limits::default(), &offer());
    command.expect("read").expect("a command")
}

#[test]
fn requests_are_what_servers_read() {
    let capabilities = v2();
    let refs = LsRefsRequest {
        symrefs: true,
        peel: true,
        prefixes: vec!["refs/heads/".into(), "HEAD".into()],
        server_options: vec!["a b".into()],
        ..LsRefsRequest::default()
    };
    let request = ls_refs_request(&refs, &capabilities, "me/1").expect("written");
    let expected = LsRefsRequest { agent: Some("me/1".into()), ..refs };
    assert_eq!(served(&request), Command::LsRefs(expected));

    let watch = WatchRequest { since: Some("ab".into()), prefixes: vec!["refs/".into()] };
    let request = watch_request(&watch, &capabilities, "me/1").expect("written");
    assert_eq!(served(&request), Command::Watch(watch));

    let fetch = FetchRequest {
        wants: vec![id('1'), id('2')],
        want_refs: vec!["refs/heads/a".into()],
        haves: vec![id('3')],
        done: true,
        shallow: vec![id('4')],
        deepen: Some(Depth(3)),
        deepen_relative: true,
        filter: Some(crate::Filter::parse(b"blob:none").expect("a filter")),
        thin_pack: true,
        no_progress: true,
        include_tag: true,
        ofs_delta: true,
        side_band: crate::Band::Large,
        agent: Some("me/1".into()),
        ..FetchRequest::default()
    };
    let request = fetch_request(&fetch, &capabilities, "me/1").expect("written");
    assert_eq!(served(&request), Command::Fetch(fetch.clone()));

    let bare = Capabilities::from_list(b"fetch agent=x");
    let error = fetch_request(&fetch, &bare, "me/1").expect_err("too much");
    assert_eq!(error.to_string(), "the server does not offer 'shallow'");
    watch_request(&WatchRequest::default(), &bare, "me/1").expect_err("not there");
    let long = WatchRequest { since: Some(vec![b'x'; 70_000].into()), prefixes: vec![] };
    watch_request(&long, &capabilities, "me/1").expect_err("too long");
}

#[test]
fn advertisements_of_old_are_read() {
    let mut bytes = Vec::new();
    let mut writer = PacketWriter::new(&mut bytes);
    crate::advertise::service_header(&mut writer, crate::Service::ReceivePack).expect("written");
    let list = "report-status delete-refs symref=HEAD:refs/heads/a agent=x";
    writer.text(format!("{} HEAD\0{list}", id('1'))).expect("written");
    for (digit, name) in [('1', "refs/heads/a"), ('2', "refs/tags/v"), ('3', "refs/tags/v^{}")] {
        writer.text(format!("{} {name}", id(digit))).expect("written");
    }
    writer.text(format!("shallow {}", id('4'))).expect("written");
    writer.flush_pkt().expect("written");
    drop(writer);
    let advertised = read(&bytes).expect("read");
    let one = |name: &str, digit| RemoteRef {
        name: name.into(),
        id: Some(id(digit)),
        target: None,
        peeled: None,
    };
    let head = RemoteRef { target: Some("refs/heads/a".into()), ..one("HEAD", '1') };
    let tag = RemoteRef { peeled: Some(id('3')), ..one("refs/tags/v", '2') };
    assert_eq!(advertised.refs, [head, one("refs/heads/a", '1'), tag]);
    assert_eq!(advertised.shallow, [id('4')]);
    assert_eq!(advertised.capabilities.value("agent"), Some(&b"x"[..]));
    assert!(advertised.capabilities.has("delete-refs") && !advertised.capabilities.has("delete"));
    // Of a server with no refs.
    let empty = format!("{} capabilities^{{}}\0report-status", ObjectId::null(HashKind::Sha1));
    let empty = [format!("{:04x}{empty}", empty.len() + 4), "0000".into()].concat();
    let advertised = read(empty.as_bytes()).expect("read");
    assert!(advertised.refs.is_empty() && advertised.capabilities.has("report-status"));
    // Old ones say nothing at all then.
    assert!(read(b"0000").expect("read").refs.is_empty());
    for bad in ["", "0008zzzz0000", "000dERR no", "000bERR no!0000", "0010version 2\n0001"] {
        read(bad.as_bytes()).expect_err(bad);
    }
    let few = Limits { advertised_refs_max: 1, ..Limits::default() };
    let mut reader = AdvertisedReader::new(&few);
    let line = format!("{} refs/heads/", id('1'));
    reader.take(Packet::Data(line.as_bytes())).expect("one");
    reader.take(Packet::Data(line.as_bytes())).expect_err("two");
}

#[test]
fn listed_refs_are_read() {
    let hex = |digit| id(digit).to_hex();
    let line = format!("{} HEAD symref-target:refs/heads/a peeled:{} new:x", hex('1'), hex('2'));
    let expected = RemoteRef {
        name: "HEAD".into(),
        id: Some(id('1')),
        target: Some("refs/heads/a".into()),
        peeled: Some(id('2')),
    };
    assert_eq!(ls_refs_line(line.as_bytes(), HashKind::Sha1).expect("read"), expected);
    let unborn = ls_refs_line(b"unborn HEAD symref-target:refs/heads/a", HashKind::Sha1);
    assert_eq!(unborn.expect("read").id, None);
    for bad in
        ["", "HEAD", &hex('1'), &format!("{} ", hex('1')), &format!("{} x peeled:1", hex('1'))]
    {
        ls_refs_line(bad.as_bytes(), HashKind::Sha1).expect_err(bad);
    }
    ls_refs_line(line.as_bytes(), HashKind::Sha256).expect_err("another hash");
}

#[test]
fn events_are_read() {
    let mut bytes = Vec::new();
    let mut writer = crate::v2::WatchWriter(&mut bytes);
    writer.cursor("at", &"ab");
    assert!(writer.moved(None, Some(b"ref:refs/heads/x"), b"HEAD"));
    assert!(writer.moved(Some(b"12"), None, b"refs/heads/x"));
    writer.cursor("cursor", &"cd");
    writer.cursor("relist", &"ef");
    writer.end();
    let mut packets = PacketReader::new(&bytes[..]);
    let mut read = Vec::new();
    while let Packet::Data(line) = packets.next_line().expect("a packet") {
        read.push(format!("{:?}", watch_line(line).expect("a line").as_text()));
    }
    let expected =
        ["at ab", "- ref:refs/heads/x HEAD", "12 - refs/heads/x", "cursor cd", "relist ef", "end"];
    assert_eq!(read, expected.map(|text| format!("{text:?}")));
    for bad in ["", "at", "at x y", "ref 1 2", "ref 1 2 ", "end now", "word"] {
        watch_line(bad.as_bytes()).expect_err(bad);
    }
}

impl WatchLine<'_> {
    fn as_text(self) -> String {
        let join = |words: &[&[u8]]| BString::from(bstr::join(" ", words)).to_string();
        match self {
            WatchLine::At(cursor) => join(&[b"at", cursor]),
            WatchLine::Cursor(cursor) => join(&[b"cursor", cursor]),
            WatchLine::Relist(cursor) => join(&[b"relist", cursor]),
            WatchLine::End => "end".to_owned(),
            WatchLine::Moved { old, new, name } => {
                join(&[old.unwrap_or(b"-"), new.unwrap_or(b"-"), name])
            }
        }
    }
}

fn fetched(text: &str) -> Result<Vec<String>, Error> {
    let mut reader = FetchReader::new(HashKind::Sha1);
    let mut packets = PacketReader::new(text.as_bytes());
    let mut parts = Vec::new();
    loop {
        let part = match reader.take(packets.next()?)? {
            FetchLine::Ack(id) => format!("ack {}", &id.to_hex()[..1]),
            FetchLine::Ready => "ready".into(),
            FetchLine::Shallow(id) => format!("shallow {}", &id.to_hex()[..1]),
            FetchLine::Unshallow(id) => format!("unshallow {}", &id.to_hex()[..1]),
            FetchLine::WantedRef { id, name } => {
                format!("ref {} {}", &id.to_hex()[..1], name.as_bstr())
            }
            FetchLine::PackUri { hash, uri } => format!("{} {}", hash.as_bstr(), uri.as_bstr()),
            FetchLine::Pack(bytes) => format!("pack {}", bytes.as_bstr()),
            FetchLine::Progress(words) => format!("progress {}", words.as_bstr()),
            FetchLine::Nothing => continue,
            FetchLine::Round => {
                parts.push("round".into());
                return Ok(parts);
            }
            FetchLine::End => return Ok(parts),
        };
        parts.push(part);
    }
}

fn packets(lines: &[&str]) -> String {
    let packet = |line: &&str| match *line {
        "0000" | "0001" | "0002" => (*line).to_owned(),
        line => format!("{:04x}{line}", line.len() + 4),
    };
    lines.iter().map(packet).collect()
}

#[test]
fn answers_to_fetches_are_read() {
    let (one, two) = (id('1').to_hex(), id('2').to_hex());
    let ack = format!("ACK {one}\n");
    let round = packets(&["acknowledgments\n", &ack, "0000"]);
    assert_eq!(fetched(&round).expect("read"), ["ack 1", "round"]);
    let nothing = packets(&["acknowledgments\n", "NAK\n", "0000"]);
    assert_eq!(fetched(&nothing).expect("read"), ["round"]);
    let (shallow, unshallow) = (format!("shallow {one}"), format!("unshallow {two}"));
    let (wanted, uri) = (format!("{two} refs/heads/a"), format!("{one} https://example.org/p"));
    let whole = packets(&[
        "acknowledgments\n",
        &ack,
        "ready\n",
        "0001",
        "shallow-info\n",
        &shallow,
        &unshallow,
        "0001",
        "wanted-refs\n",
        &wanted,
        "0001",
        "packfile-uris\n",
        &uri,
        "0001",
        "packfile\n",
        "\u{2}words",
        "\u{1}PACK",
        "\u{1}more",
        "0000",
        "0002",
    ]);
    let expected = [
        "ack 1",
        "ready",
        "shallow 1",
        "unshallow 2",
        "ref 2 refs/heads/a",
        &format!("{one} https://example.org/p"),
        "progress words",
        "pack PACK",
        "pack more",
    ];
    assert_eq!(fetched(&whole).expect("read"), expected);
    for (bad, words) in [
        (packets(&["packfile\n", "\u{3}no more"]), "no more"),
        (packets(&["ERR not here"]), "not here"),
        (packets(&["packfile\n", "\u{4}x"]), "unexpected"),
        (packets(&["packfile\n", "\u{1}PA"]), "hung up"),
        (packets(&["strange\n", "0000"]), "unexpected line: 'strange'"),
        (packets(&["acknowledgments\n", "ACK 12\n", "0000"]), "unexpected"),
        (packets(&["0000"]), "unexpected"),
    ] {
        let error = fetched(&bad).expect_err(&bad).to_string();
        assert!(error.contains(words), "{bad}: {error}");
    }
}

#[test]
fn pushes_and_reports_are_read() {
    let offer = ReceivePackOffer {
        push_options: true,
        ..ReceivePackOffer::new(HashKind::Sha1, "server/1")
    };
    let capabilities = Capabilities::from_list(&offer.capabilities());
    let push = PushRequest {
        commands: vec![
            PushCommand { old: id('1'), new: id('2'), name: "refs/heads/a".into() },
            PushCommand {
                old: id('1'),
                new: ObjectId::null(HashKind::Sha1),
                name: "refs/b".into(),
            },
        ],
        shallow: vec![id('3')],
        report_status: true,
        report_status_v2: true,
        side_band_64k: true,
        atomic: true,
        ofs_delta: true,
        uses_push_options: true,
        push_options: vec!["ci.skip".into()],
        ..PushRequest::default()
    };
    let (bytes, terms) = push_request(&push, &capabilities, "me/1").expect("written");
    assert_eq!(terms, PushTerms { side_band: true, report: ReportStatus::V2 });
    let mut reader = PacketReader::new(&bytes[..]);
    let read = crate::push::read_push(&mut reader, &offer, &Limits::default()).expect("read");
    let expected = PushRequest { report_status: false, agent: Some("me/1".into()), ..push.clone() };
    assert_eq!(read, Some(expected));

    let option = ReportOptions { refname: Some("refs/pull/1".into()), ..ReportOptions::default() };
    let report = PushReport {
        unpack: Ok(()),
        refs: vec![
            RefReport { name: "refs/heads/a".into(), outcome: RefOutcome::Ok(vec![option]) },
            RefReport { name: "refs/b".into(), outcome: RefOutcome::Ng("a hook says no".into()) },
        ],
    };
    let encoded = report.encode(ReportStatus::V2).expect("written").expect("a report");
    let limits = Limits::default();
    // In pieces that end anywhere.
    let mut reader = ReportReader::new(terms, HashKind::Sha1, &limits);
    assert_eq!(reader.take(Packet::Data(b"\x02words")).expect("read"), Some(&b"words"[..]));
    for piece in encoded.chunks(7) {
        let piece = [&[1], piece].concat();
        assert_eq!(reader.take(Packet::Data(&piece)).expect("read"), Some(&b""[..]));
    }
    assert_eq!(reader.take(Packet::Flush).expect("read"), None);
    assert_eq!(reader.finish().expect("read"), report);
    // Without side-band.
    let bare = PushTerms { side_band: false, report: ReportStatus::V2 };
    let mut reader = ReportReader::new(bare, HashKind::Sha1, &limits);
    let mut packets = PacketReader::new(&encoded[..]);
    while reader.take(packets.next().expect("a packet")).expect("read").is_some() {}
    assert_eq!(reader.finish().expect("read"), report);
    let mut reader = ReportReader::new(terms, HashKind::Sha1, &limits);
    reader.take(Packet::Eof).expect_err("cut off");
    let mut reader = ReportReader::new(terms, HashKind::Sha1, &limits);
    let error = reader.take(Packet::Data(b"\x03the disk is full\n")).expect_err("given up");
    assert_eq!(error.to_string(), "remote error: the disk is full");
    // What a server cannot do is not left out in silence.
    let plain = Capabilities::from_list(b"report-status delete-refs");
    let error = push_request(&push, &plain, "me/1").expect_err("not atomic").to_string();
    assert_eq!(error, "the server does not offer 'atomic'");
}

#[test]
fn packets_are_split_off_as_they_come() {
    let bytes = b"0008abc\n00000001rest";
    for end in 0..8 {
        assert_eq!(split_packet(&bytes[..end]).expect("no error"), None);
    }
    assert_eq!(split_packet(bytes).expect("read"), Some((Packet::Data(b"abc\n"), 8)));
    assert_eq!(split_packet(&bytes[8..]).expect("read"), Some((Packet::Flush, 4)));
    assert_eq!(split_packet(&bytes[12..]).expect("read"), Some((Packet::Delim, 4)));
    for bad in [&b"0003"[..], b"fff1", b"zzzz"] {
        split_packet(bad).expect_err("no packet");
    }
}
