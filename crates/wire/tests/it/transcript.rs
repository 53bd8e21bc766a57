//! Conversations as text: one packet a line, as `test-tool pkt-line` of git's test suite
//! has them. `{a}` stands for the id `aaaa…`, `\0` for a NUL.

use std::fmt::Write as _;

use bstr::{BStr, ByteSlice as _};
use object::{HashKind, ObjectId};
use wire::pktline::{Packet, PacketReader, PacketWriter};
use wire::{Command, Error, FetchRequest, Limits, PushRequest, UploadPackOffer};

/// The id that `{digit}` stands for.
pub fn id(digit: char) -> ObjectId {
    ObjectId::from_hex(digit.to_string().repeat(40).as_bytes()).expect("a digit")
}

/// The bytes of a conversation. Every line becomes a packet with a newline.
pub fn pack(transcript: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = PacketWriter::new(&mut out);
    for line in transcript.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line {
            "0000" => writer.flush_pkt().expect("into memory"),
            "0001" => writer.delim().expect("into memory"),
            "0002" => writer.response_end().expect("into memory"),
            text => writer.text(expand(text)).expect("into memory"),
        }
    }
    drop(writer);
    out
}

/// A line with its abbreviations written out.
pub fn expand(line: &str) -> String {
    let mut line = line.replace("\\0", "\0");
    for digit in "0123456789abcdef".chars() {
        line = line.replace(&format!("{{{digit}}}"), &digit.to_string().repeat(40));
    }
    line
}

/// Packets as text: the inverse of [`pack`], without abbreviations.
pub fn unpack(bytes: &[u8]) -> String {
    let mut reader = PacketReader::new(bytes);
    let mut text = String::new();
    loop {
        let line: &BStr = match reader.next().expect("whole packets") {
            Packet::Eof => return text,
            Packet::Flush => b"0000".as_bstr(),
            Packet::Delim => b"0001".as_bstr(),
            Packet::ResponseEnd => b"0002".as_bstr(),
            packet @ Packet::Data(_) => packet.text().expect("data").as_bstr(),
        };
        writeln!(text, "{}", line.to_string().replace('\0', "\\0")).expect("into a string");
    }
}

/// An offer with everything in it.
pub fn everything() -> UploadPackOffer {
    UploadPackOffer {
        session_id: Some("server-session".into()),
        symrefs: vec![("HEAD".into(), "refs/heads/main".into())],
        allow_tip_sha1_in_want: true,
        allow_reachable_sha1_in_want: true,
        no_done: true,
        filter: Some(wire::FilterRules::default()),
        ref_in_want: true,
        sideband_all: true,
        object_info: true,
        ..UploadPackOffer::new(HashKind::Sha1, "packhorse/1.0")
    }
}

/// Reads one v2 command.
pub fn read_v2(bytes: &[u8], offer: &UploadPackOffer) -> Result<Option<Command>, Error> {
    wire::v2::read_command(&mut PacketReader::new(bytes), &Limits::default(), offer)
}

/// Reads the wants of v0.
pub fn read_v0(bytes: &[u8], offer: &UploadPackOffer) -> Result<Option<FetchRequest>, Error> {
    wire::v0::read_wants(&mut PacketReader::new(bytes), offer, &Limits::default())
}

/// What a fetch asks for, one line for each thing that is not its default.
pub fn show_fetch(fetch: &FetchRequest) -> String {
    let mut lines = Vec::new();
    let mut ids = |what: &str, ids: &[ObjectId]| {
        for id in ids {
            lines.push(format!("{what} {}", &id.to_hex()[..1]));
        }
    };
    ids("want", &fetch.wants);
    ids("have", &fetch.haves);
    ids("shallow", &fetch.shallow);
    lines.extend(fetch.want_refs.iter().map(|name| format!("want-ref {name}")));
    lines.extend(fetch.deepen.iter().map(|depth| format!("deepen {}", depth.0)));
    lines.extend(fetch.deepen_since.iter().map(|time| format!("deepen-since {time}")));
    lines.extend(fetch.deepen_not.iter().map(|name| format!("deepen-not {name}")));
    lines.extend(fetch.filter.iter().map(|filter| format!("filter {filter}")));
    lines.extend(fetch.agent.iter().map(|agent| format!("agent {agent}")));
    lines.extend(fetch.session_id.iter().map(|id| format!("session-id {id}")));
    lines.extend(fetch.server_options.iter().map(|option| format!("server-option {option}")));
    let flags = [
        ("done", fetch.done),
        ("deepen-relative", fetch.deepen_relative),
        ("thin-pack", fetch.thin_pack),
        ("no-progress", fetch.no_progress),
        ("include-tag", fetch.include_tag),
        ("ofs-delta", fetch.ofs_delta),
        ("wait-for-done", fetch.wait_for_done),
        ("sideband-all", fetch.sideband_all),
        ("no-done", fetch.no_done),
    ];
    let set: Vec<&str> = flags.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
    lines.push(format!("{} | {:?} {:?}", set.join(" "), fetch.side_band, fetch.multi_ack));
    lines.join("\n")
}

/// What a push asks for, one line for each thing that is not its default.
pub fn show_push(push: &PushRequest) -> String {
    let mut lines = Vec::new();
    for command in &push.commands {
        let [old, new] = [command.old, command.new].map(|id| id.to_hex()[..1].to_owned());
        lines.push(format!("{old} -> {new} {}", command.name));
    }
    lines.extend(push.shallow.iter().map(|id| format!("shallow {}", &id.to_hex()[..1])));
    lines.extend(push.push_options.iter().map(|option| format!("option {option}")));
    lines.extend(push.agent.iter().map(|agent| format!("agent {agent}")));
    lines.extend(push.session_id.iter().map(|id| format!("session-id {id}")));
    let flags = [
        ("quiet", push.quiet),
        ("atomic", push.atomic),
        ("ofs-delta", push.ofs_delta),
        ("push-options", push.uses_push_options),
        ("signed", push.push_cert.is_some()),
    ];
    let set: Vec<&str> = flags.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
    lines.push(format!("{} | {:?} {:?}", set.join(" "), push.band(), push.report()));
    lines.join("\n")
}

/// Compares texts line by line, indentation aside.
#[track_caller]
pub fn check(found: &str, expected: &str) {
    let lines = |text: &str| text.trim().lines().map(str::trim).collect::<Vec<_>>().join("\n");
    assert_eq!(lines(found), lines(expected));
}
