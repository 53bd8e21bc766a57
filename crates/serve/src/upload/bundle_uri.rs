//! `bundle-uri`: where bundles are that a clone may begin with (gitprotocol-v2, "bundle-uri"; git-config,
//! "bundle").

use bstr::ByteSlice as _;
use gitconfig::Config;
use wire::{PacketWriter, Sink};

use crate::Error;

/// Answers with what the configuration says of bundles, in its order.
pub(super) fn bundle_uri(config: &Config, output: &mut dyn Sink) -> Result<(), Error> {
    let mut writer = PacketWriter::new(output);
    for entry in config.entries() {
        let (name, value) = (entry.name(), entry.value());
        if let Some(value) = value.filter(|_| name.starts_with(b"bundle.")) {
            writer.data(&[name.as_bytes(), b"=", value.as_bytes()].concat())?;
        }
    }
    writer.flush_pkt()?;
    writer.flush()?;
    Ok(())
}
