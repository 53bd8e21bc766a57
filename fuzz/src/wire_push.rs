//! Any bytes as a push: commands, certificates, options.

use object::HashKind;
use wire::push::read_push;
use wire::{Limits, PacketReader, ReceivePackOffer};

pub(crate) fn run(bytes: &[u8]) {
    let offer = ReceivePackOffer {
        push_cert_nonce: Some("nonce".into()),
        push_options: true,
        ..ReceivePackOffer::new(HashKind::Sha1, "fuzz")
    };
    let limits = Limits { push_commands_max: 100, text_bytes_max: 10_000, ..Limits::default() };
    let Ok(Some(push)) = read_push(&mut PacketReader::new(bytes), &offer, &limits) else {
        return;
    };
    assert!((1..=100).contains(&push.commands.len()));
    let _ = push.push_options_match_cert();
    if let Some(cert) = &push.push_cert {
        assert_eq!(cert.as_bytes(), [cert.payload(), cert.signature()].concat());
    }
}
