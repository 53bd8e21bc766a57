//! Any bytes as a v0 fetch: wants, then the negotiation to its end.

use object::HashKind;
use wire::v0::{HaveLine, read_have, read_wants};
use wire::{FilterRules, Limits, PacketReader, UploadPackOffer};

pub(crate) fn run(bytes: &[u8]) {
    let offer = UploadPackOffer {
        no_done: true,
        filter: Some(FilterRules::default()),
        ..UploadPackOffer::new(HashKind::Sha1, "fuzz")
    };
    let limits = Limits { wants_max: 100, shallow_max: 100, ..Limits::default() };
    let mut reader = PacketReader::new(bytes);
    let Ok(Some(fetch)) = read_wants(&mut reader, &offer, &limits) else {
        return;
    };
    assert!(!fetch.wants.is_empty() && fetch.wants.len() <= 100);
    loop {
        match read_have(&mut reader, offer.object_format) {
            Ok(HaveLine::Have(_) | HaveLine::Flush) => {}
            Ok(HaveLine::Done | HaveLine::Eof) | Err(_) => return,
        }
    }
}
