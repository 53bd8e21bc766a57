//! Any bytes as packets, through any buffer: what is read is what a plain slice gives,
//! and what is written again is what was read.

use std::io::{BufReader, Read as _};

use wire::{Packet, PacketReader, PacketWriter};

pub(crate) fn run(input: &[u8]) {
    let Some((capacity, bytes)) = input.split_first() else { return };
    let capacity = usize::from(*capacity).max(1);
    let mut reader = PacketReader::new(BufReader::with_capacity(capacity, bytes));
    let mut plain = PacketReader::new(bytes);
    let mut written = Vec::new();
    let mut writer = PacketWriter::new(&mut written);
    loop {
        let (packet, expected) = (reader.next(), plain.next());
        let Ok(packet) = packet else {
            assert!(expected.is_err());
            return;
        };
        assert_eq!(packet, expected.expect("both read alike"));
        match packet {
            Packet::Data(data) => writer.data(data),
            Packet::Flush => writer.flush_pkt(),
            Packet::Delim => writer.delim(),
            Packet::ResponseEnd => writer.response_end(),
            Packet::Eof => break,
        }
        .expect("into memory");
    }
    drop(writer);
    assert!(written.eq_ignore_ascii_case(bytes));
    let mut rest = Vec::new();
    reader.into_inner().read_to_end(&mut rest).expect("from memory");
    assert!(rest.is_empty());
}
