//! What is written is what is read, for any bytes and any way of buffering them.

use std::io::{BufReader, Read as _};

use bytes::Bytes;
use object::Kind;
use proptest::prelude::*;
use wire::pktline::{Packet, PacketReader, PacketWriter};
use wire::push::read_push;
use wire::{Band, Filter, Limits, Sideband};

use crate::push::everything as everything_pushed;
use crate::transcript::{everything, read_v0, read_v2};

#[derive(Debug, Clone, PartialEq)]
enum Sent {
    Data(Vec<u8>),
    Flush,
    Delim,
    ResponseEnd,
}

fn sent() -> impl Strategy<Value = Sent> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Sent::Data),
        1 => (0usize..=65516).prop_map(|len| Sent::Data(vec![b'x'; len])),
        1 => Just(Sent::Flush),
        1 => Just(Sent::Delim),
        1 => Just(Sent::ResponseEnd),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    let leaf = prop_oneof![
        Just(Filter::BlobNone),
        any::<u64>().prop_map(Filter::BlobLimit),
        any::<u64>().prop_map(Filter::TreeDepth),
        Just(Filter::ObjectType(Kind::Tag)),
        "[ -~]{1,12}".prop_map(|name| Filter::SparseOid(name.into())),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop::collection::vec(inner, 0..4).prop_map(Filter::Combine)
    })
}

proptest! {
    #[test]
    fn packets(sent in prop::collection::vec(sent(), 0..20), capacity in 1usize..9000) {
        let mut bytes = Vec::new();
        let mut writer = PacketWriter::new(&mut bytes);
        for packet in &sent {
            match packet {
                Sent::Data(data) => writer.data(data).unwrap(),
                Sent::Flush => writer.flush_pkt().unwrap(),
                Sent::Delim => writer.delim().unwrap(),
                Sent::ResponseEnd => writer.response_end().unwrap(),
            }
        }
        drop(writer);
        bytes.extend_from_slice(b"PACK");
        let mut reader = PacketReader::new(BufReader::with_capacity(capacity, &bytes[..]));
        for packet in &sent {
            let found = match reader.next().unwrap() {
                Packet::Data(data) => Sent::Data(data.to_vec()),
                Packet::Flush => Sent::Flush,
                Packet::Delim => Sent::Delim,
                Packet::ResponseEnd => Sent::ResponseEnd,
                Packet::Eof => panic!("the stream goes on"),
            };
            prop_assert_eq!(&found, packet);
        }
        let mut rest = Vec::new();
        reader.inner_mut().read_to_end(&mut rest).unwrap();
        prop_assert_eq!(rest, b"PACK");
    }

    #[test]
    fn side_bands(data in prop::collection::vec(any::<u8>(), 0..200_000), large: bool) {
        let band = if large { Band::Large } else { Band::Small };
        let mut bytes = Vec::new();
        let mut side = Sideband::new(&mut bytes, band);
        side.data(Bytes::from(data.clone())).unwrap();
        side.progress(b"between").unwrap();
        side.finish().unwrap();
        let mut reader = PacketReader::new(&bytes[..]);
        let mut found = Vec::new();
        while let Packet::Data(frame) = reader.next().unwrap() {
            prop_assert!(frame.len() <= 1 + band.frame_bytes_max().expect("framed"));
            match frame[0] {
                1 => found.extend_from_slice(&frame[1..]),
                2 => prop_assert_eq!(&frame[1..], b"between"),
                other => panic!("band {other}"),
            }
        }
        prop_assert_eq!(found, data);
    }

    #[test]
    fn filters(filter in filter()) {
        let text = filter.to_string();
        prop_assert_eq!(Filter::parse(text.as_bytes()), Ok(filter), "{}", text);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read_v2(&bytes, &everything());
        let _ = read_v0(&bytes, &everything());
        let _ = read_push(
            &mut PacketReader::new(&bytes[..]),
            &everything_pushed(),
            &Limits::default(),
        );
        let _ = Filter::parse(&bytes);
    }

    #[test]
    fn any_lines_are_survived(lines in prop::collection::vec("[ -~\0]{0,80}", 0..12)) {
        let mut bytes = Vec::new();
        let mut writer = PacketWriter::new(&mut bytes);
        writer.text("command=fetch").unwrap();
        writer.delim().unwrap();
        for line in &lines {
            writer.text(line).unwrap();
        }
        writer.flush_pkt().unwrap();
        drop(writer);
        let _ = read_v2(&bytes, &everything());
    }
}
