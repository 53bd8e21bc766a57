//! Any bytes as a conversation of v2 commands.

use object::HashKind;
use wire::{Command, FilterRules, Limits, PacketReader, UploadPackOffer};

pub(crate) fn run(bytes: &[u8]) {
    let offer = UploadPackOffer {
        session_id: Some("session".into()),
        filter: Some(FilterRules::default()),
        ref_in_want: true,
        sideband_all: true,
        object_info: true,
        bundle_uri: true,
        watch: true,
        ..UploadPackOffer::new(HashKind::Sha1, "fuzz")
    };
    let limits = Limits { wants_max: 100, haves_max: 100, prefixes_max: 100, ..Limits::default() };
    let mut reader = PacketReader::new(bytes);
    while let Ok(Some(command)) = wire::v2::read_command(&mut reader, &limits, &offer) {
        match command {
            Command::Fetch(fetch) => {
                assert!(fetch.wants.len() <= 100 && fetch.haves.len() <= 100);
                if let Some(filter) = fetch.filter {
                    let again = wire::Filter::parse(filter.to_string().as_bytes());
                    assert_eq!(again.as_ref(), Ok(&filter));
                }
            }
            Command::LsRefs(refs) => assert!(refs.prefixes.len() < 100),
            Command::Watch(watch) => assert!(watch.prefixes.len() < 100),
            Command::ObjectInfo(_) | Command::BundleUri => {}
        }
    }
}
