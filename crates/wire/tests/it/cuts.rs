//! A connection may break at any byte: never a panic, never a whole request.

use std::io::BufReader;

use wire::pktline::PacketReader;
use wire::push::read_push;
use wire::v0::{HaveLine, read_have, read_wants};
use wire::{Error, Limits};

use crate::push::{FULL_PUSH, everything as everything_pushed};
use crate::transcript::{everything, pack};

/// Feeds every prefix of a conversation, through buffers of several sizes.
fn check_cuts(transcript: &str, read: impl Fn(PacketReader<BufReader<&[u8]>>) -> Outcome) {
    let bytes = pack(transcript);
    for capacity in [1, 5, 64, 8192] {
        let reader = |bytes| PacketReader::new(BufReader::with_capacity(capacity, bytes));
        for end in 0..bytes.len() {
            match read(reader(&bytes[..end])) {
                Outcome::Failed(Error::HungUp | Error::Malformed(_)) => {}
                Outcome::Nothing if end == 0 => {}
                other => panic!("cut at {end} of {}: {other:?}", bytes.len()),
            }
        }
        assert!(matches!(read(reader(&bytes)), Outcome::Whole), "the whole conversation");
    }
}

#[derive(Debug)]
enum Outcome {
    Whole,
    Nothing,
    Failed(Error),
}

impl<T> From<Result<Option<T>, Error>> for Outcome {
    fn from(result: Result<Option<T>, Error>) -> Self {
        match result {
            Ok(Some(_)) => Outcome::Whole,
            Ok(None) => Outcome::Nothing,
            Err(error) => Outcome::Failed(error),
        }
    }
}

#[test]
fn v2_commands() {
    for transcript in [
        "command=ls-refs\nagent=x\n0001\npeel\nref-prefix refs/\n0000",
        "command=fetch\nobject-format=sha1\n0001\nwant {a}\nhave {b}\ndeepen 2\ndone\n0000",
        "command=object-info\n0001\nsize\noid {a}\n0000",
    ] {
        check_cuts(transcript, |mut reader| {
            wire::v2::read_command(&mut reader, &Limits::default(), &everything()).into()
        });
    }
}

#[test]
fn v0_wants_and_haves() {
    let transcript = "want {a} multi_ack agent=x\nshallow {b}\n0000\nhave {c}\n0000\ndone";
    check_cuts(transcript, |mut reader| {
        let wants = read_wants(&mut reader, &everything(), &Limits::default());
        let Ok(Some(_)) = wants else { return wants.into() };
        loop {
            match read_have(&mut reader, object::HashKind::Sha1) {
                Ok(HaveLine::Done) => return Outcome::Whole,
                Ok(HaveLine::Eof) => return Outcome::Failed(Error::HungUp),
                Ok(HaveLine::Have(_) | HaveLine::Flush) => {}
                Err(error) => return Outcome::Failed(error),
            }
        }
    });
}

#[test]
fn pushes() {
    check_cuts(FULL_PUSH, |mut reader| {
        read_push(&mut reader, &everything_pushed(), &Limits::default()).into()
    });
}
